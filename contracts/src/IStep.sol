// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title One step of the trace, on L1 (docs/protocol.md §3, §10)
/// @notice What the dispute game asks when it has come down to a single step. Total, as the protocol is: whatever the
/// sequencer's data says has one outcome. Only a witness that does not open `pre`, or lacks a cell, reverts: a
/// challenger's error, never the sequencer's way out.
interface IStep {
    /// @notice The witness is not of the form of docs/protocol.md §10.
    error BadWitness();

    /// @notice The witness opens another commitment than `pre`.
    error WrongPre(bytes32 opened);

    /// @notice The step looks at a cell that the witness does not have.
    error MissingCell(uint32 cellAddress);

    /// @notice The frame has no such step.
    error NoStep(uint256 index);

    /// @param domain The EIP-712 domain separator of the deployment: what signatures in the frame are for.
    /// @param pre The commitment before the step, `keccak256(state root ‖ context)`.
    /// @param shard The frame's place, as its leaf under `dataRoot` has it.
    /// @param seq See `shard`.
    /// @param frame The frame's bytes, opened from `dataRoot` by the caller.
    /// @param index Which step of the frame: 0 opens it.
    /// @param witness Opens `pre`: the state root, the context, and every cell read or written with its proof.
    /// @return post The commitment after the step.
    /// @return status The step's status (docs/protocol.md §9).
    /// @return value The id or number the step made, else 0.
    function step(
        bytes32 domain,
        bytes32 pre,
        uint8 shard,
        uint64 seq,
        bytes calldata frame,
        uint256 index,
        bytes calldata witness
    ) external view returns (bytes32 post, uint8 status, uint64 value);

    /// @notice How many shards the deployment has.
    function shards() external view returns (uint256);
}
