// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Digests} from "./Digests.sol";
import {Field} from "./Field.sol";
import {IAvailability} from "./IAvailability.sol";
import {ICommittee} from "./ICommittee.sol";
import {IGame} from "./IGame.sol";
import {IRoot} from "./IRoot.sol";
import {Views} from "./Views.sol";

/// @title Data that is not in calldata (docs/protocol.md §12)
contract Availability is IAvailability {
    using Address for address payable;
    using Views for Views.View;

    uint256 private constant COUNT = 4;
    uint256 private constant ENTRY = 17;
    uint256 private constant MAX_FRAME = 4096;

    /// @inheritdoc IAvailability
    IRoot public immutable root;
    /// @inheritdoc IAvailability
    ICommittee public immutable committee;
    /// @inheritdoc IAvailability
    uint64 public immutable demandWindow;
    /// @inheritdoc IAvailability
    uint256 public immutable demandBond;

    uint256 private immutable _members;
    uint256 private immutable _threshold;

    /// @inheritdoc IAvailability
    uint256 public demands;
    /// @inheritdoc IAvailability
    mapping(uint256 id => bytes32) public standing;
    /// @inheritdoc IAvailability
    mapping(address account => uint256) public credits;

    /// @dev One line of the index.
    struct Entry {
        uint48 firstStep;
        uint8 shard;
        uint48 seq;
        uint32 offset;
    }

    /// @param members_ How many members the committee has, which need not be deployed yet.
    constructor(
        IRoot root_,
        ICommittee committee_,
        uint256 members_,
        uint256 threshold_,
        uint64 demandWindow_,
        uint256 demandBond_
    ) {
        root = root_;
        committee = committee_;
        _members = members_;
        _threshold = threshold_;
        demandWindow = demandWindow_;
        demandBond = demandBond_;
    }

    /// @inheritdoc IAvailability
    function isUnder(IGame.Opening calldata opening, bytes32 dataRoot) external view returns (bool) {
        Views.View memory data = Views.open(opening.proof, dataRoot, _members, _threshold);
        if (_count(data) != opening.frames || opening.index >= opening.frames) return false;
        Entry memory entry = _entry(data, opening.index);
        Entry memory next = _entry(data, uint256(opening.index) + 1);
        if (entry.firstStep != opening.firstStep || entry.shard != opening.shard || entry.seq != opening.seq) {
            return false;
        }
        uint256 size = opening.frame.length;
        if (uint256(entry.offset) + size != next.offset) return false;
        return keccak256(data.read(entry.offset, size)) == keccak256(opening.frame);
    }

    /// @inheritdoc IAvailability
    function proveLayout(IRoot.Batch calldata batch, Layout kind, uint256 index, bytes calldata proof) external {
        bytes32 batchHash = _checkStanding(batch);
        Views.View memory data = Views.open(proof, batch.dataRoot, _members, _threshold);
        uint256 frames = _count(data);
        uint256 end = COUNT + ENTRY * (frames + 1);
        if (kind == Layout.count) {
            if (frames != 0 && end <= data.length) revert NoFault();
        } else if (kind == Layout.first) {
            Entry memory entry = _entry(data, 0);
            if (entry.firstStep == 0 && entry.offset == end) revert NoFault();
        } else if (kind == Layout.last) {
            Entry memory entry = _entry(data, frames);
            if (entry.firstStep == batch.steps && entry.shard == 0 && entry.seq == 0 && entry.offset == data.length) {
                revert NoFault();
            }
        } else {
            if (index >= frames || _follows(data, _entry(data, index), _entry(data, index + 1))) revert NoFault();
        }
        _invalidate(batch.number, batchHash, "layout");
    }

    /// @inheritdoc IAvailability
    function proveEncoding(IRoot.Batch calldata batch, uint256 place, bytes calldata proof) external {
        bytes32 batchHash = _checkStanding(batch);
        (, Views.Cell[] memory cells) = Views.openCells(proof, batch.dataRoot, _members, _threshold);
        if (cells.length != _threshold + 1 || place >= Views.CELL_BYTES) revert NoFault();
        uint256[] memory points = new uint256[](cells.length);
        uint256[] memory values = new uint256[](cells.length);
        for (uint256 i; i < cells.length; ++i) {
            // Ascending, so that they are different.
            if (cells[i].row != cells[0].row || (i != 0 && cells[i].column <= cells[i - 1].column)) revert NoFault();
            points[i] = cells[i].column;
            values[i] = uint8(cells[i].content[place]);
        }
        if (Field.isOnPolynomial(points, values)) revert NoFault();
        _invalidate(batch.number, batchHash, "encoding");
    }

    /// @inheritdoc IAvailability
    function demand(IRoot.Batch calldata batch, Views.Columns calldata columns, uint8 column, uint32 row)
        external
        payable
        returns (uint256 id)
    {
        if (msg.value != demandBond) revert WrongBond(demandBond);
        bytes32 batchHash = _checkStanding(batch);
        if (block.timestamp >= uint256(root.posted(batch.number).postedAt) + root.config().window) {
            revert TooLate(batch.number);
        }
        Views.checkColumns(columns, batch.dataRoot, _members);
        uint256 height = Views.rows(columns.length, _threshold);
        if (column >= _members || row >= height || height > type(uint32).max) revert NoCell();
        id = ++demands;
        Demand memory demand_ = Demand({
            id: id,
            batchHash: batchHash,
            dataRoot: batch.dataRoot,
            number: batch.number,
            epoch: columns.epoch,
            column: column,
            row: row,
            height: uint32(height),
            columnRoot: columns.roots[column],
            by: msg.sender,
            deadline: uint64(block.timestamp) + demandWindow
        });
        standing[id] = keccak256(abi.encode(demand_));
        emit Demanded(id, batch.number, demand_);
        root.contest(batchHash);
    }

    /// @inheritdoc IAvailability
    function answer(Demand calldata demand_, bytes calldata content, bytes32[] calldata path) external {
        _checkDemand(demand_);
        if (block.timestamp > demand_.deadline) revert DeadlinePassed(demand_.deadline);
        Views.Cell memory cell = Views.Cell(demand_.column, demand_.row, content, path);
        if (!Views.isCell(demand_.columnRoot, demand_.height, cell)) revert Views.BadProof();
        emit Answered(demand_.id, content, path);
        _close(demand_, msg.sender);
    }

    /// @inheritdoc IAvailability
    function expire(Demand calldata demand_) external {
        _expire(demand_);
    }

    /// @inheritdoc IAvailability
    function expireAndSlash(Demand calldata demand_, address[] calldata members, uint64 until, bytes calldata signature)
        external
    {
        _expire(demand_);
        address member = members[demand_.column];
        if (_hash(members) != committee.membersHash(demand_.epoch)) revert ICommittee.WrongMembers();
        Digests.Available memory available = Digests.Available(demand_.number, demand_.dataRoot, demand_.epoch, until);
        bytes32 digest = Digests.secp256k1(root.domainSeparator(), Digests.hash(available));
        if (signature.length != 64) revert BadSignature();
        bytes32 vs = bytes32(signature[32:]);
        address signer = ecrecover(
            digest, uint8(uint256(vs) >> 255) + 27, bytes32(signature[:32]), vs & bytes32(type(uint256).max >> 1)
        );
        // What it promised to keep must be due still.
        if (signer == address(0) || signer != member || until < demand_.deadline) revert BadSignature();
        committee.slash(member, demand_.by);
    }

    /// @inheritdoc IAvailability
    function dissolve(Demand calldata demand_) external {
        _checkDemand(demand_);
        if (root.posted(demand_.number).batchHash == demand_.batchHash) revert NoFault();
        emit Dissolved(demand_.id);
        _close(demand_, demand_.by);
    }

    /// @inheritdoc IAvailability
    function collect() external {
        uint256 amount = credits[msg.sender];
        if (amount == 0) revert NothingToCollect();
        credits[msg.sender] = 0;
        payable(msg.sender).sendValue(amount);
    }

    function _expire(Demand calldata demand_) private {
        _checkDemand(demand_);
        if (block.timestamp <= demand_.deadline) revert DeadlineNotPassed(demand_.deadline);
        if (root.posted(demand_.number).batchHash != demand_.batchHash) revert NotStanding(demand_.number);
        emit Unanswered(demand_.id);
        _close(demand_, demand_.by);
        root.invalidate(demand_.number, demand_.batchHash, demand_.by);
    }

    function _close(Demand calldata demand_, address to) private {
        delete standing[demand_.id];
        root.uncontest(demand_.batchHash);
        credits[to] += demandBond;
        emit Credited(to, demandBond);
    }

    function _invalidate(uint64 number, bytes32 batchHash, string memory fault) private {
        emit FaultShown(number, batchHash, fault, msg.sender);
        root.invalidate(number, batchHash, msg.sender);
    }

    function _checkDemand(Demand calldata demand_) private view {
        bytes32 stands = standing[demand_.id];
        if (stands == 0 || keccak256(abi.encode(demand_)) != stands) revert WrongDemand(stands);
    }

    function _checkStanding(IRoot.Batch calldata batch) private view returns (bytes32 batchHash) {
        batchHash = keccak256(abi.encode(batch));
        if (root.posted(batch.number).batchHash != batchHash) revert NotStanding(batch.number);
    }

    /// @dev Whether an entry is followed by this one in well-formed data.
    function _follows(Views.View memory data, Entry memory entry, Entry memory next) private pure returns (bool) {
        if (next.offset <= entry.offset || next.offset - entry.offset > MAX_FRAME || next.offset > data.length) {
            return false;
        }
        uint256 size = next.offset - entry.offset;
        bytes memory start = data.read(entry.offset, size == 1 ? 1 : 2);
        uint256 steps = size > 1 && start[0] == 0x10 ? 2 + uint256(uint8(start[1])) : 1;
        return next.firstStep == entry.firstStep + steps;
    }

    function _count(Views.View memory data) private pure returns (uint256) {
        return uint32(bytes4(data.read(0, COUNT)));
    }

    function _entry(Views.View memory data, uint256 index) private pure returns (Entry memory) {
        uint136 line = uint136(bytes17(data.read(COUNT + ENTRY * index, ENTRY)));
        return Entry(uint48(line >> 88), uint8(line >> 80), uint48(line >> 32), uint32(line));
    }

    function _hash(address[] calldata members) private pure returns (bytes32) {
        bytes memory packed;
        for (uint256 i; i < members.length; ++i) {
            packed = bytes.concat(packed, bytes20(members[i]));
        }
        return keccak256(packed);
    }
}
