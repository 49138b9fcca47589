// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, NONE, SessionStatus} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";
import {Agents} from "../moves/Agents.sol";

/// @notice Feedback on who was paid, once for each escrow and each side of a session that is settled.
library Attest {
    uint256 internal constant CODE = 0x15;
    /// @dev kind, id, score.
    uint256 internal constant FORM = Wire.BIT | Wire.VARINT << 8 | Wire.SCORE << 16;

    // What each kind of record is called on the wire.
    uint256 private constant ESCROW = 0;
    uint256 private constant SESSION = 1;

    function where(uint256 actor, uint256 kind, uint256 id) internal pure returns (uint256) {
        // A payer's record of an escrow is at home.
        return kind == SESSION ? id : actor;
    }

    function run(Machine memory m, uint256 actor, uint256 kind, uint256 id, uint256 score)
        internal
        pure
        returns (uint256)
    {
        return kind == ESCROW ? _rateEscrow(m, actor, id, score) : _rateSession(m, actor, id, score);
    }

    function _rateEscrow(Machine memory m, uint256 actor, uint256 id, uint256 score) private pure returns (uint256) {
        if (!m.isLocal(id)) return Status.WRONG_SHARD;
        Cell escrow = m.escrow(id);
        if (escrow == NONE) return Status.UNKNOWN_ESCROW;
        if (Cells.ESCROW_PAYER.get(escrow) != actor) return Status.NOT_PAYER;
        uint256 status = Cells.ESCROW_STATUS.get(escrow);
        bool isSettled = status >= EscrowStatus.FULFILLED && status <= EscrowStatus.EXPIRED;
        uint256 payee = Cells.ESCROW_PAYEE.get(escrow);
        if (!isSettled || payee == 0) return Status.NOT_SETTLED;
        uint256 flags = Cells.ESCROW_FLAGS.get(escrow);
        if (flags & Cells.ATTESTED != 0) return Status.ALREADY_ATTESTED;
        if (!m.reaches(Ids.shardOf(payee))) return Status.CONGESTED;
        Cells.ESCROW_FLAGS.set(escrow, flags | Cells.ATTESTED);
        Agents.rate(m, payee, score);
        return Status.OK;
    }

    function _rateSession(Machine memory m, uint256 actor, uint256 id, uint256 score) private pure returns (uint256) {
        Cell session = m.session(id);
        if (session == NONE) return Status.UNKNOWN_SESSION;
        int256 party = m.party(session, actor);
        if (party == -1) return Status.NOT_PARTY;
        uint256 bought = (party == 0 ? Cells.SESSION_CALLS_AB : Cells.SESSION_CALLS_BA).get(session);
        bool isClosed = Cells.SESSION_STATUS.get(session) == SessionStatus.CLOSED;
        if (!isClosed || bought == 0) return Status.NOT_SETTLED;
        uint256 flags = Cells.SESSION_FLAGS.get(session);
        uint256 bit = Cells.attestedBy(uint256(party));
        if (flags & bit != 0) return Status.ALREADY_ATTESTED;
        uint256 other = (party == 0 ? Cells.SESSION_B : Cells.SESSION_A).get(session);
        if (!m.reaches(Ids.shardOf(other))) return Status.CONGESTED;
        Cells.SESSION_FLAGS.set(session, flags | bit);
        Agents.rate(m, other, score);
        return Status.OK;
    }
}
