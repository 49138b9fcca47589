// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Reveals} from "../src/Reveals.sol";
import {Rfc6962Model} from "./Model.sol";
import {vm} from "./Vm.sol";

contract RevealsTest {
    function test_root_isTheBinaryTree(uint8 count, bytes32 seed, bytes32 post, uint8 index, uint8 other) public view {
        bytes32[] memory inner = new bytes32[](count % 128);
        bytes32[] memory all = new bytes32[](128);
        for (uint256 i; i < inner.length; ++i) {
            inner[i] = all[i] = keccak256(abi.encode(seed, i));
        }
        all[inner.length] = post;
        bytes32 root = this.rootOf(inner, post);
        vm.assertEq(root, Rfc6962Model.root(all, _pair));
        vm.assertEq(root, this.rootOverDirt(inner, post));

        index %= 128;
        bytes32[] memory path = Rfc6962Model.path(all, index, _pair);
        vm.assertTrue(this.verify(root, index, all[index], path));
        vm.assertFalse(this.verify(root, index, ~all[index], path));
        vm.assertFalse(this.verify(~root, index, all[index], path));
        path[other % 7] = ~path[other % 7];
        vm.assertFalse(this.verify(root, index, all[index], path));
    }

    function test_verify_isFalseElsewhere(uint8 index, uint8 elsewhere) public view {
        (index, elsewhere) = (index % 128, elsewhere % 128);
        vm.assume(index != elsewhere);
        bytes32[] memory inner = new bytes32[](127);
        bytes32[] memory all = new bytes32[](128);
        for (uint256 i; i < 128; ++i) {
            all[i] = keccak256(abi.encode(i));
            if (i < 127) inner[i] = all[i];
        }
        bytes32[] memory path = Rfc6962Model.path(all, index, _pair);
        vm.assertFalse(this.verify(this.rootOf(inner, all[127]), elsewhere, all[index], path));
    }

    function test_boundary_dividesEverySegment(uint64 length) public pure {
        vm.assume(length > 1);
        uint256 parts = Reveals.parts(length);
        vm.assertEq(Reveals.boundary(length, 0), 0);
        vm.assertEq(Reveals.boundary(length, parts), length);
        for (uint256 i; i < parts; ++i) {
            uint256 part = Reveals.boundary(length, i + 1) - Reveals.boundary(length, i);
            vm.assertTrue(part == length / parts || part == length / parts + 1);
        }
    }

    function rootOf(bytes32[] calldata inner, bytes32 post) external pure returns (bytes32) {
        return Reveals.root(inner, post);
    }

    /// @dev Memory that nobody owns may hold anything.
    function rootOverDirt(bytes32[] calldata inner, bytes32 post) external pure returns (bytes32) {
        assembly ("memory-safe") {
            let place := mload(0x40)
            for { let end := add(place, 0x2000) } lt(place, end) { place := add(place, 0x20) } { mstore(place, not(0)) }
        }
        return Reveals.root(inner, post);
    }

    function verify(bytes32 root, uint256 index, bytes32 commitment, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return Reveals.verify(root, index, commitment, path);
    }

    function _pair(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return keccak256(bytes.concat(left, right));
    }
}
