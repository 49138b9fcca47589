// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Rfc6962} from "./Rfc6962.sol";

/// @title Posted data (docs/protocol.md §3)
/// @notice Parses chunk records, counts steps and grows the RFC 6962-shaped keccak tree over frames, part by part.
library DataRoot {
    uint256 internal constant MAX_FRAME = 4096;
    uint256 internal constant LEVELS = 64;

    /// @notice A record with no frame, a frame of 0 or more than 4,096 bytes, or one cut off by the part's end.
    /// @param offset Where in the part the offending field lies, or the part's length if something is cut off.
    error MalformedData(uint256 offset);

    /// @dev A tree under way. `peaks[h]` is the complete subtree of 2^h frames, where bit h of `frames` is set; the other
    /// places hold leftovers that are never read.
    struct Tree {
        uint256 frames;
        uint256 steps;
        bytes32[LEVELS] peaks;
    }

    /// @dev A tree between two parts, with the batch it is for and the number of parts that are in.
    struct Stretch {
        uint64 number;
        uint32 parts;
        uint64 frames;
        uint64 steps;
        bytes32[LEVELS] peaks;
    }

    function load(Stretch storage stretch) internal view returns (Tree memory tree) {
        tree.frames = stretch.frames;
        tree.steps = stretch.steps;
        uint256 bits = tree.frames;
        for (uint256 h; bits != 0; (++h, bits >>= 1)) {
            if (bits & 1 == 1) tree.peaks[h] = stretch.peaks[h];
        }
    }

    function store(Stretch storage stretch, Tree memory tree) internal {
        stretch.frames = uint64(tree.frames);
        stretch.steps = uint64(tree.steps);
        uint256 bits = tree.frames;
        for (uint256 h; bits != 0; (++h, bits >>= 1)) {
            if (bits & 1 == 1) stretch.peaks[h] = tree.peaks[h];
        }
    }

    /// @notice Adds the frames of one part, which is whole chunk records.
    /// @dev Assembly, because a part of 120 KB may hold tens of thousands of frames and must fit one L1 transaction. All
    /// that a leaf says before its frame is kept in one word, `firstStep << 72 | shard << 64 | seq`: its low 18 bytes,
    /// the topmost zero, are the leaf's prefix as it stands, and counting is one addition.
    function absorb(Tree memory tree, bytes calldata data) internal pure {
        uint256 malformed = type(uint256).max;
        assembly ("memory-safe") {
            // Buffers past the free memory pointer: a pair of nodes behind a byte 0x01, then a leaf: prefix, frame.
            let pair := add(mload(0x40), 0x20)
            let leaf := add(pair, 0x40)
            mstore(sub(pair, 0x20), 1)

            let frames := mload(tree)
            let prefix := shl(72, mload(add(tree, 0x20)))
            let peaks := mload(add(tree, 0x40))
            let pos := data.offset
            let end := add(pos, data.length)

            for {} lt(pos, end) {} {
                let header := shr(184, calldataload(pos)) // shard 1, firstSeq 6, frames 2
                let count := and(header, 0xffff)
                if iszero(count) {
                    malformed := sub(pos, data.offset)
                    break
                }
                prefix := or(
                    shl(72, shr(72, prefix)),
                    or(shl(64, shr(64, header)), and(shr(16, header), 0xffffffffffff))
                )
                pos := add(pos, 9)

                for {} count { count := sub(count, 1) } {
                    let word := calldataload(pos)
                    let size := shr(240, word)
                    // One comparison for both bounds: zero wraps around.
                    if gt(sub(size, 1), sub(MAX_FRAME, 1)) {
                        malformed := sub(pos, data.offset)
                        break
                    }
                    pos := add(pos, 2)

                    mstore(leaf, prefix)
                    calldatacopy(add(leaf, 0x20), pos, size)
                    let hash := keccak256(add(leaf, 14), add(size, 18))

                    // Like a binary counter: merge with each complete subtree that the new leaf completes a pair with.
                    let peak := peaks
                    for { let bits := frames } and(bits, 1) { bits := shr(1, bits) } {
                        mstore(pair, mload(peak))
                        mstore(add(pair, 0x20), hash)
                        hash := keccak256(sub(pair, 1), 0x41)
                        peak := add(peak, 0x20)
                    }
                    mstore(peak, hash)

                    frames := add(frames, 1)
                    prefix := add(prefix, add(shl(72, 1), 1)) // one step, one seq
                    // A bundle's opening, then as many interactions as its second byte says and one.
                    if and(eq(byte(2, word), 0x10), gt(size, 1)) {
                        prefix := add(prefix, shl(72, add(byte(3, word), 1)))
                    }
                    pos := add(pos, size)
                }
                if not(malformed) { break }
            }
            // A record cut off by the end is noticed here, once: until then, bytes behind the part were read as frames.
            if gt(pos, end) { malformed := data.length }
            mstore(tree, frames)
            mstore(add(tree, 0x20), shr(72, prefix))
        }
        if (malformed != type(uint256).max) revert MalformedData(malformed);
    }

    /// @notice The root over all frames so far, of which there is at least one.
    function root(Tree memory tree) internal pure returns (bytes32 hash) {
        uint256 bits = tree.frames;
        uint256 h;
        while (bits & 1 == 0) {
            bits >>= 1;
            ++h;
        }
        hash = tree.peaks[h];
        while ((bits >>= 1) != 0) {
            ++h;
            if (bits & 1 == 1) hash = node(tree.peaks[h], hash);
        }
    }

    function leafHash(uint64 firstStep, uint8 shard, uint64 seq, bytes calldata frame) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"00", firstStep, shard, seq, frame));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"01", left, right));
    }

    /// @notice Whether a leaf is frame `index` of the `size` frames under `dataRoot`.
    function verify(bytes32 dataRoot, uint256 size, uint256 index, bytes32 leaf, bytes32[] calldata path)
        internal
        pure
        returns (bool)
    {
        return Rfc6962.verify(dataRoot, size, index, leaf, path, node);
    }
}
