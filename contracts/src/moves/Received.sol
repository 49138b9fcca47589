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
    /// @notice A call of a service of this shard, paid for elsewhere. Value: the escrow's id.
    function invoke(Machine memory m, uint256 from, uint256 payload) internal pure returns (uint256 refused) {
        uint256 order = _number(m, payload + 1, 7);
        uint256 payer = _number(m, payload + 8, 4);
        uint256 service = _number(m, payload + 12, 4);
        uint256 amount = _number(m, payload + 16, 7);
        uint256 workflow = _number(m, payload + 23, 7);
        uint256 id = m.takeEscrowId();
        refused = id == 0 ? Status.REGION_FULL : Escrows.terms(m, payer, service, amount, workflow);
        if (refused == Status.OK && !m.hasEscrowSlot(id)) refused = Status.REGION_FULL;
        if (refused != Status.OK) {
            Messages.Report memory said;
            said.order = order;
            said.status = EscrowStatus.REFUNDED;
            said.refund = amount;
            m.send(from, payer, amount, Messages.report(said));
            return refused;
        }
        Cell escrow = m.createEscrow(id, payer, service, amount, workflow, _number(m, payload + 30, 1));
        Escrows.start(m, escrow);
        Cells.ESCROW_LINK.set(escrow, order);
        return m.ok(id);
    }

    /// @notice What the provider's shard says of an order.
    function report(Machine memory m, uint256 payload) internal pure returns (uint256) {
        Cell order = m.escrow(_number(m, payload + 1, 7));
        if (order == NONE) return Status.UNKNOWN_ESCROW;
        if (!Escrows.isSettleable(m, order)) return Status.ESCROW_NOT_OPEN;
        Messages.Report memory said;
        said.escrow = _number(m, payload + 8, 7);
        said.payee = _number(m, payload + 15, 4);
        said.status = _number(m, payload + 19, 1);
        said.paid = _number(m, payload + 20, 7);
        said.refund = _number(m, payload + 27, 7);
        said.penalty = _number(m, payload + 34, 7);
        Escrows.settleOrder(m, order, said);
        return Status.OK;
    }

    /// @notice A leg of a workflow of this shard was answered elsewhere.
    function leg(Machine memory m, uint256 from, uint256 payload) internal pure returns (uint256 status) {
        uint256 workflow = _number(m, payload + 1, 7);
        uint256 escrow = _number(m, payload + 9, 7);
        uint256 payer = _number(m, payload + 16, 4);
        uint256 service = _number(m, payload + 20, 4);
        status = Workflows.join(m, workflow, _number(m, payload + 8, 1), escrow, payer, service);
        if (status != Status.OK) m.send(from, 0, 0, Messages.verdict(escrow, false));
    }

    /// @notice A workflow elsewhere was decided.
    function verdict(Machine memory m, uint256 payload) internal pure returns (uint256) {
        return Escrows.verdict(m, _number(m, payload + 1, 7), _number(m, payload + 8, 1) == 1);
    }

    function _number(Machine memory m, uint256 place, uint256 width) private pure returns (uint256) {
        return uint256(m.word(place)) >> 256 - 8 * width;
    }
}
