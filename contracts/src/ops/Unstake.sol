// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";

/// @notice Announces that the stake goes back to the balance, and, once the time has passed, takes it. Value: when that is;
/// then the amount.
library Unstake {
    uint256 internal constant CODE = 0x18;
    /// @dev No fields.
    uint256 internal constant FORM = 0;

    function run(Machine memory m, uint256 actor) internal pure returns (uint256) {
        Cell agent = m.agent(actor);
        uint256 stake = Cells.AGENT_STAKE.get(agent);
        if (stake == 0) return Status.NO_STAKE;
        uint256 due = Cells.AGENT_UNSTAKE_AT.get(agent);
        if (due != 0 && m.time() < due) return Status.NOT_DUE;
        if (due == 0) {
            Cells.AGENT_UNSTAKE_AT.set(agent, m.time() + Cells.UNSTAKE_SECONDS);
            return m.ok(m.time() + Cells.UNSTAKE_SECONDS);
        }
        Cells.AGENT_STAKE.set(agent, 0);
        Cells.AGENT_UNSTAKE_AT.set(agent, 0);
        m.credit(actor, stake);
        return m.ok(stake);
    }
}
