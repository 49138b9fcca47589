// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @dev Most numbers the fields of one interaction decode to.
uint256 constant MAX_NUMBERS = 12;

/// @title Fields of operations (docs/protocol.md §4; twin of protocol/wire.ts)
/// @notice A `FORM` is an operation's fields in the order of the wire, one byte each, the lowest first: 0 ends it. Every
/// field decodes to a number; of `BYTES`, the place where they start; of an option left out, 0; of `LEGS` two, how many and
/// the place where they start.
library Wire {
    // By kind, from the highest byte on: the bits of a varint, the most a byte may be. By kind, from the lowest bit on:
    // whether it is not 0.
    uint256 private constant BITS = 0x0035203035200000 << 192;
    uint256 private constant MOST = 0x0000000000000000ff01020b05ff0f0c << 128;
    uint256 private constant SOME = 1 << 4 | 1 << 5 | 1 << 12 | 1 << 13;
    // 32 × MAX_NUMBERS.
    uint256 private constant NUMBERS_BYTES = 384;

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

    /// @notice Decodes the fields of a form, from a place in calldata on. Returns where they end; 0 when they are malformed
    /// or end after `end`.
    function decode(uint256 form, uint256 place, uint256 end, uint256[MAX_NUMBERS] memory numbers)
        internal
        pure
        returns (uint256 next)
    {
        // Assembly because the opening of a bundle decodes hundreds of interactions. What is wrong takes the place to where
        // it won't come back from, and what is read after `end` is caught at the end: places only grow.
        assembly ("memory-safe") {
            // The rest of a varint of more than one byte, from its second byte on.
            function long(at, bits) -> value, after_ {
                let word := calldataload(sub(at, 1))
                value := and(byte(0, word), 0x7f)
                let last := byte(1, word)
                value := or(value, shl(7, and(last, 0x7f)))
                after_ := add(at, 1)
                if gt(last, 0x7f) {
                    last := byte(2, word)
                    value := or(value, shl(14, and(last, 0x7f)))
                    after_ := add(at, 2)
                    for { let i := 3 } and(gt(last, 0x7f), lt(i, 8)) { i := add(i, 1) } {
                        last := byte(i, word)
                        value := or(value, shl(mul(7, i), and(last, 0x7f)))
                        after_ := add(after_, 1)
                    }
                }
                // Overlong, or more than 8 bytes, or too large.
                let bad := or(or(iszero(last), gt(last, 0x7f)), gt(shr(bits, value), 0))
                after_ := or(after_, shl(128, bad))
            }

            next := place
            let given := 0
            for { let to := numbers } form {
                form := shr(8, form)
                to := add(to, 0x20)
            } {
                let kind := and(form, 0xff)
                let value := next
                switch lt(kind, BYTES)
                case 0 { next := add(next, and(kind, 0x7f)) }
                default {
                    value := 0
                    let follows := lt(kind, IF)
                    if iszero(follows) {
                        follows := and(shr(and(shr(4, kind), 3), given), 1)
                        kind := and(kind, 0x0f)
                    }
                    if follows {
                        value := byte(0, calldataload(next))
                        next := add(next, 1)
                        switch lt(kind, BYTE)
                        case 1 { if gt(value, 0x7f) { value, next := long(next, byte(kind, BITS)) } }
                        default {
                            if gt(value, byte(kind, MOST)) { next := or(next, shl(128, 1)) }
                            if eq(kind, GIVEN) {
                                given := value
                                next := or(next, shl(128, eq(and(value, 9), 9)))
                                // Nothing more: all other numbers are 0.
                                if iszero(value) {
                                    form := 0
                                    let rest := add(to, 0x20)
                                    calldatacopy(rest, calldatasize(), sub(add(numbers, NUMBERS_BYTES), rest))
                                }
                            }
                            if eq(kind, LEGS) {
                                mstore(to, value)
                                to := add(to, 0x20)
                                let start := next
                                for { let ids := shl(1, value) } ids { ids := sub(ids, 1) } {
                                    let first := byte(0, calldataload(next))
                                    next := add(next, 1)
                                    if gt(first, 0x7f) { first, next := long(next, 32) }
                                }
                                next := or(next, shl(128, iszero(value)))
                                value := start
                            }
                        }
                        if iszero(value) { next := or(next, shl(128, and(shr(kind, SOME), 1))) }
                    }
                }
                mstore(to, value)
            }
            next := mul(next, iszero(gt(next, end)))
        }
    }
}
