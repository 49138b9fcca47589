// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IAvailability} from "../src/IAvailability.sol";
import {ICommittee} from "../src/ICommittee.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {Views} from "../src/Views.sol";
import {DaBase, DaModel} from "./DaBase.sol";
import {vm} from "./Vm.sol";

contract AvailabilityTest is DaBase {
    string private constant VECTOR = "../test/vectors/da.json";

    // --- openings ---

    function test_isUnder_opensEveryFrameOfTheVector() public view {
        string memory json = vm.readFile(VECTOR);
        bytes32 dataRoot = vm.parseJsonBytes32(json, ".committee.dataRoot");
        bytes[] memory openings = vm.parseJsonBytesArray(json, ".committee.openings");
        for (uint64 i; i < openings.length; ++i) {
            IGame.Opening memory opened = _fromVector(json, i, uint64(openings.length), openings[i]);
            _expectOpens(opened, dataRoot);
        }
        vm.assertEq(openings.length, 6);
    }

    function test_isUnder_opensBlobsOfTheVector() public {
        string memory json = vm.readFile(VECTOR);
        bytes32 dataRoot = vm.parseJsonBytes32(json, ".blobs.dataRoot");
        bytes[] memory openings = vm.parseJsonBytesArray(json, ".blobs.openings");
        for (uint64 i; i < openings.length; ++i) {
            IGame.Opening memory opened = _fromVector(json, i, 6, openings[i]);
            vm.assertTrue(proofs.isUnder(opened, dataRoot));
            vm.snapshotGasLastCall("Availability", i == 0 ? "isUnder: a tick in a blob" : "isUnder: 90 bytes in a blob");
            // What proves nothing of one root or mode proves nothing of another.
            vm.expectRevert(Views.BadProof.selector);
            proofs.isUnder(opened, keccak256("another"));
            opened.proof[opened.proof.length - 40] ^= 0x01;
            vm.expectRevert(Views.BadProof.selector);
            proofs.isUnder(opened, dataRoot);
        }
    }

    function test_isUnder_refusesEverythingElse() public {
        DaModel.Frame[] memory frames = someFrames();
        (bytes memory all,) = DaModel.data(frames);
        bytes32 dataRoot = DaModel.rootOf(DaModel.columnsOf(all, 1));
        bytes memory proof = DaModel.proof(all, 1, 0, 0);
        IGame.Opening memory opened = opening(frames, 1, proof);
        vm.assertTrue(proofs.isUnder(opened, dataRoot));

        opened.frame = hex"1003ff";
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "other bytes");
        opened = opening(frames, 1, proof);
        opened.index = 0;
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "another index");
        opened = opening(frames, 1, proof);
        opened.frames = 4;
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "another number of frames");
        opened = opening(frames, 1, proof);
        opened.seq += 1;
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "another place");
        opened = opening(frames, 1, proof);
        opened.shard += 1;
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "another shard");
        opened = opening(frames, 1, proof);
        opened.firstStep += 1;
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "another step");
        // The entry that closes the index is of no frame.
        opened = opening(frames, 2, proof);
        opened.index = 3;
        vm.assertFalse(proofs.isUnder(opened, dataRoot), "behind the last");

        opened = opening(frames, 1, DaModel.proof(all, 2, 0, 0));
        vm.expectRevert(Views.BadProof.selector);
        proofs.isUnder(opened, dataRoot);
        // A column of parity holds no data.
        opened = opening(frames, 1, DaModel.proof(all, 1, 6, 6));
        vm.expectRevert(Views.BadProof.selector);
        proofs.isUnder(opened, dataRoot);
        opened = opening(frames, 1, DaModel.proof(all, 1, 1, 1));
        vm.expectRevert(abi.encodeWithSelector(Views.NotShown.selector, 0));
        proofs.isUnder(opened, dataRoot);
        opened.proof = "";
        vm.expectRevert(Views.BadProof.selector);
        proofs.isUnder(opened, dataRoot);
    }

    // --- what is wrong with data ---

    function test_proveLayout_revertsOnGoodData() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        IRoot.Batch memory batch = postData(all, steps);
        for (uint8 kind; kind < 3; ++kind) {
            vm.expectRevert(IAvailability.NoFault.selector);
            proofs.proveLayout(batch, IAvailability.Layout(kind), 0, DaModel.proof(all, 1, 0, 0));
        }
        for (uint256 i; i < 4; ++i) {
            vm.expectRevert(IAvailability.NoFault.selector);
            proofs.proveLayout(batch, IAvailability.Layout.next, i, DaModel.proof(all, 1, 0, 0));
        }
        // Of another batch it says nothing.
        batch.timeTo -= 1;
        vm.expectRevert(abi.encodeWithSelector(IAvailability.NotStanding.selector, 1));
        proofs.proveLayout(batch, IAvailability.Layout.count, 0, DaModel.proof(all, 1, 0, 0));
    }

    function test_proveLayout_count() public {
        _expectLayout(hex"00000000", 1, IAvailability.Layout.count, 0);
    }

    function test_proveLayout_countBeyondTheData() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        all[2] = 0x01;
        _expectLayout(all, steps, IAvailability.Layout.count, 0);
    }

    function test_proveLayout_dataOfNoLength() public {
        _expectLayout("", 1, IAvailability.Layout.count, 0);
    }

    function test_proveLayout_firstStep() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        all[4 + 5] = 0x01;
        _expectLayout(all, steps, IAvailability.Layout.first, 0);
    }

    function test_proveLayout_firstOffset() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        all[4 + 16] ^= 0x01;
        _expectLayout(all, steps, IAvailability.Layout.first, 0);
    }

    function test_proveLayout_lastSteps() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        _expectLayout(all, steps + 1, IAvailability.Layout.last, 0);
    }

    function test_proveLayout_bytesBehindTheLast() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        _expectLayout(bytes.concat(all, hex"01"), steps, IAvailability.Layout.last, 0);
    }

    function test_proveLayout_stepsOfAFrame() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        all[4 + 2 * 17 + 5] ^= 0x01;
        _expectLayout(all, steps, IAvailability.Layout.next, 1);
    }

    function test_proveLayout_noRoomForAFrame() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        all[4 + 2 * 17 + 16] = all[4 + 17 + 16];
        _expectLayout(all, steps, IAvailability.Layout.next, 1);
    }

    function test_proveLayout_aFrameBeyondTheData() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        all[4 + 2 * 17 + 15] = 0x08;
        _expectLayout(all, steps, IAvailability.Layout.next, 1);
    }

    function test_proveLayout_aFrameTooLong() public {
        DaModel.Frame[] memory frames = new DaModel.Frame[](1);
        frames[0] = DaModel.Frame(0, 7, new bytes(4097));
        (bytes memory all, uint48 steps) = DaModel.data(frames);
        _expectLayout(all, steps, IAvailability.Layout.next, 0);
    }

    /// @dev Whatever one byte of the index is changed to: it is shown, or L1 opens a frame of other bytes or another place.
    /// forge-config: default.fuzz.runs = 32
    /// forge-config: ci.fuzz.runs = 64
    function testFuzz_proveLayout_anyByte(uint256 place, uint8 value) public {
        DaModel.Frame[] memory frames = someFrames();
        (bytes memory all, uint48 steps) = DaModel.data(frames);
        place = place % (4 + 17 * 4);
        if (uint8(all[place]) == value) return;
        all[place] = bytes1(value);
        IRoot.Batch memory batch = postData(all, steps);
        bytes memory proof = DaModel.proof(all, 1, 0, 5);
        bool shown = _tries(batch, IAvailability.Layout.count, 0, proof)
            || _tries(batch, IAvailability.Layout.first, 0, proof) || _tries(batch, IAvailability.Layout.last, 0, proof);
        for (uint256 i; i < 3 && !shown; ++i) {
            shown = _tries(batch, IAvailability.Layout.next, i, proof);
        }
        if (shown) return expectVoided(batch, address(this));
        bool same = true;
        for (uint64 i; i < 3; ++i) {
            same = same && proofs.isUnder(opening(frames, i, proof), batch.dataRoot);
        }
        vm.assertFalse(same, "a change that nobody sees");
    }

    function test_proveEncoding_revertsOnGoodColumns() public {
        string memory json = vm.readFile(VECTOR);
        IRoot.Batch memory batch = nextBatch();
        batch.da = 2;
        batch.dataRoot = vm.parseJsonBytes32(json, ".committee.dataRoot");
        post(batch, certificate(batch.number, batch.dataRoot));
        bytes[] memory whole = vm.parseJsonBytesArray(json, ".committee.whole");
        vm.assertEq(whole.length, 2);
        for (uint256 i; i < whole.length; ++i) {
            for (uint256 place; place < 1024; place += 93) {
                vm.expectRevert(IAvailability.NoFault.selector);
                proofs.proveEncoding(batch, place, whole[i]);
            }
        }
    }

    function test_proveEncoding_voids() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        IRoot.Batch memory batch = postData(all, steps);
        bytes memory proof = DaModel.proof(all, 1, 0, 6);
        // Byte 0 of all columns is 0, which is right.
        vm.expectRevert(IAvailability.NoFault.selector);
        proofs.proveEncoding(batch, 0, proof);
        vm.expectRevert(IAvailability.NoFault.selector);
        proofs.proveEncoding(batch, 1024, proof);
        // Too few columns, or too many.
        vm.expectRevert(IAvailability.NoFault.selector);
        proofs.proveEncoding(batch, 3, DaModel.proof(all, 1, 0, 5));
        vm.expectRevert(IAvailability.NoFault.selector);
        proofs.proveEncoding(batch, 3, DaModel.proof(all, 1, 0, 7));
        vm.prank(carol);
        proofs.proveEncoding(batch, 3, proof);
        vm.snapshotGasLastCall("Availability", "proveEncoding");
        expectVoided(batch, carol);
    }

    // --- demands ---

    function test_answer_paysWhoShowsTheCell() public {
        (IRoot.Batch memory batch, bytes memory all, IAvailability.Demand memory demand) = _demand(2);
        vm.assertEq(root.contested(demand.batchHash), 1);
        vm.warp(block.timestamp + WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IRoot.NotFinal.selector, 1));
        root.finalize(1);
        vm.warp(demand.deadline);

        bytes memory wrong = DaModel.cellOf(all, 2);
        wrong[77] = 0x01;
        vm.expectRevert(Views.BadProof.selector);
        proofs.answer(demand, wrong, new bytes32[](0));
        vm.prank(alice);
        proofs.answer(demand, DaModel.cellOf(all, 2), new bytes32[](0));
        vm.snapshotGasLastCall("Availability", "answer");
        vm.assertEq(proofs.credits(alice), DEMAND_BOND);
        vm.assertEq(root.contested(demand.batchHash), 0);
        vm.prank(alice);
        proofs.collect();
        vm.assertEq(alice.balance, DEMAND_BOND);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.WrongDemand.selector, 0));
        proofs.answer(demand, DaModel.cellOf(all, 2), new bytes32[](0));
        settle(batch);
    }

    function test_expire_voidsWhatNobodyShows() public {
        (IRoot.Batch memory batch, bytes memory all, IAvailability.Demand memory demand) = _demand(2);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.DeadlineNotPassed.selector, demand.deadline));
        proofs.expire(demand);
        vm.warp(demand.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.DeadlinePassed.selector, demand.deadline));
        proofs.answer(demand, DaModel.cellOf(all, 2), new bytes32[](0));
        proofs.expire(demand);
        expectVoided(batch, carol);
        vm.assertEq(proofs.credits(carol), DEMAND_BOND);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.WrongDemand.selector, 0));
        proofs.expire(demand);
    }

    function test_expireAndSlash_takesTheMembersStake() public {
        (IRoot.Batch memory batch,, IAvailability.Demand memory demand) = _demand(2);
        uint64 until = demand.deadline - DEMAND_WINDOW + RETENTION;
        vm.warp(demand.deadline + 1);
        bytes32 digest = availableDigest(batch.number, batch.dataRoot, 1, until);
        // Of another member, or over something else.
        bytes memory signature = signBy(FIRST_KEY + 3, digest);
        vm.expectRevert(IAvailability.BadSignature.selector);
        proofs.expireAndSlash(demand, listOf(FIRST_KEY), until, signature);
        signature = signBy(FIRST_KEY + 2, availableDigest(batch.number, batch.dataRoot, 1, demand.deadline - 1));
        vm.expectRevert(IAvailability.BadSignature.selector);
        proofs.expireAndSlash(demand, listOf(FIRST_KEY), demand.deadline - 1, signature);
        signature = signBy(FIRST_KEY + 2, digest);
        vm.expectRevert(ICommittee.WrongMembers.selector);
        proofs.expireAndSlash(demand, listOf(FIRST_KEY + 1), until, signature);
        proofs.expireAndSlash(demand, listOf(FIRST_KEY), until, signature);
        expectVoided(batch, carol);
        vm.assertEq(members.staked(vm.addr(FIRST_KEY + 2)), 0);
        vm.assertEq(members.credits(carol), MEMBER_STAKE / 2);
        vm.prank(carol);
        members.collect();
    }

    function test_dissolve_whenTheBatchIsGone() public {
        (IRoot.Batch memory batch, bytes memory all, IAvailability.Demand memory demand) = _demand(2);
        vm.expectRevert(IAvailability.NoFault.selector);
        proofs.dissolve(demand);
        proofs.proveEncoding(batch, 3, DaModel.proof(all, 1, 0, 6));
        vm.warp(demand.deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.NotStanding.selector, 1));
        proofs.expire(demand);
        proofs.dissolve(demand);
        vm.assertEq(proofs.credits(carol), DEMAND_BOND);
        vm.assertEq(root.contested(demand.batchHash), 0);
    }

    function test_demand_reverts() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        IRoot.Batch memory batch = postData(all, steps);
        Views.Columns memory columns = DaModel.columnsOf(all, 1);
        vm.deal(address(this), 1 ether);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.WrongBond.selector, DEMAND_BOND));
        proofs.demand(batch, columns, 0, 0);
        vm.expectRevert(IAvailability.NoCell.selector);
        proofs.demand{value: DEMAND_BOND}(batch, columns, MEMBERS, 0);
        vm.expectRevert(IAvailability.NoCell.selector);
        proofs.demand{value: DEMAND_BOND}(batch, columns, 0, 1);
        columns.length += 1;
        vm.expectRevert(Views.BadProof.selector);
        proofs.demand{value: DEMAND_BOND}(batch, columns, 0, 0);
        columns.length -= 1;
        vm.warp(block.timestamp + WINDOW);
        vm.expectRevert(abi.encodeWithSelector(IAvailability.TooLate.selector, 1));
        proofs.demand{value: DEMAND_BOND}(batch, columns, 0, 0);
    }

    // --- posting ---

    function test_postBatch_revertsOnNoSteps() public {
        IRoot.Batch memory batch = nextBatch();
        batch.steps = 0;
        for (uint8 da = 1; da < 3; ++da) {
            batch.da = da;
            vm.prank(sequencer, sequencer);
            vm.expectRevert(IRoot.NoData.selector);
            root.postBatch(batch, "");
        }
        batch.da = 3;
        batch.steps = 1;
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.UnsupportedDa.selector, 3));
        root.postBatch(batch, "");
    }

    // --- helpers ---

    function _fromVector(string memory json, uint64 index, uint64 frames, bytes memory proof)
        private
        pure
        returns (IGame.Opening memory opened)
    {
        string memory at_ = string.concat(".frames[", vm.toString(index), "]");
        opened.firstStep = uint64(vm.parseJsonUint(json, string.concat(at_, ".firstStep")));
        opened.shard = uint8(vm.parseJsonUint(json, string.concat(at_, ".shard")));
        opened.seq = uint64(vm.parseJsonUint(json, string.concat(at_, ".seq")));
        opened.frame = vm.parseJsonBytes(json, string.concat(at_, ".frame"));
        opened.index = index;
        opened.frames = frames;
        opened.proof = proof;
    }

    function _expectOpens(IGame.Opening memory opened, bytes32 dataRoot) private view {
        vm.assertTrue(proofs.isUnder(opened, dataRoot));
        opened.frame[opened.frame.length - 1] ^= 0x01;
        vm.assertFalse(proofs.isUnder(opened, dataRoot));
        opened.frame[opened.frame.length - 1] ^= 0x01;
    }

    function _expectLayout(bytes memory all, uint48 steps, IAvailability.Layout kind, uint256 index) private {
        IRoot.Batch memory batch = postData(all, steps);
        vm.prank(carol);
        // Data of no length has no cells.
        bytes memory proof = all.length == 0
            ? abi.encodePacked(uint8(2), abi.encode(DaModel.columnsOf(all, 1), new Views.Cell[](0)))
            : DaModel.proof(all, 1, 0, 5);
        proofs.proveLayout(batch, kind, index, proof);
        expectVoided(batch, carol);
    }

    function _tries(IRoot.Batch memory batch, IAvailability.Layout kind, uint256 index, bytes memory proof)
        private
        returns (bool)
    {
        try proofs.proveLayout(batch, kind, index, proof) {
            return true;
        } catch (bytes memory reason) {
            // What is wrong is never a reason for L1 to stumble.
            vm.assertEq(bytes32(reason), bytes32(IAvailability.NoFault.selector));
            return false;
        }
    }

    function _demand(uint8 column)
        private
        returns (IRoot.Batch memory batch, bytes memory all, IAvailability.Demand memory demand)
    {
        uint48 steps;
        (all, steps) = DaModel.data(someFrames());
        batch = postData(all, steps);
        Views.Columns memory columns = DaModel.columnsOf(all, 1);
        vm.prank(carol);
        uint256 id = proofs.demand{value: DEMAND_BOND}(batch, columns, column, 0);
        demand = IAvailability.Demand({
            id: id,
            batchHash: keccak256(abi.encode(batch)),
            dataRoot: batch.dataRoot,
            number: batch.number,
            epoch: 1,
            column: column,
            row: 0,
            height: 1,
            columnRoot: columns.roots[column],
            by: carol,
            deadline: uint64(block.timestamp) + DEMAND_WINDOW
        });
        vm.assertEq(proofs.standing(id), keccak256(abi.encode(demand)));
    }
}
