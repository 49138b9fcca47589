// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (docs/protocol.md §12)
/// @notice Elements are bytes, addition is exclusive or. Without tables: a proof needs some fifty products.
library Field {
    uint256 private constant MODULUS = 0x11d;

    function multiply(uint256 a, uint256 b) internal pure returns (uint256 product) {
        for (; b != 0; b >>= 1) {
            if (b & 1 == 1) product ^= a;
            a <<= 1;
            if (a > 255) a ^= MODULUS;
        }
    }

    /// @notice Of a non-zero element: its 254th power.
    function inverse(uint256 a) internal pure returns (uint256 power) {
        power = 1;
        for (uint256 i; i < 7; ++i) {
            a = multiply(a, a);
            power = multiply(power, a);
        }
    }

    /// @notice Whether `values` at different `points` are on a polynomial of degree below their number less one.
    function isOnPolynomial(uint256[] memory points, uint256[] memory values) internal pure returns (bool) {
        uint256 sum;
        for (uint256 i; i < points.length; ++i) {
            uint256 product = 1;
            for (uint256 m; m < points.length; ++m) {
                if (m != i) product = multiply(product, points[i] ^ points[m]);
            }
            sum ^= multiply(values[i], inverse(product));
        }
        return sum == 0;
    }
}
