// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DataRoot} from "../src/DataRoot.sol";
import {IRoot} from "../src/IRoot.sol";
import {TestToken} from "../src/TestToken.sol";
import {DataModel} from "./Model.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

contract BatchesTest is RootBase {
    function test_constructor_setsGenesis() public view {
        IRoot.Batch memory genesis;
        genesis.post = keccak256(abi.encode(trie.root(), 0));
        IRoot.Posted memory posted = root.posted(0);
        vm.assertEq(posted.batchHash, keccak256(abi.encode(genesis)));
        vm.assertEq(posted.post, genesis.post);
        vm.assertTrue(root.isFinal(0));
    }

    function test_constructor_revertsOnABadConfig() public {
        IRoot.Config memory config = configOf(token);
        config.token = TestToken(address(0));
        _refuseConfig(config);
        config = configOf(token);
        config.unit = 0;
        _refuseConfig(config);
        config.unit = type(uint256).max / MAX_AMOUNT + 1;
        _refuseConfig(config);
        config = configOf(token);
        config.sequencer = address(0);
        _refuseConfig(config);
        config = configOf(token);
        config.sequencerX = 0;
        _refuseConfig(config);
        config = configOf(token);
        config.freezeAfter = 0;
        _refuseConfig(config);
        config = configOf(token);
        config.shards = 0;
        _refuseConfig(config);
        config.shards = 257;
        _refuseConfig(config);
        config.shards = 256;
        deploy(config);
        config.game = address(0);
        _refuseConfig(config);
        config = configOf(token);
        config.faults = address(0);
        _refuseConfig(config);
        config = configOf(token);
        config.exits = address(0);
        _refuseConfig(config);
    }

    function test_config_tellsTheConstants() public view {
        vm.assertEq(keccak256(abi.encode(root.config())), keccak256(abi.encode(configOf(token))));
    }

    function test_postBatch_extendsTheChain() public {
        deposit(alice, 256, 5);
        IRoot.Batch memory batch = nextBatch();
        bytes32 batchHash = keccak256(abi.encode(batch));
        vm.expectEmit();
        emit IRoot.DataPosted(1, 0, 1, 1);
        vm.expectEmit();
        emit IRoot.BatchPosted(1, batchHash, batch);
        post(batch, someData());

        IRoot.Posted memory posted = root.posted(1);
        vm.assertEq(posted.batchHash, batchHash);
        vm.assertEq(posted.post, batch.post);
        vm.assertEq(posted.postedAt, block.timestamp);
        vm.assertEq(posted.inboxCursor, 1);
        vm.assertEq(posted.timeTo, batch.timeTo);
        vm.assertEq(root.head(), 1);
        postNext();
        vm.assertEq(root.head(), 2);
    }

    function test_postBatch_revertsForOthers() public {
        IRoot.Batch memory batch = nextBatch();
        bytes memory data = someData();
        vm.prank(alice, alice);
        vm.expectRevert(IRoot.NotSequencer.selector);
        root.postBatch(batch, data);
    }

    function test_postBatch_revertsFromWithinACall() public {
        IRoot.Batch memory batch = nextBatch();
        bytes memory data = someData();
        vm.prank(sequencer, alice);
        vm.expectRevert(IRoot.NotTopLevel.selector);
        root.postBatch(batch, data);
    }

    function test_postBatch_revertsForADelegatedAccount() public {
        vm.etch(sequencer, abi.encodePacked(hex"ef0100", token));
        _refuse(nextBatch(), abi.encodeWithSelector(IRoot.NotTopLevel.selector));
    }

    function test_postBatch_revertsUnbonded() public {
        root = deploy(token);
        _refuse(nextBatch(), abi.encodeWithSelector(IRoot.NotBonded.selector, 0, MIN_BOND));
    }

    function test_postBatch_revertsOnAWrongNumber() public {
        IRoot.Batch memory batch = nextBatch();
        batch.number = 2;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongNumber.selector, 1));
        batch.number = 0;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongNumber.selector, 1));
    }

    function test_postBatch_revertsOnAReplay() public {
        IRoot.Batch memory batch = postNext();
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongNumber.selector, 2));
    }

    function test_postBatch_revertsOnAWrongPrev() public {
        IRoot.Batch memory batch = nextBatch();
        bytes32 prev = batch.prev;
        batch.prev = ~prev;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongPrev.selector, prev));
    }

    function test_postBatch_revertsOnAWrongPre() public {
        IRoot.Batch memory batch = nextBatch();
        bytes32 pre = batch.pre;
        batch.pre = ~pre;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongPre.selector, pre));
    }

    function test_postBatch_revertsOnBadTimes() public {
        IRoot.Batch memory batch = nextBatch();
        batch.timeTo = uint64(block.timestamp) + 1;
        _refuse(batch, abi.encodeWithSelector(IRoot.BadTimes.selector));
        batch.timeTo = batch.timeFrom - 1;
        _refuse(batch, abi.encodeWithSelector(IRoot.BadTimes.selector));
        batch.timeTo = batch.timeFrom;
        post(batch, someData());
    }

    function test_postBatch_revertsOnTimesLongPast() public {
        vm.warp(block.timestamp + 10 days);
        IRoot.Batch memory batch = nextBatch();
        batch.timeFrom = uint64(block.timestamp) - FREEZE_AFTER - 1;
        _refuse(batch, abi.encodeWithSelector(IRoot.BadTimes.selector));
        batch.timeFrom += 1;
        post(batch, someData());
    }

    /// @dev What is withdrawn keeps its slot for 2^20 seconds.
    function test_postBatch_revertsOnALeapOfTheClock() public {
        uint64 genesis = uint64(block.timestamp);
        IRoot.Config memory config = configOf(token);
        config.freezeAfter = 365 days;
        root = deploy(config);
        bondSequencer();
        vm.warp(genesis + 30 days);
        IRoot.Batch memory batch = nextBatch();
        batch.timeFrom = genesis;
        batch.timeTo = genesis + 2 ** 20;
        _refuse(batch, abi.encodeWithSelector(IRoot.BadTimes.selector));
        batch.timeTo -= 1;
        post(batch, someData());

        batch = nextBatch();
        batch.timeFrom = genesis;
        batch.timeTo = genesis + 2 ** 21 - 1;
        _refuse(batch, abi.encodeWithSelector(IRoot.BadTimes.selector));
        batch.timeTo -= 1;
        post(batch, someData());
    }

    function test_postBatch_revertsPastTheInbox() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = nextBatch();
        batch.inboxCursor = 2;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongCursor.selector, 0, 1));
    }

    function test_postBatch_revertsOnACursorGoingBack() public {
        deposit(alice, 256, 1);
        postNext();
        IRoot.Batch memory batch = nextBatch();
        batch.inboxCursor = 0;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongCursor.selector, 1, 1));
    }

    function test_postBatch_revertsWhenSkippingAnOverdueItem() public {
        deposit(alice, 256, 1);
        vm.warp(block.timestamp + 10);
        deposit(alice, 256, 2);
        vm.warp(block.timestamp - 10 + INBOX_DELAY);
        IRoot.Batch memory batch = nextBatch();
        batch.inboxCursor = 0;
        post(batch, someData()); // due, and not over it

        vm.warp(block.timestamp + 1);
        batch = nextBatch();
        batch.inboxCursor = 0;
        _refuse(batch, abi.encodeWithSelector(IRoot.InboxOverdue.selector, 0));
        batch.inboxCursor = 1;
        post(batch, someData());

        vm.warp(block.timestamp + 10);
        batch = nextBatch();
        batch.inboxCursor = 1;
        _refuse(batch, abi.encodeWithSelector(IRoot.InboxOverdue.selector, 1));
        batch.inboxCursor = 2;
        post(batch, someData());
    }

    function test_postBatch_revertsWithoutData() public {
        IRoot.Batch memory batch = nextBatch();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(IRoot.NoData.selector);
        root.postBatch(batch, "");
    }

    function test_postBatch_revertsOnWrongSteps() public {
        IRoot.Batch memory batch = nextBatch();
        batch.steps = 2;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongSteps.selector, 1));
    }

    function test_postBatch_revertsOnAWrongDataRoot() public {
        IRoot.Batch memory batch = nextBatch();
        bytes32 dataRoot = batch.dataRoot;
        batch.dataRoot = ~dataRoot;
        _refuse(batch, abi.encodeWithSelector(IRoot.WrongDataRoot.selector, dataRoot));
    }

    function test_postBatch_revertsOnMalformedData() public {
        IRoot.Batch memory batch = nextBatch();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(DataRoot.MalformedData.selector, 0));
        root.postBatch(batch, hex"00");
    }

    function test_postBatch_revertsOnAnotherDa() public {
        IRoot.Batch memory batch = nextBatch();
        batch.da = 1;
        _refuse(batch, abi.encodeWithSelector(IRoot.UnsupportedDa.selector, 1));
    }

    function test_postBatch_takesPartsAndALastOne() public {
        bytes memory all = bytes.concat(_chunk(0, 3), _chunk(3, 5), _chunk(8, 2));
        vm.expectEmit();
        emit IRoot.DataPosted(1, 0, 3, 9);
        postPart(1, 0, _chunk(0, 3));
        vm.expectEmit();
        emit IRoot.DataPosted(1, 1, 8, 24);
        postPart(1, 1, _chunk(3, 5));
        _expectPending(1, 2, 8, 24);
        IRoot.Batch memory batch = nextBatch(all, 0);
        vm.expectEmit();
        emit IRoot.DataPosted(1, 2, 10, 30);
        post(batch, _chunk(8, 2));
        vm.assertEq(root.head(), 1);
    }

    function test_postBatch_takesPartsAlone() public {
        postPart(1, 0, _chunk(0, 3));
        postPart(1, 1, _chunk(3, 5));
        post(nextBatch(bytes.concat(_chunk(0, 3), _chunk(3, 5)), 0), "");
        post(nextBatch(), someData()); // the next batch does not see the last one's parts
        vm.assertEq(root.head(), 2);
    }

    function test_postData_startsAnewAtPartZero() public {
        postPart(1, 0, _chunk(0, 3));
        postPart(1, 1, _chunk(3, 5));
        postPart(1, 0, _chunk(0, 4));
        _expectPending(1, 1, 4, 12);
        post(nextBatch(_chunk(0, 4), 0), "");
    }

    function test_postData_revertsOutOfOrder() public {
        bytes memory data = someData();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.WrongPart.selector, 0));
        root.postData(1, 1, data);
        postPart(1, 0, data);
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.WrongPart.selector, 1));
        root.postData(1, 2, data);
    }

    function test_postData_revertsOnAWrongNumber() public {
        bytes memory data = someData();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.WrongNumber.selector, 1));
        root.postData(2, 0, data);
    }

    function test_postData_revertsForOthers() public {
        bytes memory data = someData();
        vm.prank(alice, alice);
        vm.expectRevert(IRoot.NotSequencer.selector);
        root.postData(1, 0, data);
        vm.prank(sequencer, alice);
        vm.expectRevert(IRoot.NotTopLevel.selector);
        root.postData(1, 0, data);
    }

    function test_postData_revertsWithoutData() public {
        vm.prank(sequencer, sequencer);
        vm.expectRevert(IRoot.NoData.selector);
        root.postData(1, 0, "");
    }

    function test_postData_changesNothingWhenMalformed() public {
        postPart(1, 0, _chunk(0, 3));
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(DataRoot.MalformedData.selector, 0));
        root.postData(1, 1, hex"00");
        _expectPending(1, 1, 3, 9);
    }

    function test_domainSeparator_bindsChainAndContract() public view {
        bytes32 domainType =
            keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        vm.assertEq(
            root.domainSeparator(),
            keccak256(abi.encode(domainType, keccak256("AGNT2"), keccak256("1"), block.chainid, address(root)))
        );
    }

    /// @dev Bundles of two interactions, so three steps a frame.
    function _chunk(uint48 firstSeq, uint256 count) private pure returns (bytes memory) {
        bytes[] memory frames = new bytes[](count);
        for (uint256 i; i < count; ++i) {
            frames[i] = abi.encodePacked(hex"1001", i);
        }
        return DataModel.chunk(0, firstSeq, frames);
    }

    function _refuse(IRoot.Batch memory batch, bytes memory reason) private {
        bytes memory data = someData();
        vm.prank(sequencer, sequencer);
        vm.expectRevert(reason);
        root.postBatch(batch, data);
    }

    function _refuseConfig(IRoot.Config memory config) private {
        vm.expectRevert(IRoot.BadConfig.selector);
        deploy(config);
    }

    function _expectPending(uint64 number, uint32 parts, uint64 frames, uint64 steps) private view {
        (uint64 number_, uint32 parts_, uint64 frames_, uint64 steps_) = root.pending();
        vm.assertEq(number_, number);
        vm.assertEq(parts_, parts);
        vm.assertEq(frames_, frames);
        vm.assertEq(steps_, steps);
    }
}
