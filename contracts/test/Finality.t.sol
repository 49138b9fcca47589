// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice What becomes of a batch: final, contested or void.
contract FinalityTest is RootBase {
    function test_finalize_waitsForTheWindow() public {
        postNext();
        vm.warp(block.timestamp + WINDOW - 1);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 1));
        root.finalize(1);
        vm.warp(block.timestamp + 1);
        vm.expectEmit();
        emit IRoot.Finalized(1);
        vm.prank(bob);
        root.finalize(1);
        vm.assertTrue(root.isFinal(1));
        vm.assertFalse(root.isFinal(2));
    }

    function test_finalize_takesManyAtOnce() public {
        postNext();
        postNext();
        vm.warp(block.timestamp + 1 days);
        postNext();
        vm.warp(block.timestamp + WINDOW - 1 days);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 3));
        root.finalize(3);
        root.finalize(2);
        vm.assertEq(root.finalized(), 2);
    }

    function test_finalize_revertsOnWhatIsNotNew() public {
        vm.expectRevert(abi.encodeWithSelector(IRoot.AlreadyFinal.selector, 0));
        root.finalize(0);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 1));
        root.finalize(1);
    }

    function test_invalidate_reopensFromTheLastGoodBatch() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory good = nextBatch();
        good.inboxCursor = 0;
        post(good, someData());
        trie.set(0, outboxCell(0, 0, alice, 0));
        IRoot.Batch memory bad = postNext();
        postNext();
        postPart(4, 0, someData());
        vm.warp(block.timestamp + 1);

        bytes32 batchHash = keccak256(abi.encode(bad));
        vm.expectEmit();
        emit IRoot.Invalidated(2);
        vm.prank(game);
        root.invalidate(2, batchHash, bob);
        vm.assertEq(root.head(), 1);
        vm.assertEq(root.posted(2).batchHash, 0);
        vm.assertEq(root.posted(3).batchHash, 0);
        _expectPending(2, 0, 0, 0);

        bondSequencer(); // it lost what it had
        IRoot.Batch memory again = nextBatch();
        vm.assertEq(again.pre, good.post);
        again.inboxCursor = 0; // the void batches' cursor went with them
        post(again, someData());
        vm.assertFalse(root.posted(2).batchHash == keccak256(abi.encode(bad)));
        vm.assertEq(root.posted(2).postedAt, block.timestamp);
    }

    function test_finalize_waitsForGames() public {
        postNext();
        postNext();
        postNext();
        bytes32 batchHash = root.posted(2).batchHash;
        vm.prank(game);
        root.contest(batchHash);
        vm.prank(game);
        root.contest(batchHash);
        vm.assertEq(root.contested(batchHash), 2);
        vm.warp(block.timestamp + WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 2));
        root.finalize(3);
        root.finalize(1);
        vm.prank(game);
        root.uncontest(batchHash);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 2));
        root.finalize(2);
        vm.prank(game);
        root.uncontest(batchHash);
        root.finalize(3);
    }

    function test_contest_revertsForOthers() public {
        address[4] memory others = [alice, sequencer, faults, exits];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IRoot.NotAllowed.selector);
            root.contest(0);
            vm.prank(others[i]);
            vm.expectRevert(IRoot.NotAllowed.selector);
            root.uncontest(0);
        }
    }

    function test_invalidate_stopsFinality() public {
        postNext();
        postNext();
        vm.warp(block.timestamp + WINDOW);
        invalidate(2);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 2));
        root.finalize(2);
        root.finalize(1);
        bondSequencer();
        postNext();
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 2));
        root.finalize(2);
    }

    function test_invalidate_revertsOnFinal() public {
        settle(postNext());
        bytes32 batchHash = root.posted(1).batchHash;
        vm.prank(game);
        vm.expectRevert(abi.encodeWithSelector(IRoot.AlreadyFinal.selector, 1));
        root.invalidate(1, batchHash, bob);
        batchHash = root.posted(0).batchHash;
        vm.prank(faults);
        vm.expectRevert(abi.encodeWithSelector(IRoot.AlreadyFinal.selector, 0));
        root.invalidate(0, batchHash, bob);
    }

    function test_invalidate_revertsOnWhatDoesNotStand() public {
        postNext();
        bytes32 batchHash = root.posted(1).batchHash;
        vm.prank(game);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotStanding.selector, 1));
        root.invalidate(1, ~batchHash, bob);
        vm.prank(game);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotStanding.selector, 2));
        root.invalidate(2, 0, bob);
        invalidate(1);
        vm.prank(game); // its record is still there
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotStanding.selector, 1));
        root.invalidate(1, batchHash, bob);
    }

    function test_invalidate_revertsForOthers() public {
        postNext();
        bytes32 batchHash = root.posted(1).batchHash;
        address[4] memory others = [alice, sequencer, exits, address(this)];
        for (uint256 i; i < others.length; ++i) {
            vm.prank(others[i]);
            vm.expectRevert(IRoot.NotAllowed.selector);
            root.invalidate(1, batchHash, others[i]);
        }
        vm.prank(faults);
        root.invalidate(1, batchHash, bob);
        vm.assertEq(root.head(), 0);
    }

    function _expectPending(uint64 number, uint32 parts, uint64 frames, uint64 steps) private view {
        (uint64 number_, uint32 parts_, uint64 frames_, uint64 steps_) = root.pending();
        vm.assertEq(number_, number);
        vm.assertEq(parts_, parts);
        vm.assertEq(frames_, frames);
        vm.assertEq(steps_, steps);
    }
}
