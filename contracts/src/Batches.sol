// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Bonds} from "./Bonds.sol";
import {DataRoot} from "./DataRoot.sol";
import {Freeze} from "./Freeze.sol";
import {ICommittee} from "./ICommittee.sol";
import {Inbox} from "./Inbox.sol";
import {IRoot} from "./IRoot.sol";
import {Trie} from "./Trie.sol";
import {Views} from "./Views.sol";

/// @title The chain of batches (docs/protocol.md §3, §7)
/// @notice One bonded sequencer extends one chain. What can be computed here is; what it asserts, `post`, stays open to
/// dispute for a window.
abstract contract Batches is Inbox, Bonds {
    using DataRoot for DataRoot.Stretch;
    using DataRoot for DataRoot.Tree;

    /// @dev Where the frames are (docs/protocol.md §12).
    uint8 private constant CALLDATA = 0;
    uint8 private constant BLOB = 1;
    uint8 private constant COMMITTEE = 2;

    /// @dev Bytes of data in a blob.
    uint256 private constant BLOB_BYTES = Views.ELEMENTS * Views.ELEMENT_BYTES;

    /// @dev How far a batch's clock may run ahead of the last one's: `OUTBOX_RETENTION`, what a withdrawal's slot is kept for.
    uint256 private constant MAX_LEAP = 2 ** 20;

    uint64 internal immutable _inboxDelay;
    address internal immutable _game;
    address internal immutable _faults;
    address internal immutable _availability;
    ICommittee internal immutable _committee;

    /// @inheritdoc IRoot
    uint64 public head;

    /// @inheritdoc IRoot
    uint64 public finalized;

    uint64 private _voidedAt;

    /// @inheritdoc IRoot
    mapping(bytes32 batchHash => uint256) public contested;

    mapping(uint64 number => Posted) private _posted;
    DataRoot.Stretch private _stretch;
    Blobs private _blobs;

    /// @dev Blobs that are in, of a batch that is not yet.
    struct Blobs {
        uint64 number;
        uint32 parts;
        uint64 count;
        bytes32 chain;
    }

    constructor(Config memory config_)
        Freeze(config_.freezeAfter)
        Inbox(config_.token, config_.unit)
        Bonds(config_.sequencer, config_.window, config_.minBond)
    {
        if (config_.game == address(0) || config_.faults == address(0)) {
            revert BadConfig();
        }
        _inboxDelay = config_.inboxDelay;
        _game = config_.game;
        _faults = config_.faults;
        _availability = config_.availability;
        _committee = config_.committee;

        Batch memory genesis;
        genesis.post = _commitment(Trie.zero(Trie.DEPTH));
        uint64 time = uint64(block.timestamp);
        _posted[0] = Posted(keccak256(abi.encode(genesis)), genesis.post, time, 0, time);
    }

    modifier onlyContesting() {
        if (msg.sender != _game && msg.sender != _availability) revert NotAllowed();
        _;
    }

    /// @dev Deployed code under the sequencer's address, EIP-7702's included, could hide the data in an inner call.
    modifier onlyTopLevel() {
        if (msg.sender != tx.origin || msg.sender.code.length != 0) revert NotTopLevel();
        _;
    }

    /// @inheritdoc IRoot
    function postData(uint64 number, uint32 part, bytes calldata data) external onlySequencer onlyTopLevel notFrozen {
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
    function postBlobs(uint64 number, uint32 part) external onlySequencer onlyTopLevel notFrozen {
        if (number != head + 1) revert WrongNumber(head + 1);
        Blobs memory blobs = _blobsOf(number);
        if (part == 0) {
            blobs = Blobs(number, 0, 0, 0);
        } else if (part != blobs.parts) {
            revert WrongPart(blobs.parts);
        }
        if (_takeBlobs(blobs) == 0) revert NoData();
        _blobs = blobs;
    }

    /// @inheritdoc IRoot
    function postBatch(Batch calldata batch, bytes calldata data) external onlySequencer onlyTopLevel notFrozen {
        _checkBonded();

        uint64 number = head + 1;
        Posted storage previous = _posted[head];
        if (batch.number != number) revert WrongNumber(number);
        if (batch.prev != previous.batchHash) revert WrongPrev(previous.batchHash);
        if (batch.pre != previous.post) revert WrongPre(previous.post);
        _checkTimes(batch, previous.timeTo);
        _checkCursor(batch.inboxCursor, previous.inboxCursor);
        _checkData(batch, data);

        bytes32 batchHash = keccak256(abi.encode(batch));
        head = number;
        _posted[number] = Posted(batchHash, batch.post, uint64(block.timestamp), batch.inboxCursor, batch.timeTo);
        emit BatchPosted(number, batchHash, batch);
    }

    /// @inheritdoc IRoot
    function finalize(uint64 upTo) external {
        if (upTo <= finalized) revert AlreadyFinal(upTo);
        // Times of posting only grow along the chain, so the window of `upTo` passes last.
        if (upTo > head || block.timestamp < _posted[upTo].postedAt + _window) revert NotFinal(upTo);
        for (uint64 number = finalized + 1; number <= upTo; ++number) {
            if (contested[_posted[number].batchHash] != 0) revert NotFinal(number);
        }
        finalized = upTo;
        emit Finalized(upTo);
    }

    /// @inheritdoc IRoot
    /// @dev O(1), however many batches follow. A void number may be posted again, so batches are told apart by hash.
    function invalidate(uint64 number, bytes32 batchHash, address reporter) external {
        if (msg.sender != _game && msg.sender != _faults && msg.sender != _availability) revert NotAllowed();
        if (number > head || _posted[number].batchHash != batchHash) revert NotStanding(number);
        if (number <= finalized) revert AlreadyFinal(number);
        head = number - 1;
        _voidedAt = uint64(block.timestamp);
        _restart(number);
        if (_blobs.number == number) delete _blobs;
        emit Invalidated(number);
        _slash(reporter);
    }

    /// @inheritdoc IRoot
    function slash(address reporter) external {
        if (msg.sender != _faults) revert NotAllowed();
        _slash(reporter);
    }

    /// @inheritdoc IRoot
    function contest(bytes32 batchHash) external onlyContesting {
        ++contested[batchHash];
    }

    /// @inheritdoc IRoot
    function uncontest(bytes32 batchHash) external onlyContesting {
        --contested[batchHash];
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

    function _aliveAt() internal view override returns (uint64) {
        uint64 postedAt = _posted[head].postedAt;
        return _voidedAt > postedAt ? _voidedAt : postedAt;
    }

    function _head() internal view override returns (uint64) {
        return head;
    }

    function _allFinal() internal view override returns (bool) {
        return finalized == head;
    }

    /// @dev Between frames the context is 0, and a batch ends between frames.
    function _commitment(bytes32 stateRoot) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(stateRoot, uint256(0)));
    }

    /// @dev Neither may the clock stand still for longer than L1 waits before it freezes, nor leap over what a withdrawal is
    /// kept for.
    function _checkTimes(Batch calldata batch, uint256 previousTimeTo) private view {
        if (
            batch.timeFrom > batch.timeTo || batch.timeTo > block.timestamp || batch.timeTo >= previousTimeTo + MAX_LEAP
                || batch.timeFrom + uint256(_freezeAfter) < block.timestamp
        ) revert BadTimes();
    }

    function _checkCursor(uint64 cursor, uint64 min) private view {
        uint64 max = inboxLength();
        if (cursor < min || cursor > max) revert WrongCursor(min, max);
        if (cursor < max && block.timestamp > uint256(queuedAt(cursor)) + _inboxDelay) revert InboxOverdue(cursor);
    }

    function _checkData(Batch calldata batch, bytes calldata data) private {
        if (batch.da == CALLDATA) {
            _checkCalldata(batch, data);
        } else {
            // A step that does not take place shows in the data's index or in a game; but there must be one to play about.
            if (batch.steps == 0) revert NoData();
            if (batch.da == BLOB && _availability != address(0)) {
                _checkBlobs(batch, data);
            } else if (batch.da == COMMITTEE && address(_committee) != address(0)) {
                _committee.check(batch.number, batch.dataRoot, data);
            } else {
                revert UnsupportedDa(batch.da);
            }
        }
    }

    function _checkCalldata(Batch calldata batch, bytes calldata data) private {
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

    function _checkBlobs(Batch calldata batch, bytes calldata data) private {
        Blobs memory blobs = _blobsOf(batch.number);
        _takeBlobs(blobs);
        if (data.length != 8) revert WrongBlobs(blobs.count);
        uint64 length = uint64(bytes8(data));
        if (blobs.count == 0 || blobs.count != (length + BLOB_BYTES - 1) / BLOB_BYTES) revert WrongBlobs(blobs.count);
        bytes32 dataRoot = Views.blobsRoot(length, blobs.chain);
        if (batch.dataRoot != dataRoot) revert WrongDataRoot(dataRoot);
    }

    /// @dev Adds the blobs of this transaction, if there are any, and says how many.
    function _takeBlobs(Blobs memory blobs) private returns (uint256 count) {
        for (bytes32 hash; (hash = blobhash(count)) != 0; ++count) {
            blobs.chain = keccak256(abi.encodePacked(blobs.chain, hash));
        }
        if (count == 0) return 0;
        blobs.count += uint64(count);
        emit BlobsPosted(blobs.number, blobs.parts++, blobs.count);
    }

    function _blobsOf(uint64 number) private view returns (Blobs memory) {
        return _blobs.number == number ? _blobs : Blobs(number, 0, 0, 0);
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
