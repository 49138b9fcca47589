// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Dependencies} from "../moves/Dependencies.sol";
import {Escrows} from "../moves/Escrows.sol";

/// @notice Brings about what time, or another record, has decided of an escrow. By anybody; shards do it by themselves (a
/// frame of its own).
library Expire {
    uint256 internal constant CODE = 0x08;
    /// @dev escrow.
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 id) internal pure returns (uint256) {
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return Status.UNKNOWN_ESCROW;
        uint256 status = Cells.ESCROW_STATUS.get(escrow);
        if (status == EscrowStatus.WAITING) return _advance(m, escrow);
        bool isOpen = status == EscrowStatus.OPEN;
        bool isHeld = status == EscrowStatus.HELD;
        if (!isOpen && !isHeld && status != EscrowStatus.CONTESTED) return Status.ESCROW_NOT_OPEN;
        if (m.time() <= Cells.ESCROW_DEADLINE.get(escrow)) return Status.NOT_DUE;
        if (isHeld && (Cells.ESCROW_WORKFLOW.get(escrow) != 0 || Escrows.isOrder(m, escrow))) return Status.NOT_DUE;
        if (!Escrows.canTell(m, escrow)) return Status.CONGESTED;
        if (isOpen) Escrows.refundExpired(m, escrow);
        else if (isHeld) Escrows.release(m, escrow, Cells.ESCROW_PAID.get(escrow));
        // The provider chose an arbiter who stays silent.
        else Escrows.refund(m, escrow);
        return Status.OK;
    }

    /// @dev Starts a call that waited, or gives up on it, once its dependency is decided.
    function _advance(Machine memory m, Cell escrow) private pure returns (uint256) {
        uint256 workflow = Cells.ESCROW_WORKFLOW.get(escrow);
        uint256 state = Dependencies.dependency(m, Cells.ESCROW_LINK.get(escrow), workflow);
        if (state == Dependencies.PENDING) return Status.NOT_DUE;
        uint256 service = Cells.ESCROW_SERVICE.get(escrow);
        if (state == Dependencies.FAILED || _isRefused(m, escrow, service, workflow)) {
            Escrows.refund(m, escrow, EscrowStatus.EXPIRED);
            return Status.OK;
        }
        if (!m.reaches(Ids.shardOf(service))) return Status.CONGESTED;
        Escrows.start(m, escrow);
        return Status.OK;
    }

    function _isRefused(Machine memory m, Cell escrow, uint256 service, uint256 workflow) private pure returns (bool) {
        if (!m.isLocal(service)) return false;
        uint256 payer = Cells.ESCROW_PAYER.get(escrow);
        return Escrows.terms(m, payer, service, Cells.ESCROW_AMOUNT.get(escrow), workflow) != Status.OK;
    }
}
