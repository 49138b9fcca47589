// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";

/// @title What a call that waits for another waits for (docs/protocol.md §4, `after` and `back`)
library Dependencies {
    uint256 internal constant MET = 0;
    uint256 internal constant PENDING = 1;
    uint256 internal constant FAILED = 2;

    /// @notice Where an escrow stands for one that comes after it; `workflow` is that one's: within it, an answer is enough.
    function dependency(Machine memory m, uint256 id, uint256 workflow) internal pure returns (uint256) {
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return FAILED;
        uint256 status = Cells.ESCROW_STATUS.get(escrow);
        if (status == EscrowStatus.FULFILLED) return MET;
        if (status == EscrowStatus.REFUNDED || status == EscrowStatus.EXPIRED) return FAILED;
        if (status != EscrowStatus.HELD) return PENDING;
        return workflow != 0 && Cells.ESCROW_WORKFLOW.get(escrow) == workflow ? MET : PENDING;
    }
}
