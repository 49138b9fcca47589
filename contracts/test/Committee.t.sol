// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ICommittee} from "../src/ICommittee.sol";
import {IRoot} from "../src/IRoot.sol";
import {DaBase, DaModel} from "./DaBase.sol";
import {vm} from "./Vm.sol";

contract CommitteeTest is DaBase {
    uint256 private constant NEXT_KEY = 2000;

    function test_check_takesAQuorum() public {
        (bytes memory all, uint48 steps) = DaModel.data(someFrames());
        IRoot.Batch memory batch = postData(all, steps);
        vm.assertEq(root.head(), batch.number);
    }

    /// @dev As a transaction of its own would pay it, calldata included, less what any transaction pays.
    function test_check_gas() public {
        bytes32 dataRoot = keccak256("data");
        bytes memory bytes_ = certificate(1, dataRoot);
        members.check(1, dataRoot, bytes_);
        uint256 gas = vm.snapshotGasLastCall("Committee", "check");
        vm.assertLt(gas - 21_000, 60_000, "a certificate is dear");
    }

    function test_check_takesAll() public view {
        bytes32 dataRoot = keccak256("data");
        members.check(1, dataRoot, certificate(1, dataRoot, 1, FIRST_KEY, _until(), 0xffff));
    }

    function test_check_revertsOnTooFew() public {
        bytes32 dataRoot = keccak256("data");
        _refuse(
            dataRoot,
            certificate(1, dataRoot, 1, FIRST_KEY, _until(), 0x6ef8),
            abi.encodeWithSelector(ICommittee.TooFewSignatures.selector, QUORUM)
        );
        _refuse(
            dataRoot,
            certificate(1, dataRoot, 1, FIRST_KEY, _until(), 0),
            abi.encodeWithSelector(ICommittee.TooFewSignatures.selector, QUORUM)
        );
    }

    function test_check_revertsOnForgedSignatures() public {
        bytes32 dataRoot = keccak256("data");
        // Signed by others; of another number, root, epoch or time; and one that recovers to nobody.
        bytes32 digest = availableDigest(1, dataRoot, 1, _until());
        bytes memory head = abi.encodePacked(uint64(1), _until(), signers11());
        bytes memory reason = abi.encodeWithSelector(ICommittee.BadSignature.selector);
        _refuse(dataRoot, abi.encodePacked(head, signedBy(NEXT_KEY, signers11(), digest)), reason);
        bytes32[4] memory others = [
            availableDigest(2, dataRoot, 1, _until()),
            availableDigest(1, keccak256("other"), 1, _until()),
            availableDigest(1, dataRoot, 2, _until()),
            availableDigest(1, dataRoot, 1, _until() + 1)
        ];
        for (uint256 i; i < 4; ++i) {
            _refuse(dataRoot, abi.encodePacked(head, signedBy(FIRST_KEY, signers11(), others[i])), reason);
        }
        _refuse(dataRoot, abi.encodePacked(head, new bytes(5 * 20 + 11 * 64)), reason);
    }

    function test_check_revertsOnOneSignatureTwice() public {
        bytes32 dataRoot = keccak256("data");
        bytes32 digest = availableDigest(1, dataRoot, 1, _until());
        bytes memory one = signBy(FIRST_KEY + 2, digest);
        bytes memory all;
        for (uint256 i; i < MEMBERS; ++i) {
            if (signers11() >> i & 1 == 0) all = abi.encodePacked(all, vm.addr(FIRST_KEY + i));
        }
        for (uint256 i; i < 11; ++i) {
            all = bytes.concat(all, one);
        }
        bytes memory head = abi.encodePacked(uint64(1), _until(), signers11());
        _refuse(dataRoot, abi.encodePacked(head, all), abi.encodeWithSelector(ICommittee.BadSignature.selector));
    }

    /// @dev All addresses given, and bytes where the signatures should be: nobody signed.
    function test_check_revertsOnAListWithoutSignatures() public {
        bytes memory head = abi.encodePacked(uint64(1), _until());
        bytes memory list = abi.encodePacked(pack(listOf(FIRST_KEY)), new bytes(11 * 44));
        bytes memory reason = abi.encodeWithSelector(ICommittee.BadSignature.selector);
        _refuse(keccak256("data"), abi.encodePacked(head, uint16(0), list), reason);
        _refuse(keccak256("data"), abi.encodePacked(head, uint16(0x00ff), list), reason);
    }

    function test_check_revertsOnAnyOtherLength() public {
        bytes32 dataRoot = keccak256("data");
        bytes memory good = certificate(1, dataRoot);
        bytes memory reason = abi.encodeWithSelector(ICommittee.BadCertificate.selector);
        _refuse(dataRoot, "", reason);
        _refuse(dataRoot, bytes.concat(good, hex"00"), reason);
        bytes memory short = new bytes(good.length - 1);
        for (uint256 i; i < short.length; ++i) {
            short[i] = good[i];
        }
        // Ten and a bit.
        _refuse(dataRoot, short, abi.encodeWithSelector(ICommittee.TooFewSignatures.selector, QUORUM));
    }

    function test_check_revertsWhenKeptTooShort() public {
        bytes32 dataRoot = keccak256("data");
        bytes memory bytes_ = certificate(1, dataRoot);
        members.check(1, dataRoot, bytes_);
        uint64 until = _until();
        // One that was good and is stale.
        vm.warp(block.timestamp + 1);
        _refuse(dataRoot, bytes_, abi.encodeWithSelector(ICommittee.TooShort.selector, until));
    }

    function test_check_revertsOnAnotherList() public {
        bytes32 dataRoot = keccak256("data");
        _refuse(
            dataRoot,
            certificate(1, dataRoot, 1, NEXT_KEY, _until(), signers11()),
            abi.encodeWithSelector(ICommittee.BadSignature.selector)
        );
    }

    function test_check_knowsEpochs() public {
        bytes32 dataRoot = keccak256("data");
        bytes memory wrong = abi.encodeWithSelector(ICommittee.WrongEpoch.selector, 1);
        _refuse(dataRoot, certificate(1, dataRoot, 0, FIRST_KEY, _until(), signers11()), wrong);
        _refuse(dataRoot, certificate(1, dataRoot, 2, FIRST_KEY, _until(), signers11()), wrong);

        _rotate();
        vm.assertEq(members.epoch(), 2);
        members.check(1, dataRoot, certificate(1, dataRoot, 2, NEXT_KEY, _until(), signers11()));
        // The one before, for a while.
        members.check(1, dataRoot, certificate(1, dataRoot, 1, FIRST_KEY, _until(), signers11()));
        vm.warp(block.timestamp + RETENTION);
        _refuse(
            dataRoot,
            certificate(1, dataRoot, 1, FIRST_KEY, _until(), signers11()),
            abi.encodeWithSelector(ICommittee.WrongEpoch.selector, 2)
        );
    }

    function test_rotate_takesAQuorumOfTheCurrent() public {
        stakeAll(NEXT_KEY);
        bytes32 digest = _rotation(2, NEXT_KEY);
        address[] memory next = listOf(NEXT_KEY);
        // By the next ones themselves; by too few; over another epoch.
        vm.expectRevert(abi.encodeWithSelector(ICommittee.BadSignature.selector));
        members.rotate(next, signers11(), signedBy(NEXT_KEY, signers11(), digest));
        vm.expectRevert(abi.encodeWithSelector(ICommittee.TooFewSignatures.selector, QUORUM));
        members.rotate(next, 0x03ff, signedBy(FIRST_KEY, 0x03ff, digest));
        bytes memory others = signedBy(FIRST_KEY, signers11(), _rotation(3, NEXT_KEY));
        vm.expectRevert(abi.encodeWithSelector(ICommittee.BadSignature.selector));
        members.rotate(next, signers11(), others);
        address[] memory short = new address[](MEMBERS - 1);
        vm.expectRevert(ICommittee.WrongMembers.selector);
        members.rotate(short, signers11(), signedBy(FIRST_KEY, signers11(), digest));
        members.rotate(next, signers11(), signedBy(FIRST_KEY, signers11(), digest));
        vm.assertEq(members.epoch(), 2);
    }

    function test_rotate_revertsWithoutStakes() public {
        bytes memory signatures = signedBy(FIRST_KEY, signers11(), _rotation(2, NEXT_KEY));
        vm.expectRevert(abi.encodeWithSelector(ICommittee.NotStaked.selector, vm.addr(NEXT_KEY)));
        members.rotate(listOf(NEXT_KEY), signers11(), signatures);
    }

    function test_rotate_revertsOnOneMemberTwice() public {
        address[] memory next = listOf(FIRST_KEY);
        next[9] = next[3];
        bytes32 kind = keccak256("RotateCommittee(uint64 epoch,bytes32 members)");
        bytes32 digest = digestOf(keccak256(abi.encode(kind, 2, keccak256(pack(next)))));
        bytes memory signatures = signedBy(FIRST_KEY, signers11(), digest);
        vm.expectRevert(ICommittee.WrongMembers.selector);
        members.rotate(next, signers11(), signatures);
    }

    function test_begin_onlyOnce() public {
        vm.expectRevert(abi.encodeWithSelector(ICommittee.WrongEpoch.selector, 1));
        members.begin(listOf(FIRST_KEY));
    }

    function test_unstake_afterLeaving() public {
        address member = vm.addr(FIRST_KEY + 4);
        address[] memory current = listOf(FIRST_KEY);
        vm.prank(member);
        vm.expectRevert(ICommittee.StillMember.selector);
        members.requestUnstake(current);

        _rotate();
        current = listOf(NEXT_KEY);
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(ICommittee.NotClaimable.selector, 0));
        members.unstake(current);
        vm.prank(member);
        members.requestUnstake(current);
        uint64 claimableAt = uint64(block.timestamp) + RETENTION;
        vm.prank(member);
        vm.expectRevert(abi.encodeWithSelector(ICommittee.NotClaimable.selector, claimableAt));
        members.unstake(current);
        vm.warp(claimableAt);
        vm.prank(member);
        members.unstake(current);
        vm.assertEq(member.balance, MEMBER_STAKE);
        vm.assertEq(members.staked(member), 0);
    }

    function test_slash_onlyByTheProofs() public {
        vm.expectRevert(ICommittee.NotAllowed.selector);
        members.slash(vm.addr(FIRST_KEY), carol);
    }

    function _until() private view returns (uint64) {
        return uint64(block.timestamp) + RETENTION;
    }

    function _rotation(uint64 epoch, uint256 firstKey) private view returns (bytes32) {
        bytes32 kind = keccak256("RotateCommittee(uint64 epoch,bytes32 members)");
        return digestOf(keccak256(abi.encode(kind, epoch, keccak256(pack(listOf(firstKey))))));
    }

    function _rotate() private {
        stakeAll(NEXT_KEY);
        bytes memory signatures = signedBy(FIRST_KEY, signers11(), _rotation(2, NEXT_KEY));
        members.rotate(listOf(NEXT_KEY), signers11(), signatures);
    }

    function _refuse(bytes32 dataRoot, bytes memory bytes_, bytes memory reason) private {
        vm.expectRevert(reason);
        members.check(1, dataRoot, bytes_);
    }
}
