// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, Field, SessionStatus} from "../Cells.sol";
import {Digests} from "../Digests.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Agents} from "./Agents.sol";

/// @title What is done with sessions, and with the halves their parties sign (docs/protocol.md §4, "Shared moves"; twin of
/// protocol/moves/session.ts and protocol/half.ts)
library Sessions {
    /// @notice A half as an interaction brings it.
    /// @param root Place of the log's head.
    /// @param signature Place of its payer's signature.
    struct Half {
        uint256 session;
        uint256 dir;
        uint256 seq;
        uint256 calls;
        uint256 paid;
        uint256 root;
        uint256 signature;
    }

    /// @notice Whether a half is signed by its payer's pinned key.
    function isSigned(Machine memory m, Half memory half) internal view returns (bool) {
        bytes32 structHash = keccak256(
            abi.encode(
                Digests.HALF, half.session, half.dir, half.seq, half.calls, half.paid, m.word(half.root), bytes32(0)
            )
        );
        return m.isSigned(m.sessionPart(half.session, 1 + half.dir), structHash, half.signature);
    }

    /// @notice Whether two halves of one session and direction can't both be true.
    function conflict(Machine memory m, Half memory a, Half memory b) internal pure returns (bool) {
        if (a.calls == b.calls && m.word(a.root) != m.word(b.root)) return true;
        return a.seq == b.seq && (a.calls != b.calls || a.paid != b.paid);
    }

    /// @notice Joins a half into its direction: the most paid, and the longest log, on a tie the larger root. Idempotent,
    /// commutative, associative. False when nothing changed.
    function join(Machine memory m, Cell session, Half memory half) internal pure returns (bool isChanged) {
        (Field paid, Field calls, Field root) = half.dir == 0
            ? (Cells.SESSION_PAID_AB, Cells.SESSION_CALLS_AB, Cells.SESSION_ROOT_AB)
            : (Cells.SESSION_PAID_BA, Cells.SESSION_CALLS_BA, Cells.SESSION_ROOT_BA);
        if (half.paid > paid.get(session)) {
            paid.set(session, half.paid);
            isChanged = true;
        }
        Cell roots = m.sessionPart(half.session, 3);
        uint256 newRoot = uint256(m.word(half.root));
        uint256 before = calls.get(session);
        if (half.calls > before || (half.calls == before && newRoot > root.get(roots))) {
            calls.set(session, half.calls);
            root.set(roots, newRoot);
            isChanged = true;
        }
    }

    /// @notice What each party gets: `outB = clamp(depositB + paidAB − paidBA, 0, total)`.
    function split(uint256 depositA, uint256 depositB, uint256 paidAB, uint256 paidBA)
        internal
        pure
        returns (uint256 outA, uint256 outB)
    {
        uint256 total = depositA + depositB;
        uint256 most = depositB + paidAB;
        outB = most < paidBA ? 0 : most - paidBA;
        if (outB > total) outB = total;
        outA = total - outB;
    }

    /// @notice Whether a can be told what it gets when the session ends so, there being something to tell: it is of this
    /// shard, or there is room for messages to its own. Sessions stand on b's shard.
    function canPayOut(Machine memory m, Cell session, uint256 paidAB, uint256 paidBA, uint256 callsBA)
        internal
        pure
        returns (bool)
    {
        uint256 depositB = Cells.SESSION_DEPOSIT_B.get(session);
        (uint256 outA,) = split(Cells.SESSION_DEPOSIT_A.get(session), depositB, paidAB, paidBA);
        return outA + callsBA == 0 || m.reaches(Ids.shardOf(Cells.SESSION_A.get(session)));
    }

    /// @notice Splits the deposits by what was paid, counts reputation, closes; `canPayOut` must hold.
    function payOut(Machine memory m, Cell session) internal pure {
        uint256 depositA = Cells.SESSION_DEPOSIT_A.get(session);
        uint256 depositB = Cells.SESSION_DEPOSIT_B.get(session);
        uint256 paidAB = Cells.SESSION_PAID_AB.get(session);
        uint256 paidBA = Cells.SESSION_PAID_BA.get(session);
        (uint256 outA, uint256 outB) = split(depositA, depositB, paidAB, paidBA);
        Cells.SESSION_STATUS.set(session, SessionStatus.CLOSED);
        uint256 callsBA = Cells.SESSION_CALLS_BA.get(session);
        Agents.pay(m, Cells.SESSION_A.get(session), outA, callsBA, outA > depositA ? outA - depositA : 0);
        uint256 callsAB = Cells.SESSION_CALLS_AB.get(session);
        Agents.pay(m, Cells.SESSION_B.get(session), outB, callsAB, outB > depositB ? outB - depositB : 0);
    }
}
