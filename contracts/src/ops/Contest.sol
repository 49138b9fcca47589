// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Escrows} from "../moves/Escrows.sol";

/// @notice The payer does not accept an answer: the arbiter has as long again to rule.
library Contest {
    uint256 internal constant CODE = 0x09;
    /// @dev escrow.
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 actor, uint256 id) internal pure returns (uint256) {
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return Status.UNKNOWN_ESCROW;
        if (Cells.ESCROW_PAYER.get(escrow) != actor) return Status.NOT_PAYER;
        bool isHeld = Cells.ESCROW_STATUS.get(escrow) == EscrowStatus.HELD;
        if (!isHeld || Cells.ESCROW_WORKFLOW.get(escrow) != 0 || Escrows.isOrder(m, escrow)) {
            return Status.ESCROW_NOT_HELD;
        }
        if (m.time() > Cells.ESCROW_DEADLINE.get(escrow)) return Status.DEADLINE_PASSED;
        Cells.ESCROW_STATUS.set(escrow, EscrowStatus.CONTESTED);
        Cells.ESCROW_DEADLINE.set(escrow, m.time() + Cells.ESCROW_CONTEST_SECONDS.get(escrow));
        return Status.OK;
    }
}
