// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {Cells} from "./Cells.sol";
import {Digests} from "./Digests.sol";
import {IAvailability} from "./IAvailability.sol";
import {IFaults} from "./IFaults.sol";
import {IGame} from "./IGame.sol";
import {IRoot} from "./IRoot.sol";
import {Keys} from "./Keys.sol";
import {Openings} from "./Openings.sol";
import {Trie} from "./Trie.sol";

/// @title Direct proofs, and soft receipts (docs/protocol.md §10)
contract Faults is IFaults {
    using BitMaps for BitMaps.BitMap;
    using Openings for IGame.Opening;

    /// @dev Slots of the meta region (docs/protocol.md §2).
    uint256 private constant HEAD = 0;
    uint256 private constant INBOX = 1;
    uint256 private constant PEERS = 256;

    bytes1 private constant TICK = 0x01;
    uint256 private constant TICK_SIZE = 5;

    /// @inheritdoc IFaults
    IRoot public immutable root;

    /// @inheritdoc IFaults
    IAvailability public immutable availability;

    /// @dev Places whose receipts the sequencer has paid for.
    mapping(uint8 shard => BitMaps.BitMap) private _shown;

    constructor(IRoot root_, IAvailability availability_) {
        root = root_;
        availability = availability_;
    }

    /// @inheritdoc IFaults
    function proveInbox(IRoot.Batch calldata batch, Proven calldata inbox) external {
        bytes32 batchHash = _checkStanding(batch);
        _checkCell(batch, 0, INBOX, inbox);
        Cells.Inbox memory cell = Cells.inbox(inbox.cell);
        if (cell.cursor == batch.inboxCursor && cell.accumulator == root.accumulator(batch.inboxCursor)) {
            revert NoFault();
        }
        _invalidate(batch.number, batchHash, "inbox");
    }

    /// @inheritdoc IFaults
    function proveTime(IRoot.Batch calldata batch, IGame.Opening calldata tick) external {
        bytes32 batchHash = _checkStanding(batch);
        if (!tick.isUnder(batch.dataRoot, availability)) revert BadOpening();
        if (tick.frame.length != TICK_SIZE || tick.frame[0] != TICK) revert NoFault();
        uint32 time = uint32(bytes4(tick.frame[1:]));
        if (batch.timeFrom <= time && time <= batch.timeTo) revert NoFault();
        _invalidate(batch.number, batchHash, "time");
    }

    /// @inheritdoc IFaults
    function proveClock(IRoot.Batch calldata batch, uint8 shard, Proven calldata head) external {
        bytes32 batchHash = _checkStanding(batch);
        _checkCell(batch, shard, HEAD, head);
        Cells.Head memory cell = Cells.head(head.cell);
        if (cell.seq == 0 || cell.time >= batch.timeFrom) revert NoFault();
        _invalidate(batch.number, batchHash, "clock");
    }

    /// @inheritdoc IFaults
    function proveLate(
        IRoot.Batch calldata previous,
        IRoot.Batch calldata batch,
        uint8 from,
        uint8 to,
        Proven calldata sent,
        Proven calldata received
    ) external {
        bytes32 batchHash = _checkStanding(batch);
        if (keccak256(abi.encode(previous)) != batch.prev) revert NotStanding(previous.number);
        _checkCell(previous, from, PEERS + to, sent);
        _checkCell(batch, to, PEERS + from, received);
        if (Cells.get(received.cell, Cells.PEER_RECEIVED) >= Cells.get(sent.cell, Cells.PEER_SENT)) revert NoFault();
        _invalidate(batch.number, batchHash, "late message");
    }

    /// @inheritdoc IFaults
    function slashTwo(Signed calldata one, Signed calldata other) external {
        _checkSignature(one);
        _checkSignature(other);
        Digests.Receipt calldata a = one.receipt;
        Digests.Receipt calldata b = other.receipt;
        if (a.shard != b.shard || a.seq != b.seq) revert NoFault();
        // When a receipt was promised by says nothing of what happened: that may differ.
        if (a.frameHash == b.frameHash && a.runningHash == b.runningHash && a.outcomesHash == b.outcomesHash) {
            revert NoFault();
        }
        _slash(a, "two");
    }

    /// @inheritdoc IFaults
    function slashBroken(Signed calldata signed, IRoot.Batch calldata batch, IGame.Opening calldata opening) external {
        _checkSignature(signed);
        if (!root.isFinal(batch.number)) revert NotFinal(batch.number);
        _checkStanding(batch);
        Digests.Receipt calldata receipt = signed.receipt;
        if (!opening.isUnder(batch.dataRoot, availability)) revert BadOpening();
        if (opening.shard != receipt.shard || opening.seq != receipt.seq) revert NoFault();
        if (keccak256(opening.frame) == receipt.frameHash) revert NoFault();
        _slash(receipt, "broken");
    }

    /// @inheritdoc IFaults
    function slashLate(Signed calldata signed, IRoot.Batch calldata head, Proven calldata shardHead) external {
        _checkSignature(signed);
        if (head.number != root.head()) revert NotStanding(head.number);
        _checkStanding(head);
        Digests.Receipt calldata receipt = signed.receipt;
        _checkCell(head, receipt.shard, HEAD, shardHead);
        if (block.timestamp <= uint256(receipt.promisedBy) + root.config().window) revert NoFault();
        if (Cells.head(shardHead.cell).seq > receipt.seq) revert NoFault();
        _slash(receipt, "late");
    }

    function _invalidate(uint64 number, bytes32 batchHash, string memory fault) private {
        emit FaultShown(number, batchHash, fault, msg.sender);
        root.invalidate(number, batchHash, msg.sender);
    }

    function _slash(Digests.Receipt calldata receipt, string memory fault) private {
        if (_shown[receipt.shard].get(receipt.seq)) revert AlreadyShown(receipt.shard, receipt.seq);
        _shown[receipt.shard].set(receipt.seq);
        emit ReceiptBroken(receipt.shard, receipt.seq, fault, msg.sender);
        root.slash(msg.sender);
    }

    function _checkStanding(IRoot.Batch calldata batch) private view returns (bytes32 batchHash) {
        batchHash = keccak256(abi.encode(batch));
        if (root.posted(batch.number).batchHash != batchHash) revert NotStanding(batch.number);
    }

    /// @dev That a cell of the meta region is the one under the batch's `post`.
    function _checkCell(IRoot.Batch calldata batch, uint8 shard, uint256 slot, Proven calldata proven) private pure {
        // Between batches the context is 0: another is a wrong last step, and the game's.
        if (batch.post != keccak256(abi.encodePacked(proven.stateRoot, uint256(0)))) revert BadProof();
        if (proven.cell.length != Cells.SIZE) revert BadProof();
        uint32 place = Trie.cellAddress(shard, Trie.META, slot);
        if (Trie.root(place, proven.cell, proven.proof) != proven.stateRoot) revert BadProof();
    }

    function _checkSignature(Signed calldata signed) private view {
        IRoot.Config memory config = root.config();
        bytes32 digest = Digests.p256(root.domainSeparator(), Digests.hash(signed.receipt));
        if (!Keys.verifyP256(digest, signed.r, signed.s, config.sequencerX, config.sequencerY)) revert BadSignature();
    }
}
