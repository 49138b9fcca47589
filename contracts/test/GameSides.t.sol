// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Game} from "../src/Game.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {IStep} from "../src/IStep.sol";
import {GameBase} from "./GameBase.sol";
import {vm} from "./Vm.sol";

/// @notice A challenger that is a contract: refuses to be paid, or asks again while it is being paid.
contract Challenger {
    Game private immutable _game;
    bool public refuses = true;
    bytes public answer;

    constructor(Game game_) payable {
        _game = game_;
    }

    function open(IRoot.Batch calldata batch, uint256 bond) external returns (uint256) {
        return _game.open{value: bond}(batch);
    }

    function setRefuses(bool refuses_) external {
        refuses = refuses_;
    }

    function collect(address from) external {
        Game(from).collect(); // Root's has the same name
    }

    receive() external payable {
        require(!refuses, "no, thank you");
        try Game(msg.sender).collect() {
            revert("paid twice");
        } catch (bytes memory answer_) {
            answer = answer_;
        }
    }
}

/// @notice Who plays against whom: many games at once, batches that go, bonds, and challengers of all kinds.
contract GameSidesTest is GameBase {
    function test_standing_refusesAnotherPlay() public {
        liesAfter = 9;
        IGame.Play memory play = openBy(carol, postFrames(1));
        for (uint256 field; field < 11; ++field) {
            // Each member is one word: change one after the other.
            bytes memory words = abi.encode(play);
            words[32 * field + 31] ^= 0x01;
            _refuseAll(abi.decode(words, (IGame.Play)), play_.standing(field == 0 ? 0 : 1));
        }
    }

    function test_standing_refusesMovesOfAGameThatIsOver() public {
        IGame.Play memory play = narrow(openBy(carol, postFrames(1)), 3);
        step(play);
        _refuseAll(play, 0);
    }

    /// @dev A reorg may put another move before ours: then ours is for a play that is not there.
    function test_standing_refusesAMoveMadeForAnotherPast() public {
        IGame.Play memory play = openBy(carol, postFrames(64));
        bytes32[] memory inner = innerOf(play);
        inner[0] = ~inner[0];
        reveal(play, inner);
        IGame.Play memory other = copy(play);
        other.reveals = keccak256("what was there before");
        Pick memory pick_ = pickOf(play, 4);
        bytes32 kept = play_.standing(1);
        vm.prank(carol);
        vm.expectRevert(abi.encodeWithSelector(IGame.WrongPlay.selector, kept));
        play_.pick(other, 4, pick_.before, pick_.beforePath, pick_.after_, pick_.afterPath);
    }

    function test_pickAndStep_isBothAtOnce() public {
        liesAfter = 5000;
        IGame.Play memory play = pick(reveal(openBy(carol, postFrames(64))), 39); // 4992 … 5119
        play = reveal(play);
        IGame.Play memory last = picked(play, pickOf(play, 8));
        vm.expectEmit();
        emit IGame.Picked(1, 8, last);
        vm.expectEmit();
        emit IGame.Closed(1, IGame.Outcome.challengerWon, last);
        _pickAndStep(carol, play, 8, "");
        expectWon(play);
    }

    function test_pickAndStep_paysForADenialOfTheTruth() public {
        IGame.Play memory play = pick(reveal(openBy(carol, postFrames(64))), 39);
        play = reveal(play);
        _pickAndStep(carol, play, 8, "");
        expectLost(play);
    }

    function test_pickAndStep_reverts() public {
        liesAfter = 5000;
        IGame.Play memory play = reveal(openBy(carol, postFrames(64)));
        _pickAndStep(carol, play, 39, abi.encodeWithSelector(IGame.WrongMove.selector)); // 128 steps, not one
        play = reveal(pick(play, 39));
        _pickAndStep(bob, play, 8, abi.encodeWithSelector(IGame.NotChallenger.selector));
        _pickAndStep(carol, play, 9, abi.encodeWithSelector(IStep.WrongPre.selector, alphabet.letter(5001)));
        vm.warp(play.deadline + 1);
        _pickAndStep(carol, play, 8, abi.encodeWithSelector(IGame.DeadlinePassed.selector, play.deadline));
        expectStanding(play);
    }

    function test_finalize_waitsForEveryGame() public {
        IRoot.Batch memory one = postFrames(1);
        IGame.Play memory first = openBy(carol, one);
        IGame.Play memory second = openBy(alice, one);
        vm.assertEq(root.contested(first.batchHash), 2);
        vm.warp(block.timestamp + MOVE_WINDOW);
        first = reveal(first);
        second = reveal(second);
        postFrames(1);
        vm.warp(block.timestamp + WINDOW);
        _refuseFinal(2, 1); // whoever asks for 2 asks for 1, too
        play_.timeout(first);
        _refuseFinal(1, 1);
        play_.timeout(second);
        root.finalize(2);
    }

    function test_finalize_isStoppedOnlyFromTheContestedOn() public {
        postFrames(1);
        IGame.Play memory play = openBy(carol, postFrames(1));
        vm.warp(block.timestamp + WINDOW);
        _refuseFinal(2, 2);
        root.finalize(1);
        play_.timeout(play); // the sequencer did not move: the batch is void, final ones stay
        vm.assertEq(root.head(), 1);
        vm.assertEq(root.finalized(), 1);
    }

    function test_step_voidsForAllGamesOfTheBatch() public {
        liesAfter = 9;
        IRoot.Batch memory batch = postFrames(1);
        IGame.Play memory one = openBy(carol, batch);
        IGame.Play memory two = openBy(alice, batch);
        IGame.Play memory three = openBy(alice, batch);
        IGame.Play memory lost = narrow(openBy(bobWithMoney(), batch), 4);
        step(lost); // bob denied the truth: the others' games go on
        vm.assertEq(play_.credits(bob), 0);
        two = narrow(two, 9);
        step(narrow(one, 9));
        vm.assertEq(root.credits(carol), MIN_BOND / 2);

        _refuseAllAsGone(two);
        _refuseAllAsGone(three);
        vm.expectEmit();
        emit IGame.Closed(2, IGame.Outcome.batchGone, two);
        vm.prank(bob);
        play_.dissolve(two);
        play_.dissolve(three);
        vm.assertEq(play_.credits(alice), 2 * CHALLENGE_BOND);
        vm.assertEq(root.credits(alice), 0);
        vm.assertEq(root.contested(one.batchHash), 0);
    }

    function test_step_voidsLaterBatchesWithTheirGames() public {
        postFrames(1);
        liesAfter = 256 + 9;
        IGame.Play memory bad = openBy(carol, postFrames(1));
        bad = narrow(bad, 9);
        IGame.Opening memory opening = openingOf(bad.from);
        bytes memory witness = witnessOf(bad);
        IGame.Play memory after_ = openBy(alice, postFrames(1));
        reveal(after_);
        play_.step(bad, opening, witness);
        vm.assertEq(root.head(), 1);
        after_ = _revealed(after_);
        _refuseAllAsGone(after_);
        play_.dissolve(after_);
        vm.assertEq(play_.credits(alice), CHALLENGE_BOND);
    }

    /// @dev The lie is in the batch after: who denies the one before, where it stands, has denied the truth.
    function test_step_leavesEarlierBatches() public {
        IGame.Play memory play = narrow(openBy(carol, postFrames(1)), 9);
        IGame.Opening memory opening = openingOf(play.from);
        bytes memory witness = witnessOf(play);
        liesAfter = 256 + 9;
        IRoot.Batch memory bad = postFrames(1);
        play_.step(play, opening, witness);
        expectLost(play);
        IGame.Play memory other = narrow(openBy(alice, bad), 9);
        step(other);
        vm.assertEq(root.head(), 1);
    }

    function test_dissolve_endsAGameOfABatchPostedAnew() public {
        bytes memory data = someData();
        IRoot.Batch memory batch = nextBatch();
        batch.steps = 1;
        post(batch, data);
        IGame.Play memory play = openBy(carol, batch);
        vm.warp(play.deadline);
        _voidByProof(batch);
        bondSequencer();
        vm.warp(play.deadline + 1);
        post(batch, data); // byte by byte the same, under the same hash
        vm.assertEq(root.posted(1).batchHash, play.batchHash);
        // Nobody could move meanwhile, so nobody has lost.
        _refuseAllAsGone(play);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 1));
        root.finalize(1);
        play_.dissolve(play);
        vm.assertEq(play_.credits(carol), CHALLENGE_BOND);
        vm.assertEq(root.contested(play.batchHash), 0);
        openBy(carol, batch);
        vm.assertEq(root.contested(play.batchHash), 1);
    }

    function test_timeout_goesOnWhenThePosterWasAtOnce() public {
        bytes memory data = someData();
        IRoot.Batch memory batch = nextBatch();
        post(batch, data);
        IGame.Play memory play = openBy(carol, batch);
        _voidByProof(batch);
        bondSequencer();
        post(batch, data); // within the second of the last move: a whole moveWindow is left
        vm.expectRevert(IGame.WrongMove.selector);
        play_.dissolve(play);
        vm.warp(play.deadline + 1);
        play_.timeout(play);
        expectLost(play); // one step: the challenger's move
    }

    function test_collect_paysOnce() public {
        liesAfter = 9;
        step(narrow(openBy(carol, postFrames(1)), 9));
        uint256 before = carol.balance;
        vm.prank(carol);
        play_.collect();
        vm.prank(carol);
        root.collect();
        vm.assertEq(carol.balance - before, CHALLENGE_BOND + MIN_BOND / 2);
        vm.assertEq(address(play_).balance, 0);
        vm.prank(carol);
        vm.expectRevert(IGame.NothingToCollect.selector);
        play_.collect();
        vm.prank(carol);
        vm.expectRevert(IRoot.NothingToCollect.selector);
        root.collect();
    }

    function test_collect_paysTheSequencer() public {
        step(narrow(openBy(carol, postFrames(1)), 9));
        vm.prank(sequencer);
        play_.collect();
        vm.assertEq(sequencer.balance, CHALLENGE_BOND / 2);
        vm.assertEq(address(play_).balance, 0);
    }

    function test_collect_ofAContractStopsNobody() public {
        liesAfter = 9;
        IRoot.Batch memory batch = postFrames(1);
        Challenger contract_ = new Challenger{value: CHALLENGE_BOND}(play_);
        contract_.open(batch, CHALLENGE_BOND);
        IGame.Play memory play = _playOf(batch, 1, address(contract_));
        vm.warp(block.timestamp + MOVE_WINDOW + 1);
        play_.timeout(play); // the sequencer's loss, though the winner takes no money
        expectWon(play);
        vm.expectRevert(abi.encodeWithSignature("Error(string)", "no, thank you"));
        contract_.collect(address(play_));
        vm.expectRevert(abi.encodeWithSignature("Error(string)", "no, thank you"));
        contract_.collect(address(root));

        contract_.setRefuses(false);
        contract_.collect(address(play_));
        vm.assertEq(address(contract_).balance, CHALLENGE_BOND);
        vm.assertEq(keccak256(contract_.answer()), keccak256(abi.encodeWithSelector(IGame.NothingToCollect.selector)));
        contract_.collect(address(root));
        vm.assertEq(address(contract_).balance, CHALLENGE_BOND + MIN_BOND / 2);
    }

    /// @dev Whoever plays both sides has less afterwards, however it ends.
    function test_open_paysNobodyWhoChallengesItself() public {
        vm.deal(sequencer, CHALLENGE_BOND);
        IGame.Play memory play = narrow(openBy(sequencer, postFrames(1)), 3);
        step(play);
        vm.prank(sequencer);
        play_.collect();
        vm.assertEq(sequencer.balance, CHALLENGE_BOND / 2);
        vm.assertEq(root.bonded(), MIN_BOND);

        vm.deal(sequencer, CHALLENGE_BOND);
        play = openBy(sequencer, postFrames(1));
        vm.warp(play.deadline + 1);
        play_.timeout(play);
        vm.prank(sequencer);
        play_.collect();
        vm.prank(sequencer);
        root.collect();
        vm.assertEq(sequencer.balance + root.bonded(), CHALLENGE_BOND + MIN_BOND / 2);
    }

    function test_step_worksInAFrozenDeployment() public {
        liesAfter = 5000;
        IRoot.Batch memory batch = postFrames(64);
        vm.warp(block.timestamp + WINDOW - 1);
        IGame.Play memory play = openBy(carol, batch);
        for (uint256 round; round < 2; ++round) {
            vm.warp(play.deadline);
            play = reveal(play);
            vm.warp(play.deadline);
            play = pick(play, segmentOf(play, 5000));
        }
        vm.warp(block.timestamp + 1);
        root.freeze();
        step(play);
        expectWon(play);
    }

    function bobWithMoney() private returns (address) {
        vm.deal(bob, 1 ether);
        return bob;
    }

    function _voidByProof(IRoot.Batch memory batch) private {
        vm.prank(faults);
        root.invalidate(batch.number, keccak256(abi.encode(batch)), bob);
        // Bob's share is not what these tests count.
        vm.prank(bob);
        root.collect();
        vm.deal(address(0xdEaD), 0);
    }

    function _playOf(IRoot.Batch memory batch, uint256 id, address challenger)
        private
        view
        returns (IGame.Play memory play)
    {
        play = IGame.Play({
            id: id,
            batchHash: keccak256(abi.encode(batch)),
            number: batch.number,
            dataRoot: batch.dataRoot,
            challenger: challenger,
            from: 0,
            length: batch.steps,
            pre: batch.pre,
            post: batch.post,
            reveals: 0,
            deadline: uint64(block.timestamp) + MOVE_WINDOW
        });
        expectStanding(play);
    }

    /// @dev The play after the reveal that was just made.
    function _revealed(IGame.Play memory play) private view returns (IGame.Play memory next) {
        next = copy(play);
        (next.reveals,) = treeOf(leavesOf(play, innerOf(play)), 0);
        expectStanding(next);
    }

    function _pickAndStep(address sender, IGame.Play memory play, uint256 segment, bytes memory reason) private {
        Pick memory pick_ = pickOf(play, segment);
        IGame.Play memory next = picked(play, pick_);
        IGame.Opening memory opening = openingOf(next.from);
        bytes memory witness = witnessOf(next);
        vm.prank(sender);
        if (reason.length > 0) vm.expectRevert(reason);
        play_.pickAndStep(
            play, segment, pick_.before, pick_.beforePath, pick_.after_, pick_.afterPath, opening, witness
        );
    }

    function _refuseFinal(uint64 upTo, uint64 contested) private {
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, contested));
        root.finalize(upTo);
    }

    function _refuseAll(IGame.Play memory play, bytes32 kept) private {
        bytes memory reason = abi.encodeWithSelector(IGame.WrongPlay.selector, kept);
        _refuseMoves(play, reason);
        vm.expectRevert(reason);
        play_.dissolve(play);
    }

    function _refuseAllAsGone(IGame.Play memory play) private {
        _refuseMoves(play, abi.encodeWithSelector(IGame.NotStanding.selector, play.number));
    }

    function _refuseMoves(IGame.Play memory play, bytes memory reason) private {
        IGame.Opening memory opening;
        bytes32[] memory none;
        vm.prank(sequencer);
        vm.expectRevert(reason);
        play_.reveal(play, none);
        vm.prank(play.challenger);
        vm.expectRevert(reason);
        play_.pick(play, 0, 0, none, 0, none);
        vm.expectRevert(reason);
        play_.step(play, opening, "");
        vm.prank(play.challenger);
        vm.expectRevert(reason);
        play_.pickAndStep(play, 0, 0, none, 0, none, opening, "");
        vm.expectRevert(reason);
        play_.timeout(play);
    }
}
