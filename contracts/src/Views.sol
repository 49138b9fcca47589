// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DataRoot} from "./DataRoot.sol";
import {Rfc6962} from "./Rfc6962.sol";

/// @title Pieces of a batch's data, opened under its `dataRoot` (docs/protocol.md §12)
/// @notice A proof is a byte that says the mode, then the pieces: field elements of blobs, or cells of a committee's columns. The mode is part of what
/// `dataRoot` hashes, so no proof of one mode opens anything of another, nor of data in calldata.
library Views {
    bytes1 internal constant BLOB = 0x01;
    bytes1 internal constant COMMITTEE = 0x02;

    uint256 internal constant ELEMENTS = 4096;
    uint256 internal constant ELEMENT_BYTES = 31;
    uint256 internal constant CELL_BYTES = 1024;

    address private constant POINT_EVALUATION = address(0x0a);
    address private constant MODEXP = address(0x05);
    /// @dev EIP-4844's `BLS_MODULUS`, and 7^((BLS_MODULUS − 1) / 4096), a primitive root of unity of that order.
    uint256 private constant MODULUS = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    uint256 private constant ROOT_OF_UNITY = 0x564c0a11a0f704f4fc3e8acfe0f8245f0ad1347b378fbf96e206da11a5d36306;

    /// @notice A field element of a blob.
    /// @param index Counted over all of the batch's blobs, 4,096 each.
    /// @param proof The 48 bytes of the KZG proof.
    struct Element {
        uint32 index;
        bytes32 value;
        bytes proof;
    }

    /// @notice A cell of a column.
    /// @param path From the cell's leaf to the column's root, as in RFC 9162 §2.1.3.
    struct Cell {
        uint8 column;
        uint32 row;
        bytes content;
        bytes32[] path;
    }

    /// @notice What a `dataRoot` of mode 2 is the hash of.
    struct Columns {
        uint64 length;
        uint64 epoch;
        bytes32[] roots;
    }

    /// @notice Bytes of the data, from `start` on.
    struct Piece {
        uint256 start;
        bytes content;
    }

    struct View {
        uint256 length;
        Piece[] pieces;
    }

    /// @notice The proof opens nothing under this `dataRoot`.
    error BadProof();

    /// @notice The proof leaves out the byte of the data at `offset`.
    error NotShown(uint256 offset);

    /// @notice What a proof opens. Reverts with `BadProof`.
    /// @param members How many columns a committee's data has.
    /// @param threshold How many of them are data.
    function open(bytes calldata proof, bytes32 dataRoot, uint256 members, uint256 threshold)
        internal
        view
        returns (View memory)
    {
        if (proof.length == 0) revert BadProof();
        if (proof[0] == BLOB) return _blobs(proof[1:], dataRoot);
        (Columns memory columns, Cell[] memory cells) = openCells(proof, dataRoot, members, threshold);
        uint256 columnBytes = CELL_BYTES * rows(columns.length, threshold);
        Piece[] memory pieces = new Piece[](cells.length);
        for (uint256 i; i < cells.length; ++i) {
            if (cells[i].column >= threshold) revert BadProof();
            pieces[i] = Piece(cells[i].column * columnBytes + cells[i].row * CELL_BYTES, cells[i].content);
        }
        return View(columns.length, pieces);
    }

    /// @notice The cells that a proof of mode 2 opens, of whatever columns. Reverts with `BadProof`.
    function openCells(bytes calldata proof, bytes32 dataRoot, uint256 members, uint256 threshold)
        internal
        pure
        returns (Columns memory columns, Cell[] memory cells)
    {
        if (proof.length == 0 || proof[0] != COMMITTEE) revert BadProof();
        (columns, cells) = abi.decode(proof[1:], (Columns, Cell[]));
        checkColumns(columns, dataRoot, members);
        uint256 height = rows(columns.length, threshold);
        for (uint256 i; i < cells.length; ++i) {
            Cell memory cell = cells[i];
            if (cell.column >= members || !isCell(columns.roots[cell.column], height, cell)) revert BadProof();
        }
    }

    function checkColumns(Columns memory columns, bytes32 dataRoot, uint256 members) internal pure {
        bytes memory all = abi.encodePacked(COMMITTEE, columns.length, columns.epoch, columns.roots);
        if (columns.roots.length != members || keccak256(all) != dataRoot) revert BadProof();
    }

    /// @notice Whether a cell stands in its row, of so many, under its column's root.
    function isCell(bytes32 root, uint256 height, Cell memory cell) internal pure returns (bool) {
        if (cell.content.length != CELL_BYTES) return false;
        bytes32 leaf = keccak256(abi.encodePacked(hex"00", cell.content));
        return Rfc6962.verify(root, height, cell.row, leaf, cell.path, DataRoot.node);
    }

    /// @notice Cells in a column of data of so many bytes.
    function rows(uint256 length, uint256 threshold) internal pure returns (uint256) {
        uint256 row = CELL_BYTES * threshold;
        return (length + row - 1) / row;
    }

    /// @notice What `dataRoot` is of data in blobs whose versioned hashes were chained up to `chain`.
    function blobsRoot(uint64 length, bytes32 chain) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(BLOB, length, chain));
    }

    /// @notice Bytes of the data; zeros past its end. Reverts with `NotShown` where a byte was not opened.
    function read(View memory view_, uint256 offset, uint256 size) internal pure returns (bytes memory out) {
        out = new bytes(size);
        uint256 end = offset + size < view_.length ? offset + size : view_.length;
        // Pieces come in order: each goes on where the one before left off.
        uint256 next = offset;
        for (uint256 i; i < view_.pieces.length && next < end; ++i) {
            Piece memory piece = view_.pieces[i];
            uint256 pieceEnd = piece.start + piece.content.length;
            if (next < piece.start || next >= pieceEnd) continue;
            uint256 count = (pieceEnd < end ? pieceEnd : end) - next;
            bytes memory content = piece.content;
            uint256 from = next - piece.start;
            uint256 to = next - offset;
            assembly ("memory-safe") {
                mcopy(add(add(out, 0x20), to), add(add(content, 0x20), from), count)
            }
            next += count;
        }
        if (next < end) revert NotShown(next);
    }

    function _blobs(bytes calldata proof, bytes32 dataRoot) private view returns (View memory) {
        (uint64 length, bytes32[] memory hashes, bytes[] memory commitments, Element[] memory elements) =
            abi.decode(proof, (uint64, bytes32[], bytes[], Element[]));
        if (commitments.length != hashes.length) revert BadProof();
        bytes32 chain;
        for (uint256 i; i < hashes.length; ++i) {
            chain = keccak256(abi.encodePacked(chain, hashes[i]));
            // Of a blob that is not read, none is needed.
            if (commitments[i].length != 0 && _versionedHash(commitments[i]) != hashes[i]) revert BadProof();
        }
        if (blobsRoot(length, chain) != dataRoot) revert BadProof();
        Piece[] memory pieces = new Piece[](elements.length);
        for (uint256 i; i < elements.length; ++i) {
            Element memory element = elements[i];
            uint256 blob = element.index / ELEMENTS;
            if (blob >= hashes.length || commitments[blob].length != 48 || element.proof.length != 48) {
                revert BadProof();
            }
            (bool ok,) = POINT_EVALUATION.staticcall(
                abi.encodePacked(
                    hashes[blob], _point(element.index % ELEMENTS), element.value, commitments[blob], element.proof
                )
            );
            if (!ok) revert BadProof();
            // Byte 0 of an element says nothing.
            pieces[i] = Piece(element.index * ELEMENT_BYTES, _used(element.value));
        }
        return View(length, pieces);
    }

    function _used(bytes32 value) private pure returns (bytes memory content) {
        content = new bytes(ELEMENT_BYTES);
        assembly ("memory-safe") {
            // The 31 bytes, and a zero behind them.
            mstore(add(content, 0x20), shl(8, value))
        }
    }

    function _versionedHash(bytes memory commitment) private pure returns (bytes32) {
        return bytes32(uint256(sha256(commitment)) & type(uint248).max | 1 << 248);
    }

    /// @dev The root of unity at which a blob's polynomial takes the value of its element: at the index with its bits reversed.
    function _point(uint256 index) private view returns (uint256) {
        uint256 reversed;
        for (uint256 bit; bit < 12; ++bit) {
            reversed |= (index >> bit & 1) << (11 - bit);
        }
        (bool ok, bytes memory power) = MODEXP.staticcall(abi.encode(32, 32, 32, ROOT_OF_UNITY, reversed, MODULUS));
        if (!ok) revert BadProof();
        return abi.decode(power, (uint256));
    }
}
