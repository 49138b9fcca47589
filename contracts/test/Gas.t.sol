// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "../src/IRoot.sol";
import {DataModel} from "./Model.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice What transactions cost, calldata included, kept in `snapshots/`; and that a full part fits one.
contract GasTest is RootBase {
    /// @dev EIP-7825: what one transaction may use.
    uint256 private constant TRANSACTION_CAP = 2 ** 24;
    uint256 private constant PART = 120 * 1024;

    function test_inbox_gas() public {
        deposit(alice, 256, 1);
        _measure("Inbox", "deposit: first");
        deposit(alice, 256, 1);
        _measure("Inbox", "deposit");
        vm.prank(alice);
        root.register(0, keyX, keyY, 1);
        _measure("Inbox", "register");
        vm.prank(alice);
        root.forceWithdraw(256, 1);
        _measure("Inbox", "forceWithdraw");
        vm.prank(alice);
        root.forceRotate(256, keyX, keyY);
        _measure("Inbox", "forceRotate");
    }

    function test_withdraw_gas() public {
        deposit(alice, 256, 1000);
        IRoot.Batch memory batch = finalWithdrawal(0, 1, bob, 1);
        _measure("Withdrawals", "finalize");
        withdraw(batch, 0, 1);
        _measure("Withdrawals", "withdraw: first of 256 serials");
        withdraw(finalWithdrawal(0, 2, bob, 1), 0, 2);
        _measure("Withdrawals", "withdraw");
    }

    function test_postBatch_gas() public {
        postNext();
        _measure("Batches", "postBatch: one tick, first");
        postNext();
        _measure("Batches", "postBatch: one tick");
        bytes memory data = _fill(220);
        post(nextBatch(data, 0), data);
        _measure("Batches", "postBatch: 120 KB of 220-byte frames");
        _postPart("120 KB of 4,096-byte frames", 4096);
        _postPart("120 KB of 220-byte frames", 220);
        _postPart("120 KB of 100-byte frames", 100);
        _postPart("120 KB of ticks", 5);
    }

    /// @dev Measured per frame, a full part's cost is its calldata's (EIP-7623) as long as it holds some 6,000 frames or
    /// fewer; a part of 20,000 still fits.
    function _postPart(string memory what, uint256 size) private {
        postPart(root.head() + 1, 0, _fill(size));
        _measure("Batches", string.concat("postData: ", what));
    }

    function _fill(uint256 size) private pure returns (bytes memory data) {
        uint256 count = (PART - 9) / (size + 2);
        data = new bytes(9 + count * (size + 2));
        data[7] = bytes1(uint8(count >> 8));
        data[8] = bytes1(uint8(count));
        uint256 pos = 9;
        for (uint256 i; i < count; ++i) {
            data[pos] = bytes1(uint8(size >> 8));
            data[pos + 1] = bytes1(uint8(size));
            for (uint256 j; j < size; ++j) {
                data[pos + 2 + j] = 0xab; // no zero bytes: they would be cheaper
            }
            pos += 2 + size;
        }
    }

    function _measure(string memory group, string memory name) private {
        uint256 gas = vm.snapshotGasLastCall(group, name);
        vm.assertLt(gas, TRANSACTION_CAP, name);
    }
}
