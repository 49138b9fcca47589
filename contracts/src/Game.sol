// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Digests} from "./Digests.sol";
import {IAvailability} from "./IAvailability.sol";
import {IGame} from "./IGame.sol";
import {IRoot} from "./IRoot.sol";
import {IStep} from "./IStep.sol";
import {Openings} from "./Openings.sol";
import {Reveals} from "./Reveals.sol";

/// @title The dispute game (docs/protocol.md §10)
/// @notice Each move checks whose turn it is and that the batch still stands, works out the next `Play`, and keeps its hash.
contract Game is IGame {
    using Address for address payable;
    using Openings for Opening;

    /// @dev Nobody has its key.
    address private constant BURNED = 0x000000000000000000000000000000000000dEaD;

    /// @inheritdoc IGame
    IRoot public immutable root;

    /// @inheritdoc IGame
    IStep public immutable stepper;

    /// @inheritdoc IGame
    IAvailability public immutable availability;

    /// @inheritdoc IGame
    uint64 public immutable moveWindow;

    /// @inheritdoc IGame
    uint256 public immutable challengeBond;

    /// @inheritdoc IGame
    uint256 public games;

    /// @inheritdoc IGame
    mapping(uint256 id => bytes32) public standing;

    /// @inheritdoc IGame
    mapping(address account => uint256) public credits;

    constructor(IRoot root_, IStep stepper_, IAvailability availability_, uint64 moveWindow_, uint256 challengeBond_) {
        root = root_;
        stepper = stepper_;
        availability = availability_;
        moveWindow = moveWindow_;
        challengeBond = challengeBond_;
    }

    /// @inheritdoc IGame
    function open(IRoot.Batch calldata batch) external payable returns (uint256 id) {
        if (msg.value != challengeBond) revert WrongBond(challengeBond);
        bytes32 batchHash = keccak256(abi.encode(batch));
        IRoot.Posted memory posted = root.posted(batch.number);
        if (posted.batchHash != batchHash) revert NotStanding(batch.number);
        // Genesis has no step to deny. Any other batch within its window is not final.
        if (batch.number == 0 || block.timestamp >= uint256(posted.postedAt) + root.config().window) {
            revert TooLate(batch.number);
        }
        id = ++games;
        Play memory play = Play({
            id: id,
            batchHash: batchHash,
            number: batch.number,
            dataRoot: batch.dataRoot,
            challenger: msg.sender,
            from: 0,
            length: batch.steps,
            pre: batch.pre,
            post: batch.post,
            reveals: 0,
            deadline: _deadline()
        });
        standing[id] = keccak256(abi.encode(play));
        emit Opened(id, batch.number, msg.sender, play);
        root.contest(batchHash);
    }

    /// @inheritdoc IGame
    function reveal(Play calldata play, bytes32[] calldata commitments) external {
        if (msg.sender != root.config().sequencer) revert NotSequencer();
        _checkMove(play);
        if (!_isReveal(play)) revert WrongMove();
        uint256 expected = Reveals.parts(play.length) - 1;
        if (commitments.length != expected) revert WrongCount(expected);

        Play memory next = play;
        next.reveals = Reveals.root(commitments, play.post);
        next.deadline = _deadline();
        standing[play.id] = keccak256(abi.encode(next));
        emit Revealed(play.id, next, commitments);
    }

    /// @inheritdoc IGame
    function pick(
        Play calldata play,
        uint256 segment,
        bytes32 before,
        bytes32[] calldata beforePath,
        bytes32 after_,
        bytes32[] calldata afterPath
    ) external {
        Play memory next = _pick(play, segment, before, beforePath, after_, afterPath);
        standing[play.id] = keccak256(abi.encode(next));
    }

    /// @inheritdoc IGame
    function step(Play calldata play, Opening calldata opening, bytes calldata witness) external {
        _checkMove(play);
        _step(play, opening, witness);
    }

    /// @inheritdoc IGame
    function pickAndStep(
        Play calldata play,
        uint256 segment,
        bytes32 before,
        bytes32[] calldata beforePath,
        bytes32 after_,
        bytes32[] calldata afterPath,
        Opening calldata opening,
        bytes calldata witness
    ) external {
        _step(_pick(play, segment, before, beforePath, after_, afterPath), opening, witness);
    }

    /// @inheritdoc IGame
    function timeout(Play calldata play) external {
        _checkStanding(play);
        if (block.timestamp <= play.deadline) revert DeadlineNotPassed(play.deadline);
        _close(play, _isReveal(play) ? Outcome.challengerWon : Outcome.challengerLost);
    }

    /// @inheritdoc IGame
    function dissolve(Play calldata play) external {
        _checkPlay(play);
        if (_stands(play)) revert WrongMove();
        _close(play, Outcome.batchGone);
    }

    /// @inheritdoc IGame
    function collect() external {
        uint256 amount = credits[msg.sender];
        if (amount == 0) revert NothingToCollect();
        credits[msg.sender] = 0;
        payable(msg.sender).sendValue(amount);
    }

    /// @dev The play in which the segment picked is all that is left. Keeping it is the caller's.
    function _pick(
        Play calldata play,
        uint256 segment,
        bytes32 before,
        bytes32[] calldata beforePath,
        bytes32 after_,
        bytes32[] calldata afterPath
    ) private returns (Play memory next) {
        if (msg.sender != play.challenger) revert NotChallenger();
        _checkMove(play);
        bytes32 reveals = play.reveals;
        if (reveals == 0) revert WrongMove();
        if (segment >= Reveals.parts(play.length)) revert NoSegment(segment);
        if (segment == 0) {
            before = play.pre;
        } else if (!Reveals.verify(reveals, segment - 1, before, beforePath)) {
            revert BadReveal();
        }
        if (!Reveals.verify(reveals, segment, after_, afterPath)) revert BadReveal();

        uint64 start = Reveals.boundary(play.length, segment);
        next = play;
        next.from = play.from + start;
        next.length = Reveals.boundary(play.length, segment + 1) - start;
        next.pre = before;
        next.post = after_;
        next.reveals = 0;
        next.deadline = _deadline();
        emit Picked(play.id, segment, next);
    }

    /// @dev A witness that opens nothing reverts; what the frame's bytes say never does.
    function _step(Play memory play, Opening calldata opening, bytes calldata witness) private {
        if (play.length != 1) revert WrongMove();
        if (
            !opening.isUnder(play.dataRoot, availability) || play.from < opening.firstStep
                || play.from - opening.firstStep >= Openings.steps(opening.frame)
        ) revert BadOpening();
        (bytes32 post,,) = stepper.step(
            Digests.domainSeparator(block.chainid, address(root)),
            play.pre,
            opening.shard,
            opening.seq,
            opening.frame,
            play.from - opening.firstStep,
            witness
        );
        _close(play, post == play.post ? Outcome.challengerLost : Outcome.challengerWon);
    }

    function _close(Play memory play, Outcome outcome) private {
        delete standing[play.id];
        emit Closed(play.id, outcome, play);
        root.uncontest(play.batchHash);
        if (outcome == Outcome.challengerLost) {
            // Half is burned, so that nobody challenges itself for nothing.
            uint256 half = challengeBond / 2;
            _credit(root.config().sequencer, half);
            // If even this cannot be paid, the wei is stuck here, which is as good.
            (bool burned,) = BURNED.call{value: challengeBond - half}("");
            burned;
            return;
        }
        _credit(play.challenger, challengeBond);
        if (outcome == Outcome.challengerWon) root.invalidate(play.number, play.batchHash, play.challenger);
    }

    function _credit(address account, uint256 amount) private {
        credits[account] += amount;
        emit Credited(account, amount);
    }

    function _checkMove(Play calldata play) private view {
        _checkStanding(play);
        if (block.timestamp > play.deadline) revert DeadlinePassed(play.deadline);
    }

    /// @dev Of a batch that is gone, nothing is left to win or lose: such games are dissolved.
    function _checkStanding(Play calldata play) private view {
        _checkPlay(play);
        if (!_stands(play)) revert NotStanding(play.number);
    }

    function _checkPlay(Play calldata play) private view {
        bytes32 kept = standing[play.id];
        if (kept != keccak256(abi.encode(play))) revert WrongPlay(kept);
    }

    /// @dev A batch that was void and posted again since the last move is another one, though its hash be the same: whoever
    /// had to move could not, and nobody loses by that.
    function _stands(Play calldata play) private view returns (bool) {
        IRoot.Posted memory posted = root.posted(play.number);
        return posted.batchHash == play.batchHash && posted.postedAt + moveWindow <= play.deadline;
    }

    /// @dev Whether the sequencer moves next.
    function _isReveal(Play calldata play) private pure returns (bool) {
        return play.length > 1 && play.reveals == 0;
    }

    function _deadline() private view returns (uint64) {
        return uint64(block.timestamp) + moveWindow;
    }
}
