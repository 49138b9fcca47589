// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, SessionStatus} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Sessions} from "../moves/Sessions.sol";

/// @notice Anyone, once an exit's delay is over: pays both parties.
library Finalize {
    uint256 internal constant CODE = 0x11;
    /// @dev session.
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 id) internal pure returns (uint256) {
        Cell session = m.session(id);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        if (Cells.SESSION_STATUS.get(session) != SessionStatus.EXITING) return Status.SESSION_NOT_EXITING;
        if (m.time() < Cells.SESSION_EXIT_AT.get(session)) return Status.NOT_DUE;
        uint256 paidAB = Cells.SESSION_PAID_AB.get(session);
        uint256 paidBA = Cells.SESSION_PAID_BA.get(session);
        uint256 callsBA = Cells.SESSION_CALLS_BA.get(session);
        if (!Sessions.canPayOut(m, session, paidAB, paidBA, callsBA)) return Status.CONGESTED;
        Sessions.payOut(m, session);
        return Status.OK;
    }
}
