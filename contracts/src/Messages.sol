// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Messages between shards (docs/protocol.md §4a)
/// @notice Each kind's payload, the kind byte first.
library Messages {
    /// @dev Slots of a ring that bundles, and what a shard does by itself, may fill: the others are for what answers.
    uint256 internal constant BUNDLE_SLOTS = 2048;
    /// @dev As many as an answer to an escrow may. What a receive or an inbox frame sends may fill all of `Trie.RING_SLOTS`.
    uint256 internal constant ANSWER_SLOTS = 3072;

    uint256 internal constant CALL = 1;
    uint256 internal constant INVOKE = 2;
    uint256 internal constant REPORT = 3;
    uint256 internal constant CREDIT = 4;
    uint256 internal constant LEG = 5;
    uint256 internal constant VERDICT = 6;
    uint256 internal constant RATING = 7;
    uint256 internal constant SLASH = 8;
    uint256 internal constant ITEM = 9;

    /// @notice What a provider's shard says of an order.
    struct Report {
        uint256 order;
        uint256 escrow;
        uint256 payee;
        uint256 status;
        uint256 paid;
        uint256 refund;
        uint256 penalty;
    }

    /// @param rest The interaction, and for `open` the actor's key.
    function call(uint256 actor, uint256 value, bytes memory rest) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(CALL), uint32(actor), uint56(value), rest);
    }

    function invoke(uint256 order, uint256 payer, uint256 service, uint256 amount, uint256 workflow, uint256 leg_)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(
            uint8(INVOKE), uint56(order), uint32(payer), uint32(service), uint56(amount), uint56(workflow), uint8(leg_)
        );
    }

    function report(Report memory said) internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint8(REPORT),
            uint56(said.order),
            uint56(said.escrow),
            uint32(said.payee),
            uint8(said.status),
            uint56(said.paid),
            uint56(said.refund),
            uint56(said.penalty)
        );
    }

    function credit(uint256 agent, uint256 amount, uint256 calls, uint256 volume) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(CREDIT), uint32(agent), uint56(amount), uint48(calls), uint56(volume));
    }

    function leg(uint256 workflow, uint256 leg_, uint256 escrow, uint256 payer, uint256 service)
        internal
        pure
        returns (bytes memory)
    {
        return
            abi.encodePacked(uint8(LEG), uint56(workflow), uint8(leg_), uint56(escrow), uint32(payer), uint32(service));
    }

    function verdict(uint256 escrow, bool release) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(VERDICT), uint56(escrow), release);
    }

    function rating(uint256 agent, uint256 score) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(RATING), uint32(agent), uint8(score));
    }

    function slash(uint256 agent, uint256 reporter) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(SLASH), uint32(agent), uint32(reporter));
    }

    function item(bytes memory rest) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(ITEM), rest);
    }
}
