// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice Whatever is posted, contested, voided, made final and paid, in whatever order: no wei of a bond is lost or made,
/// and what is final stays.
contract BondsInvariantsTest is RootBase {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    uint256 private _bonded = MIN_BOND;
    uint256 private _paid;
    uint64 private _finalized;
    mapping(uint64 number => bytes32) private _final;
    address[3] private _reporters = [vm.addr(20), vm.addr(21), vm.addr(22)];

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(this);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        targets = new FuzzSelector[](1);
        targets[0].addr = address(this);
        bytes4[] memory selectors = new bytes4[](12);
        selectors[0] = this.actBond.selector;
        selectors[1] = this.actRequestUnbond.selector;
        selectors[2] = this.actUnbond.selector;
        selectors[3] = this.actSlash.selector;
        selectors[4] = this.actPost.selector;
        selectors[5] = this.actInvalidate.selector;
        selectors[6] = this.actFinalize.selector;
        selectors[7] = this.actContest.selector;
        selectors[8] = this.actUncontest.selector;
        selectors[9] = this.actCollect.selector;
        selectors[10] = this.actWarp.selector;
        selectors[11] = this.actPost.selector; // more often than the others
        targets[0].selectors = selectors;
    }

    function actBond(uint256 amount) external {
        amount = amount % (2 * MIN_BOND);
        vm.deal(sequencer, amount);
        vm.prank(sequencer);
        root.bond{value: amount}();
        _bonded += amount;
    }

    function actRequestUnbond(uint256 amount) external {
        vm.prank(sequencer);
        root.requestUnbond(amount % (2 * MIN_BOND));
    }

    function actUnbond() external {
        vm.deal(sequencer, 0);
        (uint256 asked, uint64 claimableAt) = root.unbonding();
        bool due = claimableAt != 0 && block.timestamp >= claimableAt && root.finalized() == root.head();
        uint256 bonded = root.bonded();
        vm.prank(sequencer);
        try root.unbond() {
            vm.assertTrue(due, "unbonded too early");
            vm.assertEq(sequencer.balance, asked < bonded ? asked : bonded);
            _paid += sequencer.balance;
        } catch {
            vm.assertFalse(due, "refused what was due");
        }
    }

    function actSlash(uint8 reporter) external {
        vm.prank(faults);
        root.slash(_reporters[reporter % 3]);
    }

    function actPost() external {
        IRoot.Batch memory batch = nextBatch();
        batch.inboxCursor = root.posted(root.head()).inboxCursor;
        bytes memory data = someData();
        (uint256 asked,) = root.unbonding();
        bool ready = root.bonded() >= asked + MIN_BOND
            // Nor may the clock leap over what a withdrawal is kept for.
            && batch.timeTo < root.posted(root.head()).timeTo + 2 ** 20;
        vm.prank(sequencer, sequencer);
        try root.postBatch(batch, data) {
            vm.assertTrue(ready, "posted without a bond");
            vm.assertEq(root.head(), batch.number);
        } catch {
            vm.assertFalse(ready, "refused a good batch");
        }
    }

    function actInvalidate(uint64 number, uint8 reporter) external {
        uint64 head = root.head();
        number %= head + 2;
        bytes32 batchHash = root.posted(number).batchHash;
        vm.prank(reporter % 2 == 0 ? game : faults);
        try root.invalidate(number, batchHash, _reporters[reporter % 3]) {
            vm.assertTrue(number > _finalized && number <= head, "voided what is final or not there");
            vm.assertEq(root.head(), number - 1);
        } catch {
            vm.assertTrue(number <= _finalized || number > head, "did not void");
            vm.assertEq(root.head(), head);
        }
    }

    function actFinalize(uint64 upTo) external {
        upTo %= root.head() + 2;
        bool ready = upTo > _finalized && upTo <= root.head() && block.timestamp >= root.posted(upTo).postedAt + WINDOW;
        for (uint64 number = _finalized + 1; ready && number <= upTo; ++number) {
            ready = root.contested(root.posted(number).batchHash) == 0;
        }
        try root.finalize(upTo) {
            vm.assertTrue(ready, "final too early");
            for (; _finalized < upTo; ++_finalized) {
                _final[_finalized + 1] = root.posted(_finalized + 1).batchHash;
            }
        } catch {
            vm.assertFalse(ready, "refused what is final");
        }
    }

    function actContest(uint64 number) external {
        number = root.head() - number % (root.head() - _finalized + 1);
        if (number == _finalized) return;
        bytes32 batchHash = root.posted(number).batchHash;
        vm.prank(game);
        root.contest(batchHash);
    }

    function actUncontest(uint64 number) external {
        bytes32 batchHash = root.posted(number % (root.head() + 1)).batchHash;
        if (root.contested(batchHash) == 0) return;
        vm.prank(game);
        root.uncontest(batchHash);
    }

    function actCollect(uint8 reporter) external {
        address account = _reporters[reporter % 3];
        uint256 credit = root.credits(account);
        if (credit == 0) return;
        vm.deal(account, 0);
        vm.prank(account);
        root.collect();
        vm.assertEq(account.balance, credit);
        _paid += credit;
    }

    function actWarp(uint32 time) external {
        vm.warp(block.timestamp + time % (WINDOW + 2));
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    function invariant_bonds_areConserved() external view {
        uint256 credits;
        for (uint256 i; i < 3; ++i) {
            credits += root.credits(_reporters[i]);
        }
        vm.assertEq(address(root).balance, root.bonded() + credits);
        vm.assertEq(_bonded, address(root).balance + _paid + address(0xdEaD).balance);
    }

    /// forge-config: default.invariant.fail-on-revert = true
    /// forge-config: ci.invariant.fail-on-revert = true
    function invariant_final_stays() external view {
        vm.assertEq(root.finalized(), _finalized);
        vm.assertGe(root.head(), _finalized);
        for (uint64 number = 1; number <= _finalized; ++number) {
            vm.assertEq(root.posted(number).batchHash, _final[number]);
        }
    }
}
