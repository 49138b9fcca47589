// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, WorkflowStatus} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";

/// @title Workflows: a quad with the plan and what has joined it (docs/protocol.md §4)
library Workflows {
    /// @notice An answered leg joins its workflow, and commits it when it is the last. Returns why it may not.
    function join(Machine memory m, uint256 id, uint256 leg, uint256 escrow, uint256 payer, uint256 service)
        internal
        pure
        returns (uint256)
    {
        Cell workflow = m.workflow(id);
        if (workflow == NONE) return Status.UNKNOWN_WORKFLOW;
        if (
            Cells.WORKFLOW_STATUS.get(workflow) != WorkflowStatus.OPEN
                || m.time() > Cells.WORKFLOW_DEADLINE.get(workflow)
        ) return Status.WORKFLOW_CLOSED;
        uint256 legs = Cells.WORKFLOW_LEGS.get(workflow);
        if (leg >= legs) return Status.WRONG_LEG;
        Cell planned = m.leg(id, leg);
        if (
            Cells.LEG_PAYER.get(planned) != payer || Cells.LEG_SERVICE.get(planned) != service
                || Cells.LEG_ESCROW.get(planned) != 0
        ) return Status.WRONG_LEG;
        Cells.LEG_ESCROW.set(planned, escrow);
        uint256 done = Cells.WORKFLOW_DONE.get(workflow) | 1 << leg;
        Cells.WORKFLOW_DONE.set(workflow, done);
        if (done == (1 << legs) - 1) Cells.WORKFLOW_STATUS.set(workflow, WorkflowStatus.COMMITTED);
        return Status.OK;
    }
}
