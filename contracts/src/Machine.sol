// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cell, Cells, EscrowStatus, Field, NONE, SessionStatus, WorkflowStatus} from "./Cells.sol";
import {Digests} from "./Digests.sol";
import {Ids} from "./Ids.sol";
import {Keys} from "./Keys.sol";
import {State} from "./State.sol";
import {Status} from "./Status.sol";
import {Trie} from "./Trie.sol";
import {MAX_NUMBERS} from "./Wire.sol";

/// @notice The machine that operations run on: one shard's cells, its clock and counters, for one step.
/// @param state The cells.
/// @param shard The frame's.
/// @param shards How many the deployment has.
/// @param domain What signatures are for.
/// @param frame Where in calldata the frame starts, and where it ends. A *place* is such an offset.
/// @param frameEnd See `frame`.
/// @param actorKey Place of the machine key (x ‖ y) that a foreign actor of `open` brought; 0 for an actor of this shard.
/// @param value The id or number the step made, 0 if none.
/// @param slots Slots of a ring that what runs now may fill.
/// @param operate Runs an operation of an actor on its shard, by its code and numbers. Returns the status.
/// @param headAt The head's cell, once somebody looked at it.
struct Machine {
    State state;
    uint256 shard;
    uint256 shards;
    bytes32 domain;
    uint256 frame;
    uint256 frameEnd;
    uint256 actorKey;
    uint256 value;
    uint256 slots;
    function(Machine memory, uint256, uint256, uint256[MAX_NUMBERS] memory) internal view returns (uint256) operate;
    Cell headAt;
}

using Machines for Machine global;

/// @title What operations share (twin of protocol/machine.ts)
/// @notice Checks never write, and an operation writes only after its last check, so a failed step changes nothing.
/// `agent(id)` and its like find a record or answer `NONE`.
library Machines {
    /// @dev Where an agent's counts stop.
    uint256 private constant MAX_COMPLETED = 2 ** 32 - 1;
    uint256 private constant MAX_FAILED = 2 ** 24 - 1;
    uint256 private constant MAX_VOLUME = 2 ** 48 - 1;

    /// @notice The status of a step that made `value`.
    function ok(Machine memory m, uint256 value) internal pure returns (uint256) {
        m.value = value;
        return Status.OK;
    }

    /// @notice A cell of this shard, to read and to write.
    function cell(Machine memory m, uint256 region, uint256 slot) internal pure returns (Cell) {
        return m.cellOf(m.shard, region, slot);
    }

    /// @notice A cell of any shard.
    function cellOf(Machine memory m, uint256 shard, uint256 region, uint256 slot) internal pure returns (Cell) {
        return m.state.find(shard << 24 | region << 20 | slot);
    }

    // --- the head ---

    function head(Machine memory m) internal pure returns (Cell) {
        if (m.headAt == NONE) m.headAt = m.cell(Trie.META, Trie.META_HEAD);
        return m.headAt;
    }

    function time(Machine memory m) internal pure returns (uint256) {
        return Cells.HEAD_TIME.get(m.head());
    }

    function setTime(Machine memory m, uint256 time_) internal pure {
        Cells.HEAD_TIME.set(m.head(), time_);
    }

    /// @notice Frames executed.
    function seq(Machine memory m) internal pure returns (uint256) {
        return Cells.HEAD_SEQ.get(m.head());
    }

    function setSeq(Machine memory m, uint256 seq_) internal pure {
        Cells.HEAD_SEQ.set(m.head(), seq_);
    }

    function isLocal(Machine memory m, uint256 id) internal pure returns (bool) {
        return Ids.shardOf(id) == m.shard;
    }

    // --- bytes of the frame ---

    /// @notice A byte of the frame.
    function byteAt(Machine memory, uint256 place) internal pure returns (uint256 byte_) {
        assembly ("memory-safe") {
            byte_ := byte(0, calldataload(place))
        }
    }

    /// @notice A big-endian number of `width` bytes of the frame.
    function uintAt(Machine memory, uint256 place, uint256 width) internal pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := shr(sub(256, shl(3, width)), calldataload(place))
        }
    }

    /// @notice 32 bytes of the frame, from a place on.
    function word(Machine memory, uint256 place) internal pure returns (bytes32 bytes_) {
        assembly ("memory-safe") {
            bytes_ := calldataload(place)
        }
    }

    /// @notice 20 bytes of the frame, from a place on.
    function addressAt(Machine memory, uint256 place) internal pure returns (address address_) {
        assembly ("memory-safe") {
            address_ := shr(96, calldataload(place))
        }
    }

    /// @notice A copy of bytes of the frame.
    function bytesAt(Machine memory, uint256 place, uint256 length) internal pure returns (bytes memory copy_) {
        copy_ = new bytes(length);
        assembly ("memory-safe") {
            calldatacopy(add(copy_, 0x20), place, length)
        }
    }

    /// @notice Whether the signature at a place is by the P-256 key in a cell, over what `structHash` stands for.
    function isSigned(Machine memory m, Cell key_, bytes32 structHash, uint256 signature) internal view returns (bool) {
        bytes32 x = bytes32(Cells.KEY_X.get(key_));
        bytes32 y = bytes32(Cells.KEY_Y.get(key_));
        return Keys.verifyP256(Digests.p256(m.domain, structHash), m.word(signature), m.word(signature + 32), x, y);
    }

    // --- agents ---

    /// @notice `NONE` unless the id is an agent's (the shard bits are the caller's check).
    function agent(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _existing(m, Trie.AGENT, id, Cells.AGENT_FLAGS);
    }

    /// @notice x ‖ y of an agent that exists.
    function key(Machine memory m, uint256 id) internal pure returns (Cell) {
        return m.cell(Trie.KEY, Ids.serialOf(id));
    }

    /// @notice The same as bytes of its own.
    function keyOf(Machine memory m, uint256 id) internal pure returns (bytes memory) {
        Cell key_ = m.key(id);
        return abi.encodePacked(Cells.KEY_X.get(key_), Cells.KEY_Y.get(key_));
    }

    function balance(Machine memory m, uint256 id) internal pure returns (uint256) {
        return Cells.AGENT_BALANCE.get(_agentCell(m, id));
    }

    function credit(Machine memory m, uint256 id, uint256 amount) internal pure {
        Cell agent_ = _agentCell(m, id);
        Cells.AGENT_BALANCE.set(agent_, Cells.AGENT_BALANCE.get(agent_) + amount);
    }

    /// @notice Takes from a balance that is enough; nothing from a foreign agent, whose message brought what it pays.
    function debit(Machine memory m, uint256 id, uint256 amount) internal pure {
        if (!m.isLocal(id)) return;
        Cell agent_ = _agentCell(m, id);
        Cells.AGENT_BALANCE.set(agent_, Cells.AGENT_BALANCE.get(agent_) - amount);
    }

    function hasAgentRoom(Machine memory m) internal pure returns (bool) {
        return _hasRoom(m, Cells.HEAD_AGENTS);
    }

    /// @notice Creates an agent; `hasAgentRoom` must hold. `key_` is the place of x ‖ y. Returns its id.
    function createAgent(Machine memory m, address owner, uint256 key_, uint256 balance_)
        internal
        pure
        returns (uint256)
    {
        uint256 serial = m.nextSerial(Cells.HEAD_AGENTS);
        Cell agent_ = m.cell(Trie.AGENT, serial);
        Cells.AGENT_OWNER.set(agent_, uint160(owner));
        Cells.AGENT_BALANCE.set(agent_, balance_);
        Cells.AGENT_FLAGS.set(agent_, Cells.EXISTS);
        m.put(m.cell(Trie.KEY, serial), key_);
        return Ids.makeId(m.shard, serial);
    }

    /// @notice Replaces a key by the x ‖ y at a place; the epoch must not be exhausted. Returns the new epoch.
    function rotateKey(Machine memory m, uint256 id, uint256 key_) internal pure returns (uint256 epoch) {
        Cell agent_ = _agentCell(m, id);
        epoch = Cells.AGENT_EPOCH.get(agent_) + 1;
        Cells.AGENT_EPOCH.set(agent_, epoch);
        m.put(m.key(id), key_);
    }

    function epochExhausted(Machine memory m, uint256 id) internal pure returns (bool) {
        return Cells.AGENT_EPOCH.get(m.agent(id)) == 0xffff;
    }

    /// @notice Pays for answered calls, and counts them and what they earned; both saturate.
    function earn(Machine memory m, uint256 id, uint256 amount, uint256 completed, uint256 volume) internal pure {
        Cell agent_ = _agentCell(m, id);
        Cells.AGENT_BALANCE.set(agent_, Cells.AGENT_BALANCE.get(agent_) + amount);
        Cells.AGENT_COMPLETED.set(agent_, _min(Cells.AGENT_COMPLETED.get(agent_) + completed, MAX_COMPLETED));
        Cells.AGENT_VOLUME.set(agent_, _min(Cells.AGENT_VOLUME.get(agent_) + volume, MAX_VOLUME));
    }

    /// @notice Counts a call that was paid for and not answered; saturates.
    function addFailure(Machine memory m, uint256 id) internal pure {
        Cell agent_ = _agentCell(m, id);
        Cells.AGENT_FAILED.set(agent_, _min(Cells.AGENT_FAILED.get(agent_) + 1, MAX_FAILED));
    }

    /// @notice Writes a whole cell from the 64 bytes at a place.
    function put(Machine memory, Cell to, uint256 place) internal pure {
        assembly ("memory-safe") {
            calldatacopy(to, place, 64)
        }
    }

    /// @notice Copies a whole cell.
    function copy(Machine memory, Cell to, Cell from) internal pure {
        assembly ("memory-safe") {
            mcopy(to, from, 64)
        }
    }

    /// @notice Empties a whole cell.
    function clear(Machine memory, Cell to) internal pure {
        assembly ("memory-safe") {
            mstore(to, 0)
            mstore(add(to, 0x20), 0)
        }
    }

    // --- serials and rings ---

    /// @notice Counts one more of a kind. Returns its serial.
    function nextSerial(Machine memory m, Field counter) internal pure returns (uint256 serial) {
        serial = counter.get(m.head()) + 1;
        counter.set(m.head(), serial);
    }

    /// @notice What stands where the ring's next serial goes (after `reserve` more): free if it reads as zeros, to be taken
    /// over if it is done. `NONE` when serials are used up.
    function nextSlot(Machine memory m, Field counter, uint256 region, uint256 reserve) internal pure returns (Cell) {
        uint256 serial = counter.get(m.head()) + 1 + reserve;
        return serial < Ids.LARGE_SERIALS ? m.cell(region, Trie.slotOf(region, serial)) : NONE;
    }

    /// @notice The slot of a new serial, emptied.
    function takeSlot(Machine memory m, uint256 region, uint256 serial) internal pure returns (Cell slot) {
        slot = m.cell(region, Trie.slotOf(region, serial));
        m.clear(slot);
    }

    function _takeId(Machine memory m, Field counter) private pure returns (uint256) {
        if (counter.get(m.head()) + 1 >= Ids.LARGE_SERIALS) return 0;
        return Ids.makeId(m.shard, m.nextSerial(counter));
    }

    function _clearQuad(Machine memory m, uint256 region, uint256 id) private pure returns (Cell) {
        uint256 slot = Trie.slotOf(region, Ids.serialOf(id));
        for (uint256 part = 1; part < 4; ++part) {
            m.clear(m.cell(region, slot + part));
        }
        return m.takeSlot(region, Ids.serialOf(id));
    }

    // --- escrows ---

    /// @notice `NONE` unless the id is that of the escrow in its slot.
    function escrow(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _current(m, Trie.ESCROW, id, Cells.ESCROW_SERIAL);
    }

    /// @notice The last serial of an escrow that was given.
    function escrows(Machine memory m) internal pure returns (uint256) {
        return Cells.HEAD_ESCROWS.get(m.head());
    }

    function setEscrows(Machine memory m, uint256 serial) internal pure {
        Cells.HEAD_ESCROWS.set(m.head(), serial);
    }

    /// @notice Takes the next serial, come what may. Returns the id, 0 when serials are used up.
    function takeEscrowId(Machine memory m) internal pure returns (uint256) {
        return _takeId(m, Cells.HEAD_ESCROWS);
    }

    /// @notice Whether the slot of a new id holds no escrow that is still under way.
    function hasEscrowSlot(Machine memory m, uint256 id) internal pure returns (bool) {
        uint256 status = Cells.ESCROW_STATUS.get(m.cell(Trie.ESCROW, Trie.slotOf(Trie.ESCROW, Ids.serialOf(id))));
        return status == EscrowStatus.EMPTY || (status >= EscrowStatus.FULFILLED && status <= EscrowStatus.EXPIRED);
    }

    /// @notice A record under a new id, for which `hasEscrowSlot` holds; no status yet.
    function createEscrow(
        Machine memory m,
        uint256 id,
        uint256 payer,
        uint256 service_,
        uint256 amount,
        uint256 workflow_,
        uint256 leg_
    ) internal pure returns (Cell escrow_) {
        escrow_ = m.takeSlot(Trie.ESCROW, Ids.serialOf(id));
        Cells.ESCROW_SERIAL.set(escrow_, Ids.serialOf(id));
        Cells.ESCROW_PAYER.set(escrow_, payer);
        Cells.ESCROW_SERVICE.set(escrow_, service_);
        Cells.ESCROW_AMOUNT.set(escrow_, amount);
        if (workflow_ != 0) {
            Cells.ESCROW_WORKFLOW.set(escrow_, workflow_);
            Cells.ESCROW_FLAGS.set(escrow_, leg_ << 4);
        }
    }

    // --- sessions: quads of state, key a, key b, roots ---

    /// @notice `NONE` unless the id is that of the session in its quad.
    function session(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _current(m, Trie.SESSION, id, Cells.SESSION_SERIAL);
    }

    /// @notice A cell of a session's quad: 1 key a, 2 key b, 3 roots.
    function sessionPart(Machine memory m, uint256 id, uint256 part) internal pure returns (Cell) {
        return m.cell(Trie.SESSION, Trie.slotOf(Trie.SESSION, Ids.serialOf(id)) + part);
    }

    /// @notice Takes the next serial, come what may. Returns the id, 0 when serials are used up.
    function takeSessionId(Machine memory m) internal pure returns (uint256) {
        return _takeId(m, Cells.HEAD_SESSIONS);
    }

    /// @notice Whether the quad of a new id holds no session that is still open.
    function hasSessionSlot(Machine memory m, uint256 id) internal pure returns (bool) {
        uint256 status = Cells.SESSION_STATUS.get(m.sessionPart(id, 0));
        return status == SessionStatus.EMPTY || status == SessionStatus.CLOSED;
    }

    /// @notice Empties the quad of a new id, for which `hasSessionSlot` holds.
    function clearSession(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _clearQuad(m, Trie.SESSION, id);
    }

    /// @notice Which party of a session an agent is: 0 a, 1 b, −1 neither.
    function party(Machine memory, Cell session_, uint256 agent_) internal pure returns (int256) {
        if (agent_ == Cells.SESSION_A.get(session_)) return 0;
        return agent_ == Cells.SESSION_B.get(session_) ? int256(1) : -1;
    }

    // --- workflows: quads of state and legs, four to a cell ---

    /// @notice `NONE` unless the id is that of the workflow in its quad.
    function workflow(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _current(m, Trie.WORKFLOW, id, Cells.WORKFLOW_SERIAL);
    }

    /// @notice Takes the next serial, come what may. Returns the id, 0 when serials are used up.
    function takeWorkflowId(Machine memory m) internal pure returns (uint256) {
        return _takeId(m, Cells.HEAD_WORKFLOWS);
    }

    /// @notice Id of the workflow planned last, 0 when there was none.
    function newestWorkflow(Machine memory m) internal pure returns (uint256) {
        uint256 serial = Cells.HEAD_WORKFLOWS.get(m.head());
        return serial == 0 ? 0 : Ids.makeId(m.shard, serial);
    }

    /// @notice Whether the quad of a new id holds no workflow that may still pay or refund a leg.
    function hasWorkflowSlot(Machine memory m, uint256 id) internal pure returns (bool) {
        Cell old = m.cell(Trie.WORKFLOW, Trie.slotOf(Trie.WORKFLOW, Ids.serialOf(id)));
        uint256 done = Cells.WORKFLOW_DONE.get(old);
        if (Cells.WORKFLOW_STATUS.get(old) == WorkflowStatus.OPEN) {
            return done == 0 && m.time() > Cells.WORKFLOW_DEADLINE.get(old);
        }
        return Cells.WORKFLOW_TOLD.get(old) == done;
    }

    /// @notice Empties the quad of a new id, for which `hasWorkflowSlot` holds.
    function clearWorkflow(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _clearQuad(m, Trie.WORKFLOW, id);
    }

    /// @notice A leg's part of its cell.
    function leg(Machine memory m, uint256 id, uint256 leg_) internal pure returns (Cell) {
        uint256 slot = Trie.slotOf(Trie.WORKFLOW, Ids.serialOf(id)) + 1 + leg_ / Cells.LEGS_A_CELL;
        Cell legs = m.cell(Trie.WORKFLOW, slot);
        return Cell.wrap(Cell.unwrap(legs) + Cells.LEG_BYTES * (leg_ % Cells.LEGS_A_CELL));
    }

    // --- capabilities ---

    /// @notice `NONE` unless the id is a capability's.
    function capability(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _existing(m, Trie.CAPABILITY, id, Cells.CAPABILITY_FLAGS);
    }

    function hasCapabilityRoom(Machine memory m) internal pure returns (bool) {
        return _hasRoom(m, Cells.HEAD_CAPABILITIES);
    }

    /// @notice A new capability with nothing but its existence; `hasCapabilityRoom` must hold. Returns its id.
    function createCapability(Machine memory m) internal pure returns (uint256) {
        uint256 serial = m.nextSerial(Cells.HEAD_CAPABILITIES);
        Cells.CAPABILITY_FLAGS.set(m.cell(Trie.CAPABILITY, serial), Cells.EXISTS);
        return Ids.makeId(m.shard, serial);
    }

    // --- messages to other shards ---

    /// @notice The meta cell for another shard.
    function peer(Machine memory m, uint256 shard) internal pure returns (Cell) {
        return m.cell(Trie.META, Trie.META_PEERS + shard);
    }

    /// @notice Whether two messages to a shard find room, as for who runs now; a shard reaches itself.
    function reaches(Machine memory m, uint256 shard) internal pure returns (bool) {
        return m.reaches(shard, m.slots);
    }

    function reaches(Machine memory m, uint256 shard, uint256 slots) internal pure returns (bool) {
        if (shard == m.shard) return true;
        Cell peer_ = m.peer(shard);
        return Cells.PEER_SENT.get(peer_) + 2 <= slots + Cells.PEER_ACKED.get(peer_);
    }

    /// @notice Sends a message; `reaches` must have held. `amount` is what travels in it, `agent_` whose it is. Returns its
    /// number.
    function send(Machine memory m, uint256 to, uint256 agent_, uint256 amount, bytes memory payload)
        internal
        pure
        returns (uint256 number)
    {
        Cell peer_ = m.peer(to);
        number = Cells.PEER_SENT.get(peer_) + 1;
        Cells.PEER_SENT.set(peer_, number);
        Cell message = m.cell(Trie.MESSAGE, Trie.messageSlot(to, number));
        Cells.MESSAGE_NUMBER.set(message, number);
        Cells.MESSAGE_TO.set(message, to);
        Cells.MESSAGE_KIND.set(message, uint8(payload[0]));
        Cells.MESSAGE_TIME.set(message, m.time());
        Cells.MESSAGE_AGENT.set(message, agent_);
        Cells.MESSAGE_AMOUNT.set(message, amount);
        Cells.MESSAGE_HASH.set(message, uint256(keccak256(payload)));
    }

    /// @notice Takes base units out of the world.
    function burn(Machine memory m, uint256 amount) internal pure {
        Cells.HEAD_BURNED.set(m.head(), Cells.HEAD_BURNED.get(m.head()) + amount);
    }

    // --- outbox ---

    /// @notice Whether there is a slot, and `reserve` slots stay free behind it: times only grow along the ring, so the last
    /// one speaks for all.
    function hasOutboxRoom(Machine memory m, uint256 reserve) internal pure returns (bool) {
        Cell old = m.nextSlot(Cells.HEAD_OUTBOX, Trie.OUTBOX, reserve);
        if (old == NONE) return false;
        return Cells.OUTBOX_KIND.get(old) == 0 || Cells.OUTBOX_TIME.get(old) + Cells.OUTBOX_RETENTION < m.time();
    }

    /// @notice Puts a payment to an L1 address into the outbox; `hasOutboxRoom` must hold. Returns the outbox id.
    function sendWithdrawal(Machine memory m, uint256 agent_, uint256 recipient, uint256 amount)
        internal
        pure
        returns (uint256)
    {
        uint256 serial = m.nextSerial(Cells.HEAD_OUTBOX);
        Cell record = m.takeSlot(Trie.OUTBOX, serial);
        Cells.OUTBOX_KIND.set(record, Cells.WITHDRAWAL);
        Cells.OUTBOX_SERIAL.set(record, serial);
        Cells.OUTBOX_TIME.set(record, m.time());
        Cells.OUTBOX_AGENT.set(record, agent_);
        Cells.OUTBOX_AMOUNT.set(record, amount);
        Cells.OUTBOX_RECIPIENT.set(record, recipient);
        return Ids.makeId(m.shard, serial);
    }

    /// @notice The whole of a withdrawal, whether a bundle asks for it (and leaves L1's slots free) or the owner at L1.
    /// Returns the status.
    function withdraw(Machine memory m, uint256 agent_, uint256 amount, uint256 reserve)
        internal
        pure
        returns (uint256)
    {
        if (amount == 0) return Status.ZERO_AMOUNT;
        if (m.balance(agent_) < amount) return Status.INSUFFICIENT_BALANCE;
        if (!m.hasOutboxRoom(reserve)) return Status.REGION_FULL;
        m.debit(agent_, amount);
        uint256 owner = Cells.AGENT_OWNER.get(m.agent(agent_));
        return m.ok(m.sendWithdrawal(agent_, owner, amount));
    }

    // --- services ---

    /// @notice `NONE` unless the id is a service's.
    function service(Machine memory m, uint256 id) internal pure returns (Cell) {
        return _existing(m, Trie.SERVICE, id, Cells.SERVICE_FLAGS);
    }

    function hasServiceRoom(Machine memory m) internal pure returns (bool) {
        return _hasRoom(m, Cells.HEAD_SERVICES);
    }

    /// @notice A new service with nothing but its existence; `hasServiceRoom` must hold. Returns its id.
    function createService(Machine memory m) internal pure returns (uint256) {
        uint256 serial = m.nextSerial(Cells.HEAD_SERVICES);
        Cells.SERVICE_FLAGS.set(m.cell(Trie.SERVICE, serial), Cells.EXISTS);
        return Ids.makeId(m.shard, serial);
    }

    // --- records of two sorts: those of small serials, which stay, and those of rings ---

    function _existing(Machine memory m, uint256 region, uint256 id, Field flags) private pure returns (Cell) {
        uint256 serial = Ids.serialOf(id);
        if (serial == 0 || serial >= Ids.SMALL_SERIALS) return NONE;
        Cell found = m.cell(region, serial);
        return flags.get(found) & Cells.EXISTS != 0 ? found : NONE;
    }

    function _hasRoom(Machine memory m, Field counter) private pure returns (bool) {
        return counter.get(m.head()) + 1 < Ids.SMALL_SERIALS;
    }

    function _current(Machine memory m, uint256 region, uint256 id, Field serial_) private pure returns (Cell) {
        uint256 serial = Ids.serialOf(id);
        if (serial == 0) return NONE;
        Cell found = m.cell(region, Trie.slotOf(region, serial));
        return serial_.get(found) == serial ? found : NONE;
    }

    function _agentCell(Machine memory m, uint256 id) private pure returns (Cell) {
        return m.cell(Trie.AGENT, Ids.serialOf(id));
    }

    function _min(uint256 a, uint256 b) private pure returns (uint256) {
        return a < b ? a : b;
    }
}
