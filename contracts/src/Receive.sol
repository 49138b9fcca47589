// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "./Cells.sol";
import {Machine} from "./Machine.sol";
import {Messages} from "./Messages.sol";
import {Ops} from "./Ops.sol";
import {Status} from "./Status.sol";
import {Trie} from "./Trie.sol";
import {MAX_NUMBERS} from "./Wire.sol";
import {Agents} from "./moves/Agents.sol";
import {InboxItems} from "./moves/InboxItems.sol";
import {Received} from "./moves/Received.sol";
import {Open} from "./ops/Open.sol";

/// @title What a message does on the shard that receives it (docs/protocol.md §4a; twin of protocol/receive.ts)
library Receive {
    /// @dev First byte of the payload in a receive frame; where what an interaction or item says starts in its payload.
    uint256 private constant PAYLOAD = 2;
    uint256 private constant CALL_REST = 12;
    uint256 private constant ITEM_REST = 1;
    uint256 private constant ACK_BYTES = 8;

    /// @dev Kinds that may have to answer, or to send on.
    uint256 private constant ANSWERED =
        1 << Messages.CALL | 1 << Messages.INVOKE | 1 << Messages.LEG | 1 << Messages.VERDICT | 1 << Messages.SLASH;

    /// @notice Runs a receive frame. Returns the status.
    function run(Machine memory m) internal view returns (uint256 status) {
        uint256 length = m.frameEnd - m.frame;
        uint256 from = length < PAYLOAD ? m.shard : m.byteAt(m.frame + 1);
        if (from == m.shard || from >= m.shards) return Status.MALFORMED;
        Cell peer = m.peer(from);
        uint256 number = Cells.PEER_RECEIVED.get(peer) + 1;
        if (!_holds(m, from, number, keccak256(m.bytesAt(m.frame + PAYLOAD, length - PAYLOAD)))) {
            return Status.NO_MESSAGE;
        }
        uint256 kind = _kind(m, m.frame + PAYLOAD);
        if (ANSWERED >> kind & 1 == 1 && !m.reaches(from)) return Status.CONGESTED;
        uint256 escrows = m.escrows();
        status = _apply(m, from, kind, m.frame + PAYLOAD);
        // It stays next, and nothing has happened: an invoke's serial has not been given either.
        if (status == Status.CONGESTED) m.setEscrows(escrows);
        else Cells.PEER_RECEIVED.set(peer, number);
    }

    /// @notice Runs an ack frame. Returns the status.
    function acknowledge(Machine memory m) internal pure returns (uint256) {
        if (m.frameEnd - m.frame != ACK_BYTES) return Status.MALFORMED;
        uint256 to = m.byteAt(m.frame + 1);
        uint256 number = m.uintAt(m.frame + 2, 6);
        if (to == m.shard || to >= m.shards) return Status.MALFORMED;
        Cell peer = m.peer(to);
        if (number <= Cells.PEER_ACKED.get(peer) || number > Cells.PEER_SENT.get(peer)) return Status.STALE_ACK;
        Cell theirs = m.cellOf(to, Trie.META, Trie.META_PEERS + m.shard);
        if (Cells.PEER_RECEIVED.get(theirs) < number) return Status.NOT_RECEIVED;
        Cells.PEER_ACKED.set(peer, number);
        return Status.OK;
    }

    /// @dev Whether the sender's cell for this message to us holds `number` and this payload's hash.
    function _holds(Machine memory m, uint256 from, uint256 number, bytes32 hash) private pure returns (bool) {
        Cell message = m.cellOf(from, Trie.MESSAGE, Trie.messageSlot(m.shard, number));
        return Cells.MESSAGE_NUMBER.get(message) == number && Cells.MESSAGE_HASH.get(message) == uint256(hash);
    }

    /// @dev The kind of a payload; 0 for what no shard has written: not exactly of its kind's form, or with an amount or id
    /// that there is none of.
    function _kind(Machine memory m, uint256 payload) private pure returns (uint256 kind) {
        uint256 length = m.frameEnd - payload;
        if (length == 0) return 0;
        kind = m.byteAt(payload);
        uint256 wide;
        if (kind == Messages.CALL) {
            if (length < CALL_REST) return 0;
            wide = m.uintAt(payload + 5, 7);
        } else if (kind == Messages.INVOKE) {
            if (length != 31) return 0;
            wide = m.uintAt(payload + 1, 7) | m.uintAt(payload + 16, 7) | m.uintAt(payload + 23, 7);
        } else if (kind == Messages.REPORT) {
            if (length != 41) return 0;
            wide = m.uintAt(payload + 1, 7) | m.uintAt(payload + 8, 7) | m.uintAt(payload + 20, 7)
                | m.uintAt(payload + 27, 7) | m.uintAt(payload + 34, 7);
        } else if (kind == Messages.CREDIT) {
            if (length != 25) return 0;
            wide = m.uintAt(payload + 5, 7) | m.uintAt(payload + 18, 7);
        } else if (kind == Messages.LEG) {
            if (length != 24) return 0;
            wide = m.uintAt(payload + 1, 7) | m.uintAt(payload + 9, 7);
        } else if (kind == Messages.VERDICT) {
            if (length != 9) return 0;
            wide = m.uintAt(payload + 1, 7);
        } else if (kind == Messages.RATING) {
            if (length != 6) return 0;
        } else if (kind == Messages.SLASH) {
            if (length != 9) return 0;
        } else if (kind != Messages.ITEM) {
            return 0;
        }
        if (wide > Cells.MAX_AMOUNT) return 0;
    }

    /// @param payload Its place, the kind byte first.
    function _apply(Machine memory m, uint256 from, uint256 kind, uint256 payload) private view returns (uint256) {
        if (kind == Messages.CALL) return _call(m, from, payload);
        if (kind == Messages.INVOKE) return Received.invoke(m, from, payload);
        if (kind == Messages.REPORT) return Received.report(m, payload);
        if (kind == Messages.LEG) return Received.leg(m, from, payload);
        if (kind == Messages.VERDICT) return Received.verdict(m, payload);
        if (kind == Messages.ITEM) return InboxItems.applySent(m, payload + ITEM_REST);
        if (kind == 0) return Status.MALFORMED;
        uint256 agent = m.uintAt(payload + 1, 4);
        if (m.agent(agent) == NONE) return Status.UNKNOWN_AGENT;
        if (kind == Messages.CREDIT) {
            Agents.pay(m, agent, m.uintAt(payload + 5, 7), m.uintAt(payload + 12, 6), m.uintAt(payload + 18, 7));
        } else if (kind == Messages.RATING) {
            Agents.rate(m, agent, m.uintAt(payload + 5, 1));
        } else {
            uint256 reporter = m.uintAt(payload + 5, 4);
            if (!Agents.slashReaches(m, agent, reporter)) return Status.CONGESTED;
            Agents.slash(m, agent, reporter);
        }
        return Status.OK;
    }

    /// @dev An interaction whose record is here, of an actor that is not.
    function _call(Machine memory m, uint256 from, uint256 payload) private view returns (uint256 status) {
        (uint256 code, uint256[MAX_NUMBERS] memory numbers, uint256 end) = Ops.decode(payload + CALL_REST, m.frameEnd);
        if (end != 0 && code == Open.CODE) {
            m.actorKey = end;
            end += 64;
        }
        if (end != m.frameEnd) return Status.MALFORMED;
        uint256 actor = m.uintAt(payload + 1, 4);
        uint256 value = m.uintAt(payload + 5, 7);
        status = Ops.runSent(m, actor, code, numbers);
        if (status != Status.OK && status != Status.CONGESTED && value > 0) {
            m.send(from, actor, value, Messages.credit(actor, value, 0, 0));
        }
    }
}
