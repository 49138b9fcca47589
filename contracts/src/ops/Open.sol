// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE, SessionStatus} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Opens a session with `peer`, on its shard, the actor being party a. Value: the session's id.
library Open {
    uint256 internal constant CODE = 0x0d;
    /// @dev peer; deposit, locked by the actor; exitDelay, between exit and finalize.
    uint256 internal constant FORM = Wire.SHORT | Wire.VARINT << 8 | Wire.VARINT << 16;

    function home(Machine memory m, uint256 actor, uint256 peer, uint256 deposit, uint256 exitDelay)
        internal
        pure
        returns (uint256)
    {
        if (peer == actor) return Status.SELF_DEALING;
        if (deposit == 0) return Status.ZERO_AMOUNT;
        if (exitDelay == 0 || exitDelay > Cells.MAX_DURATION) return Status.BAD_DURATION;
        return m.balance(actor) < deposit ? Status.INSUFFICIENT_BALANCE : Status.OK;
    }

    function run(Machine memory m, uint256 actor, uint256 peer, uint256 deposit, uint256 exitDelay)
        internal
        pure
        returns (uint256)
    {
        uint256 id = m.takeSessionId();
        if (id == 0) return Status.REGION_FULL;
        if (m.agent(peer) == NONE) return Status.UNKNOWN_AGENT;
        if (!m.hasSessionSlot(id)) return Status.REGION_FULL;
        m.debit(actor, deposit);
        Cell cell = m.clearSession(id);
        Cells.SESSION_A.set(cell, actor);
        Cells.SESSION_B.set(cell, peer);
        Cells.SESSION_DEPOSIT_A.set(cell, deposit);
        Cells.SESSION_EXIT_DELAY.set(cell, exitDelay);
        Cells.SESSION_SERIAL.set(cell, Ids.serialOf(id));
        Cells.SESSION_STATUS.set(cell, SessionStatus.OPEN);
        // Both keys are pinned: no rotation can void what they sign from now on.
        Cell keyA = m.sessionPart(id, 1);
        if (m.actorKey == 0) m.copy(keyA, m.key(actor));
        else m.put(keyA, m.actorKey);
        m.copy(m.sessionPart(id, 2), m.key(peer));
        return m.ok(id);
    }
}
