// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAvailability} from "./IAvailability.sol";
import {IRoot} from "./IRoot.sol";
import {IStep} from "./IStep.sol";

/// @title The dispute game (docs/protocol.md §10)
/// @notice One-sided: the sequencer asserts commitments, a challenger points at the first it denies, until one step is
/// left, which L1 executes. Games run side by side; each is kept as the hash of its `Play`, which every move hands in.
interface IGame {
    /// @notice Where a game stands.
    /// @param id The game's number.
    /// @param batchHash The batch it is about, by hash: a number may be posted again.
    /// @param number The batch's number.
    /// @param dataRoot The batch's.
    /// @param challenger Who opened it, picks, and has the reward.
    /// @param from The segment's first step, counted from the batch's first.
    /// @param length How many steps the segment has.
    /// @param pre The commitment before the segment, on which both sides agree.
    /// @param post The commitment after it, as the sequencer asserts.
    /// @param reveals The tree over what the sequencer revealed of the segment; 0 while it has to.
    /// @param deadline Last second of whoever moves next: the sequencer if `length > 1` and `reveals` is 0, else the
    /// challenger.
    struct Play {
        uint256 id;
        bytes32 batchHash;
        uint64 number;
        bytes32 dataRoot;
        address challenger;
        uint64 from;
        uint64 length;
        bytes32 pre;
        bytes32 post;
        bytes32 reveals;
        uint64 deadline;
    }

    /// @notice A frame under a batch's `dataRoot` (docs/protocol.md §3, §12).
    /// @param firstStep Steps of the batch before it.
    /// @param index Which of the batch's frames.
    /// @param frames How many the batch has.
    /// @param path From the leaf to the root, as in RFC 9162 §2.1.3; none where there is a proof.
    /// @param proof Of data that is not in calldata, what opens the frame and its two entries (`Views`).
    struct Opening {
        uint64 firstStep;
        uint8 shard;
        uint64 seq;
        bytes frame;
        uint64 index;
        uint64 frames;
        bytes32[] path;
        bytes proof;
    }

    enum Outcome {
        challengerWon,
        challengerLost,
        batchGone
    }

    event Opened(uint256 indexed id, uint64 indexed number, address indexed challenger, Play play);
    event Revealed(uint256 indexed id, Play play, bytes32[] commitments);
    event Picked(uint256 indexed id, uint256 segment, Play play);
    event Closed(uint256 indexed id, Outcome outcome, Play play);
    /// @notice `account` may collect `amount` wei more.
    event Credited(address indexed account, uint256 amount);

    /// @notice The value sent is not `challengeBond`.
    error WrongBond(uint256 challengeBond);
    /// @notice The window in which the batch could be challenged has passed.
    error TooLate(uint64 number);
    /// @notice The batch does not stand, or its header is not this one.
    error NotStanding(uint64 number);
    /// @notice The game is over, or stands otherwise than `play` says.
    error WrongPlay(bytes32 standing);
    error NotSequencer();
    error NotChallenger();
    /// @notice It is not this move's turn.
    error WrongMove();
    error DeadlinePassed(uint64 deadline);
    error DeadlineNotPassed(uint64 deadline);
    error WrongCount(uint256 expected);
    error NoSegment(uint256 segment);
    /// @notice A commitment is not in the tree that was revealed.
    error BadReveal();
    /// @notice The frame is not under the batch's `dataRoot`, or does not hold the step in dispute.
    error BadOpening();
    error NothingToCollect();

    /// @notice Opens a game against a batch that stands. Takes `challengeBond` wei.
    function open(IRoot.Batch calldata batch) external payable returns (uint256 id);

    /// @notice The sequencer reveals the inner commitments of the segment, `min(128, length) − 1` of them.
    function reveal(Play calldata play, bytes32[] calldata commitments) external;

    /// @notice The challenger picks a segment.
    /// @param segment Which, 0 … n − 1.
    /// @param before The commitment at its start; ignored for segment 0, which starts at `play.pre`.
    /// @param beforePath Seven siblings from leaf `segment − 1` up; empty for segment 0.
    /// @param after_ The commitment at its end, leaf `segment`.
    /// @param afterPath Seven siblings.
    function pick(
        Play calldata play,
        uint256 segment,
        bytes32 before,
        bytes32[] calldata beforePath,
        bytes32 after_,
        bytes32[] calldata afterPath
    ) external;

    /// @notice Executes the one step that is left. Anyone may call; the reward is the challenger's.
    function step(Play calldata play, Opening calldata opening, bytes calldata witness) external;

    /// @notice `pick` of a segment of one step, and `step`, in one call by the challenger.
    function pickAndStep(
        Play calldata play,
        uint256 segment,
        bytes32 before,
        bytes32[] calldata beforePath,
        bytes32 after_,
        bytes32[] calldata afterPath,
        Opening calldata opening,
        bytes calldata witness
    ) external;

    /// @notice Ends a game whose deadline has passed: whoever should have moved has lost.
    function timeout(Play calldata play) external;

    /// @notice Ends a game whose batch no longer stands, or was void and posted again since the last move: the challenger has
    /// its bond back.
    function dissolve(Play calldata play) external;

    /// @notice Pays the caller what it is credited with.
    function collect() external;

    function root() external view returns (IRoot);
    function stepper() external view returns (IStep);

    /// @notice What opens frames that are not in calldata.
    function availability() external view returns (IAvailability);
    function moveWindow() external view returns (uint64);
    function challengeBond() external view returns (uint256);
    /// @notice The hash of a game's `Play`, `keccak256(abi.encode(play))`; 0 when there is none.
    function standing(uint256 id) external view returns (bytes32);
    /// @notice Games ever opened; ids are 1 … games.
    function games() external view returns (uint256);
    function credits(address account) external view returns (uint256);
}
