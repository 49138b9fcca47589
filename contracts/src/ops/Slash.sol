// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Agents} from "../moves/Agents.sol";
import {Sessions} from "../moves/Sessions.sol";

/// @notice Shows that a machine key signed two halves that can't both be true: its agent loses its stake, half of it to the
/// actor.
library Slash {
    uint256 internal constant CODE = 0x16;
    /// @dev seq, calls, paid, root, signature.
    uint256 private constant HALF =
        Wire.VARINT | Wire.CALLS << 8 | Wire.VARINT << 16 | (Wire.BYTES + 32) << 24 | (Wire.BYTES + 64) << 32;
    /// @dev session, dir, two halves.
    uint256 internal constant FORM = Wire.VARINT | Wire.BIT << 8 | HALF << 16 | HALF << 56;

    function where(uint256 id) internal pure returns (uint256) {
        return id;
    }

    function run(Machine memory m, uint256 actor, Sessions.Half memory first, Sessions.Half memory second)
        internal
        view
        returns (uint256)
    {
        Cell session = m.session(first.session);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        uint256 flags = Cells.SESSION_FLAGS.get(session);
        uint256 bit = Cells.slashedOf(first.dir);
        if (flags & bit != 0) return Status.ALREADY_SLASHED;
        if (!Sessions.conflict(m, first, second)) return Status.NO_CONFLICT;
        if (!Sessions.isSigned(m, first) || !Sessions.isSigned(m, second)) return Status.BAD_SIGNATURE;
        uint256 signer = (first.dir == 0 ? Cells.SESSION_A : Cells.SESSION_B).get(session);
        if (!Agents.slashReaches(m, signer, actor)) return Status.CONGESTED;
        Cells.SESSION_FLAGS.set(session, flags | bit);
        Agents.slash(m, signer, actor);
        return Status.OK;
    }
}
