// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title One step of the trace, on L1 (docs/protocol.md §3)
/// @notice What the dispute game asks when it has come down to a single step. Total, as the protocol is: whatever the
/// sequencer's data says has one outcome. Only a witness that does not open `pre` reverts: a challenger's error, never the
/// sequencer's way out.
interface IStep {
    /// @param pre The commitment before the step, `keccak256(state root ‖ context)`.
    /// @param shard The frame's place, as its leaf under `dataRoot` has it.
    /// @param seq See `shard`.
    /// @param frame The frame's bytes, opened from `dataRoot` by the caller.
    /// @param index Which step of the frame: 0 opens it.
    /// @param witness Opens `pre`: the state root, the context, and every cell read or written with its proof.
    /// @return post The commitment after the step.
    function step(bytes32 pre, uint8 shard, uint64 seq, bytes calldata frame, uint256 index, bytes calldata witness)
        external
        view
        returns (bytes32 post);
}
