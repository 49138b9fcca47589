// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {DaBase} from "./DaBase.sol";
import {vm} from "./Vm.sol";

/// @notice Batches whose data comes in blobs.
/// @dev The cheatcode gives blobs to the test's own transaction, so calls here are not ones of their own.
/// forge-config: default.isolate = false
/// forge-config: ci.isolate = false
contract BlobsTest is DaBase {
    function test_postBatch_takesItsBlobs() public {
        bytes32[] memory hashes = _hashes(2);
        IRoot.Batch memory batch = _blobBatch(hashes, 200_000);
        vm.blobhashes(hashes);
        post(batch, abi.encodePacked(uint64(200_000)));
        vm.snapshotGasLastCall("Blobs", "postBatch: two blobs, calldata aside");
        vm.assertEq(root.head(), 1);
    }

    function test_postBatch_takesBlobsInParts() public {
        bytes32[] memory hashes = _hashes(3);
        IRoot.Batch memory batch = _blobBatch(hashes, 300_000);
        // A part that is given up.
        _postBlobs(0, _slice(hashes, 2, 3));
        _postBlobs(0, _slice(hashes, 0, 1));
        vm.blobhashes(_slice(hashes, 1, 2));
        vm.prank(sequencer, sequencer);
        vm.expectRevert(abi.encodeWithSelector(IRoot.WrongPart.selector, 1));
        root.postBlobs(1, 2);
        _postBlobs(1, _slice(hashes, 1, 2));
        vm.blobhashes(_slice(hashes, 2, 3));
        post(batch, abi.encodePacked(uint64(300_000)));
        vm.assertEq(root.head(), 1);
    }

    function test_postBatch_revertsOnOtherBlobs() public {
        bytes32[] memory hashes = _hashes(2);
        IRoot.Batch memory batch = _blobBatch(hashes, 200_000);
        (hashes[0], hashes[1]) = (hashes[1], hashes[0]);
        bytes32 other = _blobBatch(hashes, 200_000).dataRoot;
        _refuseBlobs(
            batch,
            hashes,
            abi.encodePacked(uint64(200_000)),
            abi.encodeWithSelector(IRoot.WrongDataRoot.selector, other)
        );
    }

    function test_postBatch_revertsOnAnotherNumberOfBlobs() public {
        bytes32[] memory hashes = _hashes(2);
        bytes memory reason = abi.encodeWithSelector(IRoot.WrongBlobs.selector, 2);
        uint64[3] memory lengths = [uint64(126_976), 253_953, 0];
        for (uint256 i; i < 3; ++i) {
            _refuseBlobs(_blobBatch(hashes, lengths[i]), hashes, abi.encodePacked(lengths[i]), reason);
        }
        IRoot.Batch memory batch = _blobBatch(hashes, 200_000);
        _refuseBlobs(batch, hashes, "", reason);
        _refuseBlobs(batch, hashes, abi.encodePacked(uint64(200_000), uint8(0)), reason);
        _refuseBlobs(
            _blobBatch(new bytes32[](0), 0),
            new bytes32[](0),
            abi.encodePacked(uint64(0)),
            abi.encodeWithSelector(IRoot.WrongBlobs.selector, 0)
        );
    }

    function test_postBlobs_revertsWithoutBlobs() public {
        vm.blobhashes(new bytes32[](0));
        vm.prank(sequencer, sequencer);
        vm.expectRevert(IRoot.NoData.selector);
        root.postBlobs(1, 0);
    }

    function _hashes(uint256 count) private pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](count);
        for (uint256 i; i < count; ++i) {
            hashes[i] = bytes32(uint256(keccak256(abi.encode(i))) & type(uint248).max | 1 << 248);
        }
    }

    function _slice(bytes32[] memory hashes, uint256 from, uint256 to) private pure returns (bytes32[] memory some) {
        some = new bytes32[](to - from);
        for (uint256 i; i < some.length; ++i) {
            some[i] = hashes[from + i];
        }
    }

    function _blobBatch(bytes32[] memory hashes, uint64 length) private view returns (IRoot.Batch memory batch) {
        batch = nextBatch();
        batch.da = 1;
        bytes32 chain;
        for (uint256 i; i < hashes.length; ++i) {
            chain = keccak256(abi.encode(chain, hashes[i]));
        }
        batch.dataRoot = keccak256(abi.encodePacked(uint8(1), length, chain));
    }

    function _postBlobs(uint32 part, bytes32[] memory hashes) private {
        vm.blobhashes(hashes);
        vm.prank(sequencer, sequencer);
        root.postBlobs(1, part);
    }

    function _refuseBlobs(IRoot.Batch memory batch, bytes32[] memory hashes, bytes memory data, bytes memory reason)
        private
    {
        vm.blobhashes(hashes);
        vm.prank(sequencer, sequencer);
        vm.expectRevert(reason);
        root.postBatch(batch, data);
    }
}
