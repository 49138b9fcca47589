// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, NONE} from "../Cells.sol";
import {Digests} from "../Digests.sol";
import {Keys} from "../Keys.sol";
import {Machine} from "../Machine.sol";
import {Status} from "../Status.sol";
import {Wire} from "../Wire.sol";

/// @notice Replaces an agent's machine key; its owner signed, anyone may bring it. Value: the new epoch.
library Rotate {
    uint256 internal constant CODE = 0x02;
    uint256 internal constant FORM = Wire.SHORT | (Wire.BYTES + 64) << 8 | (Wire.BYTES + 65) << 16;

    /// @param key Place of x ‖ y.
    /// @param ownerSignature Place of r ‖ s ‖ v over `Rotate`, by the owner.
    function run(Machine memory m, uint256 agent, uint256 key, uint256 ownerSignature) internal pure returns (uint256) {
        if (!m.isLocal(agent)) return Status.WRONG_SHARD;
        Cell cell = m.agent(agent);
        if (cell == NONE) return Status.UNKNOWN_AGENT;
        if (m.epochExhausted(agent)) return Status.EPOCH_EXHAUSTED;
        Digests.Rotate memory rotation = Digests.Rotate({
            agent: uint64(agent), epoch: uint32(Cells.AGENT_EPOCH.get(cell)), keyX: m.word(key), keyY: m.word(key + 32)
        });
        bytes32 digest = Digests.secp256k1(m.domain, Digests.hash(rotation));
        address owner = address(uint160(Cells.AGENT_OWNER.get(cell)));
        if (!Keys.verifySecp256k1(digest, m.bytesAt(ownerSignature, 65), owner)) return Status.BAD_SIGNATURE;
        return m.ok(m.rotateKey(agent, key));
    }
}
