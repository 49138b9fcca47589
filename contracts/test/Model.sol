// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @notice The tree of docs/protocol.md §2 kept node by node: slow, and nothing like the code under test.
contract TrieModel {
    mapping(uint256 height => mapping(uint256 path => bytes32)) private _nodes;
    mapping(uint256 height => mapping(uint256 path => bool)) private _known;
    mapping(uint32 address_ => bytes) private _cells;

    /// @dev Of a subtree in which nothing was ever set, by height.
    bytes32[17] private _empty;

    constructor() {
        bytes32 empty = keccak256(new bytes(64));
        for (uint256 height; height <= 16; ++height) {
            _empty[height] = empty;
            empty = keccak256(abi.encodePacked(empty, empty, empty, empty));
        }
    }

    function set(uint32 address_, bytes memory cell) public {
        require(cell.length == 64, "cell");
        _cells[address_] = cell;
        _put(0, address_, keccak256(cell));
        for (uint256 height = 1; height <= 16; ++height) {
            uint256 path = uint256(address_) >> (2 * height);
            bytes memory children;
            for (uint256 child; child < 4; ++child) {
                children = bytes.concat(children, node(height - 1, 4 * path + child));
            }
            _put(height, path, keccak256(children));
        }
    }

    function cellAt(uint32 address_) public view returns (bytes memory) {
        return _cells[address_].length == 0 ? new bytes(64) : _cells[address_];
    }

    function root() public view returns (bytes32) {
        return node(16, 0);
    }

    function proof(uint32 address_) public view returns (bytes32[48] memory siblings) {
        uint256 filled;
        for (uint256 height; height < 16; ++height) {
            uint256 path = uint256(address_) >> (2 * height);
            uint256 parent = path & ~uint256(3);
            for (uint256 pos = parent; pos < parent + 4; ++pos) {
                if (pos != path) siblings[filled++] = node(height, pos);
            }
        }
    }

    function node(uint256 height, uint256 path) public view returns (bytes32) {
        return _known[height][path] ? _nodes[height][path] : _empty[height];
    }

    function _put(uint256 height, uint256 path, bytes32 hash) private {
        _nodes[height][path] = hash;
        _known[height][path] = true;
    }
}

/// @notice RFC 6962 §2.1 as it is defined there, by recursion: MTH, and PATH of a leaf.
library Rfc6962Model {
    function root(bytes32[] memory leaves, function(bytes32, bytes32) pure returns (bytes32) node)
        internal
        pure
        returns (bytes32)
    {
        if (leaves.length == 1) return leaves[0];
        (bytes32[] memory left, bytes32[] memory right) = _split(leaves);
        return node(root(left, node), root(right, node));
    }

    function path(bytes32[] memory leaves, uint256 index, function(bytes32, bytes32) pure returns (bytes32) node)
        internal
        pure
        returns (bytes32[] memory)
    {
        if (leaves.length == 1) return new bytes32[](0);
        (bytes32[] memory left, bytes32[] memory right) = _split(leaves);
        return index < left.length
            ? _push(path(left, index, node), root(right, node))
            : _push(path(right, index - left.length, node), root(left, node));
    }

    function _split(bytes32[] memory leaves) private pure returns (bytes32[] memory left, bytes32[] memory right) {
        uint256 k = 1;
        while (2 * k < leaves.length) k *= 2;
        left = new bytes32[](k);
        right = new bytes32[](leaves.length - k);
        for (uint256 i; i < leaves.length; ++i) {
            if (i < k) left[i] = leaves[i];
            else right[i - k] = leaves[i];
        }
    }

    function _push(bytes32[] memory array, bytes32 last) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](array.length + 1);
        for (uint256 i; i < array.length; ++i) {
            longer[i] = array[i];
        }
        longer[array.length] = last;
    }
}

/// @notice Posted data read a field at a time.
library DataModel {
    struct Frame {
        uint64 firstStep;
        uint8 shard;
        uint64 seq;
        bytes frame;
    }

    function chunk(uint8 shard, uint48 firstSeq, bytes[] memory frames) internal pure returns (bytes memory record) {
        record = abi.encodePacked(shard, firstSeq, uint16(frames.length));
        for (uint256 i; i < frames.length; ++i) {
            record = bytes.concat(record, bytes2(uint16(frames[i].length)), frames[i]);
        }
    }

    function parse(bytes memory data) internal pure returns (bool ok, Frame[] memory frames, uint64 steps) {
        frames = new Frame[](data.length / 3);
        uint256 n;
        uint256 pos;
        while (pos < data.length) {
            if (pos + 9 > data.length) return (false, frames, 0);
            uint8 shard = uint8(_read(data, pos, 1));
            uint64 seq = uint64(_read(data, pos + 1, 6));
            uint256 count = _read(data, pos + 7, 2);
            pos += 9;
            if (count == 0) return (false, frames, 0);
            for (uint256 i; i < count; ++i) {
                if (pos + 2 > data.length) return (false, frames, 0);
                uint256 size = _read(data, pos, 2);
                pos += 2;
                if (size == 0 || size > 4096 || pos + size > data.length) return (false, frames, 0);
                bytes memory frame = new bytes(size);
                for (uint256 j; j < size; ++j) {
                    frame[j] = data[pos + j];
                }
                pos += size;
                frames[n++] = Frame(steps, shard, seq++, frame);
                steps += frame[0] == 0x10 && size > 1 ? 2 + uint64(uint8(frame[1])) : 1;
            }
        }
        assembly ("memory-safe") {
            mstore(frames, n)
        }
        ok = true;
    }

    function leaves(Frame[] memory frames) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](frames.length);
        for (uint256 i; i < frames.length; ++i) {
            Frame memory f = frames[i];
            hashes[i] = keccak256(abi.encodePacked(hex"00", f.firstStep, f.shard, f.seq, f.frame));
        }
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(hex"01", left, right));
    }

    function root(Frame[] memory frames) internal pure returns (bytes32) {
        return Rfc6962Model.root(leaves(frames), node);
    }

    function _read(bytes memory data, uint256 pos, uint256 width) private pure returns (uint256 value) {
        for (uint256 i; i < width; ++i) {
            value = value << 8 | uint8(data[pos + i]);
        }
    }
}
