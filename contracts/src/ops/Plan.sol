// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, WorkflowStatus} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Plans a workflow: who pays for which service, each leg. All are paid, or none. Value: the workflow's id.
library Plan {
    uint256 internal constant CODE = 0x13;
    /// @dev deadlineSeconds, legs.
    uint256 internal constant FORM = Wire.VARINT | Wire.LEGS << 8;

    /// @param place Where the legs start.
    function run(Machine memory m, uint256 actor, uint256 deadlineSeconds, uint256 legs, uint256 place)
        internal
        pure
        returns (uint256)
    {
        uint256 id = m.takeWorkflowId();
        if (id == 0) return Status.REGION_FULL;
        if (deadlineSeconds == 0 || deadlineSeconds > Cells.MAX_DURATION) return Status.BAD_DURATION;
        if (!m.hasWorkflowSlot(id)) return Status.REGION_FULL;
        Cell cell = m.clearWorkflow(id);
        Cells.WORKFLOW_SERIAL.set(cell, Ids.serialOf(id));
        Cells.WORKFLOW_PLANNER.set(cell, actor);
        Cells.WORKFLOW_LEGS.set(cell, legs);
        Cells.WORKFLOW_STATUS.set(cell, WorkflowStatus.OPEN);
        Cells.WORKFLOW_DEADLINE.set(cell, m.time() + deadlineSeconds);
        for (uint256 leg; leg < legs; ++leg) {
            Cell planned = m.leg(id, leg);
            uint256 number;
            (number, place) = _varint(m, place);
            Cells.LEG_PAYER.set(planned, number);
            (number, place) = _varint(m, place);
            Cells.LEG_SERVICE.set(planned, number);
        }
        return m.ok(id);
    }

    /// @dev A varint that is known to be one, and where it ends.
    function _varint(Machine memory m, uint256 place) private pure returns (uint256 number, uint256 end) {
        uint256 shift;
        uint256 byte_;
        end = place;
        do {
            byte_ = uint256(uint8(m.word(end++)[0]));
            number |= (byte_ & 127) << shift;
            shift += 7;
        } while (byte_ > 127);
    }
}
