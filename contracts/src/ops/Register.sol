// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice A new agent, sponsored by the actor, who moves `amount` to it. Value: the new agent's id.
library Register {
    uint256 internal constant CODE = 0x01;
    uint256 internal constant FORM = Wire.BYTES + 20 | (Wire.BYTES + 64) << 8 | Wire.VARINT << 16;

    /// @param owner Place of the L1 address.
    /// @param key Place of x ‖ y.
    function run(Machine memory m, uint256 actor, uint256 owner, uint256 key, uint256 amount)
        internal
        pure
        returns (uint256)
    {
        if (m.balance(actor) < amount) return Status.INSUFFICIENT_BALANCE;
        if (!m.hasAgentRoom()) return Status.REGION_FULL;
        m.debit(actor, amount);
        return m.ok(m.createAgent(m.addressAt(owner), key, amount));
    }
}
