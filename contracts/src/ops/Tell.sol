// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, WorkflowStatus} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Messages} from "../Messages.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Escrows} from "../moves/Escrows.sol";

/// @notice Tells one leg how its workflow was decided. By anybody; shards do it by themselves (a frame of its own).
library Tell {
    uint256 internal constant CODE = 0x19;
    /// @dev workflow, leg.
    uint256 internal constant FORM = Wire.VARINT | Wire.BYTE << 8;

    function run(Machine memory m, uint256 id, uint256 leg) internal pure returns (uint256) {
        Cell workflow = m.workflow(id);
        if (workflow == NONE) return Status.UNKNOWN_WORKFLOW;
        uint256 status = Cells.WORKFLOW_STATUS.get(workflow);
        bool isOpen = status == WorkflowStatus.OPEN;
        if (isOpen && m.time() <= Cells.WORKFLOW_DEADLINE.get(workflow)) return Status.NOT_DUE;
        uint256 told = Cells.WORKFLOW_TOLD.get(workflow);
        uint256 bit = leg < Cells.MAX_LEGS ? 1 << leg : 0;
        if (Cells.WORKFLOW_DONE.get(workflow) & bit & ~told == 0) return Status.NOTHING_TO_TELL;
        uint256 escrow = Cells.LEG_ESCROW.get(m.leg(id, leg));
        if (!_canTell(m, escrow)) return Status.CONGESTED;
        if (isOpen) Cells.WORKFLOW_STATUS.set(workflow, WorkflowStatus.ABORTED);
        Cells.WORKFLOW_TOLD.set(workflow, told | bit);
        bool isCommitted = status == WorkflowStatus.COMMITTED;
        if (m.isLocal(escrow)) Escrows.verdict(m, escrow, isCommitted);
        else m.send(Ids.shardOf(escrow), 0, 0, Messages.verdict(escrow, isCommitted));
        return Status.OK;
    }

    function _canTell(Machine memory m, uint256 id) private pure returns (bool) {
        Cell escrow = m.isLocal(id) ? m.escrow(id) : NONE;
        return escrow == NONE ? m.reaches(Ids.shardOf(id)) : Escrows.canTell(m, escrow);
    }
}
