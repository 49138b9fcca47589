// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Dependencies} from "../moves/Dependencies.sol";
import {Escrows} from "../moves/Escrows.sol";

/// @notice One call of a service, paid on fulfilment: by the actor, or by who granted it a capability. Value: the id of the
/// escrow, or of the order for one elsewhere.
library Invoke {
    uint256 internal constant CODE = 0x06;
    uint256 internal constant FORM = Wire.SHORT | Wire.VARINT << 8 | Wire.GIVEN << 16 | (Wire.IF | Wire.SOME_VARINT)
        << 24 | (Wire.IF | 1 << 4 | Wire.VARINT) << 32 | (Wire.IF | 1 << 4 | Wire.LEG) << 40
        | (Wire.IF | 2 << 4 | Wire.SOME_SHORT) << 48 | (Wire.IF | 3 << 4 | Wire.SOME_BYTE) << 56;

    // Bits of the options.
    uint256 private constant AFTER = 1;
    uint256 private constant WORKFLOW = 2;
    uint256 private constant CAPABILITY = 4;
    uint256 private constant BACK = 8;

    /// @param amount Most the payer will pay.
    /// @param given Which of the options are.
    /// @param after_ An escrow or order of this shard that must be fulfilled first …
    /// @param workflow A workflow (0: the one planned last, which takes its place), and which of its legs this is.
    /// @param back … or how many serials before this one it was given.
    struct Args {
        uint256 service;
        uint256 amount;
        uint256 given;
        uint256 after_;
        uint256 workflow;
        uint256 leg;
        uint256 capability;
        uint256 back;
    }

    function where(uint256 actor, Args memory args) internal pure returns (uint256) {
        return args.given & CAPABILITY != 0 ? args.capability : actor;
    }

    function home(Machine memory m, Args memory args) internal pure returns (uint256) {
        if (args.given & CAPABILITY == 0 || m.isLocal(args.capability)) return Status.OK;
        // Where it goes on, these would mean something else.
        bool isRelative = args.given & (AFTER | BACK) != 0 || (args.given & WORKFLOW != 0 && args.workflow == 0);
        return isRelative ? Status.UNSUPPORTED : Status.OK;
    }

    function run(Machine memory m, uint256 actor, Args memory args) internal pure returns (uint256 refused) {
        uint256 id = m.takeEscrowId();
        if (id == 0) return Status.REGION_FULL;
        uint256 payer = actor;
        if (args.capability != 0) {
            (payer, refused) = _budget(m, actor, args);
            if (refused != Status.OK) return refused;
        }
        uint256 shard = Ids.shardOf(args.service);
        if (shard >= m.shards || Ids.shardOf(args.workflow) >= m.shards) return Status.WRONG_SHARD;
        if (args.given & WORKFLOW != 0 && args.workflow == 0) {
            args.workflow = m.newestWorkflow();
            if (args.workflow == 0) return Status.UNKNOWN_WORKFLOW;
        }
        if (shard == m.shard) {
            refused = Escrows.terms(m, payer, args.service, args.amount, args.workflow);
            if (refused != Status.OK) return refused;
        }
        uint256 waitsFor;
        if (args.given & (AFTER | BACK) != 0) {
            (waitsFor, refused) = _dependency(m, id, args);
            if (refused != Status.OK) return refused;
        }
        if (m.balance(payer) < args.amount) return Status.INSUFFICIENT_BALANCE;
        if (!m.hasEscrowSlot(id)) return Status.REGION_FULL;
        if (waitsFor == 0 && !m.reaches(shard)) return Status.CONGESTED;
        _create(m, id, payer, waitsFor, args);
        return m.ok(id);
    }

    function _create(Machine memory m, uint256 id, uint256 payer, uint256 waitsFor, Args memory args) private pure {
        m.debit(payer, args.amount);
        Cell escrow = m.createEscrow(id, payer, args.service, args.amount, args.workflow, args.leg);
        if (args.capability != 0) {
            Cells.ESCROW_CAPABILITY.set(escrow, args.capability);
            Cell charged = m.capability(args.capability);
            Cells.CAPABILITY_USED.set(charged, Cells.CAPABILITY_USED.get(charged) + args.amount);
        }
        if (waitsFor == 0) {
            Escrows.start(m, escrow);
        } else {
            Cells.ESCROW_STATUS.set(escrow, EscrowStatus.WAITING);
            Cells.ESCROW_LINK.set(escrow, waitsFor);
        }
    }

    /// @dev Who pays by a capability, or why it would not pay for a call.
    function _budget(Machine memory m, uint256 actor, Args memory args)
        private
        pure
        returns (uint256 grantor, uint256 refused)
    {
        Cell capability = m.capability(args.capability);
        if (capability == NONE) return (0, Status.UNKNOWN_CAPABILITY);
        if (Cells.CAPABILITY_FLAGS.get(capability) & Cells.REVOKED != 0) return (0, Status.CAPABILITY_REVOKED);
        if (Cells.CAPABILITY_GRANTEE.get(capability) != actor) return (0, Status.NOT_GRANTEE);
        if (Cells.CAPABILITY_EXPIRY.get(capability) < m.time()) return (0, Status.EXPIRED);
        uint256 only = Cells.CAPABILITY_SERVICE.get(capability);
        if (only != 0 && only != args.service) return (0, Status.WRONG_SERVICE);
        uint256 used = Cells.CAPABILITY_USED.get(capability) + args.amount;
        if (used > Cells.CAPABILITY_LIMIT.get(capability)) return (0, Status.OVER_LIMIT);
        return (Cells.CAPABILITY_GRANTOR.get(capability), Status.OK);
    }

    /// @dev What the call must wait for, 0 for nothing; or why it can't.
    function _dependency(Machine memory m, uint256 id, Args memory args)
        private
        pure
        returns (uint256 waitsFor, uint256 refused)
    {
        uint256 first = args.after_;
        if (args.given & AFTER == 0) {
            uint256 serial = Ids.serialOf(id);
            first = Ids.makeId(m.shard, serial > args.back ? serial - args.back : 0);
        }
        if (!m.isLocal(first)) return (0, Status.WRONG_SHARD);
        if (m.escrow(first) == NONE) return (0, Status.UNKNOWN_ESCROW);
        uint256 state = Dependencies.dependency(m, first, args.workflow);
        if (state == Dependencies.FAILED) return (0, Status.DEPENDENCY_FAILED);
        return (state == Dependencies.PENDING ? first : 0, Status.OK);
    }
}
