// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {TestToken} from "../src/TestToken.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice Keeps a hundredth of what it moves.
contract FeeToken is TestToken {
    function _update(address from, address to, uint256 value) internal override {
        super._update(from, to, value);
        if (from != address(0) && to != address(0)) super._update(to, address(1), value / 100);
    }
}

contract InboxTest is RootBase {
    function test_register_queuesAndTakesTheDeposit() public {
        _expectItem(0, abi.encodePacked(uint8(1), uint8(3), alice, keyX, keyY, uint56(500)));
        vm.prank(alice);
        root.register(3, keyX, keyY, 500);
        vm.assertEq(token.balanceOf(address(root)), 500 * UNIT);
        vm.assertEq(root.held(), 500);
    }

    function test_register_takesNothing() public {
        _expectItem(0, abi.encodePacked(uint8(1), uint8(0), alice, keyX, keyY, uint56(0)));
        vm.prank(alice);
        root.register(0, keyX, keyY, 0);
        vm.assertEq(root.held(), 0);
    }

    function test_register_revertsOnAKeyOffTheCurve() public {
        vm.expectRevert(IRoot.BadKey.selector);
        root.register(0, keyX, ~keyY, 0);
    }

    function test_deposit_queuesAndTakesTheTokens() public {
        _expectItem(0, abi.encodePacked(uint8(2), alice, uint32(0x700), uint56(9)));
        deposit(alice, 0x700, 9);
        vm.assertEq(token.balanceOf(address(root)), 9 * UNIT);
        vm.assertEq(root.queuedAt(0), block.timestamp);
    }

    function test_deposit_revertsOnABadAmount() public {
        vm.expectRevert(IRoot.BadAmount.selector);
        deposit(alice, 256, 0);
        vm.expectRevert(IRoot.BadAmount.selector);
        deposit(alice, 256, MAX_AMOUNT + 1);
    }

    function test_deposit_revertsPastTheCap() public {
        deposit(alice, 256, MAX_AMOUNT - 1);
        vm.expectRevert(abi.encodeWithSelector(IRoot.CapExceeded.selector, 1));
        deposit(bob, 256, 2);
        vm.prank(bob);
        vm.expectRevert(abi.encodeWithSelector(IRoot.CapExceeded.selector, 1));
        root.register(0, keyX, keyY, 2);
        deposit(bob, 256, 1);
        vm.assertEq(root.held(), MAX_AMOUNT);
    }

    function test_deposit_fitsAgainAfterAWithdrawal() public {
        deposit(alice, 256, MAX_AMOUNT);
        IRoot.Batch memory batch = finalWithdrawal(0, 1, alice, 10);
        withdraw(batch, 0, 1);
        deposit(bob, 256, 10);
        vm.assertEq(root.held(), MAX_AMOUNT);
    }

    function test_deposit_revertsWithoutApproval() public {
        vm.prank(alice);
        token.approve(address(root), 0);
        vm.expectRevert(abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", root, 0, UNIT));
        deposit(alice, 256, 1);
        vm.assertEq(root.inboxLength(), 0);
    }

    function test_deposit_refusesAFeeOnTransfer() public {
        token = new FeeToken();
        root = deploy(token);
        fund(alice);
        vm.expectRevert(abi.encodeWithSelector(IRoot.WrongTransfer.selector, 100 * UNIT, 99 * UNIT));
        deposit(alice, 256, 100);
    }

    function test_forceWithdraw_queues() public {
        _expectItem(0, abi.encodePacked(uint8(3), alice, uint32(256), uint56(MAX_AMOUNT)));
        vm.prank(alice);
        root.forceWithdraw(256, MAX_AMOUNT);
    }

    function test_forceWithdraw_revertsOnABadAmount() public {
        vm.expectRevert(IRoot.BadAmount.selector);
        root.forceWithdraw(256, 0);
        vm.expectRevert(IRoot.BadAmount.selector);
        root.forceWithdraw(256, MAX_AMOUNT + 1);
    }

    function test_forceRotate_queues() public {
        _expectItem(0, abi.encodePacked(uint8(4), alice, uint32(256), keyX, keyY));
        vm.prank(alice);
        root.forceRotate(256, keyX, keyY);
    }

    function test_forceRotate_revertsOnAKeyOffTheCurve() public {
        vm.expectRevert(IRoot.BadKey.selector);
        root.forceRotate(256, 0, 0);
    }

    function test_force_queues() public {
        bytes memory longest = new bytes(512);
        longest[511] = 0x01;
        _expectItem(0, abi.encodePacked(uint8(5), alice, uint32(256), longest));
        vm.prank(alice);
        root.force(256, longest);
        _expectItem(1, abi.encodePacked(uint8(5), bob, uint32(7), hex"18"));
        vm.prank(bob);
        root.force(7, hex"18");
    }

    function test_force_revertsOnABadLength() public {
        vm.expectRevert(IRoot.BadInteraction.selector);
        root.force(256, "");
        vm.expectRevert(IRoot.BadInteraction.selector);
        root.force(256, new bytes(513));
    }

    function test_accumulator_chainsItems(uint64[5] memory amounts) public {
        bytes32 accumulator;
        for (uint64 i; i < amounts.length; ++i) {
            uint64 amount = 1 + amounts[i] % 1000;
            deposit(alice, 256, amount);
            bytes32 item = keccak256(abi.encodePacked(uint8(2), alice, uint32(256), uint56(amount)));
            accumulator = keccak256(bytes.concat(accumulator, item));
            vm.assertEq(root.inboxLength(), i + 1);
            vm.assertEq(root.accumulator(i + 1), accumulator);
        }
        vm.assertEq(root.accumulator(0), 0);
    }

    function _expectItem(uint64 index, bytes memory item) private {
        vm.expectEmit();
        emit IRoot.InboxItem(index, item);
    }
}
