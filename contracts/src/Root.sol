// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {BitMaps} from "@openzeppelin/contracts/utils/structs/BitMaps.sol";

import {Batches} from "./Batches.sol";
import {Cells} from "./Cells.sol";
import {Digests} from "./Digests.sol";
import {IRoot} from "./IRoot.sol";
import {Keys} from "./Keys.sol";
import {Trie} from "./Trie.sol";

/// @title Layer Root
/// @notice The one contract of a deployment: inbox in, batches over, withdrawals out.
contract Root is Batches {
    using BitMaps for BitMaps.BitMap;

    bytes32 private immutable _sequencerX;
    bytes32 private immutable _sequencerY;
    uint16 private immutable _shards;
    address private immutable _exits;

    /// @dev The nullifiers: one bit a withdrawal, and serials are given in order, so 256 share a slot.
    mapping(uint8 shard => BitMaps.BitMap) private _withdrawn;

    constructor(Config memory config_) Batches(config_) {
        if (!Keys.isP256Key(config_.sequencerX, config_.sequencerY)) revert BadConfig();
        if (config_.shards == 0 || config_.shards > 256 || config_.exits == address(0)) revert BadConfig();
        _sequencerX = config_.sequencerX;
        _sequencerY = config_.sequencerY;
        _shards = config_.shards;
        _exits = config_.exits;
    }

    /// @inheritdoc IRoot
    function withdraw(
        Batch calldata batch,
        bytes32 stateRoot,
        uint8 shard,
        bytes calldata cell,
        bytes32[48] calldata proof
    ) external {
        _checkFinal(batch);
        if (batch.post != _commitment(stateRoot)) revert WrongStateRoot();
        if (cell.length != Cells.SIZE) revert NotWithdrawal();
        Cells.Outbox memory out = Cells.outbox(cell);
        if (out.kind != Cells.WITHDRAWAL) revert NotWithdrawal();
        // The slot follows from the serial: a cell cannot be passed off under another one.
        uint32 place = Trie.cellAddress(shard, Trie.OUTBOX, Trie.slotOf(Trie.OUTBOX, out.serial));
        if (Trie.root(place, cell, proof) != stateRoot) revert BadProof();

        if (withdrawn(shard, out.serial)) revert AlreadyWithdrawn(shard, out.serial);
        _withdrawn[shard].set(out.serial);
        emit Withdrawn(shard, out.serial, out.recipient, out.amount);
        _pay(out.recipient, out.amount);
    }

    /// @inheritdoc IRoot
    function payExit(address recipient, uint64 amount) external {
        if (msg.sender != _exits || !frozen) revert NotAllowed();
        _pay(recipient, amount);
    }

    /// @inheritdoc IRoot
    function withdrawn(uint8 shard, uint64 serial) public view returns (bool) {
        return _withdrawn[shard].get(serial);
    }

    /// @inheritdoc IRoot
    function config() external view returns (Config memory) {
        return Config({
            token: _token,
            unit: _unit,
            sequencer: _sequencer,
            sequencerX: _sequencerX,
            sequencerY: _sequencerY,
            window: _window,
            inboxDelay: _inboxDelay,
            minBond: _minBond,
            freezeAfter: _freezeAfter,
            shards: _shards,
            game: _game,
            faults: _faults,
            exits: _exits,
            availability: _availability,
            committee: _committee
        });
    }

    /// @inheritdoc IRoot
    function domainSeparator() external view returns (bytes32) {
        return Digests.domainSeparator(block.chainid, address(this));
    }

    function _checkFinal(Batch calldata batch) private view {
        if (!isFinal(batch.number)) revert NotFinal(batch.number);
        bytes32 batchHash = posted(batch.number).batchHash;
        if (batchHash != keccak256(abi.encode(batch))) revert WrongBatch(batchHash);
    }
}
