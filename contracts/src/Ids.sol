// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Ids: `serial × 256 + shard`, 0 for none (docs/protocol.md §1)
library Ids {
    /// @dev First serial too large for agents, services and capabilities.
    uint256 internal constant SMALL_SERIALS = 2 ** 20;
    /// @dev First serial too large for sessions, escrows, workflows and outbox messages.
    uint256 internal constant LARGE_SERIALS = 2 ** 44;

    function makeId(uint256 shard, uint256 serial) internal pure returns (uint256) {
        return serial << 8 | shard;
    }

    function shardOf(uint256 id) internal pure returns (uint256) {
        return id & 0xff;
    }

    function serialOf(uint256 id) internal pure returns (uint256) {
        return id >> 8;
    }
}
