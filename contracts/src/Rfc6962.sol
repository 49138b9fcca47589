// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title The Merkle tree shape of RFC 6962 §2.1
/// @notice Common to the call log (SHA-256) and to posted data (keccak): only the node hash differs, and is handed in.
library Rfc6962 {
    /// @notice The root over at least one leaf. Overwrites `leaves`.
    /// @dev The array is its own stack: after n leaves it holds one complete subtree per set bit of n.
    function root(bytes32[] memory leaves, function(bytes32, bytes32) pure returns (bytes32) node)
        internal
        pure
        returns (bytes32 hash)
    {
        uint256 top;
        for (uint256 i; i < leaves.length; ++i) {
            hash = leaves[i];
            for (uint256 n = i; n & 1 == 1; n >>= 1) {
                hash = node(leaves[--top], hash);
            }
            leaves[top++] = hash;
        }
        hash = leaves[--top];
        while (top > 0) {
            hash = node(leaves[--top], hash);
        }
    }

    /// @notice Whether `path` leads from the leaf at `index` to the root of a tree of `size` leaves (RFC 9162 §2.1.3.2).
    function verify(
        bytes32 expected,
        uint256 size,
        uint256 index,
        bytes32 leaf,
        bytes32[] memory path,
        function(bytes32, bytes32) pure returns (bytes32) node
    ) internal pure returns (bool) {
        if (index >= size) return false;
        uint256 last = size - 1;
        bytes32 hash = leaf;
        for (uint256 i; i < path.length; ++i) {
            if (last == 0) return false;
            if (index & 1 == 1 || index == last) {
                hash = node(path[i], hash);
                // The right edge of an uneven tree skips the levels where it has no sibling.
                while (index & 1 == 0 && index != 0) {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node(hash, path[i]);
            }
            index >>= 1;
            last >>= 1;
        }
        return last == 0 && hash == expected;
    }
}
