// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, SessionStatus} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice A party leaves alone; newer halves may land until `exitAt`. Value: exitAt.
library Exit {
    uint256 internal constant CODE = 0x10;
    /// @dev session.
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 actor, uint256 id) internal pure returns (uint256) {
        Cell session = m.session(id);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        if (Cells.SESSION_STATUS.get(session) != SessionStatus.OPEN) return Status.SESSION_NOT_OPEN;
        if (m.party(session, actor) == -1) return Status.NOT_PARTY;
        uint256 exitAt = m.time() + Cells.SESSION_EXIT_DELAY.get(session);
        Cells.SESSION_EXIT_AT.set(session, exitAt);
        Cells.SESSION_STATUS.set(session, SessionStatus.EXITING);
        return m.ok(exitAt);
    }
}
