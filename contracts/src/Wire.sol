// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @dev Most numbers the fields of one interaction decode to.
uint256 constant MAX_NUMBERS = 12;

/// @dev First code that no operation has. Operations have all codes from 1 on.
uint256 constant CODES = 0x1a;

/// @title Fields of operations (docs/protocol.md §4; twin of protocol/wire.ts)
/// @notice A `FORM` is an operation's fields in the order of the wire, one byte each, the lowest first: 0 ends it. Every
/// field decodes to a number; of `BYTES`, the place where they start; of an option left out, 0; of `LEGS` two, how many and
/// the place where they start.
library Wire {
    // By kind, from the highest byte on: how many values a field of one byte may have, from 0 on, or from 1 on if bit 3 of the
    // kind is set. What is not there takes a closer look.
    uint256 private constant VALUES = 0x00808080ff02030c007f7f0005ff0000 << 128;
    // The most that a varint's last byte may be, by how many bytes are before it: eight numbers for each of the lowest two bits
    // of a kind. What is not there is too long.
    uint256 private constant LAST = 0x007f7f7f7f7f7f0f007f7f7f0f000000007f7f7f7f7f3f00;
    // The highest bit of each of the first eight bytes: clear where a varint goes on.
    uint256 private constant ENDS = 0x8080808080808080 << 192;
    // `SHORT` for each byte of a word.
    uint256 private constant SHORTS = 0x0202020202020202020202020202020202020202020202020202020202020202;

    /// @dev A varint below 2^53: amounts, durations, ids of any kind.
    uint256 internal constant VARINT = 1;
    /// @dev A varint below 2^32: ids of agents, services and capabilities, and times.
    uint256 internal constant SHORT = 2;
    /// @dev A varint below 2^48.
    uint256 internal constant CALLS = 3;
    /// @dev One byte: any; below 2; below 3; below 12.
    uint256 internal constant BYTE = 4;
    uint256 internal constant BIT = 5;
    uint256 internal constant RESULT = 6;
    uint256 internal constant LEG = 7;
    /// @dev As `VARINT` and `SHORT`, but not 0.
    uint256 internal constant SOME_VARINT = 9;
    uint256 internal constant SOME_SHORT = 10;
    /// @dev One byte: 1 … 5; 1 … 255.
    uint256 internal constant SCORE = 12;
    uint256 internal constant SOME_BYTE = 13;
    /// @dev The byte of `invoke` that says which of its options follow, 4 bits, of which 0 and 3 exclude each other. No other
    /// field follows.
    uint256 internal constant GIVEN = 14;
    /// @dev The legs of `plan`: their number, 1 … 12, then each one's payer and service, both `SHORT`. No other field follows.
    uint256 internal constant LEGS = 15;
    /// @dev Added to a field that follows only if bit i of `GIVEN` is set: `IF + 16 i`.
    uint256 internal constant IF = 0x40;
    /// @dev Added to a length below 128: so many bytes.
    uint256 internal constant BYTES = 0x80;
    /// @dev A bundle's actor, nonce and expiry.
    uint256 internal constant HEADER = VARINT | VARINT << 8 | VARINT << 16;

    // The form of the options that follow each value of `GIVEN` below 8, and each from 8 on, 32 bits each, the lowest first:
    // what `Invoke.FORM` comes to with them. Literals because assembly takes no others.
    uint256 private constant GIVEN_LOW = 0x0a070109000a070100000a090000000a00070109000007010000000900000000;
    uint256 private constant GIVEN_HIGH = 0x000000000d0a07010000000000000d0a00000000000d0701000000000000000d;

    /// @notice Whether the fields of a form stand at a place in calldata, and `count` whole interactions behind them. Returns
    /// where they end; 0 when something is malformed or ends after `end`.
    /// @param forms The form of each code.
    function check(uint256[CODES] memory forms, uint256 form, uint256 count, uint256 place, uint256 end)
        internal
        pure
        returns (uint256 next)
    {
        next = _fields(form, place);
        unchecked {
            for (; count != 0 && next <= end; --count) {
                uint256 code;
                assembly ("memory-safe") {
                    code := byte(0, calldataload(next))
                }
                if (code - 1 >= CODES - 1) return 0;
                assembly ("memory-safe") {
                    form := mload(add(forms, shl(5, code)))
                }
                next = _fields(form, next + 1);
            }
        }
        if (next > end) next = 0;
    }

    /// @dev Where the fields of a form end that start at a place. What is wrong is as what never ends.
    function _fields(uint256 form, uint256 place) private pure returns (uint256 next) {
        // Assembly because every step of a bundle checks hundreds of interactions.
        assembly ("memory-safe") {
            next := place
            for {} form { form := shr(8, form) } {
                let kind := and(form, 0xff)
                let word := calldataload(next)
                next := add(next, 1)
                if lt(sub(byte(0, word), shr(3, kind)), byte(kind, VALUES)) { continue }
                if lt(and(kind, 0xf7), BYTE) {
                    // A longer varint. Each byte from its last on counts, of the first eight.
                    let ends := and(not(word), ENDS)
                    ends := or(ends, shr(8, ends))
                    ends := or(ends, shr(16, ends))
                    ends := or(ends, shr(32, ends))
                    let before := sub(8, mod(shr(199, ends), 255))
                    next := add(next, before)
                    if lt(sub(byte(before, word), 1), byte(add(before, shl(3, and(kind, 3))), LAST)) { continue }
                    next := not(0)
                    break
                }
                if gt(kind, 0x7f) {
                    next := add(next, sub(kind, 0x81))
                    continue
                }
                let value := byte(0, word)
                if and(eq(kind, GIVEN), lt(value, 16)) {
                    if iszero(value) { break }
                    if lt(and(value, 9), 9) {
                        form := GIVEN_LOW
                        if gt(value, 7) { form := GIVEN_HIGH }
                        form := shl(8, and(shr(shl(5, and(value, 7)), form), 0xffffffff))
                        continue
                    }
                }
                if and(eq(kind, LEGS), lt(sub(value, 1), 12)) {
                    form := shl(8, shr(sub(256, shl(4, value)), SHORTS))
                    continue
                }
                if eq(kind, BYTE) { continue }
                next := not(0)
                break
            }
        }
    }

    /// @notice Reads the fields of a form that stand at a place, by `check`, into numbers that are all 0.
    function read(uint256 form, uint256 place, uint256[MAX_NUMBERS] memory numbers) internal pure {
        assembly ("memory-safe") {
            let given := 0
            for { let to := numbers } form {
                form := shr(8, form)
                to := add(to, 0x20)
            } {
                let kind := and(form, 0xff)
                if gt(kind, 0x7f) {
                    mstore(to, place)
                    place := add(place, sub(kind, 0x80))
                    continue
                }
                if gt(kind, 0x3f) {
                    if iszero(and(shr(and(shr(4, kind), 3), given), 1)) { continue }
                    kind := and(kind, 0x0f)
                }
                let value := byte(0, calldataload(place))
                place := add(place, 1)
                if lt(and(kind, 0x07), BYTE) {
                    let last := value
                    value := and(value, 0x7f)
                    for { let bits := 7 } gt(last, 0x7f) { bits := add(bits, 7) } {
                        last := byte(0, calldataload(place))
                        value := or(value, shl(bits, and(last, 0x7f)))
                        place := add(place, 1)
                    }
                }
                mstore(to, value)
                if eq(kind, GIVEN) { given := value }
                if eq(kind, LEGS) { mstore(add(to, 0x20), place) }
            }
        }
    }
}
