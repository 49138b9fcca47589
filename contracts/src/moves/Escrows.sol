// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Messages} from "../Messages.sol";
import {Status} from "../Status.sol";
import {Workflows} from "./Workflows.sol";

/// @title What several operations do with escrows (docs/protocol.md §4, "Shared moves")
/// @notice Whoever calls has made all checks, room for messages included (`canTell`), so these only write.
library Escrows {
    /// @notice Whether the escrow itself is on another shard: this is its payer's record of it.
    function isOrder(Machine memory m, Cell escrow) internal pure returns (bool) {
        return !m.isLocal(Cells.ESCROW_SERVICE.get(escrow));
    }

    /// @notice Whether the payer's shard can be told what becomes of the escrow: it is this one, or there is room for
    /// messages to it.
    function canTell(Machine memory m, Cell escrow) internal pure returns (bool) {
        return canTell(m, escrow, m.slots);
    }

    function canTell(Machine memory m, Cell escrow, uint256 slots) internal pure returns (bool) {
        return m.reaches(Ids.shardOf(Cells.ESCROW_PAYER.get(escrow)), slots);
    }

    /// @notice Why a service of this shard would not take such a call now.
    function terms(Machine memory m, uint256 payer, uint256 service, uint256 amount, uint256 workflow)
        internal
        pure
        returns (uint256)
    {
        Cell cell = m.service(service);
        if (cell == NONE) return Status.UNKNOWN_SERVICE;
        if (Cells.SERVICE_FLAGS.get(cell) & Cells.ACTIVE == 0) return Status.SERVICE_INACTIVE;
        if (amount > Cells.SERVICE_CEILING.get(cell)) return Status.OVER_CEILING;
        if (workflow != 0 && Cells.SERVICE_ARBITER.get(cell) != 0) return Status.ARBITRATED;
        return Cells.SERVICE_PROVIDER.get(cell) == payer ? Status.SELF_DEALING : Status.OK;
    }

    /// @notice Opens the escrow on the service's terms as they are now; or sends it to the service's shard.
    function start(Machine memory m, Cell escrow) internal pure {
        uint256 service = Cells.ESCROW_SERVICE.get(escrow);
        if (m.isLocal(service)) {
            Cell pinned = m.service(service);
            Cells.ESCROW_PAYEE.set(escrow, Cells.SERVICE_PROVIDER.get(pinned));
            Cells.ESCROW_DEADLINE.set(escrow, m.time() + Cells.SERVICE_DEADLINE_SECONDS.get(pinned));
            Cells.ESCROW_ARBITER.set(escrow, Cells.SERVICE_ARBITER.get(pinned));
            Cells.ESCROW_CONTEST_SECONDS.set(escrow, Cells.SERVICE_CONTEST_SECONDS.get(pinned));
            Cells.ESCROW_STATUS.set(escrow, EscrowStatus.OPEN);
            Cells.ESCROW_LINK.set(escrow, 0);
            return;
        }
        uint256 payer = Cells.ESCROW_PAYER.get(escrow);
        uint256 amount = Cells.ESCROW_AMOUNT.get(escrow);
        uint256 workflow = Cells.ESCROW_WORKFLOW.get(escrow);
        bytes memory order = Messages.invoke(_idOf(m, escrow), payer, service, amount, workflow, _legOf(escrow));
        uint256 number = m.send(Ids.shardOf(service), payer, amount, order);
        Cells.ESCROW_STATUS.set(escrow, EscrowStatus.SENT);
        Cells.ESCROW_LINK.set(escrow, number);
    }

    /// @notice Pays `price` to the payee, the rest back.
    function release(Machine memory m, Cell escrow, uint256 price) internal pure {
        m.earn(Cells.ESCROW_PAYEE.get(escrow), price, 1, price);
        _end(m, escrow, EscrowStatus.FULFILLED, price, 0);
    }

    /// @notice Gives everything back.
    function refund(Machine memory m, Cell escrow) internal pure {
        refund(m, escrow, EscrowStatus.REFUNDED);
    }

    function refund(Machine memory m, Cell escrow, uint256 status) internal pure {
        _end(m, escrow, status, 0, 0);
    }

    /// @notice Gives everything back, and counts a failure of the payee.
    function refundFailed(Machine memory m, Cell escrow) internal pure {
        m.addFailure(Cells.ESCROW_PAYEE.get(escrow));
        refund(m, escrow);
    }

    /// @notice As `refundFailed`, for an answer that never came: it costs the payee of its stake, too.
    function refundExpired(Machine memory m, Cell escrow) internal pure {
        uint256 payee = Cells.ESCROW_PAYEE.get(escrow);
        m.addFailure(payee);
        Cell agent = m.agent(payee);
        uint256 stake = Cells.AGENT_STAKE.get(agent);
        uint256 amount = Cells.ESCROW_AMOUNT.get(escrow);
        uint256 penalty = stake < amount ? stake : amount;
        Cells.AGENT_STAKE.set(agent, stake - penalty);
        // Half is burned, so that nobody takes a stake home early by failing an accomplice.
        uint256 toPayer = penalty / 2;
        m.burn(penalty - toPayer);
        _end(m, escrow, EscrowStatus.EXPIRED, 0, toPayer);
    }

    /// @notice Keeps the answer's price until a workflow, or the time to contest, has decided.
    function hold(Machine memory m, Cell escrow, uint256 price) internal pure {
        Cells.ESCROW_PAID.set(escrow, price);
        Cells.ESCROW_STATUS.set(escrow, EscrowStatus.HELD);
        uint256 workflow = Cells.ESCROW_WORKFLOW.get(escrow);
        if (workflow == 0) {
            Cells.ESCROW_DEADLINE.set(escrow, m.time() + Cells.ESCROW_CONTEST_SECONDS.get(escrow));
        } else {
            uint256 leg = _legOf(escrow);
            uint256 id = _idOf(m, escrow);
            uint256 payer = Cells.ESCROW_PAYER.get(escrow);
            uint256 service = Cells.ESCROW_SERVICE.get(escrow);
            if (!m.isLocal(workflow)) {
                m.send(Ids.shardOf(workflow), 0, 0, Messages.leg(workflow, leg, id, payer, service));
            } else if (Workflows.join(m, workflow, leg, id, payer, service) != Status.OK) {
                refund(m, escrow);
                return;
            }
        }
        _report(m, escrow, EscrowStatus.HELD, price, 0, 0);
    }

    /// @notice A workflow's word on one of its legs. Returns the status; `congested` when the payer's shard can't be told.
    function verdict(Machine memory m, uint256 id, bool isCommitted) internal pure returns (uint256) {
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return Status.UNKNOWN_ESCROW;
        if (Cells.ESCROW_STATUS.get(escrow) != EscrowStatus.HELD || Cells.ESCROW_WORKFLOW.get(escrow) == 0) {
            return Status.ESCROW_NOT_HELD;
        }
        if (!canTell(m, escrow)) return Status.CONGESTED;
        if (isCommitted) release(m, escrow, Cells.ESCROW_PAID.get(escrow));
        else refund(m, escrow);
        return Status.OK;
    }

    /// @notice Whether a record is an order that its escrow's shard has still something to say of.
    function isSettleable(Machine memory m, Cell record) internal pure returns (bool) {
        uint256 status = Cells.ESCROW_STATUS.get(record);
        return isOrder(m, record) && (status == EscrowStatus.SENT || status == EscrowStatus.HELD);
    }

    /// @notice What the provider's shard said of an order.
    function settleOrder(Machine memory m, Cell order, Messages.Report memory said) internal pure {
        Cells.ESCROW_PAYEE.set(order, said.payee);
        Cells.ESCROW_LINK.set(order, said.escrow);
        Cells.ESCROW_PAID.set(order, said.paid);
        Cells.ESCROW_STATUS.set(order, said.status);
        _giveBack(m, order, said.refund, said.penalty);
    }

    /// @dev Ends an escrow: the payer gets what was not paid, and `penalty` from the payee.
    function _end(Machine memory m, Cell escrow, uint256 status, uint256 paid, uint256 penalty) private pure {
        Cells.ESCROW_PAID.set(escrow, paid);
        Cells.ESCROW_STATUS.set(escrow, status);
        uint256 rest = Cells.ESCROW_AMOUNT.get(escrow) - paid;
        if (m.isLocal(Cells.ESCROW_PAYER.get(escrow))) _giveBack(m, escrow, rest, penalty);
        else _report(m, escrow, status, paid, rest, penalty);
    }

    /// @dev Pays the payer of a record on its own shard, and the capability it was charged to.
    function _giveBack(Machine memory m, Cell record, uint256 rest, uint256 penalty) private pure {
        m.credit(Cells.ESCROW_PAYER.get(record), rest + penalty);
        uint256 id = Cells.ESCROW_CAPABILITY.get(record);
        if (id == 0 || rest == 0) return;
        Cell capability = m.capability(id);
        uint256 used = Cells.CAPABILITY_USED.get(capability);
        Cells.CAPABILITY_USED.set(capability, used > rest ? used - rest : 0);
    }

    /// @dev Tells an order what became of its escrow; nothing for an escrow whose payer is here.
    function _report(Machine memory m, Cell escrow, uint256 status, uint256 paid, uint256 rest, uint256 penalty)
        private
        pure
    {
        uint256 payer = Cells.ESCROW_PAYER.get(escrow);
        if (m.isLocal(payer)) return;
        Messages.Report memory said = Messages.Report({
            order: Cells.ESCROW_LINK.get(escrow),
            escrow: _idOf(m, escrow),
            payee: Cells.ESCROW_PAYEE.get(escrow),
            status: status,
            paid: paid,
            refund: rest,
            penalty: penalty
        });
        m.send(Ids.shardOf(payer), payer, rest + penalty, Messages.report(said));
    }

    function _idOf(Machine memory m, Cell escrow) private pure returns (uint256) {
        return Ids.makeId(m.shard, Cells.ESCROW_SERIAL.get(escrow));
    }

    function _legOf(Cell escrow) private pure returns (uint256) {
        return Cells.ESCROW_FLAGS.get(escrow) >> 4;
    }
}
