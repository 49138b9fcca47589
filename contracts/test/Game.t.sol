// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {IStep} from "../src/IStep.sol";
import {GameBase} from "./GameBase.sol";
import {Rfc6962Model} from "./Model.sol";
import {vm} from "./Vm.sol";

/// @notice Every move of one game, and what refuses it.
contract GameTest is GameBase {
    function test_constructor_tellsTheConstants() public view {
        vm.assertEq(address(play_.root()), address(root));
        vm.assertEq(address(play_.stepper()), address(alphabet));
        vm.assertEq(play_.moveWindow(), MOVE_WINDOW);
        vm.assertEq(play_.challengeBond(), CHALLENGE_BOND);
    }

    function test_open_begins() public {
        IRoot.Batch memory batch = postFrames(64);
        IGame.Play memory play = IGame.Play({
            id: 1,
            batchHash: keccak256(abi.encode(batch)),
            number: 1,
            dataRoot: batch.dataRoot,
            challenger: carol,
            from: 0,
            length: 16_384,
            pre: batch.pre,
            post: batch.post,
            reveals: 0,
            deadline: uint64(block.timestamp) + MOVE_WINDOW
        });
        vm.expectEmit();
        emit IGame.Opened(1, 1, carol, play);
        openBy(carol, batch);
        vm.assertEq(play_.games(), 1);
        vm.assertEq(root.contested(play.batchHash), 1);
        vm.assertEq(address(play_).balance, CHALLENGE_BOND);
    }

    function test_open_revertsOnAWrongBond() public {
        IRoot.Batch memory batch = postFrames(1);
        for (uint256 i; i < 2; ++i) {
            vm.prank(carol);
            vm.expectRevert(abi.encodeWithSelector(IGame.WrongBond.selector, CHALLENGE_BOND));
            play_.open{value: CHALLENGE_BOND - 1 + 2 * i}(batch);
        }
    }

    function test_open_revertsOnABatchNeverPosted() public {
        IRoot.Batch memory batch = postFrames(1);
        batch.post = ~batch.post;
        _refuseOpen(batch, abi.encodeWithSelector(IGame.NotStanding.selector, 1));
        batch.number = 2;
        _refuseOpen(batch, abi.encodeWithSelector(IGame.NotStanding.selector, 2));
    }

    function test_open_revertsOnAVoidBatch() public {
        IRoot.Batch memory batch = postFrames(1);
        invalidate(1);
        _refuseOpen(batch, abi.encodeWithSelector(IGame.NotStanding.selector, 1));
    }

    function test_open_revertsOnGenesis() public {
        IRoot.Batch memory genesis;
        genesis.post = genesisPost();
        _refuseOpen(genesis, abi.encodeWithSelector(IGame.TooLate.selector, 0));
    }

    function test_open_worksToTheWindowsLastSecond() public {
        IRoot.Batch memory batch = postFrames(1);
        vm.warp(block.timestamp + WINDOW - 1);
        openBy(carol, batch);
        vm.warp(block.timestamp + 1);
        _refuseOpen(batch, abi.encodeWithSelector(IGame.TooLate.selector, 1));
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 1));
        root.finalize(1);
    }

    function test_reveal_keepsTheTree() public {
        IGame.Play memory play = _open(64);
        IGame.Play memory next = copy(play);
        vm.warp(block.timestamp + 5);
        IGame.Play memory shown = reveal(play);
        next.reveals = shown.reveals;
        next.deadline = uint64(block.timestamp) + MOVE_WINDOW;
        vm.assertEq(keccak256(abi.encode(shown)), keccak256(abi.encode(next)));
    }

    function test_reveal_tellsWhatItRevealed() public {
        IGame.Play memory play = _open(64);
        IGame.Play memory next = copy(play);
        bytes32[] memory inner = innerOf(play);
        // 128 is a power of two: the tree of RFC 6962 has the same shape.
        next.reveals = Rfc6962Model.root(leavesOf(play, inner), pairHash);
        next.deadline = uint64(block.timestamp) + MOVE_WINDOW;
        vm.expectEmit();
        emit IGame.Revealed(1, next, inner);
        reveal(play, inner);
    }

    function test_reveal_revertsForOthers() public {
        IGame.Play memory play = _open(64);
        bytes32[] memory inner = innerOf(play);
        vm.prank(carol);
        vm.expectRevert(IGame.NotSequencer.selector);
        play_.reveal(play, inner);
    }

    function test_reveal_revertsOnAWrongCount() public {
        IGame.Play memory play = _open(64);
        _refuseReveal(play, new bytes32[](126), abi.encodeWithSelector(IGame.WrongCount.selector, 127));
        _refuseReveal(play, new bytes32[](128), abi.encodeWithSelector(IGame.WrongCount.selector, 127));
        _refuseReveal(play, new bytes32[](0), abi.encodeWithSelector(IGame.WrongCount.selector, 127));
    }

    function test_reveal_revertsOutOfTurn() public {
        IGame.Play memory play = reveal(_open(64));
        _refuseReveal(play, innerOf(play), abi.encodeWithSelector(IGame.WrongMove.selector));
        IGame.Play memory last = narrow(pick(play, 3), 400);
        _refuseReveal(last, new bytes32[](0), abi.encodeWithSelector(IGame.WrongMove.selector));
    }

    function test_reveal_revertsAfterTheDeadline() public {
        IGame.Play memory play = _open(64);
        bytes32[] memory inner = innerOf(play);
        vm.warp(play.deadline + 1);
        _refuseReveal(play, inner, abi.encodeWithSelector(IGame.DeadlinePassed.selector, play.deadline));
    }

    function test_reveal_worksInTheLastSecond() public {
        IGame.Play memory play = _open(64);
        vm.warp(play.deadline);
        vm.expectRevert(abi.encodeWithSelector(IGame.DeadlineNotPassed.selector, play.deadline));
        play_.timeout(play);
        reveal(play);
    }

    function test_pick_narrows(uint256 segment) public {
        segment %= 128;
        IGame.Play memory play = reveal(_open(64));
        vm.warp(block.timestamp + 7);
        IGame.Play memory next = pick(play, segment);
        vm.assertEq(next.from, segment * 128);
        vm.assertEq(next.length, 128);
        vm.assertEq(next.pre, claim(segment * 128));
        vm.assertEq(next.post, claim((segment + 1) * 128));
        vm.assertEq(next.deadline, block.timestamp + MOVE_WINDOW);
    }

    function test_pick_tellsThePlay() public {
        IGame.Play memory play = reveal(_open(64));
        IGame.Play memory next = picked(play, pickOf(play, 5));
        vm.expectEmit();
        emit IGame.Picked(1, 5, next);
        pick(play, 5);
    }

    function test_pick_ignoresBeforeOfTheFirstSegment() public {
        IGame.Play memory play = reveal(_open(64));
        Pick memory pick_ = pickOf(play, 0);
        vm.prank(carol);
        play_.pick(play, 0, bytes32(uint256(1)), new bytes32[](3), pick_.after_, pick_.afterPath);
        expectStanding(picked(play, pick_));
    }

    function test_pick_revertsForOthers() public {
        IGame.Play memory play = reveal(_open(64));
        Pick memory pick_ = pickOf(play, 1);
        _refusePick(sequencer, play, pick_, abi.encodeWithSelector(IGame.NotChallenger.selector));
        _refusePick(bob, play, pick_, abi.encodeWithSelector(IGame.NotChallenger.selector));
    }

    function test_pick_revertsOutOfTurn() public {
        IGame.Play memory play = _open(64);
        _refusePick(carol, play, pickOf(play, 1), abi.encodeWithSelector(IGame.WrongMove.selector));
        IGame.Play memory last = narrow(play, 0);
        Pick memory none;
        _refusePick(carol, last, none, abi.encodeWithSelector(IGame.WrongMove.selector));
    }

    function test_pick_revertsPastTheSegments() public {
        IGame.Play memory play = reveal(_open(64));
        Pick memory pick_ = pickOf(play, 127);
        pick_.segment = 128;
        _refusePick(carol, play, pick_, abi.encodeWithSelector(IGame.NoSegment.selector, 128));
        pick_.segment = type(uint256).max;
        _refusePick(carol, play, pick_, abi.encodeWithSelector(IGame.NoSegment.selector, type(uint256).max));
    }

    function test_pick_revertsOnWhatWasNotRevealed() public {
        IGame.Play memory play = reveal(_open(64));
        bytes memory reason = abi.encodeWithSelector(IGame.BadReveal.selector);
        Pick memory pick_ = pickOf(play, 9);
        pick_.before = ~pick_.before;
        _refusePick(carol, play, pick_, reason);
        pick_ = pickOf(play, 9);
        pick_.after_ = ~pick_.after_;
        _refusePick(carol, play, pick_, reason);
        pick_ = pickOf(play, 9);
        pick_.segment = 10; // good leaves at other places
        _refusePick(carol, play, pick_, reason);
        pick_ = pickOf(play, 9);
        (pick_.before, pick_.beforePath) = (pick_.after_, pick_.afterPath);
        _refusePick(carol, play, pick_, reason);
        pick_ = pickOf(play, 9);
        pick_.afterPath = new bytes32[](6);
        _refusePick(carol, play, pick_, reason);
        pick_ = pickOf(play, 9);
        pick_.beforePath = new bytes32[](8);
        _refusePick(carol, play, pick_, reason);
    }

    /// @dev A node of the tree is no commitment: paths have one length.
    function test_pick_revertsOnAnInnerNode() public {
        IGame.Play memory play = reveal(_open(64));
        Pick memory pick_ = pickOf(play, 0);
        pick_.after_ = pairHash(pick_.after_, pick_.afterPath[0]);
        bytes32[] memory shorter = new bytes32[](6);
        for (uint256 i; i < 6; ++i) {
            shorter[i] = pick_.afterPath[i + 1];
        }
        pick_.afterPath = shorter;
        _refusePick(carol, play, pick_, abi.encodeWithSelector(IGame.BadReveal.selector));
    }

    function test_pick_worksInTheLastSecond() public {
        IGame.Play memory play = reveal(_open(64));
        vm.warp(play.deadline);
        vm.expectRevert(abi.encodeWithSelector(IGame.DeadlineNotPassed.selector, play.deadline));
        play_.timeout(play);
        pick(play, 127);
    }

    function test_pick_revertsAfterTheDeadline() public {
        IGame.Play memory play = reveal(_open(64));
        vm.warp(play.deadline + 1);
        _refusePick(carol, play, pickOf(play, 1), abi.encodeWithSelector(IGame.DeadlinePassed.selector, play.deadline));
    }

    function test_step_voidsALie() public {
        liesAfter = 5000;
        IGame.Play memory play = narrow(_open(64), 5000);
        vm.assertEq(play.from, 5000);
        vm.expectEmit();
        emit IGame.Closed(1, IGame.Outcome.challengerWon, play);
        vm.prank(bob); // anyone, for the challenger
        step(play);
        expectWon(play);
    }

    function test_step_paysForADenialOfTheTruth() public {
        IGame.Play memory play = narrow(_open(64), 77);
        IGame.Opening memory opening = openingOf(play.from);
        bytes memory witness = witnessOf(play);
        vm.expectEmit();
        emit IGame.Closed(1, IGame.Outcome.challengerLost, play);
        vm.prank(sequencer);
        play_.step(play, opening, witness);
        expectLost(play);
    }

    /// @dev The two ends of what a challenger picked are agreed and denied; it cannot deny a step after a lie.
    function test_step_paysForAPickPastTheLie() public {
        liesAfter = 5000;
        IGame.Play memory play = narrow(_open(64), 5001);
        IGame.Opening memory opening = openingOf(play.from);
        vm.expectRevert(abi.encodeWithSelector(IStep.WrongPre.selector, alphabet.letter(5001)));
        play_.step(play, opening, abi.encode(5001));
        vm.warp(play.deadline + 1);
        play_.timeout(play); // no witness opens a lie, so its time runs out
        expectLost(play);
    }

    function test_step_revertsOnABadWitness() public {
        IGame.Play memory play = narrow(_open(64), 77);
        IGame.Opening memory opening = openingOf(play.from);
        vm.expectRevert(IStep.BadWitness.selector);
        play_.step(play, opening, "");
        expectStanding(play);
    }

    function test_step_revertsOnAnotherOpening() public {
        IGame.Play memory play = narrow(_open(64), 5000); // in frame 19
        bytes memory reason = abi.encodeWithSelector(IGame.BadOpening.selector);
        _refuseStep(play, openingOf(4863), reason); // the frame before
        _refuseStep(play, openingOf(5120), reason); // the frame after
        IGame.Opening memory opening = openingOf(5000);
        opening.frame = hex"10ff";
        _refuseStep(play, opening, reason);
        opening = openingOf(5000);
        opening.firstStep = 5000;
        _refuseStep(play, opening, reason);
        opening = openingOf(5000);
        opening.seq += 1;
        _refuseStep(play, opening, reason);
        opening = openingOf(5000);
        opening.shard = 1;
        _refuseStep(play, opening, reason);
        opening = openingOf(5000);
        opening.path[0] = ~opening.path[0];
        _refuseStep(play, opening, reason);
    }

    /// @dev A frame ends before the first step of the next.
    function test_step_revertsOnAFrameThatJustEnded() public {
        IGame.Play memory play = narrow(_open(64), 5120);
        bytes memory reason = abi.encodeWithSelector(IGame.BadOpening.selector);
        _refuseStep(play, openingOf(5119), reason);
        step(play);
        expectLost(play);
    }

    function test_step_revertsOutOfTurn() public {
        IGame.Play memory play = _open(64);
        _refuseStep(play, openingOf(0), abi.encodeWithSelector(IGame.WrongMove.selector));
        play = reveal(play);
        _refuseStep(play, openingOf(0), abi.encodeWithSelector(IGame.WrongMove.selector));
    }

    function test_step_worksInTheLastSecond() public {
        IGame.Play memory play = narrow(_open(64), 0);
        vm.warp(play.deadline);
        step(play);
        expectLost(play);
    }

    function test_step_revertsAfterTheDeadline() public {
        IGame.Play memory play = narrow(_open(64), 0);
        vm.warp(play.deadline + 1);
        _refuseStep(play, openingOf(0), abi.encodeWithSelector(IGame.DeadlinePassed.selector, play.deadline));
    }

    function test_timeout_isTheSequencersLossWhenItMustReveal() public {
        IGame.Play memory play = _open(64);
        vm.warp(play.deadline + 1);
        vm.prank(bob);
        play_.timeout(play);
        expectWon(play);
    }

    function test_timeout_isTheChallengersLossWhenItMustPick() public {
        IGame.Play memory play = reveal(_open(64));
        vm.warp(play.deadline + 1);
        play_.timeout(play);
        expectLost(play);
    }

    function test_timeout_isTheChallengersLossWhenItMustStep() public {
        liesAfter = 0;
        IGame.Play memory play = narrow(_open(64), 0);
        vm.warp(play.deadline + 1);
        play_.timeout(play);
        expectLost(play);
    }

    function test_dissolve_revertsWhileTheBatchStands() public {
        IGame.Play memory play = _open(64);
        vm.expectRevert(IGame.WrongMove.selector);
        play_.dissolve(play);
    }

    function _open(uint256 frames) private returns (IGame.Play memory) {
        return openBy(carol, postFrames(frames));
    }

    function _refuseOpen(IRoot.Batch memory batch, bytes memory reason) private {
        vm.prank(carol);
        vm.expectRevert(reason);
        play_.open{value: CHALLENGE_BOND}(batch);
    }

    function _refuseReveal(IGame.Play memory play, bytes32[] memory inner, bytes memory reason) private {
        vm.prank(sequencer);
        vm.expectRevert(reason);
        play_.reveal(play, inner);
    }

    function _refusePick(address sender, IGame.Play memory play, Pick memory pick_, bytes memory reason) private {
        vm.prank(sender);
        vm.expectRevert(reason);
        play_.pick(play, pick_.segment, pick_.before, pick_.beforePath, pick_.after_, pick_.afterPath);
    }

    function _refuseStep(IGame.Play memory play, IGame.Opening memory opening, bytes memory reason) private {
        bytes memory witness = witnessOf(play);
        vm.expectRevert(reason);
        play_.step(play, opening, witness);
    }
}
