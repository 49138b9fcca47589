// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell} from "./Cells.sol";
import {IStep} from "./IStep.sol";

/// @notice The part of the state that a step's witness opens (docs/protocol.md §10).
/// @param root The state root before the step.
/// @param context Where the trace stands inside a frame.
/// @param table The cells given, addresses ascending. An entry is address 32 ‖ leaf hash before the step 32 ‖ cell 64.
/// @param tableEnd Where the table ends; one word after it is free.
/// @param nodes Where in calldata the nodes start.
/// @param end Where in calldata the witness ends.
struct State {
    bytes32 root;
    uint256 context;
    uint256 table;
    uint256 tableEnd;
    uint256 nodes;
    uint256 end;
}

using States for State global;

/// @title The state as a step sees it
/// @notice Cells are read and written in memory. `close` proves all of them, and gives the root after the step, in one pass.
/// @dev Assembly throughout: this is most of what a step costs.
library States {
    /// @dev Bytes of the witness before the cells, and of a cell with its address.
    uint256 private constant HEAD_BYTES = 34;
    uint256 private constant GIVEN_BYTES = 68;

    /// @notice Takes the cells of a witness, which are not to be believed before `close`.
    function open(bytes calldata witness, bytes32 pre) internal pure returns (State memory state) {
        if (witness.length < HEAD_BYTES) revert IStep.BadWitness();
        uint256 cells;
        bytes32 opened;
        assembly ("memory-safe") {
            let root := calldataload(witness.offset)
            let context := byte(0, calldataload(add(witness.offset, 0x20)))
            cells := byte(1, calldataload(add(witness.offset, 0x20)))
            mstore(0x00, root)
            mstore(0x20, context)
            opened := keccak256(0x00, 0x40)

            let table := mload(0x40)
            let tableEnd := add(table, shl(7, cells))
            mstore(0x40, add(tableEnd, 0x20))
            mstore(state, root)
            mstore(add(state, 0x20), context)
            mstore(add(state, 0x40), table)
            mstore(add(state, 0x60), tableEnd)
            mstore(add(state, 0x80), add(add(witness.offset, HEAD_BYTES), mul(cells, GIVEN_BYTES)))
            mstore(add(state, 0xa0), add(witness.offset, witness.length))
        }
        if (opened != pre) revert IStep.WrongPre(opened);
        if (state.nodes > state.end) revert IStep.BadWitness();
        bool ascending;
        assembly ("memory-safe") {
            ascending := 1
            // One more than the last address.
            let least := 0
            let place := add(witness.offset, HEAD_BYTES)
            let end := mload(add(state, 0x60))
            for { let entry := mload(add(state, 0x40)) } lt(entry, end) { entry := add(entry, 0x80) } {
                let address_ := shr(224, calldataload(place))
                if lt(address_, least) { ascending := 0 }
                least := add(address_, 1)
                mstore(entry, address_)
                calldatacopy(add(entry, 0x40), add(place, 4), 0x40)
                mstore(add(entry, 0x20), keccak256(add(entry, 0x40), 0x40))
                place := add(place, GIVEN_BYTES)
            }
        }
        if (!ascending) revert IStep.BadWitness();
    }

    /// @notice The cell at an address, to read and to write.
    function find(State memory state, uint256 address_) internal pure returns (Cell cell) {
        assembly ("memory-safe") {
            let end := mload(add(state, 0x60))
            for { let entry := mload(add(state, 0x40)) } lt(entry, end) { entry := add(entry, 0x80) } {
                if eq(mload(entry), address_) {
                    cell := add(entry, 0x40)
                    break
                }
            }
        }
        if (Cell.unwrap(cell) == 0) revert IStep.MissingCell(uint32(address_));
    }

    /// @notice Proves that the cells stood under the state root, and computes the root with them as they are now. The state
    /// is used up by it.
    function close(State memory state) internal pure returns (bytes32 root) {
        // Nothing to prove, and nothing that could have changed.
        if (state.table == state.tableEnd) {
            if (state.nodes != state.end) revert IStep.BadWitness();
            return state.root;
        }
        bool proven;
        assembly ("memory-safe") {
            let end := mload(add(state, 0x60))
            // From here on an entry is a node: its index in its level, its hash before the step, its hash after it.
            for { let entry := mload(add(state, 0x40)) } lt(entry, end) { entry := add(entry, 0x80) } {
                mstore(add(entry, 0x40), keccak256(add(entry, 0x40), 0x40))
            }
            // The four children of a node before the step, then those after it. What lies beside what is given is in both.
            let before := mload(0x40)
            mstore(before, 0)
            mstore(add(before, 0x20), 0)
            let zero := keccak256(before, 0x40)
            let place := mload(add(state, 0x80))
            for { let level := 1 } lt(level, 17) { level := add(level, 1) } {
                // An index that no child has: so nobody looks for one after the last.
                mstore(end, not(0))
                let entry := mload(add(state, 0x40))
                let parent := entry
                for {} lt(entry, end) {} {
                    let mask := byte(0, calldataload(place))
                    // What is wrong takes the place to where it won't come back from.
                    place := or(add(place, 1), shl(128, gt(mask, 15)))
                    let at := and(mload(entry), 3)
                    switch eq(add(mask, shl(at, 1)), 15)
                    case 1 {
                        // Nearly always: all other children follow. One more cell below would have no place then.
                        at := shl(5, at)
                        calldatacopy(before, place, at)
                        calldatacopy(add(before, add(at, 0x20)), add(place, at), sub(0x60, at))
                        place := add(place, 0x60)
                        mstore(add(before, at), mload(add(entry, 0x20)))
                        let hash := keccak256(before, 0x80)
                        mstore(add(before, at), mload(add(entry, 0x40)))
                        mstore(parent, shr(2, mload(entry)))
                        mstore(add(parent, 0x20), hash)
                        mstore(add(parent, 0x40), keccak256(before, 0x80))
                        entry := add(entry, 0x80)
                        place := or(place, shl(128, eq(shr(2, mload(entry)), mload(parent))))
                    }
                    default {
                        let child := and(mload(entry), not(3))
                        for { let to := before } lt(to, add(before, 0x80)) { to := add(to, 0x20) } {
                            switch eq(mload(entry), child)
                            case 1 {
                                place := or(place, shl(128, and(mask, 1)))
                                mstore(to, mload(add(entry, 0x20)))
                                mstore(add(to, 0x80), mload(add(entry, 0x40)))
                                entry := add(entry, 0x80)
                            }
                            default {
                                let hash := zero
                                if and(mask, 1) {
                                    hash := calldataload(place)
                                    place := add(place, 0x20)
                                }
                                mstore(to, hash)
                                mstore(add(to, 0x80), hash)
                            }
                            mask := shr(1, mask)
                            child := add(child, 1)
                        }
                        mstore(parent, shr(2, sub(child, 1)))
                        mstore(add(parent, 0x20), keccak256(before, 0x80))
                        mstore(add(parent, 0x40), keccak256(add(before, 0x80), 0x80))
                    }
                    parent := add(parent, 0x80)
                }
                end := parent
                mstore(before, zero)
                mstore(add(before, 0x20), zero)
                mstore(add(before, 0x40), zero)
                mstore(add(before, 0x60), zero)
                zero := keccak256(before, 0x80)
            }
            let top := mload(add(state, 0x40))
            proven := and(eq(place, mload(add(state, 0xa0))), eq(mload(add(top, 0x20)), mload(state)))
            root := mload(add(top, 0x40))
        }
        if (!proven) revert IStep.BadWitness();
    }
}
