// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell} from "./Cells.sol";
import {IStep} from "./IStep.sol";

/// @notice The part of the state that a step's witness opens (docs/protocol.md §10).
/// @param root The state root before the step.
/// @param context Where the trace stands inside a frame.
/// @param table The cells given, addresses ascending. An entry is address 32 ‖ leaf hash before the step 32 ‖ cell 64.
/// @param tableEnd Where the table ends.
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
library States {
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
}
