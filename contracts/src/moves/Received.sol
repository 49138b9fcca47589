// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Messages} from "../Messages.sol";
import {Status} from "../Status.sol";
import {Escrows} from "./Escrows.sol";
import {Workflows} from "./Workflows.sol";

/// @title What messages between escrows and workflows do on the shard that receives them (docs/protocol.md §4a; twin of
/// functions in protocol/receive.ts)
/// @notice `payload` is the place of a message's kind byte; its length is that of its kind. All return the status.
library Received {
    struct Order {
        uint256 order;
        uint256 payer;
        uint256 service;
        uint256 amount;
        uint256 workflow;
        uint256 leg;
    }

    /// @notice A call of a service of this shard, paid for elsewhere. Value: the escrow's id.
    function invoke(Machine memory m, uint256 from, uint256 payload) internal pure returns (uint256 refused) {
        Order memory a = Order({
            order: m.uintAt(payload + 1, 7),
            payer: m.uintAt(payload + 8, 4),
            service: m.uintAt(payload + 12, 4),
            amount: m.uintAt(payload + 16, 7),
            workflow: m.uintAt(payload + 23, 7),
            leg: m.byteAt(payload + 30)
        });
        uint256 id = m.takeEscrowId();
        refused = id == 0 ? Status.REGION_FULL : Escrows.terms(m, a.payer, a.service, a.amount, a.workflow);
        if (refused == Status.OK && !m.hasEscrowSlot(id)) refused = Status.REGION_FULL;
        if (refused != Status.OK) {
            Messages.Report memory said;
            (said.order, said.status, said.refund) = (a.order, EscrowStatus.REFUNDED, a.amount);
            m.send(from, a.payer, a.amount, Messages.report(said));
            return refused;
        }
        Cell escrow = m.createEscrow(id, a.payer, a.service, a.amount, a.workflow, a.leg);
        Escrows.start(m, escrow);
        Cells.ESCROW_LINK.set(escrow, a.order);
        return m.ok(id);
    }

    /// @notice What the provider's shard says of an order.
    function report(Machine memory m, uint256 payload) internal pure returns (uint256) {
        Cell order = m.escrow(m.uintAt(payload + 1, 7));
        if (order == NONE) return Status.UNKNOWN_ESCROW;
        if (!Escrows.isSettleable(m, order)) return Status.ESCROW_NOT_OPEN;
        Messages.Report memory said;
        said.escrow = m.uintAt(payload + 8, 7);
        said.payee = m.uintAt(payload + 15, 4);
        said.status = m.byteAt(payload + 19);
        said.paid = m.uintAt(payload + 20, 7);
        said.refund = m.uintAt(payload + 27, 7);
        said.penalty = m.uintAt(payload + 34, 7);
        Escrows.settleOrder(m, order, said);
        return Status.OK;
    }

    /// @notice A leg of a workflow of this shard was answered elsewhere.
    function leg(Machine memory m, uint256 from, uint256 payload) internal pure returns (uint256 status) {
        uint256 workflow = m.uintAt(payload + 1, 7);
        uint256 escrow = m.uintAt(payload + 9, 7);
        uint256 payer = m.uintAt(payload + 16, 4);
        uint256 service = m.uintAt(payload + 20, 4);
        status = Workflows.join(m, workflow, m.byteAt(payload + 8), escrow, payer, service);
        if (status != Status.OK) m.send(from, 0, 0, Messages.verdict(escrow, false));
    }

    /// @notice A workflow elsewhere was decided.
    function verdict(Machine memory m, uint256 payload) internal pure returns (uint256) {
        return Escrows.verdict(m, m.uintAt(payload + 1, 7), m.byteAt(payload + 8) == 1);
    }
}
