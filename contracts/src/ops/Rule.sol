// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Escrows} from "../moves/Escrows.sol";

/// @notice The arbiter splits what was contested: `amount` for the payee, the rest for the payer.
library Rule {
    uint256 internal constant CODE = 0x0a;
    /// @dev escrow, amount.
    uint256 internal constant FORM = Wire.VARINT | Wire.VARINT << 8;

    function run(Machine memory m, uint256 actor, uint256 id, uint256 amount) internal pure returns (uint256) {
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return Status.UNKNOWN_ESCROW;
        if (Cells.ESCROW_ARBITER.get(escrow) != actor) return Status.NOT_ARBITER;
        if (Cells.ESCROW_STATUS.get(escrow) != EscrowStatus.CONTESTED) return Status.ESCROW_NOT_CONTESTED;
        if (m.time() > Cells.ESCROW_DEADLINE.get(escrow)) return Status.DEADLINE_PASSED;
        if (amount > Cells.ESCROW_PAID.get(escrow)) return Status.OVER_PRICE;
        if (!Escrows.canTell(m, escrow)) return Status.CONGESTED;
        if (amount > 0) Escrows.release(m, escrow, amount);
        else Escrows.refundFailed(m, escrow);
        return Status.OK;
    }
}
