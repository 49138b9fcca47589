// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Fields of operations (docs/protocol.md §4; twin of protocol/wire.ts)
/// @notice A `FORM` is an operation's fields in the order of the wire, one byte each, the lowest first: 0 ends it. Every
/// field decodes to a number; of `BYTES`, the place where they start; of an option left out, 0; of `LEGS` two, how many and
/// the place where they start.
library Wire {
    /// @dev Most numbers the fields of one interaction decode to.
    uint256 internal constant MAX_NUMBERS = 12;

    /// @dev A varint below 2^53: amounts, durations, ids of any kind.
    uint256 internal constant VARINT = 1;
    /// @dev A varint below 2^32: ids of agents, services and capabilities, and times.
    uint256 internal constant SHORT = 2;
    /// @dev A varint below 2^48.
    uint256 internal constant CALLS = 3;
    /// @dev As `VARINT` and `SHORT`, but not 0.
    uint256 internal constant SOME_VARINT = 4;
    uint256 internal constant SOME_SHORT = 5;
    /// @dev One byte: any; below 2; below 3; below 12; 1 … 5; 1 … 255.
    uint256 internal constant BYTE = 8;
    uint256 internal constant BIT = 9;
    uint256 internal constant RESULT = 10;
    uint256 internal constant LEG = 11;
    uint256 internal constant SCORE = 12;
    uint256 internal constant SOME_BYTE = 13;
    /// @dev The byte of `invoke` that says which of its options follow, 4 bits, of which 0 and 3 exclude each other.
    uint256 internal constant GIVEN = 14;
    /// @dev The legs of `plan`: their number, 1 … 12, then each one's payer and service, both `SHORT`.
    uint256 internal constant LEGS = 15;
    /// @dev Added to a field that follows only if bit i of `GIVEN` is set: `IF + 16 i`.
    uint256 internal constant IF = 0x40;
    /// @dev Added to a length below 128: so many bytes.
    uint256 internal constant BYTES = 0x80;
}
