// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, Field, NONE, SessionStatus} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice A party adds to its deposit.
library Fund {
    uint256 internal constant CODE = 0x0e;
    /// @dev session, amount.
    uint256 internal constant FORM = Wire.VARINT | Wire.VARINT << 8;

    function home(Machine memory m, uint256 actor, uint256 amount) internal pure returns (uint256) {
        if (amount == 0) return Status.ZERO_AMOUNT;
        return m.balance(actor) < amount ? Status.INSUFFICIENT_BALANCE : Status.OK;
    }

    function run(Machine memory m, uint256 actor, uint256 id, uint256 amount) internal pure returns (uint256) {
        Cell session = m.session(id);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        if (Cells.SESSION_STATUS.get(session) != SessionStatus.OPEN) return Status.SESSION_NOT_OPEN;
        int256 party = m.party(session, actor);
        if (party == -1) return Status.NOT_PARTY;
        m.debit(actor, amount);
        Field deposit = party == 0 ? Cells.SESSION_DEPOSIT_A : Cells.SESSION_DEPOSIT_B;
        deposit.set(session, deposit.get(session) + amount);
        return Status.OK;
    }
}
