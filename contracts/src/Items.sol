// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Inbox items, as bytes (docs/protocol.md §6)
library Items {
    function register(uint8 shard, address owner, bytes32 keyX, bytes32 keyY, uint64 amount)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(uint8(1), shard, owner, keyX, keyY, uint56(amount));
    }

    function deposit(address from, uint32 agentId, uint64 amount) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(2), from, agentId, uint56(amount));
    }

    function withdraw(address owner, uint32 agentId, uint64 amount) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(3), owner, agentId, uint56(amount));
    }

    function rotate(address owner, uint32 agentId, bytes32 keyX, bytes32 keyY) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(4), owner, agentId, keyX, keyY);
    }

    function act(address owner, uint32 agentId, bytes memory interaction) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(5), owner, agentId, interaction);
    }

    /// @notice `acc[n + 1]` from `acc[n]` and item n.
    function accumulate(bytes32 accumulator, bytes memory item) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(accumulator, keccak256(item)));
    }
}
