// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Availability} from "../src/Availability.sol";
import {Committee} from "../src/Committee.sol";
import {ICommittee} from "../src/ICommittee.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {Views} from "../src/Views.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice Data outside of calldata, written as docs/protocol.md §12 says it, in the plainest way. Small: one cell a column.
library DaModel {
    uint256 internal constant MEMBERS = 16;
    uint256 internal constant THRESHOLD = 6;

    struct Frame {
        uint8 shard;
        uint48 seq;
        bytes content;
    }

    function steps(bytes memory frame) internal pure returns (uint48) {
        return frame.length > 1 && frame[0] == 0x10 ? 2 + uint48(uint8(frame[1])) : 1;
    }

    function data(Frame[] memory frames) internal pure returns (bytes memory all, uint48 total) {
        bytes memory body;
        uint256 start = 4 + 17 * (frames.length + 1);
        all = abi.encodePacked(uint32(frames.length));
        for (uint256 i; i < frames.length; ++i) {
            all = abi.encodePacked(all, total, frames[i].shard, frames[i].seq, uint32(start + body.length));
            body = abi.encodePacked(body, frames[i].content);
            total += steps(frames[i].content);
        }
        all = abi.encodePacked(all, total, uint8(0), uint48(0), uint32(start + body.length), body);
    }

    /// @dev The cell of a data column; the other columns hold nothing that is right.
    function cellOf(bytes memory all, uint256 column) internal pure returns (bytes memory content) {
        content = new bytes(1024);
        for (uint256 i; i < 1024; ++i) {
            uint256 place = column * 1024 + i;
            if (column < THRESHOLD && place < all.length) content[i] = all[place];
        }
    }

    function columnsOf(bytes memory all, uint64 epoch) internal pure returns (Views.Columns memory columns) {
        require(all.length <= 1024 * THRESHOLD, "one cell a column");
        columns.length = uint64(all.length);
        columns.epoch = epoch;
        columns.roots = new bytes32[](MEMBERS);
        for (uint256 i; i < MEMBERS; ++i) {
            columns.roots[i] = keccak256(abi.encodePacked(uint8(0), cellOf(all, i)));
        }
    }

    function rootOf(Views.Columns memory columns) internal pure returns (bytes32) {
        return keccak256(abi.encodePacked(uint8(2), columns.length, columns.epoch, columns.roots));
    }

    /// @dev Opens the columns from the first to the last named.
    function proof(bytes memory all, uint64 epoch, uint8 first, uint8 last) internal pure returns (bytes memory) {
        Views.Cell[] memory cells = new Views.Cell[](last - first + 1);
        for (uint8 i = first; i <= last; ++i) {
            cells[i - first] = Views.Cell(i, 0, cellOf(all, i), new bytes32[](0));
        }
        return abi.encodePacked(uint8(2), abi.encode(columnsOf(all, epoch), cells));
    }
}

/// @notice A deployment with a committee of sixteen, staked and begun.
abstract contract DaBase is RootBase {
    uint8 internal constant MEMBERS = 16;
    uint8 internal constant THRESHOLD = 6;
    uint8 internal constant QUORUM = 11;
    uint64 internal constant RETENTION = 14 days;
    uint256 internal constant MEMBER_STAKE = 1 ether + 1; // odd, so that halves differ
    uint64 internal constant DEMAND_WINDOW = 6 hours;
    uint256 internal constant DEMAND_BOND = 0.01 ether;
    uint256 internal constant FIRST_KEY = 1000;

    Committee internal members;
    Availability internal proofs;
    address internal carol = vm.addr(10);

    function setUp() public virtual override {
        uint256 nonce = vm.getNonce(address(this));
        address root_ = vm.computeCreateAddress(address(this), nonce + 3);
        address availability_ = vm.computeCreateAddress(address(this), nonce + 1);
        ICommittee.Config memory config = ICommittee.Config({
            root: IRoot(root_),
            availability: availability_,
            members: MEMBERS,
            threshold: THRESHOLD,
            quorum: QUORUM,
            retention: RETENTION,
            memberStake: MEMBER_STAKE
        });
        members = Committee(vm.deployCode("Committee.sol:Committee", abi.encode(config, listOf(FIRST_KEY))));
        proofs = Availability(
            vm.deployCode(
                "Availability.sol:Availability",
                abi.encode(root_, members, MEMBERS, THRESHOLD, DEMAND_WINDOW, DEMAND_BOND)
            )
        );
        (availability, committee) = (address(proofs), members);
        super.setUp();
        require(address(root) == root_, "the proofs are for another Root");
        vm.deal(carol, 100 ether);
        stakeAll(FIRST_KEY);
        members.begin(listOf(FIRST_KEY));
    }

    function listOf(uint256 firstKey) internal pure returns (address[] memory list) {
        list = new address[](MEMBERS);
        for (uint256 i; i < MEMBERS; ++i) {
            list[i] = vm.addr(firstKey + i);
        }
    }

    function stakeAll(uint256 firstKey) internal {
        for (uint256 i; i < MEMBERS; ++i) {
            vm.deal(vm.addr(firstKey + i), MEMBER_STAKE);
            vm.prank(vm.addr(firstKey + i));
            members.stake{value: MEMBER_STAKE}();
        }
    }

    function signBy(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, bytes32(uint256(s) | uint256(v - 27) << 255));
    }

    function digestOf(bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", root.domainSeparator(), structHash));
    }

    function availableDigest(uint64 number, bytes32 dataRoot, uint64 epoch, uint64 until)
        internal
        view
        returns (bytes32)
    {
        bytes32 kind = keccak256("Available(uint64 number,bytes32 dataRoot,uint64 epoch,uint64 until)");
        return digestOf(keccak256(abi.encode(kind, number, dataRoot, epoch, until)));
    }

    /// @dev Members whose keys follow each other: the addresses of those whose bits are not set, then the signatures of the others.
    function signedBy(uint256 firstKey, uint16 signers, bytes32 digest) internal pure returns (bytes memory all) {
        for (uint256 i; i < MEMBERS; ++i) {
            if (signers >> i & 1 == 0) all = abi.encodePacked(all, vm.addr(firstKey + i));
        }
        for (uint256 i; i < MEMBERS; ++i) {
            if (signers >> i & 1 == 1) all = bytes.concat(all, signBy(firstKey + i, digest));
        }
    }

    function pack(address[] memory list) internal pure returns (bytes memory packed) {
        for (uint256 i; i < list.length; ++i) {
            packed = abi.encodePacked(packed, list[i]);
        }
    }

    /// @dev Eleven of sixteen, not the first eleven.
    function signers11() internal pure returns (uint16) {
        return 0x6efc;
    }

    function certificate(uint64 number, bytes32 dataRoot) internal view returns (bytes memory) {
        return certificate(number, dataRoot, 1, FIRST_KEY, uint64(block.timestamp) + RETENTION, signers11());
    }

    function certificate(uint64 number, bytes32 dataRoot, uint64 epoch, uint256 firstKey, uint64 until, uint16 signers)
        internal
        view
        returns (bytes memory)
    {
        bytes32 digest = availableDigest(number, dataRoot, epoch, until);
        return abi.encodePacked(epoch, until, signers, signedBy(firstKey, signers, digest));
    }

    /// @dev A header of mode 2 over this data.
    function committeeBatch(bytes memory all, uint64 steps) internal view returns (IRoot.Batch memory batch) {
        batch = nextBatch();
        batch.da = 2;
        batch.steps = steps;
        batch.dataRoot = DaModel.rootOf(DaModel.columnsOf(all, 1));
    }

    function postData(bytes memory all, uint64 steps) internal returns (IRoot.Batch memory batch) {
        batch = committeeBatch(all, steps);
        post(batch, certificate(batch.number, batch.dataRoot));
    }

    function someFrames() internal pure returns (DaModel.Frame[] memory frames) {
        frames = new DaModel.Frame[](3);
        frames[0] = DaModel.Frame(0, 7, hex"016b49d200");
        frames[1] = DaModel.Frame(0, 8, hex"1002ff");
        frames[2] = DaModel.Frame(3, 2 ** 47, hex"10");
    }

    function expectVoided(IRoot.Batch memory batch, address reporter) internal view {
        vm.assertEq(root.head(), batch.number - 1, "head");
        vm.assertEq(root.bonded(), 0, "bond");
        vm.assertEq(root.credits(reporter), MIN_BOND / 2, "reward");
    }

    function opening(DaModel.Frame[] memory frames, uint64 index, bytes memory proof)
        internal
        pure
        returns (IGame.Opening memory opened)
    {
        for (uint64 i; i < index; ++i) {
            opened.firstStep += DaModel.steps(frames[i].content);
        }
        opened.shard = frames[index].shard;
        opened.seq = frames[index].seq;
        opened.frame = frames[index].content;
        opened.index = index;
        opened.frames = uint64(frames.length);
        opened.proof = proof;
    }
}
