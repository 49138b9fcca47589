// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice Whatever is deposited, proved and claimed, in whatever order and however often: the tokens held are what came
/// in less what was paid, and no withdrawal is paid twice.
contract SolvencyTest is RootBase {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private _deposited;
    uint256 private _promised;
    uint256 private _paid;
    uint48 private _serials;
    mapping(uint48 serial => uint56) private _amounts;
    IRoot.Batch private _final;

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(this);
        targets[0].selectors = new bytes4[](5);
        targets[0].selectors[0] = this.actDeposit.selector;
        targets[0].selectors[1] = this.actRegister.selector;
        targets[0].selectors[2] = this.actPromise.selector;
        targets[0].selectors[3] = this.actClaim.selector;
        targets[0].selectors[4] = this.actDonate.selector;
    }

    function actDeposit(uint64 amount) external {
        amount = 1 + amount % 1e9;
        deposit(alice, 256, amount);
        _deposited += amount;
    }

    function actRegister(uint64 amount) external {
        amount = amount % 1e9;
        vm.prank(bob);
        root.register(0, keyX, keyY, amount);
        _deposited += amount;
    }

    /// @dev What an honest sequencer lets happen: no more leaves the state than is in it.
    function actPromise(uint56 amount) external {
        amount = uint56(amount % (_deposited - _promised + 1));
        _amounts[++_serials] = amount;
        _promised += amount;
        _final = finalWithdrawal(0, _serials, bob, amount);
    }

    function actClaim(uint48 serial) external {
        if (_serials == 0) return;
        serial = 1 + serial % _serials;
        uint32 place = outboxAddress(0, serial);
        bool before = root.withdrawn(0, serial);
        try root.withdraw(_final, trie.root(), 0, trie.cellAt(place), trie.proof(place)) {
            vm.assertFalse(before, "paid twice");
            _paid += _amounts[serial];
        } catch {
            vm.assertTrue(before, "refused a good withdrawal");
        }
    }

    /// @dev Tokens sent past the books must not confuse them; the sum is far below what a test mints.
    function actDonate(uint64 amount) external {
        vm.prank(bob);
        token.transfer(address(root), amount % 1000);
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    function invariant_held_isDepositsLessWithdrawals() external view {
        vm.assertEq(root.held(), _deposited - _paid);
        vm.assertGe(token.balanceOf(address(root)), root.held() * UNIT);
    }
}
