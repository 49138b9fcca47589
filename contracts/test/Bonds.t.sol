// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

contract BondsTest is RootBase {
    address private constant BURNED = address(0xdEaD);

    function test_bond_adds() public {
        vm.deal(sequencer, 3);
        vm.expectEmit();
        emit IRoot.Bonded(3, MIN_BOND + 3);
        vm.prank(sequencer);
        root.bond{value: 3}();
        vm.assertEq(root.bonded(), MIN_BOND + 3);
    }

    function test_bond_revertsForOthers() public {
        vm.deal(alice, 1);
        vm.prank(alice);
        vm.expectRevert(IRoot.NotSequencer.selector);
        root.bond{value: 1}();
    }

    function test_slash_takesMinBond() public {
        _bond(5);
        uint256 half = MIN_BOND / 2;
        vm.expectEmit();
        emit IRoot.Slashed(alice, MIN_BOND, 5);
        vm.expectEmit();
        emit IRoot.Credited(alice, half);
        _slash(alice);
        vm.assertEq(root.bonded(), 5);
        vm.assertEq(root.credits(alice), half);
        vm.assertEq(BURNED.balance, half);
        vm.assertEq(address(root).balance, 5 + half);
    }

    function test_slash_takesWhatIsLeft() public {
        _slash(alice);
        _bond(5);
        _slash(bob);
        vm.assertEq(root.bonded(), 0);
        vm.assertEq(root.credits(bob), 2);
        vm.assertEq(BURNED.balance, MIN_BOND / 2 + 3);
        _slash(bob); // of nothing
        vm.assertEq(root.credits(bob), 2);
    }

    function test_slash_revertsForOthers() public {
        address[4] memory others = [alice, sequencer, game, exits];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IRoot.NotAllowed.selector);
            root.slash(others[i]);
        }
    }

    /// @dev Code could get there on another chain; it must not hold anybody up.
    function test_slash_worksWhereBurningFails() public {
        vm.etch(BURNED, hex"fe");
        _slash(alice);
        vm.assertEq(root.credits(alice), MIN_BOND / 2);
        vm.assertEq(root.bonded(), 0);
    }

    function test_invalidate_slashes() public {
        postNext();
        invalidate(1);
        vm.assertEq(root.bonded(), 0);
        vm.assertEq(root.credits(bob), MIN_BOND / 2);
    }

    function test_collect_paysOnce() public {
        _slash(alice);
        vm.prank(alice);
        root.collect();
        vm.assertEq(alice.balance, MIN_BOND / 2);
        vm.assertEq(root.credits(alice), 0);
        vm.prank(alice);
        vm.expectRevert(IRoot.NothingToCollect.selector);
        root.collect();
    }

    function test_unbond_paysAfterTheWindow() public {
        _bond(9);
        uint64 claimableAt = uint64(block.timestamp) + WINDOW;
        vm.expectEmit();
        emit IRoot.Unbonding(9, claimableAt);
        vm.prank(sequencer);
        root.requestUnbond(9);
        _expectUnbonding(9, claimableAt);

        vm.warp(claimableAt - 1);
        _refuseUnbond(claimableAt);
        vm.warp(claimableAt);
        vm.expectEmit();
        emit IRoot.Unbonded(9);
        vm.prank(sequencer);
        root.unbond();
        vm.assertEq(sequencer.balance, 9);
        vm.assertEq(root.bonded(), MIN_BOND);
        _expectUnbonding(0, 0);
        _refuseUnbond(0);
    }

    function test_unbond_waitsForFinality() public {
        _bond(9);
        vm.prank(sequencer);
        root.requestUnbond(9);
        (, uint64 claimableAt) = root.unbonding();
        vm.warp(claimableAt - 1);
        postNext();
        vm.warp(claimableAt + 1 days);
        _refuseUnbond(claimableAt);
        vm.warp(claimableAt + WINDOW);
        _refuseUnbond(claimableAt); // it is not final before somebody says so
        root.finalize(1);
        vm.prank(sequencer);
        root.unbond();
        vm.assertEq(sequencer.balance, 9);
    }

    function test_unbond_paysNoMoreThanIsThere() public {
        _bond(9);
        vm.prank(sequencer);
        root.requestUnbond(type(uint256).max);
        _slash(alice);
        vm.warp(block.timestamp + WINDOW);
        vm.prank(sequencer);
        root.unbond();
        vm.assertEq(sequencer.balance, 9);
        vm.assertEq(root.bonded(), 0);
    }

    function test_unbond_revertsForOthers() public {
        vm.prank(alice);
        vm.expectRevert(IRoot.NotSequencer.selector);
        root.requestUnbond(1);
        vm.prank(sequencer);
        root.requestUnbond(1);
        vm.warp(block.timestamp + WINDOW);
        vm.prank(alice);
        vm.expectRevert(IRoot.NotSequencer.selector);
        root.unbond();
    }

    function test_requestUnbond_replacesAndTakesBack() public {
        _bond(9);
        vm.prank(sequencer);
        root.requestUnbond(4);
        vm.warp(block.timestamp + WINDOW - 1);
        vm.prank(sequencer);
        root.requestUnbond(5);
        _expectUnbonding(5, uint64(block.timestamp) + WINDOW); // its time begins anew
        vm.prank(sequencer);
        root.requestUnbond(0);
        _expectUnbonding(0, 0);
        vm.warp(block.timestamp + WINDOW);
        _refuseUnbond(0);
    }

    /// @dev Else a request made long ago would let the sequencer lie and leave in one second.
    function test_postBatch_revertsOnABondAskedBack() public {
        _bond(9);
        vm.prank(sequencer);
        root.requestUnbond(9);
        postNext();
        vm.prank(sequencer);
        root.requestUnbond(10);
        _refusePost(MIN_BOND - 1);
        vm.prank(sequencer);
        root.requestUnbond(type(uint256).max);
        _refusePost(0);
        vm.prank(sequencer);
        root.requestUnbond(0);
        postNext();
        vm.assertEq(root.head(), 2);
    }

    function test_postBatch_revertsAfterASlash() public {
        _bond(9);
        _slash(alice);
        _refusePost(9);
        _bond(MIN_BOND - 9);
        postNext();
    }

    function _bond(uint256 amount) private {
        vm.deal(sequencer, amount);
        vm.prank(sequencer);
        root.bond{value: amount}();
    }

    function _slash(address reporter) private {
        vm.prank(faults);
        root.slash(reporter);
    }

    function _refuseUnbond(uint64 claimableAt) private {
        vm.prank(sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotClaimable.selector, claimableAt));
        root.unbond();
    }

    function _refusePost(uint256 stays) private {
        IRoot.Batch memory batch = nextBatch();
        bytes memory data = someData();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotBonded.selector, stays, MIN_BOND));
        root.postBatch(batch, data);
    }

    function _expectUnbonding(uint256 amount, uint64 claimableAt) private view {
        (uint256 amount_, uint64 claimableAt_) = root.unbonding();
        vm.assertEq(amount_, amount);
        vm.assertEq(claimableAt_, claimableAt);
    }
}
