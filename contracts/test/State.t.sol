// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Field} from "../src/Cells.sol";
import {IStep} from "../src/IStep.sol";
import {State, States} from "../src/State.sol";
import {TrieModel} from "./Model.sol";
import {vm} from "./Vm.sol";

contract StateTest {
    Field private constant FIRST_WORD = Field.wrap(0 << 8 | 32);
    Field private constant LAST_BYTE = Field.wrap(63 << 8 | 1);

    TrieModel private _model;

    function setUp() public {
        _model = new TrieModel();
    }

    /// @notice Opens a witness, writes a word into some of its cells, and closes it.
    function run(bytes calldata witness, bytes32 pre, uint32[] calldata written, uint256 word)
        external
        pure
        returns (bytes32 root)
    {
        State memory state = States.open(witness, pre);
        for (uint256 i; i < written.length; ++i) {
            Cell cell = state.find(written[i]);
            FIRST_WORD.set(cell, word);
            LAST_BYTE.set(cell, word);
        }
        return state.close();
    }

    function test_close_matchesTheModel(uint32[5] memory places, bytes32[5] memory words, uint8 near, uint256 word)
        public
    {
        uint32[] memory given = _ascending(places, near);
        for (uint256 i; i < given.length; i += 2) {
            _model.set(given[i], abi.encodePacked(words[i % 5], i));
        }
        _model.set(places[0] ^ 0x10001, abi.encodePacked(words[1], words[2]));
        (bytes memory witness, bytes32 pre) = _witness(given, 1);
        bytes32 before = _model.root();
        vm.assertEq(this.run(witness, pre, new uint32[](0), 0), before, "nothing written");

        bytes32 root = this.run(witness, pre, given, word);
        for (uint256 i; i < given.length; ++i) {
            bytes memory cell = _model.cellAt(given[i]);
            assembly ("memory-safe") {
                mstore(add(cell, 0x20), word)
                mstore8(add(cell, 0x5f), word)
            }
            _model.set(given[i], cell);
        }
        vm.assertEq(root, _model.root(), "all written");
    }

    function test_close_takesNoOtherWitness(uint32[5] memory places, bytes32[5] memory words, uint256 which, uint8 bit)
        public
    {
        uint32[] memory given = _ascending(places, 0);
        for (uint256 i; i < given.length; ++i) {
            _model.set(given[i], abi.encodePacked(words[i % 5], i));
        }
        (bytes memory witness, bytes32 pre) = _witness(given, 0);
        witness[which % witness.length] ^= bytes1(uint8(1 << bit % 8));
        (bool done,) = address(this).call(abi.encodeCall(this.run, (witness, pre, new uint32[](0), 0)));
        vm.assertFalse(done);
    }

    function test_open_withoutCellsKeepsTheRoot() public view {
        (bytes memory witness, bytes32 pre) = _witness(new uint32[](0), 2);
        vm.assertEq(this.run(witness, pre, new uint32[](0), 0), _model.root());
    }

    function test_open_revertsForAnotherCommitment() public {
        (bytes memory witness, bytes32 pre) = _witness(_two(5, 9), 1);
        bytes32 other = keccak256(abi.encode(_model.root(), 2));
        vm.expectRevert(abi.encodeWithSelector(IStep.WrongPre.selector, pre));
        this.run(witness, other, new uint32[](0), 0);
    }

    function test_open_revertsForCellsOutOfOrder() public {
        _revertsWith(_two(9, 5));
        _revertsWith(_two(5, 5));
    }

    function test_open_revertsWhenCutShort() public {
        (bytes memory witness, bytes32 pre) = _witness(_two(5, 9), 0);
        for (uint256 length = witness.length - 1; length > 11; length -= 11) {
            assembly ("memory-safe") {
                mstore(witness, length)
            }
            (bool done,) = address(this).call(abi.encodeCall(this.run, (witness, pre, new uint32[](0), 0)));
            vm.assertFalse(done);
        }
    }

    function test_close_revertsForTrailingBytes() public {
        (bytes memory witness, bytes32 pre) = _witness(_two(5, 9), 0);
        vm.expectRevert(IStep.BadWitness.selector);
        this.run(bytes.concat(witness, hex"00"), pre, new uint32[](0), 0);
    }

    /// @dev As long as a witness should be, and of the same hashes: only the mask says so twice.
    function test_close_revertsForAGivenChildThatFollows() public {
        _model.set(5, abi.encodePacked(keccak256("a"), keccak256("b")));
        bytes memory head = abi.encodePacked(_model.root(), hex"0001", uint32(5), _model.cellAt(5));
        bytes memory above = new bytes(15);
        bytes memory leaf = abi.encodePacked(hex"02", keccak256(_model.cellAt(5)));
        bytes32 pre = keccak256(abi.encode(_model.root(), 0));
        vm.assertEq(this.run(bytes.concat(head, hex"00", above), pre, new uint32[](0), 0), _model.root());
        vm.expectRevert(IStep.BadWitness.selector);
        this.run(bytes.concat(head, leaf, above), pre, new uint32[](0), 0);
        vm.expectRevert(IStep.BadWitness.selector);
        this.run(bytes.concat(head, hex"10", above), pre, new uint32[](0), 0);
    }

    /// @dev One cell is at the edge of the state, all other children of every node follow. Then its neighbour is given too, and
    /// has a node of its own at every level: it must not be believed for standing beside.
    function test_close_revertsForAGivenCellBesideAllThatFollow() public {
        bytes memory cell = abi.encodePacked(keccak256("a"), keccak256("b"));
        bytes memory others = abi.encodePacked(keccak256("c"), keccak256("d"), keccak256("e"));
        bytes32 root = keccak256(cell);
        bytes memory nodes;
        bytes memory twice;
        for (uint256 level = 1; level < 17; ++level) {
            root = keccak256(bytes.concat(root, others));
            nodes = bytes.concat(nodes, hex"0e", others);
            twice = bytes.concat(twice, hex"0e", others, hex"00");
        }
        bytes32 pre = keccak256(abi.encode(root, 0));
        bytes memory given = abi.encodePacked(uint32(0), cell);
        vm.assertEq(this.run(bytes.concat(root, hex"0001", given, nodes), pre, new uint32[](0), 0), root);
        bytes memory beside = abi.encodePacked(uint32(1), keccak256("f"), keccak256("g"));
        vm.expectRevert(IStep.BadWitness.selector);
        this.run(bytes.concat(root, hex"0002", given, beside, twice), pre, new uint32[](0), 0);
    }

    function test_find_revertsForACellNotGiven() public {
        (bytes memory witness, bytes32 pre) = _witness(_two(5, 9), 0);
        vm.expectRevert(abi.encodeWithSelector(IStep.MissingCell.selector, 6));
        this.run(witness, pre, _two(5, 6), 0);
    }

    function _revertsWith(uint32[] memory given) private {
        bytes memory head = abi.encodePacked(_model.root(), hex"0002");
        for (uint256 i; i < 2; ++i) {
            head = bytes.concat(head, abi.encodePacked(given[i], _model.cellAt(given[i])));
        }
        bytes32 pre = keccak256(abi.encode(_model.root(), 0));
        vm.expectRevert(IStep.BadWitness.selector);
        this.run(bytes.concat(head, new bytes(32)), pre, new uint32[](0), 0);
    }

    function _two(uint32 a, uint32 b) private pure returns (uint32[] memory two) {
        two = new uint32[](2);
        (two[0], two[1]) = (a, b);
    }

    /// @dev Each once, in order, with neighbours of the first.
    function _ascending(uint32[5] memory places, uint8 near) private pure returns (uint32[] memory sorted) {
        sorted = new uint32[](9);
        uint256 n;
        for (uint256 i; i < 9; ++i) {
            uint32 place = i < 5 ? places[i] : places[0] ^ uint32(near >> 2 * (i - 5) & 3);
            uint256 to = n;
            bool known;
            for (uint256 j; j < n; ++j) {
                if (sorted[j] == place) known = true;
            }
            if (known) continue;
            for (; to > 0 && sorted[to - 1] > place; --to) {
                sorted[to] = sorted[to - 1];
            }
            sorted[to] = place;
            ++n;
        }
        assembly ("memory-safe") {
            mstore(sorted, n)
        }
    }

    /// @dev As the page says it, from the model.
    function _witness(uint32[] memory given, uint8 context) private view returns (bytes memory witness, bytes32 pre) {
        witness = abi.encodePacked(_model.root(), context, uint8(given.length));
        pre = keccak256(abi.encode(_model.root(), context));
        uint256[] memory level = new uint256[](given.length);
        for (uint256 i; i < given.length; ++i) {
            witness = bytes.concat(witness, abi.encodePacked(given[i], _model.cellAt(given[i])));
            level[i] = given[i];
        }
        bytes32 empty = keccak256(new bytes(64));
        for (uint256 height = 1; height <= 16; ++height) {
            uint256[] memory above = new uint256[](level.length);
            uint256 n;
            for (uint256 i; i < level.length;) {
                uint256 parent = level[i] / 4;
                uint8 mask;
                bytes memory following;
                for (uint256 child; child < 4; ++child) {
                    bytes32 hash = _model.node(height - 1, 4 * parent + child);
                    if (i < level.length && level[i] == 4 * parent + child) {
                        ++i;
                    } else if (hash != empty) {
                        mask |= uint8(1 << child);
                        following = bytes.concat(following, hash);
                    }
                }
                witness = bytes.concat(witness, bytes1(mask), following);
                above[n++] = parent;
            }
            assembly ("memory-safe") {
                mstore(above, n)
            }
            level = above;
            empty = keccak256(abi.encodePacked(empty, empty, empty, empty));
        }
    }
}
