// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DataRoot} from "./DataRoot.sol";
import {IAvailability} from "./IAvailability.sol";
import {IGame} from "./IGame.sol";

/// @title Frames of a batch, opened (docs/protocol.md §3, §7, §12)
library Openings {
    /// @notice Whether the frame has this place under `dataRoot`.
    /// @dev A leaf names its own place, so a wrong number of frames opens nothing else.
    /// @param availability Knows data that is not in calldata.
    function isUnder(IGame.Opening calldata opening, bytes32 dataRoot, IAvailability availability)
        internal
        view
        returns (bool)
    {
        if (opening.proof.length != 0) return availability.isUnder(opening, dataRoot);
        bytes32 leaf = DataRoot.leafHash(opening.firstStep, opening.shard, opening.seq, opening.frame);
        return DataRoot.verify(dataRoot, opening.frames, opening.index, leaf, opening.path);
    }

    /// @notice How many steps a frame takes.
    function steps(bytes calldata frame) internal pure returns (uint256) {
        return frame.length > 1 && frame[0] == 0x10 ? 2 + uint256(uint8(frame[1])) : 1;
    }
}
