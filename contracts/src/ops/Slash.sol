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

    /// @param rootA Place of the root; so with the others.
    struct Args {
        uint256 session;
        uint256 dir;
        uint256 seqA;
        uint256 callsA;
        uint256 paidA;
        uint256 rootA;
        uint256 signatureA;
        uint256 seqB;
        uint256 callsB;
        uint256 paidB;
        uint256 rootB;
        uint256 signatureB;
    }

    function run(Machine memory m, uint256 actor, Args memory args) internal view returns (uint256) {
        Cell session = m.session(args.session);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        uint256 flags = Cells.SESSION_FLAGS.get(session);
        uint256 bit = Cells.slashedOf(args.dir);
        if (flags & bit != 0) return Status.ALREADY_SLASHED;
        Sessions.Half memory a =
            Sessions.Half(args.session, args.dir, args.seqA, args.callsA, args.paidA, args.rootA, args.signatureA);
        Sessions.Half memory b =
            Sessions.Half(args.session, args.dir, args.seqB, args.callsB, args.paidB, args.rootB, args.signatureB);
        if (!Sessions.conflict(m, a, b)) return Status.NO_CONFLICT;
        if (!Sessions.isSigned(m, a) || !Sessions.isSigned(m, b)) return Status.BAD_SIGNATURE;
        uint256 signer = (args.dir == 0 ? Cells.SESSION_A : Cells.SESSION_B).get(session);
        if (!Agents.slashReaches(m, signer, actor)) return Status.CONGESTED;
        Cells.SESSION_FLAGS.set(session, flags | bit);
        Agents.slash(m, signer, actor);
        return Status.OK;
    }
}
