// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "../Cells.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Creates (`service` 0) or changes a service of the actor. Value: the service's id.
library Publish {
    uint256 internal constant CODE = 0x05;
    uint256 internal constant FORM = Wire.SHORT | Wire.BIT << 8 | Wire.VARINT << 16 | Wire.VARINT << 24 | Wire.SHORT
        << 32 | Wire.VARINT << 40 | (Wire.BYTES + 32) << 48;

    /// @param ceiling Most the provider may charge for one invoke.
    /// @param deadlineSeconds Time the provider has to respond.
    /// @param arbiter Who rules on contested responses, 0 for none.
    /// @param metadataHash Place of the SHA-256 of the metadata document.
    struct Args {
        uint256 service;
        uint256 active;
        uint256 ceiling;
        uint256 deadlineSeconds;
        uint256 arbiter;
        uint256 contestSeconds;
        uint256 metadataHash;
    }

    function run(Machine memory m, uint256 actor, Args memory args) internal pure returns (uint256) {
        if (
            args.deadlineSeconds == 0 || args.deadlineSeconds > Cells.MAX_DURATION
                || args.contestSeconds > Cells.MAX_DURATION
        ) return Status.BAD_DURATION;
        if (args.service != 0) {
            if (!m.isLocal(args.service)) return Status.WRONG_SHARD;
            Cell old = m.service(args.service);
            if (old == NONE) return Status.UNKNOWN_SERVICE;
            if (Cells.SERVICE_PROVIDER.get(old) != actor) return Status.NOT_PROVIDER;
        } else if (!m.hasServiceRoom()) {
            return Status.REGION_FULL;
        }
        uint256 which = args.service == 0 ? m.createService() : args.service;
        Cell service = m.service(which);
        Cells.SERVICE_PROVIDER.set(service, actor);
        Cells.SERVICE_FLAGS.set(service, Cells.EXISTS | (args.active == 1 ? Cells.ACTIVE : 0));
        Cells.SERVICE_CEILING.set(service, args.ceiling);
        Cells.SERVICE_DEADLINE_SECONDS.set(service, args.deadlineSeconds);
        Cells.SERVICE_ARBITER.set(service, args.arbiter);
        Cells.SERVICE_CONTEST_SECONDS.set(service, args.contestSeconds);
        Cells.SERVICE_METADATA_HASH.set(service, uint256(m.word(args.metadataHash)));
        uint256 version = Cells.SERVICE_VERSION.get(service);
        if (version < type(uint32).max) Cells.SERVICE_VERSION.set(service, version + 1);
        return m.ok(which);
    }
}
