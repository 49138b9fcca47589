// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";

/// @title Signatures on both curves (docs/protocol.md §5)
/// @notice Total: any bytes give true or false. Low-s only on both curves.
library Keys {
    /// @notice A machine key's signature over a SHA-256 digest.
    /// @dev OpenZeppelin asks the precompile at 0x100 (EIP-7951, RIP-7212). An empty answer means either an invalid
    /// signature or no precompile; a known valid signature tells which, and where there is none Solidity verifies. So an
    /// empty answer never means valid, and a missing precompile never makes a good signature bad.
    function verifyP256(bytes32 digest, bytes32 r, bytes32 s, bytes32 x, bytes32 y) internal view returns (bool) {
        return P256.verify(digest, r, s, x, y);
    }

    /// @notice Whether (x, y) is a point of P-256: no signature verifies under any other key.
    function isP256Key(bytes32 x, bytes32 y) internal pure returns (bool) {
        return P256.isValidPublicKey(x, y);
    }

    /// @notice An owner's signature, 65 bytes `r ‖ s ‖ v` with v 27 or 28, over a keccak digest.
    function verifySecp256k1(bytes32 digest, bytes memory signature, address owner) internal pure returns (bool) {
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, signature);
        return failure == ECDSA.RecoverError.NoError && signer == owner;
    }
}
