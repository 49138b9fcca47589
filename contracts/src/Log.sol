// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Rfc6962} from "./Rfc6962.sol";

/// @title The call log of a session's direction (docs/protocol.md §5)
/// @notice RFC 6962 with SHA-256 over call records of 90 bytes; a half's `root` is this tree's head.
library Log {
    uint256 internal constant RECORD = 90;

    /// @notice Not a whole number of 90-byte records.
    error BadRecords(uint256 length);

    function leaf(bytes calldata record) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(hex"00", record));
    }

    function node(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return sha256(abi.encodePacked(hex"01", left, right));
    }

    /// @notice The tree head over records laid end to end; `sha256("")` over none.
    function root(bytes calldata records) internal pure returns (bytes32) {
        if (records.length % RECORD != 0) revert BadRecords(records.length);
        if (records.length == 0) return sha256("");
        bytes32[] memory leaves = new bytes32[](records.length / RECORD);
        for (uint256 i; i < leaves.length; ++i) {
            leaves[i] = leaf(records[i * RECORD:(i + 1) * RECORD]);
        }
        return Rfc6962.root(leaves, node);
    }

    /// @notice Whether `record` is the call at `index` of the log of `size` calls with this head.
    function verify(bytes32 head, uint256 size, uint256 index, bytes calldata record, bytes32[] calldata path)
        internal
        pure
        returns (bool)
    {
        return record.length == RECORD && Rfc6962.verify(head, size, index, leaf(record), path, node);
    }
}
