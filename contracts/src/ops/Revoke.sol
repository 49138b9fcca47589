// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Ends a capability the actor granted. What was invoked by it goes on.
library Revoke {
    uint256 internal constant CODE = 0x0c;
    uint256 internal constant FORM = Wire.SHORT;

    function run(Machine memory m, uint256 actor, uint256 id) internal pure returns (uint256) {
        if (!m.isLocal(id)) return Status.WRONG_SHARD;
        Cell capability = m.capability(id);
        if (capability == NONE) return Status.UNKNOWN_CAPABILITY;
        if (Cells.CAPABILITY_GRANTOR.get(capability) != actor) return Status.NOT_GRANTOR;
        if (Cells.CAPABILITY_FLAGS.get(capability) & Cells.REVOKED != 0) return Status.CAPABILITY_REVOKED;
        Cells.CAPABILITY_FLAGS.set(capability, Cells.EXISTS | Cells.REVOKED);
        return Status.OK;
    }
}
