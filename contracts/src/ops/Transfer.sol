// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

library Transfer {
    uint256 internal constant CODE = 0x03;
    /// @dev to, amount.
    uint256 internal constant FORM = Wire.SHORT | Wire.VARINT << 8;

    function home(Machine memory m, uint256 actor, uint256 amount) internal pure returns (uint256) {
        return m.balance(actor) < amount ? Status.INSUFFICIENT_BALANCE : Status.OK;
    }

    function run(Machine memory m, uint256 actor, uint256 to, uint256 amount) internal pure returns (uint256) {
        if (m.agent(to) == NONE) return Status.UNKNOWN_AGENT;
        m.debit(actor, amount);
        m.credit(to, amount);
        return Status.OK;
    }
}
