// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Field} from "../src/Cells.sol";
import {Trie} from "../src/Trie.sol";

/// @notice A state of four shards, each with 65,536 agents, 1,024 services and capabilities, 16,384 sessions, 4,096
/// workflows, 64 messages to each other one, and a ring of escrows that is full: what a witness of it costs is that of a busy
/// deployment. A few cells are what a test says; of the others only that they are there.
contract Population {
    uint256 internal constant SHARDS = 4;

    uint32[] internal given;
    mapping(uint32 address_ => bytes) internal cellOf;

    /// @dev Forgets the cells of the step before.
    function clear() internal {
        delete given;
    }

    /// @dev A cell of shard 0, empty.
    function give(uint256 region, uint256 slot) internal returns (uint32 address_) {
        address_ = Trie.cellAddress(0, region, slot);
        uint256 n = given.length;
        given.push(address_);
        for (; n > 0 && given[n - 1] > address_; --n) {
            given[n] = given[n - 1];
        }
        given[n] = address_;
        cellOf[address_] = new bytes(64);
    }

    function write(uint32 address_, Field field, uint256 value) internal {
        bytes memory bytes_ = cellOf[address_];
        Cell cell;
        assembly ("memory-safe") {
            cell := add(bytes_, 0x20)
        }
        field.set(cell, value);
        cellOf[address_] = bytes_;
    }

    /// @dev The witness of what was given, and the commitment it opens.
    function witnessOf(uint8 context) internal view returns (bytes memory witness, bytes32 pre) {
        uint256 n = given.length;
        uint256[] memory level = new uint256[](n);
        bytes32[] memory hashes = new bytes32[](n);
        for (uint256 i; i < n; ++i) {
            level[i] = given[i];
            hashes[i] = keccak256(cellOf[given[i]]);
            witness = bytes.concat(witness, bytes4(given[i]), cellOf[given[i]]);
        }
        for (uint256 height; height < Trie.DEPTH; ++height) {
            uint256 above;
            for (uint256 i; i < n;) {
                uint256 parent = level[i] / 4;
                bytes32[4] memory children;
                uint8 mask;
                bytes memory following;
                for (uint256 child; child < 4; ++child) {
                    if (i < n && level[i] == 4 * parent + child) {
                        children[child] = hashes[i++];
                    } else if (_isInhabited(height, 4 * parent + child)) {
                        children[child] = keccak256(abi.encode(height, 4 * parent + child));
                        mask |= uint8(1 << child);
                        following = bytes.concat(following, children[child]);
                    } else {
                        children[child] = Trie.zero(height);
                    }
                }
                witness = bytes.concat(witness, bytes1(mask), following);
                (level[above], hashes[above++]) = (parent, keccak256(abi.encode(children)));
            }
            n = above;
        }
        witness = bytes.concat(hashes[0], bytes1(context), bytes1(uint8(given.length)), witness);
        pre = keccak256(abi.encode(hashes[0], context));
    }

    /// @dev Whether a cell below a node was ever written.
    function _isInhabited(uint256 height, uint256 index) private pure returns (bool) {
        uint256 first = index << 2 * height;
        uint256 last = first + (1 << 2 * height) - 1;
        for (uint256 shard = first >> 24; shard <= last >> 24 && shard < SHARDS; ++shard) {
            uint256 base = shard << 24;
            uint256 from = first > base ? first - base : 0;
            uint256 to = last - base < 2 ** 24 ? last - base : 2 ** 24 - 1;
            for (uint256 region = from >> 20; region <= to >> 20; ++region) {
                uint256 low = from > region << 20 ? from - (region << 20) : 0;
                if (low < _cells(region) && !(region == Trie.META && low > 1 && to < Trie.META_PEERS)) return true;
            }
        }
        return false;
    }

    /// @dev First slot of a region that nothing was written to, and nothing after it.
    function _cells(uint256 region) private pure returns (uint256) {
        if (region == Trie.META) return Trie.META_PEERS + SHARDS;
        if (region == Trie.AGENT || region == Trie.KEY) return 65_537;
        if (region == Trie.SERVICE || region == Trie.CAPABILITY) return 1025;
        if (region == Trie.SESSION) return 4 * 16_385;
        if (region == Trie.ESCROW) return 2 ** 20;
        if (region == Trie.OUTBOX) return 65_537;
        if (region == Trie.WORKFLOW) return 4 * 4097;
        return region == Trie.MESSAGE ? (SHARDS - 1) * Trie.RING_SLOTS + 65 : 0;
    }
}
