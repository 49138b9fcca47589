// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Puts more of the balance at stake; ends a withdrawal of it that was under way.
library Stake {
    uint256 internal constant CODE = 0x17;
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 actor, uint256 amount) internal pure returns (uint256) {
        if (amount == 0) return Status.ZERO_AMOUNT;
        if (m.balance(actor) < amount) return Status.INSUFFICIENT_BALANCE;
        m.debit(actor, amount);
        Cell agent = m.agent(actor);
        Cells.AGENT_STAKE.set(agent, Cells.AGENT_STAKE.get(agent) + amount);
        Cells.AGENT_UNSTAKE_AT.set(agent, 0);
        return Status.OK;
    }
}
