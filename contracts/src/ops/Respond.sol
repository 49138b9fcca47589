// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Messages} from "../Messages.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Escrows} from "../moves/Escrows.sol";

/// @notice The provider answers an escrow: fulfilled at `price`, at most the escrowed amount; or, at nothing, failed, or
/// declined (it was never asked).
library Respond {
    uint256 internal constant CODE = 0x07;
    /// @dev escrow, price, result.
    uint256 internal constant FORM = Wire.VARINT | Wire.VARINT << 8 | Wire.RESULT << 16;

    uint256 private constant FULFILLED = 0;
    uint256 private constant FAILED = 1;

    function run(Machine memory m, uint256 actor, uint256 id, uint256 price, uint256 result)
        internal
        pure
        returns (uint256)
    {
        if (!m.isLocal(id)) return Status.WRONG_SHARD;
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return Status.UNKNOWN_ESCROW;
        if (Cells.ESCROW_PAYEE.get(escrow) != actor) return Status.NOT_PAYEE;
        if (Cells.ESCROW_STATUS.get(escrow) != EscrowStatus.OPEN) return Status.ESCROW_NOT_OPEN;
        if (m.time() > Cells.ESCROW_DEADLINE.get(escrow)) return Status.DEADLINE_PASSED;
        if (price > (result == FULFILLED ? Cells.ESCROW_AMOUNT.get(escrow) : 0)) return Status.OVER_PRICE;
        uint256 workflow = Cells.ESCROW_WORKFLOW.get(escrow);
        bool joins = result == FULFILLED && workflow != 0;
        // Asking must not be able to crowd out answering. An act has more room yet.
        uint256 slots = m.slots > Messages.ANSWER_SLOTS ? m.slots : Messages.ANSWER_SLOTS;
        if (!Escrows.canTell(m, escrow, slots)) return Status.CONGESTED;
        if (joins && !m.reaches(Ids.shardOf(workflow), slots)) return Status.CONGESTED;
        if (result == FAILED) Escrows.refundFailed(m, escrow);
        else if (result != FULFILLED) Escrows.refund(m, escrow);
        else if (joins || Cells.ESCROW_ARBITER.get(escrow) != 0) Escrows.hold(m, escrow, price);
        else Escrows.release(m, escrow, price);
        return Status.OK;
    }
}
