// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Lets another agent invoke a service (0: any) on the actor's budget, up to a limit. Value: the capability's id.
library Grant {
    uint256 internal constant CODE = 0x0b;
    uint256 internal constant FORM = Wire.SHORT | Wire.SHORT << 8 | Wire.VARINT << 16 | Wire.SHORT << 24;

    struct Args {
        uint256 grantee;
        uint256 service;
        uint256 limit;
        uint256 expiry;
    }

    function run(Machine memory m, uint256 actor, Args memory args) internal pure returns (uint256) {
        if (args.expiry < m.time()) return Status.EXPIRED;
        if (args.grantee == actor) return Status.SELF_DEALING;
        if (!m.hasCapabilityRoom()) return Status.REGION_FULL;
        uint256 id = m.createCapability();
        Cell capability = m.capability(id);
        Cells.CAPABILITY_GRANTOR.set(capability, actor);
        Cells.CAPABILITY_GRANTEE.set(capability, args.grantee);
        Cells.CAPABILITY_SERVICE.set(capability, args.service);
        Cells.CAPABILITY_LIMIT.set(capability, args.limit);
        Cells.CAPABILITY_EXPIRY.set(capability, args.expiry);
        return m.ok(id);
    }
}
