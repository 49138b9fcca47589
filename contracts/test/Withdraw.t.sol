// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {Root} from "../src/Root.sol";
import {TestToken} from "../src/TestToken.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice Calls back whoever it is told to, in the middle of every transfer that Root makes or asks for.
contract ReentrantToken is TestToken {
    address private _target;
    bytes private _call;
    bytes public answer;

    function arm(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function _update(address from, address to, uint256 value) internal override {
        if (_target != address(0)) {
            address target = _target;
            _target = address(0);
            (bool success, bytes memory reason) = target.call(_call);
            answer = success ? bytes("paid") : reason;
        }
        super._update(from, to, value);
    }
}

/// @notice Refuses one recipient, as tokens with a blocklist do.
contract BlockingToken is TestToken {
    address public blocked;

    function setBlocked(address account) external {
        blocked = account;
    }

    function _update(address from, address to, uint256 value) internal override {
        require(to != blocked, "blocked");
        super._update(from, to, value);
    }
}

contract WithdrawTest is RootBase {
    function setUp() public override {
        super.setUp();
        deposit(alice, 256, 1000);
    }

    function test_withdraw_paysTheRecipient() public {
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 400);
        uint256 before = token.balanceOf(bob);
        vm.expectEmit();
        emit IRoot.Withdrawn(0, 1, bob, 400);
        withdraw(batch, 0, 1); // by anyone
        vm.assertEq(token.balanceOf(bob) - before, 400 * UNIT);
        vm.assertEq(root.held(), 600);
        vm.assertTrue(root.withdrawn(0, 1));
    }

    function test_withdraw_paysOnce(uint8 shard, uint48 serial, uint56 amount) public {
        amount = 1 + amount % 1000;
        IRoot.Batch memory batch = finalWithdrawal(shard, serial, bob, amount);
        withdraw(batch, shard, serial);
        _refuse(batch, shard, serial, abi.encodeWithSelector(IRoot.AlreadyWithdrawn.selector, shard, serial));
        // Nor under a later batch that still holds the cell.
        batch = postNext();
        settle(batch);
        _refuse(batch, shard, serial, abi.encodeWithSelector(IRoot.AlreadyWithdrawn.selector, shard, serial));
        vm.assertEq(root.held(), 1000 - amount);
    }

    function test_withdraw_paysEverySerialOfASlot() public {
        withdraw(finalWithdrawal(0, 5, bob, 1), 0, 5);
        uint48 next = 5 + 2 ** 20;
        withdraw(finalWithdrawal(0, next, bob, 2), 0, next);
        withdraw(finalWithdrawal(1, 5, bob, 3), 1, 5);
        vm.assertEq(root.held(), 1000 - 1 - 2 - 3);
    }

    function test_withdraw_worksUnderAnOlderFinalBatch() public {
        IRoot.Batch memory batch = finalWithdrawal(0, 5, bob, 1);
        bytes32 stateRoot = trie.root();
        uint32 place = outboxAddress(0, 5);
        bytes memory cell = trie.cellAt(place);
        bytes32[48] memory proof = trie.proof(place);
        finalWithdrawal(0, 5 + 2 ** 20, bob, 2); // the ring came round
        root.withdraw(batch, stateRoot, 0, cell, proof);
        vm.assertTrue(root.withdrawn(0, 5));
    }

    function test_withdraw_revertsBeforeFinality() public {
        trie.set(outboxAddress(0, 1), outboxCell(1, 1, bob, 1));
        IRoot.Batch memory batch = postNext();
        vm.warp(block.timestamp + WINDOW);
        _refuse(batch, 0, 1, abi.encodeWithSelector(IRoot.NotFinal.selector, 1));
        root.finalize(1);
        withdraw(batch, 0, 1);
    }

    function test_withdraw_revertsOnAHeaderNeverPosted() public {
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 1);
        bytes32 batchHash = keccak256(abi.encode(batch));
        trie.set(outboxAddress(0, 2), outboxCell(1, 2, bob, 1000));
        batch.post = keccak256(abi.encode(trie.root(), 0));
        _refuse(batch, 0, 2, abi.encodeWithSelector(IRoot.WrongBatch.selector, batchHash));
    }

    function test_withdraw_revertsOnAnotherStateRoot() public {
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 1);
        trie.set(outboxAddress(0, 2), outboxCell(1, 2, bob, 1000));
        _refuse(batch, 0, 2, abi.encodeWithSelector(IRoot.WrongStateRoot.selector));
    }

    function test_withdraw_revertsUnderAVoidBatch() public {
        trie.set(outboxAddress(0, 1), outboxCell(1, 1, bob, 1000));
        IRoot.Batch memory bad = postNext();
        vm.warp(block.timestamp + 1);
        invalidate(1);
        bondSequencer();
        IRoot.Batch memory good = nextBatch(someData(), 0);
        post(good, someData());
        settle(good);
        _refuse(bad, 0, 1, abi.encodeWithSelector(IRoot.WrongBatch.selector, keccak256(abi.encode(good))));
    }

    /// @dev A cell of the right bytes which an attacker got written elsewhere in the state.
    function test_withdraw_revertsOnAWrongSlot() public {
        uint32 elsewhere = outboxAddress(0, 2);
        trie.set(elsewhere, outboxCell(1, 1, bob, 1));
        _refuseCell(0, elsewhere, abi.encodeWithSelector(IRoot.BadProof.selector));
    }

    function test_withdraw_revertsOnAWrongRegion() public {
        uint32 elsewhere = 6 << 20 | 1;
        trie.set(elsewhere, outboxCell(1, 1, bob, 1));
        _refuseCell(0, elsewhere, abi.encodeWithSelector(IRoot.BadProof.selector));
    }

    function test_withdraw_revertsOnAWrongShard() public {
        trie.set(outboxAddress(1, 1), outboxCell(1, 1, bob, 1));
        _refuseCell(0, outboxAddress(1, 1), abi.encodeWithSelector(IRoot.BadProof.selector));
    }

    function test_withdraw_revertsOnAnotherKind(uint8 kind) public {
        vm.assume(kind != 1);
        trie.set(outboxAddress(0, 1), outboxCell(kind, 1, bob, 1));
        _refuseCell(0, outboxAddress(0, 1), abi.encodeWithSelector(IRoot.NotWithdrawal.selector));
    }

    function test_withdraw_revertsOnAnEmptyCell() public {
        _refuseCell(0, outboxAddress(0, 0), abi.encodeWithSelector(IRoot.NotWithdrawal.selector));
    }

    function test_withdraw_revertsOnACellOfAnotherSize(uint8 size) public {
        vm.assume(size != 64);
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 1);
        bytes32 stateRoot = trie.root();
        bytes32[48] memory proof = trie.proof(outboxAddress(0, 1));
        vm.expectRevert(IRoot.NotWithdrawal.selector);
        root.withdraw(batch, stateRoot, 0, new bytes(size), proof);
    }

    function test_withdraw_revertsOnAChangedCell() public {
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 1);
        bytes32 stateRoot = trie.root();
        bytes32[48] memory proof = trie.proof(outboxAddress(0, 1));
        bytes memory cell = outboxCell(1, 1, alice, 1000);
        vm.expectRevert(IRoot.BadProof.selector);
        root.withdraw(batch, stateRoot, 0, cell, proof);
    }

    function test_withdraw_revertsPastWhatIsHeld() public {
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 1001);
        _refuse(batch, 0, 1, abi.encodeWithSignature("Panic(uint256)", 0x11));
    }

    function test_withdraw_consumesNothingWhenTheTokenRefuses() public {
        BlockingToken blocking = new BlockingToken();
        _replaceToken(blocking);
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 7);
        blocking.setBlocked(bob);
        _refuse(batch, 0, 1, abi.encodeWithSignature("Error(string)", "blocked"));
        vm.assertFalse(root.withdrawn(0, 1));
        vm.assertEq(root.held(), 1000);
        blocking.setBlocked(address(0));
        withdraw(batch, 0, 1);
        vm.assertEq(token.balanceOf(bob) / UNIT, MAX_AMOUNT + 7);
    }

    function test_withdraw_paysOnceToAReentrantToken() public {
        ReentrantToken reentrant = new ReentrantToken();
        _replaceToken(reentrant);
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 7);
        uint32 place = outboxAddress(0, 1);
        reentrant.arm(
            address(root), abi.encodeCall(root.withdraw, (batch, trie.root(), 0, trie.cellAt(place), trie.proof(place)))
        );
        withdraw(batch, 0, 1);
        vm.assertEq(
            keccak256(reentrant.answer()), keccak256(abi.encodeWithSelector(IRoot.AlreadyWithdrawn.selector, 0, 1))
        );
        vm.assertEq(token.balanceOf(address(root)), 993 * UNIT);
    }

    /// @dev Paying a withdrawal inside a deposit would make one transfer count for both.
    function test_deposit_revertsAroundAReentrantWithdrawal() public {
        ReentrantToken reentrant = new ReentrantToken();
        _replaceToken(reentrant);
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 7);
        uint32 place = outboxAddress(0, 1);
        reentrant.arm(
            address(root), abi.encodeCall(root.withdraw, (batch, trie.root(), 0, trie.cellAt(place), trie.proof(place)))
        );
        vm.expectRevert(abi.encodeWithSelector(IRoot.WrongTransfer.selector, 10 * UNIT, 3 * UNIT));
        deposit(alice, 256, 10);
        vm.assertFalse(root.withdrawn(0, 1));
    }

    function _replaceToken(TestToken token_) private {
        token = token_;
        root = deploy(token);
        bondSequencer();
        fund(alice);
        fund(bob);
        deposit(alice, 256, 1000);
    }

    function _refuse(IRoot.Batch memory batch, uint8 shard, uint48 serial, bytes memory reason) private {
        uint32 place = outboxAddress(shard, serial);
        _refuseAt(batch, shard, place, reason);
    }

    function _refuseCell(uint8 shard, uint32 place, bytes memory reason) private {
        IRoot.Batch memory batch = postNext();
        settle(batch);
        _refuseAt(batch, shard, place, reason);
    }

    function _refuseAt(IRoot.Batch memory batch, uint8 shard, uint32 place, bytes memory reason) private {
        bytes32 stateRoot = trie.root();
        bytes memory cell = trie.cellAt(place);
        bytes32[48] memory proof = trie.proof(place);
        vm.expectRevert(reason);
        root.withdraw(batch, stateRoot, shard, cell, proof);
    }
}
