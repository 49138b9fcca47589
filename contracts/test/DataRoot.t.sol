// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DataRoot} from "../src/DataRoot.sol";
import {DataModel, Rfc6962Model} from "./Model.sol";
import {vm} from "./Vm.sol";

contract DataRootTest {
    using DataRoot for DataRoot.Stretch;
    using DataRoot for DataRoot.Tree;

    DataRoot.Stretch private _stretch;

    /// @dev One part, persisted as Root does between transactions.
    function add(bytes calldata data) external returns (uint256 frames, uint256 steps, bytes32 root) {
        DataRoot.Tree memory tree = _stretch.load();
        tree.absorb(data);
        _stretch.store(tree);
        return (tree.frames, tree.steps, tree.frames == 0 ? bytes32(0) : tree.root());
    }

    function verify(bytes32 root, uint256 size, uint256 index, bytes32 leaf, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return DataRoot.verify(root, size, index, leaf, path);
    }

    function leafHash(uint64 firstStep, uint8 shard, uint64 seq, bytes calldata frame) external pure returns (bytes32) {
        return DataRoot.leafHash(firstStep, shard, seq, frame);
    }

    function test_absorb_countsSteps() public {
        bytes[] memory frames = new bytes[](6);
        frames[0] = hex"10"; // no second byte
        frames[1] = hex"1000"; // opening and one interaction
        frames[2] = hex"10ff"; // opening and 256
        frames[3] = hex"0110"; // a tick, if a malformed one
        frames[4] = hex"11ff";
        frames[5] = hex"10";
        (uint256 count, uint256 steps,) = this.add(DataModel.chunk(0, 0, frames));
        vm.assertEq(count, 6);
        vm.assertEq(steps, 1 + 2 + 257 + 1 + 1 + 1);
    }

    function test_absorb_takesTheLargestFrame() public {
        bytes[] memory frames = new bytes[](1);
        frames[0] = new bytes(4096);
        (uint256 count,,) = this.add(DataModel.chunk(255, type(uint48).max, frames));
        vm.assertEq(count, 1);
    }

    function test_absorb_revertsOnMalformedData() public {
        bytes memory one = hex"000000000000000001";
        bytes memory two = hex"000000000000000002";
        _refuse(hex"00", 0); // no whole header
        _refuse(hex"000000000000000000", 0); // no frames
        _refuse(one, 9); // no length
        _refuse(bytes.concat(one, hex"00"), 9); // half a length
        _refuse(bytes.concat(one, hex"0000"), 9); // an empty frame
        _refuse(bytes.concat(one, hex"1001", new bytes(4097)), 9); // 4,097 bytes
        _refuse(bytes.concat(one, hex"0001"), 11); // no bytes for it
        _refuse(bytes.concat(two, hex"000101"), 12); // the second frame missing
        _refuse(bytes.concat(one, hex"000101", hex"00"), 12); // half a header behind a good record
        _refuse(bytes.concat(one, hex"000101", one, hex"00ff", new bytes(254)), 277); // one byte short
    }

    /// @dev Bytes that are mostly a record: any change gives what the model says, or is refused where the model refuses.
    function test_absorb_agreesWithTheModel(uint256 seed, uint256 cut, uint256 flip) public {
        bytes memory data = _someData(seed, 12);
        if (cut % 3 == 0) {
            uint256 length = cut % data.length;
            assembly ("memory-safe") {
                mstore(data, length)
            }
        }
        if (flip % 2 == 0 && data.length > 0) data[flip % data.length] ^= bytes1(uint8(flip >> 128));

        (bool ok, DataModel.Frame[] memory frames, uint64 steps) = DataModel.parse(data);
        try this.add(data) returns (uint256 count, uint256 steps_, bytes32 root) {
            vm.assertTrue(ok);
            vm.assertEq(count, frames.length);
            vm.assertEq(steps_, steps);
            if (count > 0) vm.assertEq(root, DataModel.root(frames));
        } catch (bytes memory reason) {
            vm.assertFalse(ok);
            vm.assertEq(bytes32(bytes4(reason)), bytes32(DataRoot.MalformedData.selector));
        }
    }

    function test_absorb_givesTheSameRootHoweverCut(uint256 seed, uint8 cuts) public {
        uint256 records = 2 + seed % 12;
        bytes memory all;
        bytes memory part;
        bytes32 root;
        uint256 steps;
        for (uint256 i; i < records; ++i) {
            bytes memory record = _someData(uint256(keccak256(abi.encode(seed, i))), 9);
            all = bytes.concat(all, record);
            part = bytes.concat(part, record);
            if (cuts >> (i % 8) & 1 == 1 || i == records - 1) {
                (, steps, root) = this.add(part);
                part = "";
            }
        }
        (, DataModel.Frame[] memory frames, uint64 expected) = DataModel.parse(all);
        vm.assertEq(root, DataModel.root(frames));
        vm.assertEq(steps, expected);
    }

    function test_verify_opensEveryFrame(uint256 seed, uint256 pick) public view {
        (, DataModel.Frame[] memory frames,) = DataModel.parse(_someData(seed, 40));
        bytes32[] memory leaves = DataModel.leaves(frames);
        uint256 index = pick % frames.length;
        bytes32 root = Rfc6962Model.root(leaves, DataModel.node);
        bytes32[] memory path = Rfc6962Model.path(leaves, index, DataModel.node);
        DataModel.Frame memory frame = frames[index];
        bytes32 leaf = this.leafHash(frame.firstStep, frame.shard, frame.seq, frame.frame);

        vm.assertTrue(this.verify(root, frames.length, index, leaf, path));
        vm.assertFalse(this.verify(root, frames.length, index, ~leaf, path), "leaf");
        vm.assertFalse(this.verify(root, frames.length, frames.length, leaf, path), "index");
        vm.assertFalse(this.verify(~root, frames.length, index, leaf, path), "root");
        vm.assertFalse(this.verify(root, frames.length, index, leaf, new bytes32[](path.length + 1)), "path");
    }

    function _refuse(bytes memory data, uint256 offset) private {
        vm.expectRevert(abi.encodeWithSelector(DataRoot.MalformedData.selector, offset));
        this.add(data);
    }

    /// @dev One record of 1 … `most` frames; bundles, ticks and junk of 1 … 64 bytes.
    function _someData(uint256 seed, uint256 most) private pure returns (bytes memory) {
        bytes[] memory frames = new bytes[](1 + seed % most);
        for (uint256 i; i < frames.length; ++i) {
            uint256 random = uint256(keccak256(abi.encode(seed, i, "frame")));
            bytes memory frame = new bytes(1 + random % 64);
            frame[0] = random & 256 == 0 ? bytes1(0x10) : bytes1(uint8(random));
            for (uint256 j = 1; j < frame.length; ++j) {
                frame[j] = bytes32(random)[j % 32];
            }
            frames[i] = frame;
        }
        return DataModel.chunk(uint8(seed), uint48(seed >> 8), frames);
    }
}
