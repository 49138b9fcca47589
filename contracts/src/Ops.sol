// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Ids} from "./Ids.sol";
import {Machine} from "./Machine.sol";
import {Messages} from "./Messages.sol";
import {Status} from "./Status.sol";
import {CODES, MAX_NUMBERS, Wire} from "./Wire.sol";
import {Abort} from "./ops/Abort.sol";
import {Attest} from "./ops/Attest.sol";
import {Close} from "./ops/Close.sol";
import {Contest} from "./ops/Contest.sol";
import {Exit} from "./ops/Exit.sol";
import {Expire} from "./ops/Expire.sol";
import {Finalize} from "./ops/Finalize.sol";
import {Fund} from "./ops/Fund.sol";
import {Grant} from "./ops/Grant.sol";
import {Invoke} from "./ops/Invoke.sol";
import {Open} from "./ops/Open.sol";
import {Plan} from "./ops/Plan.sol";
import {Publish} from "./ops/Publish.sol";
import {Register} from "./ops/Register.sol";
import {Respond} from "./ops/Respond.sol";
import {Revoke} from "./ops/Revoke.sol";
import {Rotate} from "./ops/Rotate.sol";
import {Rule} from "./ops/Rule.sol";
import {Settle} from "./ops/Settle.sol";
import {Slash} from "./ops/Slash.sol";
import {Stake} from "./ops/Stake.sol";
import {Tell} from "./ops/Tell.sol";
import {Transfer} from "./ops/Transfer.sol";
import {Unstake} from "./ops/Unstake.sol";
import {Withdraw} from "./ops/Withdraw.sol";

/// @title Every operation, by code (docs/protocol.md §4; twin of protocol/ops/index.ts)
library Ops {
    /// @notice The form of each code. What no operation has is a bundle's header.
    function forms() internal pure returns (uint256[CODES] memory form) {
        form[0] = Wire.HEADER;
        form[Register.CODE] = Register.FORM;
        form[Rotate.CODE] = Rotate.FORM;
        form[Transfer.CODE] = Transfer.FORM;
        form[Withdraw.CODE] = Withdraw.FORM;
        form[Publish.CODE] = Publish.FORM;
        form[Invoke.CODE] = Invoke.FORM;
        form[Respond.CODE] = Respond.FORM;
        form[Expire.CODE] = Expire.FORM;
        form[Contest.CODE] = Contest.FORM;
        form[Rule.CODE] = Rule.FORM;
        form[Grant.CODE] = Grant.FORM;
        form[Revoke.CODE] = Revoke.FORM;
        form[Open.CODE] = Open.FORM;
        form[Fund.CODE] = Fund.FORM;
        form[Settle.CODE] = Settle.FORM;
        form[Exit.CODE] = Exit.FORM;
        form[Finalize.CODE] = Finalize.FORM;
        form[Close.CODE] = Close.FORM;
        form[Plan.CODE] = Plan.FORM;
        form[Abort.CODE] = Abort.FORM;
        form[Attest.CODE] = Attest.FORM;
        form[Slash.CODE] = Slash.FORM;
        form[Stake.CODE] = Stake.FORM;
        form[Unstake.CODE] = Unstake.FORM;
        form[Tell.CODE] = Tell.FORM;
    }

    /// @notice Reads the interaction that stands at a place, by `Wire.check`.
    function read(uint256[CODES] memory form, uint256 place)
        internal
        pure
        returns (uint256 code, uint256[MAX_NUMBERS] memory numbers)
    {
        assembly ("memory-safe") {
            code := byte(0, calldataload(place))
        }
        Wire.read(form[code], place + 1, numbers);
    }

    /// @notice Decodes the interaction at a place, which must end by `end`. Returns its code, its numbers, and where it ends:
    /// 0 when it is malformed.
    function decode(uint256 place, uint256 end)
        internal
        pure
        returns (uint256 code, uint256[MAX_NUMBERS] memory numbers, uint256 next)
    {
        uint256[CODES] memory form = forms();
        next = Wire.check(form, 0, 1, place, end);
        if (next != 0) (code, numbers) = read(form, place);
    }

    /// @notice Runs a decoded interaction of an agent of this shard, the frame's bytes from place `start` to `end`; if its
    /// record is elsewhere, sends it there. Returns the status, and leaves the value in `m.value`.
    function run(
        Machine memory m,
        uint256 actor,
        uint256 code,
        uint256[MAX_NUMBERS] memory n,
        uint256 start,
        uint256 end
    ) internal view returns (uint256) {
        if (!_travels(code)) return m.operate(m, actor, code, n);
        uint256 record = _where(actor, code, n);
        uint256 shard = Ids.shardOf(record);
        if (shard >= m.shards) return Status.WRONG_SHARD;
        uint256 status = _home(m, actor, code, n);
        if (status != Status.OK) return status;
        if (shard == m.shard) return m.operate(m, actor, code, n);
        if (!m.reaches(shard)) return Status.CONGESTED;
        bytes memory rest = m.bytesAt(start, end - start);
        if (code == Open.CODE) rest = bytes.concat(rest, m.keyOf(actor));
        return _send(m, actor, code == Transfer.CODE ? record : actor, shard, _value(code, n), rest);
    }

    /// @dev Sends an interaction to a shard. `amount` is what the actor pays for it, `owner` whose that is on its way.
    function _send(Machine memory m, uint256 actor, uint256 owner, uint256 shard, uint256 amount, bytes memory rest)
        private
        pure
        returns (uint256)
    {
        m.debit(actor, amount);
        return m.ok(m.send(shard, owner, amount, Messages.call(actor, amount, rest)));
    }

    /// @notice Runs the part of a decoded interaction that another shard sent here; `malformed` when it has none. Otherwise as
    /// `run`.
    function runSent(Machine memory m, uint256 actor, uint256 code, uint256[MAX_NUMBERS] memory n)
        internal
        view
        returns (uint256)
    {
        return _travels(code) ? m.operate(m, actor, code, n) : Status.MALFORMED;
    }

    /// @dev Operations marked ⇒ on the page: those with a record that need not be on the actor's shard.
    function _travels(uint256 code) private pure returns (bool) {
        uint256 codes = 1 << Transfer.CODE | 1 << Invoke.CODE | 1 << Expire.CODE | 1 << Contest.CODE | 1 << Rule.CODE
            | 1 << Open.CODE | 1 << Fund.CODE | 1 << Settle.CODE | 1 << Exit.CODE | 1 << Finalize.CODE | 1 << Close.CODE
            | 1 << Abort.CODE | 1 << Attest.CODE | 1 << Slash.CODE | 1 << Tell.CODE;
        return codes >> code & 1 == 1;
    }

    /// @dev Id of the record on whose shard it runs: what is named first, but for two.
    function _where(uint256 actor, uint256 code, uint256[MAX_NUMBERS] memory n) private pure returns (uint256) {
        if (code == Invoke.CODE) return Invoke.where(actor, _invoke(n));
        if (code == Attest.CODE) return Attest.where(actor, n[0], n[1]);
        return n[0];
    }

    /// @dev What the actor's shard checks before; the status.
    function _home(Machine memory m, uint256 actor, uint256 code, uint256[MAX_NUMBERS] memory n)
        private
        pure
        returns (uint256)
    {
        if (code == Transfer.CODE) return Transfer.home(m, actor, n[1]);
        if (code == Invoke.CODE) return Invoke.home(m, _invoke(n));
        if (code == Open.CODE) return Open.home(m, actor, n[0], n[1], n[2]);
        if (code == Fund.CODE) return Fund.home(m, actor, n[1]);
        return Status.OK;
    }

    /// @dev What the actor pays for it in another shard's hands: `_home` has checked that it can.
    function _value(uint256 code, uint256[MAX_NUMBERS] memory n) private pure returns (uint256) {
        return code == Transfer.CODE || code == Open.CODE || code == Fund.CODE ? n[1] : 0;
    }

    /// @dev The numbers by name: a struct of numbers lies in memory as they do.
    function _invoke(uint256[MAX_NUMBERS] memory n) private pure returns (Invoke.Args memory args) {
        assembly ("memory-safe") {
            args := n
        }
    }
}
