// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

contract FreezeTest is RootBase {
    function test_freeze_waits() public {
        uint64 freezableAt = uint64(block.timestamp) + FREEZE_AFTER;
        _expectFreezableAt(freezableAt); // nothing was ever posted
        vm.expectEmit();
        emit IRoot.Frozen(0);
        vm.prank(bob);
        root.freeze();
        vm.assertTrue(root.frozen());
    }

    function test_freeze_waitsFromTheNewestBatch() public {
        vm.warp(block.timestamp + 1 days);
        postNext();
        vm.warp(block.timestamp + 1 days);
        postNext();
        _expectFreezableAt(uint64(block.timestamp) + FREEZE_AFTER);
        vm.expectEmit();
        emit IRoot.Frozen(2);
        root.freeze();
    }

    /// @dev The sequencer has to replace what was voided: it gets the whole time for it.
    function test_freeze_waitsFromAVoiding() public {
        postNext();
        vm.warp(block.timestamp + FREEZE_AFTER - 1);
        invalidate(1);
        _expectFreezableAt(uint64(block.timestamp) + FREEZE_AFTER);
    }

    function test_freeze_waitsFromABatchAfterAVoiding() public {
        postNext();
        invalidate(1);
        bondSequencer();
        vm.warp(block.timestamp + 1 days);
        postNext();
        _expectFreezableAt(uint64(block.timestamp) + FREEZE_AFTER);
    }

    function test_freeze_revertsWhenFrozen() public {
        _freeze();
        vm.expectRevert(IRoot.IsFrozen.selector);
        root.freeze();
    }

    function test_freeze_stopsTheInbox() public {
        deposit(alice, 256, 5);
        _freeze();
        bytes memory reason = abi.encodeWithSelector(IRoot.IsFrozen.selector);
        vm.startPrank(alice);
        vm.expectRevert(reason);
        root.register(0, keyX, keyY, 1);
        vm.expectRevert(reason);
        root.deposit(256, 1);
        vm.expectRevert(reason);
        root.forceWithdraw(256, 1);
        vm.expectRevert(reason);
        root.forceRotate(256, keyX, keyY);
        vm.expectRevert(reason);
        root.force(256, hex"18");
        vm.stopPrank();
        vm.assertEq(root.inboxLength(), 1);
        vm.assertEq(root.held(), 5);
    }

    function test_freeze_stopsBatches() public {
        postPart(1, 0, someData());
        _freeze();
        IRoot.Batch memory batch = nextBatch();
        bytes memory data = someData();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(IRoot.IsFrozen.selector);
        root.postBatch(batch, "");
        vm.prank(sequencer, sequencer);
        vm.expectRevert(IRoot.IsFrozen.selector);
        root.postData(1, 1, data);
    }

    function test_freeze_leavesFinalityAndWithdrawals() public {
        deposit(alice, 256, 100);
        trie.set(outboxAddress(0, 1), outboxCell(1, 1, bob, 40));
        IRoot.Batch memory batch = postNext();
        _freeze();
        root.finalize(1);
        withdraw(batch, 0, 1);
        vm.assertEq(root.held(), 60);
    }

    function test_freeze_leavesProofs() public {
        postNext();
        postNext();
        _freeze();
        invalidate(2);
        vm.assertEq(root.head(), 1);
        vm.assertEq(root.credits(bob), MIN_BOND / 2);
        vm.assertTrue(root.frozen()); // for good, though a batch was voided just now
    }

    function test_freeze_leavesBonds() public {
        _freeze();
        vm.prank(sequencer);
        root.requestUnbond(MIN_BOND);
        vm.warp(block.timestamp + WINDOW);
        vm.prank(sequencer);
        root.unbond();
        vm.assertEq(sequencer.balance, MIN_BOND);
    }

    function test_payExit_paysWhenFrozen() public {
        deposit(alice, 256, 100);
        uint256 before = token.balanceOf(bob);
        vm.prank(exits);
        vm.expectRevert(IRoot.NotAllowed.selector);
        root.payExit(bob, 40);
        _freeze();
        vm.prank(exits);
        root.payExit(bob, 40);
        vm.assertEq(token.balanceOf(bob) - before, 40 * UNIT);
        vm.assertEq(root.held(), 60);
        vm.prank(exits);
        vm.expectRevert(abi.encodeWithSignature("Panic(uint256)", 0x11));
        root.payExit(bob, 61);
    }

    function test_payExit_revertsForOthers() public {
        deposit(alice, 256, 100);
        _freeze();
        address[4] memory others = [alice, sequencer, game, faults];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IRoot.NotAllowed.selector);
            root.payExit(others[i], 1);
        }
    }

    function _freeze() private {
        vm.warp(block.timestamp + FREEZE_AFTER);
        root.freeze();
    }

    /// @dev Leaves the clock at that second.
    function _expectFreezableAt(uint64 freezableAt) private {
        vm.assertEq(root.freezableAt(), freezableAt);
        vm.warp(freezableAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFreezable.selector, freezableAt));
        root.freeze();
        vm.warp(freezableAt);
    }
}
