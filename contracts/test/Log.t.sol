// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Log} from "../src/Log.sol";
import {Rfc6962Model} from "./Model.sol";
import {vm} from "./Vm.sol";

contract LogTest {
    function root(bytes calldata records) external pure returns (bytes32) {
        return Log.root(records);
    }

    function verify(bytes32 head, uint256 size, uint256 index, bytes calldata record, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return Log.verify(head, size, index, record, path);
    }

    function test_root_ofNothing() public view {
        vm.assertEq(this.root(""), sha256(""));
    }

    function test_root_revertsOnHalfARecord() public {
        vm.expectRevert(abi.encodeWithSelector(Log.BadRecords.selector, 91));
        this.root(new bytes(91));
    }

    function test_root_matchesTheModel(uint256 seed) public view {
        (bytes memory records, bytes32[] memory leaves) = _records(seed, 1 + seed % 20);
        vm.assertEq(this.root(records), Rfc6962Model.root(leaves, Log.node));
    }

    function test_verify_opensEveryRecord(uint256 seed, uint256 pick) public view {
        uint256 size = 1 + seed % 20;
        (, bytes32[] memory leaves) = _records(seed, size);
        uint256 index = pick % size;
        bytes32 head = Rfc6962Model.root(leaves, Log.node);
        bytes32[] memory path = Rfc6962Model.path(leaves, index, Log.node);

        vm.assertTrue(this.verify(head, size, index, _record(seed, index), path));
        vm.assertFalse(this.verify(head, size, index, _record(seed, index + 1), path), "record");
        vm.assertFalse(this.verify(head, size, index, new bytes(89), path), "length");
        if (size > 1) vm.assertFalse(this.verify(head, size, (index + 1) % size, _record(seed, index), path), "index");
    }

    function _records(uint256 seed, uint256 size) private pure returns (bytes memory records, bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i; i < size; ++i) {
            bytes memory record = _record(seed, i);
            records = bytes.concat(records, record);
            leaves[i] = sha256(bytes.concat(hex"00", record));
        }
    }

    function _record(uint256 seed, uint256 index) private pure returns (bytes memory) {
        bytes32 hash = keccak256(abi.encode(seed));
        return abi.encodePacked(uint64(index), hash, hash, uint64(seed), uint16(200), uint64(seed >> 64));
    }
}
