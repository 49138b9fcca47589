// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IExits} from "../src/IExits.sol";
import {IRoot} from "../src/IRoot.sol";
import {ExitsModel} from "./ExitsModel.sol";
import {vm} from "./Vm.sol";

/// @notice Whatever state a deployment freezes in, and whatever is shown and collected in whatever order and however often:
/// what is held is at any time what all can still get and what is burned, and in the end what is burned.
contract ExitsSolvencyTest is ExitsModel {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private constant MOST = 14;

    bool private _isOpen;
    /// @dev Base units by agent: what was claimed for it, and what its owner had.
    mapping(uint32 agent => uint64) private _claimed;
    mapping(uint32 agent => uint64) private _collected;
    mapping(address owner => uint64) private _atOnce;
    bool[] private _paid;
    uint64[] private _waiting;
    bool[] private _returned;
    uint64 private _consumed;
    uint64 private _money;

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(this);
        targets[0].selectors = new bytes4[](9);
        targets[0].selectors[0] = this.actPlace.selector;
        targets[0].selectors[1] = this.actPlace.selector;
        targets[0].selectors[2] = this.actOpen.selector;
        targets[0].selectors[3] = this.actShow.selector;
        targets[0].selectors[4] = this.actShowHollow.selector;
        targets[0].selectors[5] = this.actCollect.selector;
        targets[0].selectors[6] = this.actWithdraw.selector;
        targets[0].selectors[7] = this.actReturn.selector;
        targets[0].selectors[8] = this.actWait.selector;
    }

    /// @dev One more piece of the state, while it can still change.
    function actPlace(uint256 seed) public {
        if (_isOpen) return actShow(seed);
        if (pieces.length + hollow.length > MOST + AGENTS) return;
        uint256 kind = seed % 7;
        seed = uint256(keccak256(abi.encode(seed)));
        if (kind == 0) addUndecided(seed);
        else if (kind == 1) addHeld(seed);
        else if (kind == 2) addLeg(seed);
        else if (kind == 3) addMessage(seed);
        else if (kind == 4) addSession(seed);
        else if (kind == 5) addWithdrawal(seed);
        else burned += uint64(seed % 1000);
    }

    /// @dev Needs something to show before.
    function actOpen(uint64 late) external {
        if (_isOpen || pieces.length < AGENTS + 4) return;
        _open(late);
    }

    function _open(uint64 late) private {
        uint64 money = burned;
        for (uint256 i; i < pieces.length; ++i) {
            money += pieces[i].amount;
        }
        for (uint256 i; i < withdrawals.length; ++i) {
            money += withdrawals[i];
            _paid.push(false);
        }
        _money = money;
        deposit(alice, 256, money);
        last = postNext();
        _consumed = root.inboxLength();
        settle(last);
        for (uint256 i; i < late % 3; ++i) {
            deposit(bob, 256, 1 + late % 1e6);
            _waiting.push(1 + late % 1e6);
            _returned.push(false);
        }
        vm.warp(root.freezableAt());
        root.freeze();
        exit.open(last, trie.root());
        _isOpen = true;
    }

    function actShow(uint256 seed) public {
        if (!_isOpen) return;
        Piece storage piece = pieces[seed % pieces.length];
        bool isEarly = block.timestamp <= exit.halvesUntil();
        if (piece.way == Way.session && isEarly && seed >> 32 & 1 == 1) {
            (uint8 dir, uint64 paid) = (uint8(seed >> 33 & 1), uint64((seed >> 34) % 3e6));
            vm.assertTrue(attempt(callForHalf(piece, dir, paid)), "half refused");
            settleSession(piece, dir, paid);
            return;
        }
        _show(piece, isEarly && piece.isTimed);
    }

    function _show(Piece storage piece, bool isTooEarly) private {
        if (isLeg(piece) && isTooEarly) {
            vm.assertTrue(attempt(callForVerdict(piece)), "verdict refused");
            isTooEarly = false;
        } else if (isLeg(piece) && !_isKnown(piece)) {
            // Too late for it: the payer has it all.
            owe(piece, piece.agents[0], piece.amount, piece.agents[1], 0);
        }
        bool done = attempt(callFor(piece));
        vm.assertTrue(done == !(piece.isShown || isTooEarly), done ? "shown again" : "refused");
        if (!done) return;
        piece.isShown = true;
        if (piece.owner != address(0)) {
            _atOnce[piece.owner] += piece.amount;
            return;
        }
        for (uint256 i; i < 2; ++i) {
            _claimed[piece.agents[i]] += piece.owed[i];
        }
    }

    function _isKnown(Piece storage piece) private view returns (bool known) {
        if (piece.isShown) return true;
        (known,) = exit.verdictOn(uint56(bytes7(_after(piece.payload))));
    }

    /// @dev A verdict's payload without its kind.
    function _after(bytes memory payload) private pure returns (bytes memory rest) {
        rest = new bytes(payload.length - 1);
        for (uint256 i; i < rest.length; ++i) {
            rest[i] = payload[i + 1];
        }
    }

    function actShowHollow(uint256 seed) external {
        if (!_isOpen || hollow.length == 0) return;
        vm.assertFalse(attempt(callFor(hollow[seed % hollow.length])), "paid for nothing");
    }

    function actCollect(uint256 which) external {
        if (_isOpen) _collect(agentId(which));
    }

    function _collect(uint32 agent) private {
        uint64 amount = exit.claims(agent);
        bool done = attempt(abi.encodeCall(exit.collect, (agent)));
        vm.assertTrue(done == (amount > 0 && exit.shown(agentAt(agent))));
        if (done) _collected[agent] += amount;
    }

    function actWithdraw(uint256 which) external {
        if (_isOpen && withdrawals.length > 0) _withdraw(which % withdrawals.length);
    }

    function _withdraw(uint256 i) private {
        uint32 place = outboxAddress(0, uint48(i + 1));
        bytes32 stateRoot = trie.root();
        (bytes memory cell, bytes32[48] memory proof) = (trie.cellAt(place), trie.proof(place));
        (bool done,) = address(root).call(abi.encodeCall(root.withdraw, (last, stateRoot, 0, cell, proof)));
        vm.assertTrue(done == !_paid[i]);
        if (!done) return;
        _paid[i] = true;
        _atOnce[address(bytes20(_slice(cell, 16)))] += withdrawals[i];
    }

    function _slice(bytes memory cell, uint256 from) private pure returns (bytes memory rest) {
        rest = new bytes(20);
        for (uint256 i; i < 20; ++i) {
            rest[i] = cell[from + i];
        }
    }

    function actReturn(uint256 which) external {
        if (!_isOpen) return;
        if (_waiting.length > 0) _return(which % _waiting.length);
        // What a batch consumed is in the state.
        bytes memory item = abi.encodePacked(uint8(2), alice, uint32(256), uint56(_money));
        vm.assertFalse(attempt(abi.encodeCall(exit.returnDeposit, (_consumed - 1, item))));
    }

    function _return(uint256 i) private {
        bytes memory item = abi.encodePacked(uint8(2), bob, uint32(256), uint56(_waiting[i]));
        bool done = attempt(abi.encodeCall(exit.returnDeposit, (_consumed + uint64(i), item)));
        vm.assertTrue(done == !_returned[i]);
        if (done) _returned[i] = true;
    }

    function actWait(uint256 chance) external {
        if (_isOpen && chance % 3 == 0) pastHalves();
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.runs = 256
    /// forge-config: ci.invariant.depth = 50
    /// @dev Solvency to the unit.
    function invariant_held_isWhatCanStillBeHad() external view {
        vm.assertEq(token.balanceOf(address(root)), root.held() * UNIT);
        if (!_isOpen) return;
        uint256 due = burned;
        for (uint256 i; i < pieces.length; ++i) {
            if (!pieces[i].isShown) due += pieces[i].amount;
        }
        for (uint256 i; i < AGENTS; ++i) {
            due += exit.claims(agentId(i));
            vm.assertEq(exit.claims(agentId(i)) + _collected[agentId(i)], _claimed[agentId(i)]);
        }
        for (uint256 i; i < withdrawals.length; ++i) {
            if (!_paid[i]) due += withdrawals[i];
        }
        for (uint256 i; i < _waiting.length; ++i) {
            if (!_returned[i]) due += _waiting[i];
        }
        vm.assertEq(root.held(), due);
    }

    /// @dev All that can be shown is shown, and everybody collects.
    function afterInvariant() external {
        if (!_isOpen) _open(2);
        for (uint256 i; i < pieces.length; ++i) {
            if (isLeg(pieces[i]) && block.timestamp <= exit.halvesUntil()) attempt(callForVerdict(pieces[i]));
        }
        pastHalves();
        for (uint256 i; i < pieces.length; ++i) {
            if (!pieces[i].isShown) _show(pieces[i], false);
        }
        for (uint256 i; i < AGENTS; ++i) {
            _collect(agentId(i));
        }
        for (uint256 i; i < withdrawals.length; ++i) {
            if (!_paid[i]) _withdraw(i);
        }
        for (uint256 i; i < _waiting.length; ++i) {
            if (!_returned[i]) _return(i);
        }
        vm.assertEq(root.held(), burned, "left");
        for (uint256 i; i < AGENTS; ++i) {
            vm.assertEq(token.balanceOf(ownerAt(i)), (_claimed[agentId(i)] + _atOnce[ownerAt(i)]) * UNIT, "an owner's");
        }
    }
}
