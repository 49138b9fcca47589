// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, SessionStatus} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Sessions} from "../moves/Sessions.sol";

/// @notice Brings a half on chain: by anyone, at any time, in any order.
library Settle {
    uint256 internal constant CODE = 0x0f;
    /// @dev session, dir, seq, calls, paid, root, signature.
    uint256 internal constant FORM = Wire.VARINT | Wire.BIT << 8 | Wire.VARINT << 16 | Wire.CALLS << 24 | Wire.VARINT
        << 32 | (Wire.BYTES + 32) << 40 | (Wire.BYTES + 64) << 48;

    function run(Machine memory m, Sessions.Half memory half) internal view returns (uint256) {
        Cell session = m.session(half.session);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        if (Cells.SESSION_STATUS.get(session) == SessionStatus.CLOSED) return Status.SESSION_CLOSED;
        if (!Sessions.isSigned(m, half)) return Status.BAD_SIGNATURE;
        return Sessions.join(m, session, half) ? Status.OK : Status.STALE_HALF;
    }
}
