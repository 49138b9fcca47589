// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Many calls of one contract in one `eth_call`
/// @notice For the differential fuzz (test/fuzz), which asks `Step` a million times.
contract ManySteps {
    /// @param calls Each a whole calldata.
    /// @return answers One byte, 1 where the call returned and 0 where it reverted, and what it returned or reverted with.
    function ask(address callee, bytes[] calldata calls) external view returns (bytes[] memory answers) {
        answers = new bytes[](calls.length);
        for (uint256 i; i < calls.length; ++i) {
            bytes memory kept;
            assembly ("memory-safe") {
                kept := mload(0x40)
            }
            (bool done, bytes memory answer) = callee.staticcall(calls[i]);
            bytes memory whole = bytes.concat(done ? bytes1(0x01) : bytes1(0x00), answer);
            // Only the answer is kept; the memory that the call took is free again, or a hundred calls would need too much.
            assembly ("memory-safe") {
                let length := add(mload(whole), 0x20)
                mcopy(kept, whole, length)
                mstore(0x40, and(add(add(kept, length), 0x1f), not(0x1f)))
            }
            answers[i] = kept;
        }
    }
}
