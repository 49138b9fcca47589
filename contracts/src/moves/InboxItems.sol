// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Messages} from "../Messages.sol";
import {Ops} from "../Ops.sol";
import {Status} from "../Status.sol";
import {MAX_NUMBERS} from "../Wire.sol";
import {Abort} from "../ops/Abort.sol";
import {Close} from "../ops/Close.sol";
import {Contest} from "../ops/Contest.sol";
import {Exit} from "../ops/Exit.sol";
import {Expire} from "../ops/Expire.sol";
import {Finalize} from "../ops/Finalize.sol";
import {Respond} from "../ops/Respond.sol";
import {Revoke} from "../ops/Revoke.sol";
import {Settle} from "../ops/Settle.sol";
import {Tell} from "../ops/Tell.sol";
import {Transfer} from "../ops/Transfer.sol";
import {Unstake} from "../ops/Unstake.sol";

/// @title Items of the L1 inbox, on the shard they are for (docs/protocol.md §6; twin of protocol/moves/inbox.ts)
/// @notice An item is the last bytes of the frame, whichever frame it came in.
library InboxItems {
    uint256 private constant REGISTER = 1;
    uint256 private constant DEPOSIT = 2;
    uint256 private constant WITHDRAW = 3;
    uint256 private constant ROTATE = 4;
    uint256 private constant ACT = 5;

    /// @dev Bytes of each kind; of an act, before its interaction, and the most that this may have.
    uint256 private constant REGISTER_BYTES = 93;
    uint256 private constant DEPOSIT_BYTES = 32;
    uint256 private constant WITHDRAW_BYTES = 32;
    uint256 private constant ROTATE_BYTES = 89;
    uint256 private constant ACT_BYTES = 25;
    uint256 private constant MAX_ACT_BYTES = 512;

    /// @param kind 0 for what is no item.
    /// @param shard Whose it is: a register's, or its agent's.
    /// @param owner Who registers, pays in, or forces.
    /// @param agent 0 for a register.
    /// @param amount 0 where the item has none.
    /// @param rest Place of the key, or of the interaction.
    struct Item {
        uint256 kind;
        uint256 shard;
        address owner;
        uint256 agent;
        uint256 amount;
        uint256 rest;
    }

    /// @notice Does what an item of the inbox says, or sends it to the shard it is for. Returns the status.
    function take(Machine memory m, uint256 place) internal view returns (uint256) {
        Item memory item = _decoded(m, place);
        if (item.kind == 0) return Status.MALFORMED;
        if (item.shard == m.shard) return _apply(m, item);
        if (item.shard >= m.shards) return _refuse(m, item, Status.WRONG_SHARD);
        if (!m.reaches(item.shard)) return _refuse(m, item, Status.CONGESTED);
        bytes memory payload = Messages.item(m.bytesAt(place, m.frameEnd - place));
        return m.ok(m.send(item.shard, item.agent, _brought(item), payload));
    }

    /// @notice Does what an item says that shard 0 has sent on. Returns the status.
    function applySent(Machine memory m, uint256 place) internal view returns (uint256) {
        Item memory item = _decoded(m, place);
        return item.kind == 0 ? Status.MALFORMED : _apply(m, item);
    }

    function _decoded(Machine memory m, uint256 place) private pure returns (Item memory item) {
        uint256 length = m.frameEnd - place;
        uint256 kind = length == 0 ? 0 : m.byteAt(place);
        if (!_fits(kind, length)) return item;
        if (kind == REGISTER) {
            item.shard = m.byteAt(place + 1);
            item.owner = m.addressAt(place + 2);
            item.rest = place + 22;
            item.amount = m.uintAt(place + 86, 7);
        } else {
            item.owner = m.addressAt(place + 1);
            item.agent = m.uintAt(place + 21, 4);
            item.shard = Ids.shardOf(item.agent);
            if (kind == DEPOSIT || kind == WITHDRAW) item.amount = m.uintAt(place + 25, 7);
            else item.rest = place + 25;
        }
        if (item.amount <= Cells.MAX_AMOUNT) item.kind = kind;
    }

    /// @dev Whether there is such a kind, of so many bytes.
    function _fits(uint256 kind, uint256 length) private pure returns (bool) {
        if (kind == REGISTER) return length == REGISTER_BYTES;
        if (kind == DEPOSIT) return length == DEPOSIT_BYTES;
        if (kind == WITHDRAW) return length == WITHDRAW_BYTES;
        if (kind == ROTATE) return length == ROTATE_BYTES;
        return kind == ACT && length >= ACT_BYTES && length <= ACT_BYTES + MAX_ACT_BYTES;
    }

    function _apply(Machine memory m, Item memory item) private view returns (uint256) {
        if (item.kind == REGISTER) {
            if (!m.hasAgentRoom()) return _refuse(m, item, Status.REGION_FULL);
            return m.ok(m.createAgent(item.owner, item.rest, item.amount));
        }
        if (item.kind == DEPOSIT) {
            if (m.agent(item.agent) == NONE) return _refuse(m, item, Status.UNKNOWN_AGENT);
            m.credit(item.agent, item.amount);
            return Status.OK;
        }
        uint256 refused = _whyNot(m, item.agent, item.owner);
        if (refused != Status.OK) return refused;
        if (item.kind == WITHDRAW) return m.withdraw(item.agent, item.amount, 0);
        if (item.kind == ACT) return _act(m, item.agent, item.rest);
        if (m.epochExhausted(item.agent)) return Status.EPOCH_EXHAUSTED;
        return m.ok(m.rotateKey(item.agent, item.rest));
    }

    /// @dev Runs an interaction as if its agent had signed it, if it is of what gets money out, or ends something.
    function _act(Machine memory m, uint256 agent, uint256 start) private view returns (uint256) {
        (uint256 code, uint256[MAX_NUMBERS] memory numbers, uint256 end) = Ops.decode(start, m.frameEnd);
        if (end != m.frameEnd) return Status.MALFORMED;
        uint256 acts = 1 << Transfer.CODE | 1 << Respond.CODE | 1 << Expire.CODE | 1 << Contest.CODE | 1 << Revoke.CODE
            | 1 << Settle.CODE | 1 << Exit.CODE | 1 << Finalize.CODE | 1 << Close.CODE | 1 << Abort.CODE | 1
            << Unstake.CODE | 1 << Tell.CODE;
        if (acts >> code & 1 == 0) return Status.UNSUPPORTED;
        return Ops.run(m, agent, code, numbers, start, end);
    }

    /// @dev Why `owner` may not force an operation of `agent`.
    function _whyNot(Machine memory m, uint256 agent, address owner) private pure returns (uint256) {
        Cell cell = m.agent(agent);
        if (cell == NONE) return Status.UNKNOWN_AGENT;
        return Cells.AGENT_OWNER.get(cell) == uint160(owner) ? Status.OK : Status.NOT_OWNER;
    }

    /// @dev Base units that come with an item.
    function _brought(Item memory item) private pure returns (uint256) {
        return item.kind == REGISTER || item.kind == DEPOSIT ? item.amount : 0;
    }

    /// @dev Money that finds no agent goes back to L1.
    function _refuse(Machine memory m, Item memory item, uint256 why) private pure returns (uint256) {
        if ((item.kind == REGISTER || item.kind == DEPOSIT) && m.hasOutboxRoom(0)) {
            m.value = m.sendWithdrawal(item.agent, uint160(item.owner), item.amount);
        }
        return why;
    }
}
