// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Bundles} from "./Bundles.sol";
import {Frames} from "./Frames.sol";
import {IStep} from "./IStep.sol";
import {Machine} from "./Machine.sol";
import {Messages} from "./Messages.sol";
import {States} from "./State.sol";
import {Status} from "./Status.sol";
import {MAX_NUMBERS} from "./Wire.sol";

/// @title One step of the trace, executed (docs/protocol.md §3, "Each step by itself"; twin of protocol/step.ts)
/// @notice What is common to `Step` and `KeyedStep`.
abstract contract Stepper is IStep {
    // Contexts.
    uint256 private constant BETWEEN = 0;
    uint256 private constant ACCEPTED = 1;
    uint256 private constant REFUSED = 2;

    /// @inheritdoc IStep
    uint256 public immutable shards;

    constructor(uint256 shards_) {
        shards = shards_;
    }

    /// @inheritdoc IStep
    function step(
        bytes32 domain,
        bytes32 pre,
        uint8 shard,
        uint64 seq,
        bytes calldata frame,
        uint256 index,
        bytes calldata witness
    ) external view returns (bytes32 post, uint8 status, uint64 value) {
        uint256 steps = Frames.stepsOf(frame);
        if (index >= steps) revert NoStep(index);
        Machine memory m;
        m.state = States.open(witness, pre);
        m.shard = shard;
        m.shards = shards;
        m.domain = domain;
        (m.frame, m.frameEnd) = _placeOf(frame);
        m.slots = Messages.BUNDLE_SLOTS;
        m.operate = _operate;
        (bool isAccepted, uint256 status_) = index == 0 ? _openFrame(m, seq) : _runInteraction(m, index - 1);
        uint256 context = index + 1 == steps ? BETWEEN : isAccepted ? ACCEPTED : REFUSED;
        post = keccak256(abi.encode(m.state.close(), context));
        (status, value) = (uint8(status_), uint64(m.value));
    }

    /// @dev Opens the bundle that the frame is, or only looks like. Returns the status.
    function _openBundle(Machine memory m) internal view virtual returns (uint256);

    /// @dev Runs an operation: `Machine.operate`.
    function _operate(Machine memory m, uint256 actor, uint256 code, uint256[MAX_NUMBERS] memory n)
        internal
        view
        virtual
        returns (uint256);

    function _openFrame(Machine memory m, uint256 seq) private view returns (bool isAccepted, uint256 status) {
        if (seq != m.seq()) return (false, Status.OUT_OF_ORDER);
        m.setSeq(seq + 1);
        status = Frames.isBundle(m) ? _openBundle(m) : Frames.run(m);
        isAccepted = status == Status.OK;
    }

    function _runInteraction(Machine memory m, uint256 which) private view returns (bool isAccepted, uint256 status) {
        if (m.state.context != ACCEPTED) return (false, Status.BUNDLE_REFUSED);
        return Bundles.run(m, which);
    }

    function _placeOf(bytes calldata frame) private pure returns (uint256 start, uint256 end) {
        assembly ("memory-safe") {
            start := frame.offset
            end := add(start, frame.length)
        }
    }
}
