// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title The interaction trie (docs/protocol.md §2)
/// @notice A full 4-ary Merkle tree of depth 16 over 2^32 cells of 64 bytes. A leaf hashes 64 bytes and a node 128, so
/// neither can stand for the other.
library Trie {
    uint256 internal constant DEPTH = 16;

    uint256 internal constant META = 0;
    uint256 internal constant AGENT = 1;
    uint256 internal constant KEY = 2;
    uint256 internal constant SERVICE = 3;
    uint256 internal constant CAPABILITY = 4;
    uint256 internal constant SESSION = 5;
    uint256 internal constant ESCROW = 6;
    uint256 internal constant OUTBOX = 7;
    uint256 internal constant WORKFLOW = 8;
    uint256 internal constant MESSAGE = 9;

    uint256 internal constant META_HEAD = 0;
    uint256 internal constant META_INBOX = 1;
    uint256 internal constant META_PEERS = 256;

    /// @dev Messages that may be on their way from one shard to one other.
    uint256 internal constant RING_SLOTS = 2 ** 12;

    /// @notice The address of a cell: `shard << 24 | region << 20 | slot`.
    function cellAddress(uint8 shard, uint256 region, uint256 slot) internal pure returns (uint32) {
        return uint32((uint256(shard) << 24) | (region << 20) | slot);
    }

    /// @notice The slot of a serial in its region. Sessions and workflows take quads, the later regions are rings; in the
    /// others a serial past 2^20 names nothing, and the caller has refused it.
    function slotOf(uint256 region, uint256 serial) internal pure returns (uint256) {
        return region == SESSION || region == WORKFLOW ? 4 * (serial % 2 ** 18) : serial % 2 ** 20;
    }

    /// @notice The slot of a message to shard `to`.
    function messageSlot(uint256 to, uint256 number) internal pure returns (uint256) {
        return to * RING_SLOTS + number % RING_SLOTS;
    }

    /// @notice `Z[height]`: the hash of an empty subtree. The empty state's root is `zero(16)`.
    function zero(uint256 height) internal pure returns (bytes32 hash) {
        hash = keccak256(new bytes(64));
        for (uint256 h; h < height; ++h) {
            hash = node(hash, hash, hash, hash);
        }
    }

    function leaf(bytes calldata cell) internal pure returns (bytes32) {
        return keccak256(cell);
    }

    function node(bytes32 c0, bytes32 c1, bytes32 c2, bytes32 c3) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(c0, c1, c2, c3));
    }

    /// @notice The node above the four cells of a quad.
    function quad(bytes calldata cells) internal pure returns (bytes32) {
        return
            node(keccak256(cells[0:64]), keccak256(cells[64:128]), keccak256(cells[128:192]), keccak256(cells[192:256]));
    }

    /// @notice The root which a node and its proof lead to.
    /// @param path The node's place among those of its height: a cell's address, a quad's by 4.
    /// @param siblings From the node up, 3 a level, in child order without the path's own child.
    function climb(uint256 path, bytes32 hash, bytes32[] calldata siblings) internal pure returns (bytes32) {
        for (uint256 i; i < siblings.length; i += 3) {
            (bytes32 a, bytes32 b, bytes32 c) = (siblings[i], siblings[i + 1], siblings[i + 2]);
            uint256 child = path & 3;
            if (child == 0) hash = node(hash, a, b, c);
            else if (child == 1) hash = node(a, hash, b, c);
            else if (child == 2) hash = node(a, b, hash, c);
            else hash = node(a, b, c, hash);
            path >>= 2;
        }
        return hash;
    }

    /// @notice The root which a cell and its proof lead to. The caller has checked that the cell has 64 bytes.
    /// @param siblings 16 levels from the leaf up, 3 siblings each, in child order without the path's own child.
    function root(uint32 address_, bytes calldata cell, bytes32[48] calldata siblings)
        internal
        pure
        returns (bytes32 hash)
    {
        hash = leaf(cell);
        // Assembly because a proof is 16 nodes: two copies and one hash each, with no memory growth.
        assembly ("memory-safe") {
            let buffer := mload(0x40)
            let place := siblings
            for { let level := 0 } lt(level, DEPTH) { level := add(level, 1) } {
                let before := shl(5, and(address_, 3))
                calldatacopy(buffer, place, before)
                mstore(add(buffer, before), hash)
                calldatacopy(add(buffer, add(before, 0x20)), add(place, before), sub(0x60, before))
                hash := keccak256(buffer, 0x80)
                address_ := shr(2, address_)
                place := add(place, 0x60)
            }
        }
    }
}
