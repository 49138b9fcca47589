// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cells} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Wire} from "../Wire.sol";

/// @notice Burns balance into an outbox cell that L1 pays to the owner's address. Value: the outbox id.
library Withdraw {
    uint256 internal constant CODE = 0x04;
    uint256 internal constant FORM = Wire.VARINT;

    function run(Machine memory m, uint256 actor, uint256 amount) internal pure returns (uint256) {
        return m.withdraw(actor, amount, Cells.OUTBOX_RESERVE);
    }
}
