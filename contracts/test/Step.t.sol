// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IStep} from "../src/IStep.sol";
import {Status} from "../src/Status.sol";
import {Trie} from "../src/Trie.sol";
import {vm} from "./Vm.sol";

/// @notice Every step of the trace vector by itself: L1 must come to what the TypeScript engine came to.
contract StepTest {
    IStep private _step;
    bytes32 private _domain;

    uint256[] private _shards;
    uint256[] private _seqs;
    bytes[] private _frames;

    uint256[] private _frameOf;
    uint256[] private _index;
    bytes32[] private _pre;
    bytes[] private _witness;
    bytes32[] private _post;
    uint256[] private _status;
    uint256[] private _value;

    function setUp() public {
        string memory json = vm.readFile("../test/vectors/steps.json");
        _domain = vm.parseJsonBytes32(json, ".domain");
        uint256 shards = vm.parseJsonUint(json, ".shards");
        _step = IStep(vm.deployCode("Step.sol:Step", abi.encode(shards)));
        _shards = vm.parseJsonUintArray(json, ".frames.shard");
        _seqs = vm.parseJsonUintArray(json, ".frames.seq");
        _frames = vm.parseJsonBytesArray(json, ".frames.bytes");
        _frameOf = vm.parseJsonUintArray(json, ".steps.frame");
        _index = vm.parseJsonUintArray(json, ".steps.index");
        _pre = vm.parseJsonBytes32Array(json, ".steps.pre");
        _witness = vm.parseJsonBytesArray(json, ".steps.witness");
        _post = vm.parseJsonBytes32Array(json, ".steps.post");
        _status = vm.parseJsonUintArray(json, ".steps.status");
        _value = vm.parseJsonUintArray(json, ".steps.value");
    }

    function test_step_comesToTheVector() public view {
        for (uint256 i; i < _frameOf.length; ++i) {
            (bytes32 post, uint8 status, uint64 value) = _run(i, _pre[i], _witness[i]);
            string memory what = string.concat("step ", vm.toString(i));
            vm.assertEq(status, _status[i], string.concat(what, ": status"));
            vm.assertEq(value, _value[i], string.concat(what, ": value"));
            vm.assertEq(post, _post[i], string.concat(what, ": post"));
        }
        vm.assertTrue(_frameOf.length > 0);
    }

    function test_step_revertsForAStepTheFrameDoesNotHave() public {
        _reverts(abi.encodeWithSelector(IStep.NoStep.selector, 1), hex"0100000001", 1, _nothing());
        _reverts(abi.encodeWithSelector(IStep.NoStep.selector, 1), hex"10", 1, _nothing());
        _reverts(abi.encodeWithSelector(IStep.NoStep.selector, 4), hex"1002", 4, _nothing());
    }

    function test_step_revertsWithoutACellItNeeds() public {
        uint32 head = 1 << 24;
        _reverts(abi.encodeWithSelector(IStep.MissingCell.selector, head), hex"0100000001", 0, _nothing());
    }

    function test_step_needsNoCellInARefusedBundle() public view {
        bytes memory witness = abi.encodePacked(Trie.zero(16), hex"0200");
        bytes32 pre = keccak256(abi.encode(Trie.zero(16), 2));
        (bytes32 post, uint8 status,) = _step.step(_domain, pre, 1, 0, hex"1002", 2, witness);
        vm.assertEq(post, pre);
        vm.assertEq(status, Status.BUNDLE_REFUSED);
        (post,,) = _step.step(_domain, pre, 1, 0, hex"1002", 3, witness);
        vm.assertEq(post, keccak256(abi.encode(Trie.zero(16), 0)), "the last one ends the frame");
    }

    function test_step_revertsForAWitnessOfAnotherState() public {
        bytes memory frame = _frames[0];
        bytes memory witness = _witness[0];
        bytes32 pre = _pre[1];
        vm.expectRevert(abi.encodeWithSelector(IStep.WrongPre.selector, _pre[0]));
        _step.step(_domain, pre, uint8(_shards[0]), uint64(_seqs[0]), frame, 0, witness);
    }

    /// @dev A witness of the empty state, without a cell.
    function _nothing() private pure returns (bytes memory) {
        return abi.encodePacked(Trie.zero(16), hex"0000");
    }

    function _reverts(bytes memory why, bytes memory frame, uint256 index, bytes memory witness) private {
        bytes32 pre = keccak256(abi.encode(Trie.zero(16), 0));
        vm.expectRevert(why);
        _step.step(_domain, pre, 1, 0, frame, index, witness);
    }

    function _run(uint256 i, bytes32 pre, bytes memory witness)
        private
        view
        returns (bytes32 post, uint8 status, uint64 value)
    {
        uint256 frame = _frameOf[i];
        return _step.step(_domain, pre, uint8(_shards[frame]), uint64(_seqs[frame]), _frames[frame], _index[i], witness);
    }
}
