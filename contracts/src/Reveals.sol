// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title What the sequencer reveals of a segment (docs/protocol.md §10)
/// @notice The binary keccak tree over 128 commitments: those after each of n parts of the segment, the last of them the
/// segment's own end, then zeros. Only its root is kept at L1.
library Reveals {
    uint256 internal constant LEAVES = 128;
    uint256 internal constant DEPTH = 7;

    /// @notice Into how many parts a segment is divided.
    function parts(uint256 length) internal pure returns (uint256) {
        return length < LEAVES ? length : LEAVES;
    }

    /// @notice How many of a segment's steps lie before part `index`.
    function boundary(uint256 length, uint256 index) internal pure returns (uint64) {
        return uint64(length * index / parts(length));
    }

    /// @notice The root over at most 127 inner commitments and `post`.
    /// @dev Assembly because it is 127 hashes: the tree is folded level by level where its leaves were.
    function root(bytes32[] calldata inner, bytes32 post) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let tree := mload(0x40)
            let size := shl(5, inner.length)
            calldatacopy(tree, inner.offset, size)
            mstore(add(tree, size), post)
            let end := add(tree, mul(LEAVES, 0x20))
            for { let place := add(add(tree, size), 0x20) } lt(place, end) { place := add(place, 0x20) } {
                mstore(place, 0)
            }
            for { let width := mul(LEAVES, 0x20) } gt(width, 0x20) { width := shr(1, width) } {
                for { let place := 0 } lt(place, width) { place := add(place, 0x40) } {
                    mstore(add(tree, shr(1, place)), keccak256(add(tree, place), 0x40))
                }
            }
            hash := mload(tree)
        }
    }

    /// @notice Whether `commitment` is leaf `index` under `revealed`.
    function verify(bytes32 revealed, uint256 index, bytes32 commitment, bytes32[] calldata path)
        internal
        pure
        returns (bool)
    {
        if (path.length != DEPTH) return false;
        bytes32 hash = commitment;
        for (uint256 i; i < DEPTH; ++i) {
            hash = index >> i & 1 == 0
                ? keccak256(abi.encodePacked(hash, path[i]))
                : keccak256(abi.encodePacked(path[i], hash));
        }
        return hash == revealed;
    }
}
