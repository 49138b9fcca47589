// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, WorkflowStatus} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Gives a workflow up: by its planner at any time, by anybody after its deadline.
library Abort {
    uint256 internal constant CODE = 0x14;
    /// @dev workflow.
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 actor, uint256 id) internal pure returns (uint256) {
        Cell workflow = m.workflow(id);
        if (workflow == NONE) return Status.UNKNOWN_WORKFLOW;
        if (Cells.WORKFLOW_STATUS.get(workflow) != WorkflowStatus.OPEN) return Status.WORKFLOW_CLOSED;
        bool isOver = m.time() > Cells.WORKFLOW_DEADLINE.get(workflow);
        if (!isOver && Cells.WORKFLOW_PLANNER.get(workflow) != actor) return Status.NOT_PLANNER;
        Cells.WORKFLOW_STATUS.set(workflow, WorkflowStatus.ABORTED);
        return Status.OK;
    }
}
