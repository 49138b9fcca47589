// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DataRoot} from "./DataRoot.sol";
import {Inbox} from "./Inbox.sol";
import {IRoot} from "./IRoot.sol";
import {Keys} from "./Keys.sol";
import {Trie} from "./Trie.sol";

/// @title The chain of batches (docs/protocol.md §3, §7)
/// @notice One bonded sequencer extends one chain. What can be computed here is; what it asserts, `post`, stays open to
/// dispute for a window.
abstract contract Batches is Inbox {
    using DataRoot for DataRoot.Stretch;
    using DataRoot for DataRoot.Tree;

    /// @dev `da` 0: the frames are in calldata.
    uint8 private constant CALLDATA = 0;

    address internal immutable _sequencer;
    bytes32 internal immutable _sequencerX;
    bytes32 internal immutable _sequencerY;
    uint64 internal immutable _window;
    uint64 internal immutable _inboxDelay;
    uint256 internal immutable _minBond;

    /// @inheritdoc IRoot
    uint256 public bonded;

    /// @inheritdoc IRoot
    uint64 public head;

    /// @inheritdoc IRoot
    uint64 public finalized;

    mapping(uint64 number => Posted) private _posted;
    DataRoot.Stretch private _stretch;

    constructor(Config memory config_) Inbox(config_.token, config_.unit) {
        if (config_.sequencer == address(0) || !Keys.isP256Key(config_.sequencerX, config_.sequencerY)) {
            revert BadConfig();
        }
        _sequencer = config_.sequencer;
        _sequencerX = config_.sequencerX;
        _sequencerY = config_.sequencerY;
        _window = config_.window;
        _inboxDelay = config_.inboxDelay;
        _minBond = config_.minBond;

        Batch memory genesis;
        genesis.post = _commitment(Trie.zero(Trie.DEPTH));
        _posted[0] = Posted(keccak256(abi.encode(genesis)), genesis.post, uint64(block.timestamp), 0);
    }

    modifier onlySequencer() {
        if (msg.sender != _sequencer) revert NotSequencer();
        _;
    }

    /// @dev Deployed code under the sequencer's address, EIP-7702's included, could hide the data in an inner call.
    modifier onlyTopLevel() {
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotTopLevel();
        _;
    }

    /// @inheritdoc IRoot
    function bond() external payable onlySequencer {
        bonded += msg.value;
        emit Bonded(msg.value, bonded);
    }

    /// @inheritdoc IRoot
    function postData(uint64 number, uint32 part, bytes calldata data) external onlySequencer onlyTopLevel {
        if (number != head + 1) revert WrongNumber(head + 1);
        if (data.length == 0) revert NoData();
        if (part == 0) {
            _restart(number);
        } else if (part != _partsOf(number)) {
            revert WrongPart(_partsOf(number));
        }
        DataRoot.Tree memory tree = _stretch.load();
        tree.absorb(data);
        _stretch.store(tree);
        _stretch.parts = part + 1;
        emit DataPosted(number, part, uint64(tree.frames), uint64(tree.steps));
    }

    /// @inheritdoc IRoot
    function postBatch(Batch calldata batch, bytes calldata data) external onlySequencer onlyTopLevel {
        if (bonded < _minBond) revert NotBonded(bonded, _minBond);

        uint64 number = head + 1;
        Posted storage previous = _posted[head];
        if (batch.number != number) revert WrongNumber(number);
        if (batch.prev != previous.batchHash) revert WrongPrev(previous.batchHash);
        if (batch.pre != previous.post) revert WrongPre(previous.post);
        if (batch.timeFrom > batch.timeTo || batch.timeTo > block.timestamp) revert BadTimes();
        _checkCursor(batch.inboxCursor, previous.inboxCursor);
        _checkData(batch, data);

        bytes32 batchHash = keccak256(abi.encode(batch));
        head = number;
        _posted[number] = Posted(batchHash, batch.post, uint64(block.timestamp), batch.inboxCursor);
        emit BatchPosted(number, batchHash, batch);
    }

    /// @inheritdoc IRoot
    function finalize(uint64 upTo) external {
        if (upTo <= finalized) revert AlreadyFinal(upTo);
        // Times of posting only grow along the chain, so the window of `upTo` passes last.
        if (upTo > head || block.timestamp < _posted[upTo].postedAt + _window) revert NotFinal(upTo);
        finalized = upTo;
        emit Finalized(upTo);
    }

    /// @inheritdoc IRoot
    function isFinal(uint64 number) public view returns (bool) {
        return number <= finalized;
    }

    /// @inheritdoc IRoot
    function posted(uint64 number) public view returns (Posted memory standing) {
        // A void batch's record stays behind until its number is posted again.
        if (number <= head) standing = _posted[number];
    }

    /// @inheritdoc IRoot
    function pending() external view returns (uint64 number, uint32 parts, uint64 frames, uint64 steps) {
        return (_stretch.number, _stretch.parts, _stretch.frames, _stretch.steps);
    }

    /// @dev The seam of the dispute game: voids `number` and all after it, in O(1) however many there are, and reopens
    /// posting from the last good batch. A void number may be posted again, so a game names batches by hash.
    function _invalidateFrom(uint64 number) internal {
        if (number <= finalized) revert AlreadyFinal(number);
        if (number > head) revert WrongNumber(head);
        head = number - 1;
        _restart(number);
        emit Invalidated(number);
    }

    /// @dev Between frames the context is 0, and a batch ends between frames.
    function _commitment(bytes32 stateRoot) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(stateRoot, uint256(0)));
    }

    function _checkCursor(uint64 cursor, uint64 min) private view {
        uint64 max = inboxLength();
        if (cursor < min || cursor > max) revert WrongCursor(min, max);
        if (cursor < max && block.timestamp > uint256(queuedAt(cursor)) + _inboxDelay) revert InboxOverdue(cursor);
    }

    function _checkData(Batch calldata batch, bytes calldata data) private {
        if (batch.da != CALLDATA) revert UnsupportedDa(batch.da);
        uint32 parts = _partsOf(batch.number);
        DataRoot.Tree memory tree;
        if (parts != 0) tree = _stretch.load();
        if (data.length != 0) {
            tree.absorb(data);
            emit DataPosted(batch.number, parts, uint64(tree.frames), uint64(tree.steps));
        }
        if (tree.frames == 0) revert NoData();
        if (batch.steps != tree.steps) revert WrongSteps(uint64(tree.steps));
        bytes32 dataRoot = tree.root();
        if (batch.dataRoot != dataRoot) revert WrongDataRoot(dataRoot);
    }

    function _partsOf(uint64 number) private view returns (uint32) {
        return _stretch.number == number ? _stretch.parts : 0;
    }

    function _restart(uint64 number) private {
        _stretch.number = number;
        _stretch.parts = 0;
        _stretch.frames = 0;
        _stretch.steps = 0;
    }
}
