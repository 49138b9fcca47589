// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells} from "../Cells.sol";
import {Ids} from "../Ids.sol";
import {Machine} from "../Machine.sol";
import {Messages} from "../Messages.sol";

/// @title What befalls agents on any shard (docs/protocol.md §4, "Shared moves"; twin of protocol/moves/agent.ts)
library Agents {
    /// @dev What `ratings` and `ratingSum` can hold.
    uint256 private constant MAX_RATING = 2 ** 24 - 1;

    /// @notice Pays an agent wherever it lives, with the calls and volume it earned it by; nothing is sent when there is
    /// nothing to pay.
    function pay(Machine memory m, uint256 agent, uint256 amount, uint256 calls, uint256 volume) internal pure {
        if (m.isLocal(agent)) m.earn(agent, amount, calls, volume);
        else if (amount + calls + volume > 0) _credit(m, agent, amount, calls, volume);
    }

    /// @notice Counts a rating, here or by message.
    function rate(Machine memory m, uint256 agent, uint256 score) internal pure {
        if (!m.isLocal(agent)) {
            m.send(Ids.shardOf(agent), 0, 0, Messages.rating(agent, score));
            return;
        }
        Cell cell = m.agent(agent);
        uint256 ratings = Cells.AGENT_RATINGS.get(cell) + 1;
        uint256 sum = Cells.AGENT_RATING_SUM.get(cell) + score;
        if (ratings > MAX_RATING || sum > MAX_RATING) return;
        Cells.AGENT_RATINGS.set(cell, ratings);
        Cells.AGENT_RATING_SUM.set(cell, sum);
    }

    /// @notice Whether the shards that `slash` has to tell can be reached.
    function slashReaches(Machine memory m, uint256 agent, uint256 reporter) internal pure returns (bool) {
        return m.reaches(Ids.shardOf(m.isLocal(agent) ? reporter : agent));
    }

    /// @notice Takes an agent's whole stake, half for who brought the evidence; here or by message.
    function slash(Machine memory m, uint256 agent, uint256 reporter) internal pure {
        if (!m.isLocal(agent)) {
            m.send(Ids.shardOf(agent), 0, 0, Messages.slash(agent, reporter));
            return;
        }
        m.addFailure(agent);
        Cell cell = m.agent(agent);
        uint256 stake = Cells.AGENT_STAKE.get(cell);
        Cells.AGENT_STAKE.set(cell, 0);
        Cells.AGENT_UNSTAKE_AT.set(cell, 0);
        uint256 reward = stake / 2;
        m.burn(stake - reward);
        if (m.isLocal(reporter)) m.credit(reporter, reward);
        else _credit(m, reporter, reward, 0, 0);
    }

    function _credit(Machine memory m, uint256 agent, uint256 amount, uint256 calls, uint256 volume) private pure {
        m.send(Ids.shardOf(agent), agent, amount, Messages.credit(agent, amount, calls, volume));
    }
}
