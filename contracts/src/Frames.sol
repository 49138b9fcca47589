// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Bundles} from "./Bundles.sol";
import {Cell, Cells} from "./Cells.sol";
import {Machine} from "./Machine.sol";
import {Receive} from "./Receive.sol";
import {Status} from "./Status.sol";
import {Trie} from "./Trie.sol";
import {MAX_NUMBERS} from "./Wire.sol";
import {InboxItems} from "./moves/InboxItems.sol";
import {Expire} from "./ops/Expire.sol";
import {Tell} from "./ops/Tell.sol";

/// @title Frames (docs/protocol.md §3; twin of protocol/engine.ts)
library Frames {
    uint256 private constant TICK = 0x01;
    uint256 private constant INBOX = 0x02;
    uint256 private constant RECEIVE = 0x03;
    uint256 private constant ACK = 0x04;
    uint256 private constant ADVANCE = 0x05;
    uint256 private constant TELL = 0x06;

    uint256 private constant TICK_BYTES = 5;
    uint256 private constant ADVANCE_BYTES = 8;
    uint256 private constant TELL_BYTES = 9;
    /// @dev First time no tick may have: with it, no deadline overflows its four bytes.
    uint256 private constant TIME_END = 0xf0000000;

    /// @notice Steps of a frame, from its first two bytes alone.
    function stepsOf(bytes calldata frame) internal pure returns (uint256) {
        return frame.length > 1 && uint8(frame[0]) == Bundles.BUNDLE ? 2 + uint256(uint8(frame[1])) : 1;
    }

    function isBundle(Machine memory m) internal pure returns (bool) {
        return m.frame != m.frameEnd && m.byteAt(m.frame) == Bundles.BUNDLE;
    }

    /// @notice The one step of a frame that is no bundle. Returns the status.
    function run(Machine memory m) internal view returns (uint256) {
        if (m.frame == m.frameEnd) return Status.MALFORMED;
        uint256 kind = m.byteAt(m.frame);
        if (kind == TICK) return _tick(m);
        if (kind == ACK) return Receive.acknowledge(m);
        if (kind == ADVANCE) return _advance(m);
        if (kind == TELL) return _tell(m);
        m.slots = Trie.RING_SLOTS;
        if (kind == INBOX) return _inbox(m);
        return kind == RECEIVE ? Receive.run(m) : Status.MALFORMED;
    }

    function _tick(Machine memory m) private pure returns (uint256) {
        uint256 time = m.frameEnd - m.frame == TICK_BYTES ? m.uintAt(m.frame + 1, 4) : TIME_END;
        if (time >= TIME_END) return Status.MALFORMED;
        if (time <= m.time()) return Status.STALE_TIME;
        m.setTime(time);
        return Status.OK;
    }

    function _inbox(Machine memory m) private view returns (uint256) {
        if (m.shard != 0) return Status.WRONG_SHARD;
        uint256 item = m.frame + 1;
        Cell inbox = m.cell(Trie.META, Trie.META_INBOX);
        bytes32 hash = keccak256(m.bytesAt(item, m.frameEnd - item));
        bytes32 accumulator = keccak256(abi.encodePacked(Cells.INBOX_ACCUMULATOR.get(inbox), hash));
        Cells.INBOX_ACCUMULATOR.set(inbox, uint256(accumulator));
        Cells.INBOX_CURSOR.set(inbox, Cells.INBOX_CURSOR.get(inbox) + 1);
        return InboxItems.take(m, item);
    }

    // Operations that nobody signed for, because they need nobody's right.

    function _advance(Machine memory m) private view returns (uint256) {
        (uint256 refused, uint256 id) = _named(m, ADVANCE_BYTES);
        return refused == Status.OK ? _operate(m, Expire.CODE, id, 0) : refused;
    }

    function _tell(Machine memory m) private view returns (uint256) {
        (uint256 refused, uint256 id) = _named(m, TELL_BYTES);
        return refused == Status.OK ? _operate(m, Tell.CODE, id, m.byteAt(m.frame + 8)) : refused;
    }

    function _operate(Machine memory m, uint256 code, uint256 id, uint256 leg) private view returns (uint256) {
        uint256[MAX_NUMBERS] memory numbers;
        (numbers[0], numbers[1]) = (id, leg);
        return m.operate(m, 0, code, numbers);
    }

    /// @dev The record that a frame of so many bytes names, 0 for an id that there is none of; or why it can't.
    function _named(Machine memory m, uint256 length) private pure returns (uint256 refused, uint256 id) {
        if (m.frameEnd - m.frame != length) return (Status.MALFORMED, 0);
        id = m.uintAt(m.frame + 1, 7);
        if (!m.isLocal(id)) return (Status.WRONG_SHARD, 0);
        if (id > Cells.MAX_AMOUNT) id = 0;
    }
}
