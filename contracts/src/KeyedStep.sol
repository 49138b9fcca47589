// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Bundles} from "./Bundles.sol";
import {Machine} from "./Machine.sol";
import {Stepper} from "./Stepper.sol";
import {MAX_NUMBERS} from "./Wire.sol";
import {Sessions} from "./moves/Sessions.sol";
import {Close} from "./ops/Close.sol";
import {Exit} from "./ops/Exit.sol";
import {Finalize} from "./ops/Finalize.sol";
import {Fund} from "./ops/Fund.sol";
import {Open} from "./ops/Open.sol";
import {Rotate} from "./ops/Rotate.sol";
import {Settle} from "./ops/Settle.sol";
import {Slash} from "./ops/Slash.sol";

/// @title The steps that take keys: the opening of bundles, rotations, and all of sessions
/// @notice `Step` hands these over, because both together pass the size that a contract may have (EIP-170).
contract KeyedStep is Stepper {
    /// @notice The step is `Step`'s own.
    error NotKeyed(uint256 code);

    constructor(uint256 shards_) Stepper(shards_) {}

    function _openBundle(Machine memory m) internal view override returns (uint256) {
        return Bundles.open(m);
    }

    function _operate(Machine memory m, uint256 actor, uint256 code, uint256[MAX_NUMBERS] memory n)
        internal
        view
        override
        returns (uint256)
    {
        if (code == Open.CODE) return Open.run(m, actor, n[0], n[1], n[2]);
        if (code == Fund.CODE) return Fund.run(m, actor, n[0], n[1]);
        if (code == Settle.CODE) return Settle.run(m, _settle(n));
        if (code == Exit.CODE) return Exit.run(m, actor, n[0]);
        if (code == Finalize.CODE) return Finalize.run(m, n[0]);
        if (code == Close.CODE) return Close.run(m, actor, _close(n));
        if (code == Rotate.CODE) return Rotate.run(m, n[0], n[1], n[2]);
        if (code == Slash.CODE) return Slash.run(m, actor, _slash(n));
        revert NotKeyed(code);
    }

    // The numbers by name, where there are many: a struct of numbers lies in memory as they do.

    function _settle(uint256[MAX_NUMBERS] memory n) private pure returns (Sessions.Half memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }

    function _close(uint256[MAX_NUMBERS] memory n) private pure returns (Close.Args memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }

    function _slash(uint256[MAX_NUMBERS] memory n) private pure returns (Slash.Args memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }
}
