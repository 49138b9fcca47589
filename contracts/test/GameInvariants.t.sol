// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {GameBase} from "./GameBase.sol";
import {vm} from "./Vm.sol";

/// @notice A sequencer that lies at times, is late at times and posts anew what was voided; challengers that are right, wrong
/// or asleep; many games at once. No wei is lost or made, the truth never loses a step, and what is final stays.
contract GameInvariantsTest is GameBase {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev What {GameBase} has to know of a batch to play for it.
    struct About {
        uint256 stepsBefore;
        uint256 framesBefore;
        uint256 frames;
        uint256 liesAfter;
        IRoot.Batch batch;
    }

    mapping(bytes32 batchHash => About) private _about;
    IGame.Play[] private _open;
    uint256 private _bonds;
    uint256 private _paid;
    uint64 private _finalized;
    mapping(uint64 number => bytes32) private _final;

    function stepsOfAFrame() internal pure override returns (uint256) {
        return 3;
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(this);
        bytes4[] memory selectors = new bytes4[](9);
        selectors[0] = this.actPost.selector;
        selectors[1] = this.actOpen.selector;
        selectors[2] = this.actMove.selector;
        selectors[3] = this.actMove.selector; // more often than the others
        selectors[4] = this.actMove.selector;
        selectors[5] = this.actTimeout.selector;
        selectors[6] = this.actDissolve.selector;
        selectors[7] = this.actFinalize.selector;
        selectors[8] = this.actCollect.selector;
        targets[0].selectors = selectors;
    }

    function actPost(uint8 frames, uint16 lie) external {
        if (root.bonded() < MIN_BOND) bondSequencer();
        bytes32 previous = root.posted(root.head()).batchHash;
        _know(previous); // genesis has no frames
        uint256 begin = stepsBefore + frameCount * stepsOfAFrame();
        uint256 count = 1 + frames % 4;
        // On a lie, all that follows is one.
        if (liesAfter >= begin && lie % 2 == 0) liesAfter = begin + lie % (count * stepsOfAFrame());
        IRoot.Batch memory batch = postFrames(count);
        About storage about = _about[keccak256(abi.encode(batch))];
        (about.stepsBefore, about.framesBefore, about.frames) = (stepsBefore, framesBefore, count);
        about.liesAfter = liesAfter;
        about.batch = batch;
    }

    function actOpen(uint64 back, bool byAlice) external {
        if (root.head() == 0 || _open.length > 5) return;
        uint64 number = root.head() - back % root.head();
        IRoot.Posted memory posted = root.posted(number);
        if (block.timestamp >= posted.postedAt + WINDOW) return;
        address challenger = byAlice ? alice : carol;
        vm.deal(challenger, CHALLENGE_BOND);
        _open.push(openBy(challenger, _about[posted.batchHash].batch));
        _bonds += CHALLENGE_BOND;
    }

    /// @dev Whoever has to move does, if it still can: the sequencer as it claimed, the challenger rightly or not.
    function actMove(uint8 which, uint16 pickSeed, uint16 wait) external {
        if (_open.length == 0) return;
        uint256 index = which % _open.length;
        IGame.Play memory play = _open[index];
        if (!_stands(play)) return;
        vm.warp(block.timestamp + wait % 3 hours);
        if (block.timestamp > play.deadline) return;
        _know(play.batchHash);
        if (play.length > 1) {
            if (play.reveals == 0) _open[index] = reveal(play);
            else _open[index] = pick(play, segmentOf(play, _target(play, pickSeed)));
            return;
        }
        uint256 place = stepsBefore + play.from;
        IGame.Opening memory opening = openingOf(play.from);
        bytes memory witness = witnessOf(play);
        (uint256 bonded, uint64 head) = (root.bonded(), root.head());
        try play_.step(play, opening, witness) {
            bool lie = play.post != alphabet.letter(place + 1);
            vm.assertEq(root.head(), lie ? play.number - 1 : head);
            // Of a bond that an earlier lie took already, nothing is left to take.
            uint256 lost = bonded < MIN_BOND ? bonded : MIN_BOND;
            vm.assertEq(root.bonded(), lie ? bonded - lost : bonded);
            vm.assertTrue(play.pre == alphabet.letter(place), "stepped from a lie");
            _remove(index);
        } catch {
            vm.assertTrue(play.pre != alphabet.letter(place), "refused a good witness");
        }
    }

    function actTimeout(uint8 which, bool late) external {
        if (_open.length == 0) return;
        uint256 index = which % _open.length;
        IGame.Play memory play = _open[index];
        if (late && block.timestamp <= play.deadline) vm.warp(play.deadline + 1);
        bool due = _stands(play) && block.timestamp > play.deadline;
        uint64 head = root.head();
        try play_.timeout(play) {
            vm.assertTrue(due, "out of time too early");
            vm.assertEq(root.head(), play.length > 1 && play.reveals == 0 ? play.number - 1 : head);
            _remove(index);
        } catch {
            vm.assertFalse(due, "did not run out of time");
        }
    }

    function actDissolve(uint8 which) external {
        if (_open.length == 0) return;
        uint256 index = which % _open.length;
        IGame.Play memory play = _open[index];
        uint256 credit = play_.credits(play.challenger);
        bool stands = _stands(play);
        try play_.dissolve(play) {
            vm.assertFalse(stands, "dissolved while the batch stands");
            vm.assertEq(play_.credits(play.challenger), credit + CHALLENGE_BOND);
            _remove(index);
        } catch {
            vm.assertTrue(stands, "did not dissolve");
        }
    }

    function actFinalize(uint64 upTo, uint32 wait) external {
        vm.warp(block.timestamp + wait % 1 days);
        upTo %= root.head() + 1;
        try root.finalize(upTo) {
            for (; _finalized < upTo; ++_finalized) {
                _final[_finalized + 1] = root.posted(_finalized + 1).batchHash;
            }
        } catch {}
    }

    function actCollect(uint8 who) external {
        address account = [alice, carol, sequencer][who % 3];
        if (play_.credits(account) == 0) return;
        vm.deal(account, 0);
        vm.prank(account);
        play_.collect();
        _paid += account.balance;
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    function invariant_bonds_areConserved() external view {
        uint256 credits = play_.credits(alice) + play_.credits(carol) + play_.credits(sequencer);
        vm.assertEq(address(play_).balance, _open.length * CHALLENGE_BOND + credits);
        uint256 rootCredits = root.credits(alice) + root.credits(carol);
        vm.assertEq(address(root).balance, root.bonded() + rootCredits);
        // Of a lost bond, and of a slash, half is burned.
        uint256 burnedByGame = _bonds - _paid - address(play_).balance;
        vm.assertEq(address(0xdEaD).balance, burnedByGame + rootCredits); // nobody collects from Root here
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    function invariant_contested_isOpenGames() external view {
        for (uint256 i; i < _open.length; ++i) {
            uint256 same;
            for (uint256 j; j < _open.length; ++j) {
                if (_open[j].batchHash == _open[i].batchHash) ++same;
            }
            vm.assertEq(root.contested(_open[i].batchHash), same);
            vm.assertEq(play_.standing(_open[i].id), keccak256(abi.encode(_open[i])));
        }
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    function invariant_final_stays() external view {
        vm.assertEq(root.finalized(), _finalized);
        vm.assertGe(root.head(), _finalized);
        for (uint64 number = 1; number <= _finalized; ++number) {
            vm.assertEq(root.posted(number).batchHash, _final[number]);
        }
        for (uint256 i; i < _open.length; ++i) {
            if (_stands(_open[i])) vm.assertTrue(_open[i].number > _finalized, "final with a game open");
        }
    }

    function _know(bytes32 batchHash) private {
        About storage about = _about[batchHash];
        (stepsBefore, framesBefore, frameCount) = (about.stepsBefore, about.framesBefore, about.frames);
        liesAfter = about.frames == 0 ? HONEST : about.liesAfter;
    }

    /// @dev The first lie if there is one, or any step of the segment.
    function _target(IGame.Play memory play, uint16 seed) private view returns (uint64) {
        uint256 begin = stepsBefore + play.from;
        if (seed % 3 != 0 && liesAfter >= begin && liesAfter < begin + play.length) {
            return uint64(liesAfter - stepsBefore);
        }
        return play.from + seed % play.length;
    }

    function _stands(IGame.Play memory play) private view returns (bool) {
        IRoot.Posted memory posted = root.posted(play.number);
        return posted.batchHash == play.batchHash && posted.postedAt <= play.deadline - MOVE_WINDOW;
    }

    function _remove(uint256 index) private {
        _open[index] = _open[_open.length - 1];
        _open.pop();
    }
}
