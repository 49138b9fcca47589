// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {GameBase} from "./GameBase.sol";
import {vm} from "./Vm.sol";

/// @notice What each move costs, calldata at EIP-7623's floor included, kept in `snapshots/`; and that all of a dispute
/// over 16,384 steps stays below 1.2 million.
contract GameGasTest is GameBase {
    uint256 private constant LIMIT = 1_200_000;
    /// @dev What the last step may come to by itself; `Step.json` says what steps come to.
    uint256 private constant STEP = 250_000;

    uint256 private _sum;

    function test_dispute_gas() public {
        uint64 lie = 12_345;
        liesAfter = lie;
        IRoot.Batch memory batch = postFrames(64);
        _loseOne(batch);
        _sum = 0;
        IGame.Play memory play = openBy(carol, batch);
        play = pick(reveal(play), 96);
        play = reveal(play);
        uint256 segment = segmentOf(play, lie);
        Pick memory pick_ = pickOf(play, segment);
        IGame.Play memory last = picked(play, pick_);
        vm.assertEq(last.length, 1);
        IGame.Opening memory opening = openingOf(last.from);
        bytes memory witness = witnessOf(last);
        vm.prank(carol);
        play_.pickAndStep(
            play, segment, pick_.before, pick_.beforePath, pick_.after_, pick_.afterPath, opening, witness
        );
        // With a frame of two bytes and a machine that only recites: the game's own share.
        moved("pickAndStep: won, without the step");
        vm.assertEq(root.head(), 0);
        vm.snapshotValue("Game", "dispute of 16,384 steps, without the step", _sum);
        vm.assertLt(_sum + STEP, LIMIT, "a dispute costs too much");
    }

    function test_step_gas() public {
        IRoot.Batch memory batch = postFrames(64);
        step(narrow(openBy(carol, batch), 4));
        moved("step: lost, without the step");
        IGame.Play memory play = reveal(openBy(carol, batch));
        vm.warp(play.deadline + 1);
        play_.timeout(play);
        moved("timeout: lost");
        play = openBy(carol, batch);
        vm.warp(play.deadline + 1);
        IGame.Play memory other = openBy(alice, batch);
        play_.timeout(play);
        moved("timeout: won");
        play_.dissolve(other);
        moved("dissolve");
        vm.prank(alice);
        play_.collect();
        moved("collect");
    }

    /// @dev So that no counter is written for the first time.
    function _loseOne(IRoot.Batch memory batch) private {
        IGame.Play memory play = reveal(openBy(alice, batch));
        vm.warp(play.deadline + 1);
        play_.timeout(play);
    }

    function moved(string memory move) internal override {
        _sum += vm.snapshotGasLastCall("Game", move);
    }
}
