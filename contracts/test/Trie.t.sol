// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Trie} from "../src/Trie.sol";
import {TrieModel} from "./Model.sol";
import {vm} from "./Vm.sol";

contract TrieTest {
    TrieModel private _model;

    function setUp() public {
        _model = new TrieModel();
    }

    function root(uint32 address_, bytes calldata cell, bytes32[48] calldata siblings) external pure returns (bytes32) {
        return Trie.root(address_, cell, siblings);
    }

    function test_zero_isTheEmptyTree() public view {
        vm.assertEq(Trie.zero(16), _model.root());
        vm.assertEq(Trie.zero(0), keccak256(new bytes(64)));
    }

    function test_cellAddress_placesItsFields() public pure {
        vm.assertEq(Trie.cellAddress(255, Trie.OUTBOX, 2 ** 20 - 1), 0xff7fffff);
        vm.assertEq(Trie.cellAddress(1, Trie.WORKFLOW, 3), 0x01800003);
    }

    function test_slotOf_wrapsRingsAndSpreadsQuads() public pure {
        vm.assertEq(Trie.slotOf(Trie.AGENT, 5), 5);
        vm.assertEq(Trie.slotOf(Trie.OUTBOX, 2 ** 20 + 5), 5);
        vm.assertEq(Trie.slotOf(Trie.SESSION, 2 ** 18 + 5), 20);
    }

    function test_root_matchesTheModel(uint32[6] memory places, bytes32[6] memory words, uint32 empty) public {
        for (uint256 i; i < places.length; ++i) {
            _model.set(places[i], abi.encodePacked(words[i], i));
        }
        for (uint256 i; i < places.length; ++i) {
            vm.assertEq(this.root(places[i], _model.cellAt(places[i]), _model.proof(places[i])), _model.root());
        }
        vm.assertEq(this.root(empty, _model.cellAt(empty), _model.proof(empty)), _model.root());
    }

    function test_root_differsForAnythingElse(uint32 place, uint32 other, uint256 bit, uint256 sibling) public {
        vm.assume(place != other);
        bytes memory cell = abi.encodePacked(keccak256("a"), keccak256("b"));
        _model.set(place, cell);
        bytes32[48] memory proof = _model.proof(place);
        bytes32 expected = _model.root();

        vm.assertFalse(this.root(other, cell, proof) == expected, "address");
        cell[bit % 64] ^= bytes1(uint8(1 << (bit % 8)));
        vm.assertFalse(this.root(place, cell, proof) == expected, "cell");
        cell[bit % 64] ^= bytes1(uint8(1 << (bit % 8)));
        proof[sibling % 48] ^= bytes32(1 << (bit % 256));
        vm.assertFalse(this.root(place, cell, proof) == expected, "sibling");
    }
}
