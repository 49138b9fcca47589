// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, SessionStatus} from "../Cells.sol";
import {Digests} from "../Digests.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Sessions} from "../moves/Sessions.sol";

/// @notice Both parties agree how the session ended: paid out at once.
library Close {
    uint256 internal constant CODE = 0x12;
    uint256 internal constant FORM = Wire.VARINT | Wire.VARINT << 8 | Wire.VARINT << 16 | Wire.CALLS << 24 | Wire.CALLS
        << 32 | (Wire.BYTES + 32) << 40 | (Wire.BYTES + 32) << 48 | (Wire.BYTES + 64) << 56;

    /// @param rootAB Place of the root.
    /// @param rootBA Place of the root.
    /// @param signature Place of the other party's, by its pinned key.
    struct Args {
        uint256 session;
        uint256 paidAB;
        uint256 paidBA;
        uint256 callsAB;
        uint256 callsBA;
        uint256 rootAB;
        uint256 rootBA;
        uint256 signature;
    }

    function run(Machine memory m, uint256 actor, Args memory args) internal view returns (uint256) {
        Cell session = m.session(args.session);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        if (Cells.SESSION_STATUS.get(session) == SessionStatus.CLOSED) return Status.SESSION_CLOSED;
        int256 party = m.party(session, actor);
        if (party == -1) return Status.NOT_PARTY;
        Cell otherKey = m.sessionPart(args.session, party == 0 ? 2 : 1);
        if (!m.isSigned(otherKey, _hash(m, args), args.signature)) return Status.BAD_SIGNATURE;
        if (!Sessions.canPayOut(m, session, args.paidAB, args.paidBA, args.callsBA)) return Status.CONGESTED;
        Cells.SESSION_PAID_AB.set(session, args.paidAB);
        Cells.SESSION_PAID_BA.set(session, args.paidBA);
        Cells.SESSION_CALLS_AB.set(session, args.callsAB);
        Cells.SESSION_CALLS_BA.set(session, args.callsBA);
        Cell roots = m.sessionPart(args.session, 3);
        Cells.SESSION_ROOT_AB.set(roots, uint256(m.word(args.rootAB)));
        Cells.SESSION_ROOT_BA.set(roots, uint256(m.word(args.rootBA)));
        Sessions.payOut(m, session);
        return Status.OK;
    }

    function _hash(Machine memory m, Args memory args) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                Digests.CLOSE,
                args.session,
                args.paidAB,
                args.paidBA,
                args.callsAB,
                args.callsBA,
                m.word(args.rootAB),
                m.word(args.rootBA)
            )
        );
    }
}
