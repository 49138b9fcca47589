// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IGame} from "../src/IGame.sol";
import {GameBase} from "./GameBase.sol";
import {vm} from "./Vm.sol";

/// @notice Segments of every length, around one and around 128 parts.
contract GameLengthsTest is GameBase {
    function stepsOfAFrame() internal pure override returns (uint256) {
        return 1;
    }

    function test_open_ofOneStepGoesStraightToIt() public {
        liesAfter = 0;
        IGame.Play memory play = openBy(carol, postFrames(1));
        vm.prank(sequencer);
        vm.expectRevert(IGame.WrongMove.selector);
        play_.reveal(play, new bytes32[](0));
        step(play);
        expectWon(play);
    }

    function test_timeout_ofOneStepIsTheChallengersLoss() public {
        liesAfter = 0;
        IGame.Play memory play = openBy(carol, postFrames(1));
        vm.warp(play.deadline + 1);
        play_.timeout(play);
        expectLost(play);
    }

    function test_narrow_findsTheLie_twoSteps() public {
        _find(2, 0, 1);
        vm.assertEq(play_.games(), 1);
    }

    function test_narrow_findsTheLie_127() public {
        _find(127, 126, 1);
    }

    function test_narrow_findsTheLie_128() public {
        _find(128, 127, 1);
    }

    /// @dev 129 steps in 128 parts: one part has two, the last.
    function test_narrow_findsTheLie_129() public {
        _find(129, 127, 2);
    }

    function test_narrow_findsTheLie_129First() public {
        _find(129, 0, 1);
    }

    function test_narrow_findsTheLie(uint64 length, uint64 lie) public {
        length = 1 + length % 300;
        lie %= length;
        _find(length, lie, type(uint256).max);
    }

    /// @dev Every part of every length: no step left out, none twice, each part as long as the play says.
    function test_pick_coversEveryStep(uint64 length) public {
        length = 2 + length % 300;
        IGame.Play memory play = reveal(openBy(carol, postFrames(length)));
        Pick memory pick_ = pickOf(play, partsOf(play) - 1);
        IGame.Play memory last = picked(play, pick_);
        vm.assertEq(last.from + last.length, length);
        vm.assertEq(last.post, play.post);
        pick(play, pick_.segment);
    }

    function test_pick_revertsOnTheZerosBehindAShortSegment() public {
        IGame.Play memory play = openBy(carol, postFrames(5));
        Pick memory pick_ = pickOf(play, 4);
        play = reveal(play);
        bytes32[] memory all = leavesOf(play, innerOf(play));
        vm.assertEq(all[5], 0);
        vm.prank(carol);
        vm.expectRevert(abi.encodeWithSelector(IGame.NoSegment.selector, 5));
        play_.pick(play, 5, pick_.after_, pick_.afterPath, 0, pick_.beforePath);
    }

    function _find(uint64 length, uint64 lie, uint256 rounds) private {
        liesAfter = lie;
        IGame.Play memory play = openBy(carol, postFrames(length));
        uint256 made;
        while (play.length > 1) {
            play = reveal(play);
            play = pick(play, segmentOf(play, lie));
            ++made;
        }
        if (rounds != type(uint256).max) vm.assertEq(made, rounds);
        vm.assertEq(play.from, lie);
        vm.assertEq(play.pre, alphabet.letter(lie));
        step(play);
        expectWon(play);
    }
}

/// @notice The most steps that three rounds single out: 128 × 128 × 128.
contract GameOfThreeRoundsTest is GameBase {
    function test_narrow_takesThreeRounds() public {
        uint64 lie = 1_234_567;
        liesAfter = lie;
        IGame.Play memory play = openBy(carol, postFrames(8192));
        vm.assertEq(play.length, 2 ** 21);
        for (uint256 round; round < 3; ++round) {
            vm.assertTrue(play.length > 1);
            play = reveal(play);
            play = pick(play, segmentOf(play, lie));
        }
        vm.assertEq(play.from, lie);
        step(play);
        expectWon(play);
    }
}
