// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {Digests} from "./Digests.sol";
import {ICommittee} from "./ICommittee.sol";

/// @title The committee (docs/protocol.md §12)
/// @notice Lists of members are kept as hashes and shown by whoever needs them: calldata is cheaper than as many slots.
contract Committee is ICommittee {
    using Address for address payable;

    /// @dev Nobody has its key.
    address private constant BURNED = 0x000000000000000000000000000000000000dEaD;

    uint256 private constant MAX_MEMBERS = 16;
    uint256 private constant SIGNATURE = 64;
    /// @dev Bytes of a certificate before its members: epoch, until, signers.
    uint256 private constant HEAD = 18;

    Config private _config;
    bytes32 private immutable _domain;
    // Of the config, what every certificate is checked against.
    uint256 private immutable _members;
    uint256 private immutable _quorum;
    uint64 private immutable _retention;

    /// @inheritdoc ICommittee
    uint64 public epoch;
    uint64 private _since;

    /// @inheritdoc ICommittee
    mapping(uint64 epoch_ => bytes32) public membersHash;
    /// @inheritdoc ICommittee
    mapping(address member => uint256) public staked;
    /// @inheritdoc ICommittee
    mapping(address member => uint64) public unstakeAt;
    /// @inheritdoc ICommittee
    mapping(address account => uint256) public credits;

    constructor(Config memory config_, address[] memory members) {
        if (
            config_.threshold == 0 || config_.threshold > config_.quorum || config_.quorum > config_.members
                || config_.members > MAX_MEMBERS || members.length != config_.members
        ) revert BadConfig();
        _config = config_;
        (_members, _quorum, _retention) = (config_.members, config_.quorum, config_.retention);
        _domain = Digests.domainSeparator(block.chainid, address(config_.root));
        membersHash[1] = _hash(members);
    }

    /// @inheritdoc ICommittee
    function stake() external payable {
        staked[msg.sender] += msg.value;
        emit Staked(msg.sender, msg.value, staked[msg.sender]);
    }

    /// @inheritdoc ICommittee
    function requestUnstake(address[] calldata current) external {
        _checkLeft(current);
        uint64 claimableAt = uint64(block.timestamp) + _retention;
        unstakeAt[msg.sender] = claimableAt;
        emit Unstaking(msg.sender, claimableAt);
    }

    /// @inheritdoc ICommittee
    function unstake(address[] calldata current) external {
        _checkLeft(current);
        uint64 claimableAt = unstakeAt[msg.sender];
        if (claimableAt == 0 || block.timestamp < claimableAt) revert NotClaimable(claimableAt);
        uint256 amount = staked[msg.sender];
        staked[msg.sender] = 0;
        unstakeAt[msg.sender] = 0;
        emit Unstaked(msg.sender, amount);
        payable(msg.sender).sendValue(amount);
    }

    /// @inheritdoc ICommittee
    function begin(address[] calldata members) external {
        if (epoch != 0) revert WrongEpoch(epoch);
        if (_hash(members) != membersHash[1]) revert WrongMembers();
        _begin(members);
    }

    /// @inheritdoc ICommittee
    function rotate(address[] calldata next, uint16 signers, bytes calldata signed) external {
        if (epoch == 0) revert WrongEpoch(0);
        if (next.length != _members) revert WrongMembers();
        bytes32 members = _hash(next);
        bytes32 digest = Digests.secp256k1(_domain, Digests.hashRotation(epoch + 1, members));
        _checkSigned(digest, membersHash[epoch], signers, signed);
        membersHash[epoch + 1] = members;
        _begin(next);
    }

    /// @inheritdoc ICommittee
    function check(uint64 number, bytes32 dataRoot, bytes calldata certificate) external view {
        if (certificate.length < HEAD) revert BadCertificate();
        uint256 head = uint256(bytes32(certificate));
        uint64 certified = uint64(head >> 192);
        uint64 until = uint64(head >> 128);
        (uint64 current, uint64 since) = (epoch, _since);
        if (
            certified == 0 || certified > current || current > certified + 1
                || (current == certified + 1 && block.timestamp >= since + _retention)
        ) revert WrongEpoch(current);
        if (until < block.timestamp + _retention) revert TooShort(until);
        bytes32 digest = Digests.secp256k1(_domain, Digests.hash(Digests.Available(number, dataRoot, certified, until)));
        _checkSigned(digest, membersHash[certified], uint16(head >> 112), certificate[HEAD:]);
    }

    /// @inheritdoc ICommittee
    function slash(address member, address reporter) external {
        if (msg.sender != _config.availability) revert NotAllowed();
        uint256 amount = staked[member];
        staked[member] = 0;
        emit MemberSlashed(member, amount, reporter);
        uint256 half = amount / 2;
        credits[reporter] += half;
        emit Credited(reporter, half);
        // If even this cannot be paid, the wei is stuck here, which is as good.
        (bool burned,) = BURNED.call{value: amount - half}("");
        burned;
    }

    /// @inheritdoc ICommittee
    function collect() external {
        uint256 amount = credits[msg.sender];
        if (amount == 0) revert NothingToCollect();
        credits[msg.sender] = 0;
        payable(msg.sender).sendValue(amount);
    }

    /// @inheritdoc ICommittee
    function config() external view returns (Config memory) {
        return _config;
    }

    /// @dev Everybody in the list has staked, and nobody is in it twice.
    function _begin(address[] calldata members) private {
        for (uint256 i; i < members.length; ++i) {
            address member = members[i];
            if (staked[member] < _config.memberStake || unstakeAt[member] != 0) revert NotStaked(member);
            for (uint256 j; j < i; ++j) {
                if (members[j] == member) revert WrongMembers();
            }
        }
        ++epoch;
        _since = uint64(block.timestamp);
        emit EpochBegan(epoch, members);
    }

    function _checkLeft(address[] calldata current) private view {
        // Before the first epoch, the list that will begin it is as good as a current one.
        if (_hash(current) != membersHash[epoch == 0 ? 1 : epoch]) revert WrongMembers();
        for (uint256 i; i < current.length; ++i) {
            if (current[i] == msg.sender) revert StillMember();
        }
    }

    /// @dev The list is not looked up: it is put together of the addresses that the signatures recover to and of those of the others, which are given,
    /// and must hash to what is kept. Assembly, because every batch pays for it.
    /// @param signed The addresses of who did not sign, then the signatures, each in the order of the members.
    function _checkSigned(bytes32 digest, bytes32 members, uint256 signers, bytes calldata signed) private view {
        uint256 count = signed.length < 20 * _members ? 0 : (signed.length - 20 * _members) / (SIGNATURE - 20);
        if (count < _quorum) revert TooFewSignatures(_quorum);
        if (count > _members) revert BadCertificate();
        uint256 others = 20 * (_members - count);
        if (signers >> _members != 0 || signed.length != others + SIGNATURE * count) revert BadCertificate();
        uint256 size = 20 * _members;
        bytes32 hash;
        uint256 given;
        assembly ("memory-safe") {
            let list := mload(0x40)
            // Words are written whole: the next address goes over what is behind this one.
            let input := add(list, add(size, 0x20))
            mstore(input, digest)
            let other := signed.offset
            let signature := add(other, others)
            let end := add(list, size)
            for { let to := list } lt(to, end) {
                to := add(to, 20)
                signers := shr(1, signers)
            } {
                if iszero(and(signers, 1)) {
                    mstore(to, calldataload(other))
                    other := add(other, 20)
                    continue
                }
                let vs := calldataload(add(signature, 0x20))
                mstore(add(input, 0x20), add(shr(255, vs), 27))
                mstore(add(input, 0x40), calldataload(signature))
                mstore(add(input, 0x60), shr(1, shl(1, vs)))
                // Nobody is the zero address, which is what is left where nobody is recovered.
                mstore(0, 0)
                pop(staticcall(gas(), 1, input, 0x80, 0, 0x20))
                mstore(to, shl(96, mload(0)))
                signature := add(signature, SIGNATURE)
            }
            hash := keccak256(list, size)
            given := sub(other, signed.offset)
        }
        // As many addresses were taken as are there: so everybody else has signed.
        if (given != others || hash != members) revert BadSignature();
    }

    function _hash(address[] memory members) private pure returns (bytes32) {
        return keccak256(_pack(members));
    }

    /// @dev Unlike `abi.encodePacked` of an array, 20 bytes each.
    function _pack(address[] memory members) private pure returns (bytes memory packed) {
        packed = new bytes(20 * members.length);
        for (uint256 i; i < members.length; ++i) {
            bytes20 member = bytes20(members[i]);
            assembly ("memory-safe") {
                let at := add(add(packed, 0x20), mul(20, i))
                // The last 12 bytes of the word are the next member's, or past the end, where memory is free.
                mstore(at, or(member, and(mload(at), 0xffffffffffffffffffffffff)))
            }
        }
    }
}
