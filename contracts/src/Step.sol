// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {KeyedStep} from "./KeyedStep.sol";
import {Machine} from "./Machine.sol";
import {Stepper} from "./Stepper.sol";
import {MAX_NUMBERS} from "./Wire.sol";
import {Abort} from "./ops/Abort.sol";
import {Attest} from "./ops/Attest.sol";
import {Contest} from "./ops/Contest.sol";
import {Expire} from "./ops/Expire.sol";
import {Grant} from "./ops/Grant.sol";
import {Invoke} from "./ops/Invoke.sol";
import {Plan} from "./ops/Plan.sol";
import {Publish} from "./ops/Publish.sol";
import {Register} from "./ops/Register.sol";
import {Respond} from "./ops/Respond.sol";
import {Revoke} from "./ops/Revoke.sol";
import {Rule} from "./ops/Rule.sol";
import {Stake} from "./ops/Stake.sol";
import {Tell} from "./ops/Tell.sol";
import {Transfer} from "./ops/Transfer.sol";
import {Unstake} from "./ops/Unstake.sol";
import {Withdraw} from "./ops/Withdraw.sol";

/// @title One step of the trace, on L1 (docs/protocol.md §§3-6, §10)
/// @notice What takes keys it hands over to a contract of its own making, `KeyedStep`.
contract Step is Stepper {
    /// @notice Executes the steps that take keys.
    KeyedStep public immutable keyed;

    constructor(uint256 shards_) Stepper(shards_) {
        keyed = new KeyedStep(shards_);
    }

    function _openBundle(Machine memory) internal view override returns (uint256) {
        _handOver();
    }

    function _operate(Machine memory m, uint256 actor, uint256 code, uint256[MAX_NUMBERS] memory n)
        internal
        view
        override
        returns (uint256)
    {
        if (code == Invoke.CODE) return Invoke.run(m, actor, _invoke(n));
        if (code == Respond.CODE) return Respond.run(m, actor, n[0], n[1], n[2]);
        if (code == Transfer.CODE) return Transfer.run(m, actor, n[0], n[1]);
        if (code == Register.CODE) return Register.run(m, actor, n[0], n[1], n[2]);
        if (code == Withdraw.CODE) return Withdraw.run(m, actor, n[0]);
        if (code == Publish.CODE) return Publish.run(m, actor, _publish(n));
        if (code == Expire.CODE) return Expire.run(m, n[0]);
        if (code == Contest.CODE) return Contest.run(m, actor, n[0]);
        if (code == Rule.CODE) return Rule.run(m, actor, n[0], n[1]);
        if (code == Grant.CODE) return Grant.run(m, actor, _grant(n));
        if (code == Revoke.CODE) return Revoke.run(m, actor, n[0]);
        if (code == Plan.CODE) return Plan.run(m, actor, n[0], n[1], n[2]);
        if (code == Abort.CODE) return Abort.run(m, actor, n[0]);
        if (code == Attest.CODE) return Attest.run(m, actor, n[0], n[1], n[2]);
        if (code == Stake.CODE) return Stake.run(m, actor, n[0]);
        if (code == Unstake.CODE) return Unstake.run(m, actor);
        if (code == Tell.CODE) return Tell.run(m, n[0], n[1]);
        _handOver();
    }

    /// @dev The same call to the other contract, and its answer: what was done so far was done in memory only.
    function _handOver() private view {
        address to = address(keyed);
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let done := staticcall(gas(), to, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            if iszero(done) { revert(free, returndatasize()) }
            return(free, returndatasize())
        }
    }

    // The numbers by name, where there are many: a struct of numbers lies in memory as they do.

    function _invoke(uint256[MAX_NUMBERS] memory n) private pure returns (Invoke.Args memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }

    function _publish(uint256[MAX_NUMBERS] memory n) private pure returns (Publish.Args memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }

    function _grant(uint256[MAX_NUMBERS] memory n) private pure returns (Grant.Args memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }
}
