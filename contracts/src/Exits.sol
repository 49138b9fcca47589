// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {Cells, EscrowStatus, SessionStatus, WorkflowStatus} from "./Cells.sol";
import {Digests} from "./Digests.sol";
import {IExits} from "./IExits.sol";
import {IRoot} from "./IRoot.sol";
import {Items} from "./Items.sol";
import {Keys} from "./Keys.sol";
import {Trie} from "./Trie.sol";

/// @title Exits from a frozen deployment (docs/protocol.md §11)
/// @notice Money is in one place of a state, and each place is shown once: so nothing is paid twice, whatever is shown in
/// whatever order. What a place holds is decided by that place alone, and by what cannot change any more.
contract Exits is IExits {
    using BitMaps for BitMaps.BitMap;
    using Cells for bytes;

    /// @dev Ids of agents have serials below this; nothing is at the address that a larger one would have.
    uint256 private constant SMALL_SERIALS = 2 ** 20;
    /// @dev No amount is larger; the most that a half can say.
    uint64 private constant MAX_AMOUNT = 2 ** 53 - 1;

    // Kinds of messages whose payload or receiver matters.
    uint256 private constant CALL = 1;
    uint256 private constant VERDICT = 6;
    uint256 private constant ITEM = 9;

    struct Verdict {
        bool isKnown;
        bool release;
    }

    /// @inheritdoc IExits
    IRoot public immutable root;
    /// @inheritdoc IExits
    uint64 public immutable halfWindow;

    /// @inheritdoc IExits
    bytes32 public stateRoot;
    /// @inheritdoc IExits
    uint64 public halvesUntil;
    /// @dev Inbox items from here on no batch has consumed.
    uint64 private _inboxCursor;

    /// @inheritdoc IExits
    mapping(uint32 agentId => uint64) public claims;
    /// @inheritdoc IExits
    mapping(uint32 agentId => address) public ownerOf;
    /// @inheritdoc IExits
    mapping(uint32 cellAddress => mapping(uint8 dir => uint64)) public paidBy;
    /// @inheritdoc IExits
    mapping(uint64 escrowId => Verdict) public verdictOn;

    BitMaps.BitMap private _shown;
    BitMaps.BitMap private _returned;

    /// @param root_ The deployment; may be deployed later, as it names this contract.
    constructor(IRoot root_, uint64 halfWindow_) {
        root = root_;
        halfWindow = halfWindow_;
    }

    modifier whenOpen() {
        if (halvesUntil == 0) revert NotOpen();
        _;
    }

    modifier inTime() {
        if (block.timestamp > halvesUntil) revert TooLate(halvesUntil);
        _;
    }

    /// @inheritdoc IExits
    function open(IRoot.Batch calldata batch, bytes32 stateRoot_) external {
        if (halvesUntil != 0) revert AlreadyOpen();
        if (!root.frozen()) revert NotFrozen();
        uint64 head = root.head();
        if (!root.isFinal(head)) revert NotFinal(head);
        bytes32 batchHash = root.posted(head).batchHash;
        if (batchHash != keccak256(abi.encode(batch))) revert WrongBatch(batchHash);
        if (batch.post != keccak256(abi.encode(stateRoot_, 0))) revert WrongStateRoot();
        stateRoot = stateRoot_;
        halvesUntil = uint64(block.timestamp) + halfWindow;
        _inboxCursor = batch.inboxCursor;
        emit Opened(stateRoot_, halvesUntil);
    }

    /// @inheritdoc IExits
    function showAgent(Shown calldata agent) external whenOpen {
        bytes calldata cell = _cell(agent, Trie.AGENT);
        if (cell.get(Cells.AGENT_FLAGS) & Cells.EXISTS == 0) revert NothingThere(agent.cellAddress);
        uint256 serial = _slotOf(agent.cellAddress);
        _take(agent.cellAddress, serial);
        uint32 id = uint32(_id(serial, agent.cellAddress));
        ownerOf[id] = address(uint160(cell.get(Cells.AGENT_OWNER)));
        _claim(id, cell.get(Cells.AGENT_BALANCE) + cell.get(Cells.AGENT_STAKE));
    }

    /// @inheritdoc IExits
    function showEscrow(Shown calldata escrow) external whenOpen {
        bytes calldata cell = _cell(escrow, Trie.ESCROW);
        uint256 status = cell.get(Cells.ESCROW_STATUS);
        bool isHeld = status == EscrowStatus.HELD;
        if (isHeld ? !_isHere(cell, escrow) || cell.get(Cells.ESCROW_WORKFLOW) != 0 : !_isUndecided(status)) {
            revert NothingThere(escrow.cellAddress);
        }
        _payEscrow(escrow.cellAddress, cell, isHeld);
    }

    /// @inheritdoc IExits
    function showLeg(Shown calldata escrow, Shown calldata workflow) external whenOpen {
        bytes calldata cell = _cell(escrow, Trie.ESCROW);
        uint256 id = cell.get(Cells.ESCROW_WORKFLOW);
        if (cell.get(Cells.ESCROW_STATUS) != EscrowStatus.HELD || !_isHere(cell, escrow) || id == 0) {
            revert NothingThere(escrow.cellAddress);
        }
        bytes calldata quad = _quad(workflow, Trie.WORKFLOW);
        uint256 serial = id >> 8;
        if (workflow.cellAddress != Trie.cellAddress(uint8(id), Trie.WORKFLOW, Trie.slotOf(Trie.WORKFLOW, serial))) {
            revert NothingThere(workflow.cellAddress);
        }
        bool release;
        if (quad.get(Cells.WORKFLOW_SERIAL) == serial) {
            // A second answer to one leg is not of the workflow, though it names it: its refund is still on its way.
            release = quad.get(Cells.WORKFLOW_STATUS) == WorkflowStatus.COMMITTED
                && _legOf(cell, quad) == _id(cell.get(Cells.ESCROW_SERIAL), escrow.cellAddress);
        } else {
            Verdict memory verdict = verdictOn[_id(cell.get(Cells.ESCROW_SERIAL), escrow.cellAddress)];
            if (!verdict.isKnown && block.timestamp <= halvesUntil) revert TooEarly(halvesUntil);
            release = verdict.release;
        }
        _payEscrow(escrow.cellAddress, cell, release);
    }

    /// @inheritdoc IExits
    function showVerdict(Shown calldata message, Shown calldata peer, bytes calldata payload) external whenOpen inTime {
        bytes calldata cell = _message(message, peer);
        if (cell.get(Cells.MESSAGE_KIND) != VERDICT) revert NothingThere(message.cellAddress);
        _checkPayload(cell, payload);
        uint64 escrowId = uint56(bytes7(payload[1:8]));
        bool release = payload[8] == 0x01;
        verdictOn[escrowId] = Verdict(true, release);
        uint256 slot = Trie.slotOf(Trie.ESCROW, escrowId >> 8);
        emit VerdictShown(Trie.cellAddress(uint8(escrowId), Trie.ESCROW, slot), release);
    }

    /// @inheritdoc IExits
    function showMessage(Shown calldata message, Shown calldata peer, bytes calldata payload, Shown calldata addressee)
        external
        whenOpen
    {
        bytes calldata cell = _message(message, peer);
        uint64 amount = uint64(cell.get(Cells.MESSAGE_AMOUNT));
        if (amount == 0) revert NothingThere(message.cellAddress);
        _take(message.cellAddress, cell.get(Cells.MESSAGE_NUMBER));
        uint32 agent = uint32(cell.get(Cells.MESSAGE_AGENT));
        uint256 kind = cell.get(Cells.MESSAGE_KIND);
        if (kind == ITEM) {
            _checkPayload(cell, payload);
            root.payExit(_payerOf(payload[1:]), amount);
            return;
        }
        // A call is its actor's, who is where it comes from; but a transfer's money is its addressee's, if there is one.
        if (kind == CALL && uint8(agent) == cell.get(Cells.MESSAGE_TO) && !_exists(agent, addressee)) {
            _checkPayload(cell, payload);
            agent = uint32(bytes4(payload[1:5]));
        }
        _claim(agent, amount);
    }

    /// @inheritdoc IExits
    function showHalf(Shown calldata session, Digests.Half calldata half, bytes32 r, bytes32 s)
        external
        whenOpen
        inTime
    {
        _showHalf(session, half, r, s);
    }

    /// @inheritdoc IExits
    function showHalves(SignedHalf[] calldata halves) external whenOpen inTime {
        for (uint256 i; i < halves.length; ++i) {
            SignedHalf calldata signed = halves[i];
            _showHalf(signed.session, signed.half, signed.r, signed.s);
        }
    }

    /// @inheritdoc IExits
    function showSession(Shown calldata session) external whenOpen {
        if (block.timestamp <= halvesUntil) revert TooEarly(halvesUntil);
        bytes calldata quad = _session(session);
        _take(session.cellAddress, quad.get(Cells.SESSION_SERIAL));
        uint256 depositB = quad.get(Cells.SESSION_DEPOSIT_B);
        uint256 total = quad.get(Cells.SESSION_DEPOSIT_A) + depositB;
        uint256 gained = depositB + _max(quad.get(Cells.SESSION_PAID_AB), paidBy[session.cellAddress][0]);
        uint256 lost = _max(quad.get(Cells.SESSION_PAID_BA), paidBy[session.cellAddress][1]);
        uint256 outB = gained < lost ? 0 : gained - lost;
        if (outB > total) outB = total;
        _claim(uint32(quad.get(Cells.SESSION_A)), total - outB);
        _claim(uint32(quad.get(Cells.SESSION_B)), outB);
    }

    /// @inheritdoc IExits
    function returnDeposit(uint64 index, bytes calldata item) external whenOpen {
        bytes32 accumulator = root.accumulator(index + 1);
        if (index < _inboxCursor || accumulator == 0) revert BadItem(index);
        if (accumulator != Items.accumulate(root.accumulator(index), item)) revert BadItem(index);
        if (_returned.get(index)) revert AlreadyReturned(index);
        _returned.set(index);
        address owner = _payerOf(item);
        uint64 amount = owner == address(0) ? 0 : uint56(bytes7(item[item.length - 7:]));
        if (amount == 0) revert BadItem(index);
        emit DepositReturned(index, owner, amount);
        root.payExit(owner, amount);
    }

    /// @inheritdoc IExits
    function collect(uint32 agentId) external {
        address owner = ownerOf[agentId];
        if (owner == address(0)) revert UnknownOwner(agentId);
        uint64 amount = claims[agentId];
        if (amount == 0) revert NothingToCollect();
        claims[agentId] = 0;
        emit Collected(agentId, owner, amount);
        root.payExit(owner, amount);
    }

    /// @inheritdoc IExits
    function shown(uint32 cellAddress) public view returns (bool) {
        return _shown.get(cellAddress);
    }

    /// @inheritdoc IExits
    function returned(uint64 index) external view returns (bool) {
        return _returned.get(index);
    }

    // --- what is shown ---

    function _cell(Shown calldata shown_, uint256 region) private view returns (bytes calldata) {
        uint32 place = shown_.cellAddress;
        if (shown_.cells.length != Cells.SIZE || shown_.proof.length != 3 * Trie.DEPTH) revert BadProof();
        if (Trie.climb(place, Trie.leaf(shown_.cells), shown_.proof) != stateRoot) revert BadProof();
        if ((place >> 20) & 15 != region) revert NothingThere(place);
        return shown_.cells;
    }

    function _quad(Shown calldata shown_, uint256 region) private view returns (bytes calldata) {
        uint32 place = shown_.cellAddress;
        if (shown_.cells.length != 4 * Cells.SIZE || shown_.proof.length != 3 * (Trie.DEPTH - 1)) revert BadProof();
        if (Trie.climb(place >> 2, Trie.quad(shown_.cells), shown_.proof) != stateRoot) revert BadProof();
        if ((place >> 20) & 15 != region || place & 3 != 0) revert NothingThere(place);
        return shown_.cells;
    }

    /// @dev The quad of a session that is not closed.
    function _session(Shown calldata session) private view returns (bytes calldata quad) {
        quad = _quad(session, Trie.SESSION);
        uint256 status = quad.get(Cells.SESSION_STATUS);
        if (status != SessionStatus.OPEN && status != SessionStatus.EXITING) revert NothingThere(session.cellAddress);
    }

    /// @dev A message that its receiver does not have.
    function _message(Shown calldata message, Shown calldata peer) private view returns (bytes calldata cell) {
        cell = _cell(message, Trie.MESSAGE);
        bytes calldata receiver = _cell(peer, Trie.META);
        uint256 from = message.cellAddress >> 24;
        uint8 to = uint8(cell.get(Cells.MESSAGE_TO));
        if (peer.cellAddress != Trie.cellAddress(to, Trie.META, Trie.META_PEERS + from)) {
            revert NothingThere(peer.cellAddress);
        }
        if (cell.get(Cells.MESSAGE_NUMBER) <= receiver.get(Cells.PEER_RECEIVED)) {
            revert NothingThere(message.cellAddress);
        }
    }

    function _showHalf(Shown calldata session, Digests.Half calldata half, bytes32 r, bytes32 s) private {
        bytes calldata quad = _session(session);
        if (half.session != _id(quad.get(Cells.SESSION_SERIAL), session.cellAddress)) revert BadSignature();
        if (half.dir > 1 || half.paid > MAX_AMOUNT || half.locks != 0) revert BadSignature();
        bytes calldata key = quad[half.dir == 0 ? 64 : 128:];
        bytes32 digest = Digests.p256(root.domainSeparator(), Digests.hash(half));
        if (!Keys.verifyP256(digest, r, s, bytes32(key.get(Cells.KEY_X)), bytes32(key.get(Cells.KEY_Y)))) {
            revert BadSignature();
        }
        if (half.paid <= paidBy[session.cellAddress][half.dir]) return;
        paidBy[session.cellAddress][half.dir] = half.paid;
        emit HalfShown(session.cellAddress, half.dir, half.paid);
    }

    function _checkPayload(bytes calldata message, bytes calldata payload) private pure {
        if (uint256(keccak256(payload)) != message.get(Cells.MESSAGE_HASH)) revert BadProof();
    }

    /// @dev Who brought an item of the inbox, if it brings money: at L1 nobody else can have made one.
    function _payerOf(bytes calldata item) private pure returns (address) {
        if (item[0] == 0x01) return address(bytes20(item[2:22]));
        if (item[0] == 0x02) return address(bytes20(item[1:21]));
        return address(0);
    }

    /// @dev Whether there is an agent of this id, by its cell.
    function _exists(uint32 id, Shown calldata agent) private view returns (bool) {
        uint256 serial = id >> 8;
        if (serial == 0 || serial >= SMALL_SERIALS) return false;
        if (agent.cellAddress != Trie.cellAddress(uint8(id), Trie.AGENT, serial)) {
            revert NothingThere(agent.cellAddress);
        }
        return _cell(agent, Trie.AGENT).get(Cells.AGENT_FLAGS) & Cells.EXISTS != 0;
    }

    /// @dev Whether the escrow is this cell: where its service is elsewhere, it is an order.
    function _isHere(bytes calldata cell, Shown calldata escrow) private pure returns (bool) {
        return uint8(cell.get(Cells.ESCROW_SERVICE)) == escrow.cellAddress >> 24;
    }

    /// @dev Whether an escrow or order is its payer's still.
    function _isUndecided(uint256 status) private pure returns (bool) {
        return status == EscrowStatus.OPEN || status == EscrowStatus.CONTESTED || status == EscrowStatus.WAITING;
    }

    /// @dev The escrow that joined a workflow as the leg that this one says it is.
    function _legOf(bytes calldata escrow, bytes calldata workflow) private pure returns (uint256) {
        uint256 leg = escrow.get(Cells.ESCROW_FLAGS) >> 4;
        uint256 place = Cells.SIZE * (1 + leg / Cells.LEGS_A_CELL) + Cells.LEG_BYTES * (leg % Cells.LEGS_A_CELL);
        return Cells.get(workflow[place:], Cells.LEG_ESCROW);
    }

    // --- what is owed ---

    /// @dev Every place once.
    function _take(uint32 cellAddress, uint256 serial) private {
        if (shown(cellAddress)) revert AlreadyShown(cellAddress);
        _shown.set(cellAddress);
        emit CellShown(cellAddress, uint64(serial));
    }

    function _claim(uint32 agentId, uint256 amount) private {
        if (amount == 0) return;
        claims[agentId] += uint64(amount);
        emit Claimed(agentId, uint64(amount));
    }

    function _payEscrow(uint32 cellAddress, bytes calldata cell, bool release) private {
        _take(cellAddress, cell.get(Cells.ESCROW_SERIAL));
        uint256 paid = release ? cell.get(Cells.ESCROW_PAID) : 0;
        _claim(uint32(cell.get(Cells.ESCROW_PAYEE)), paid);
        _claim(uint32(cell.get(Cells.ESCROW_PAYER)), cell.get(Cells.ESCROW_AMOUNT) - paid);
    }

    function _slotOf(uint32 cellAddress) private pure returns (uint256) {
        return cellAddress & 0xfffff;
    }

    function _id(uint256 serial, uint32 cellAddress) private pure returns (uint64) {
        return uint64((serial << 8) | (cellAddress >> 24));
    }

    function _max(uint256 a, uint256 b) private pure returns (uint256) {
        return a > b ? a : b;
    }
}
