// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IStep} from "../src/IStep.sol";
import {vm} from "./Vm.sol";

/// @notice Every step of the trace vector by itself: L1 must come to what the TypeScript engine came to.
contract StepTest {
    string private _json;
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

    function _run(uint256 i, bytes32 pre, bytes memory witness)
        private
        view
        returns (bytes32 post, uint8 status, uint64 value)
    {
        uint256 frame = _frameOf[i];
        return _step.step(_domain, pre, uint8(_shards[frame]), uint64(_seqs[frame]), _frames[frame], _index[i], witness);
    }
}
