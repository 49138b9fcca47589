// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "./IRoot.sol";

/// @title Who keeps the data of mode 2 (docs/protocol.md §12)
/// @notice Members stake, sign for what they hold, and name their successors. Amounts are wei, times Unix seconds.
interface ICommittee {
    /// @notice The constants of a committee.
    /// @param root Whose batches it is for.
    /// @param availability May take a member's stake.
    /// @param members How many there are, 1 … 16: one column each.
    /// @param threshold How many columns give the data back.
    /// @param quorum How many signatures make a certificate.
    /// @param retention Seconds for which a member keeps a column at the least, counted from the posting; and that a stake stays after it was asked for.
    /// @param memberStake Wei that every member of an epoch has staked.
    struct Config {
        IRoot root;
        address availability;
        uint8 members;
        uint8 threshold;
        uint8 quorum;
        uint64 retention;
        uint256 memberStake;
    }

    event Staked(address indexed member, uint256 amount, uint256 total);
    event Unstaking(address indexed member, uint64 claimableAt);
    event Unstaked(address indexed member, uint256 amount);
    event MemberSlashed(address indexed member, uint256 amount, address reporter);
    event EpochBegan(uint64 indexed epoch, address[] members);
    /// @notice `account` may collect `amount` wei more.
    event Credited(address indexed account, uint256 amount);

    /// @notice Not 1 ≤ threshold ≤ quorum ≤ members ≤ 16, or a list of another length.
    error BadConfig();
    error NotAllowed();
    /// @notice The epoch is not the current one, nor the one before within `retention` of the change.
    error WrongEpoch(uint64 current);
    /// @notice The list is not that epoch's, or names somebody twice.
    error WrongMembers();
    /// @notice A member of the next epoch has less than `memberStake` staked, or has asked for it back.
    error NotStaked(address member);
    /// @notice A signature is not of the member whose place it has, or an address given is not.
    error BadSignature();
    error TooFewSignatures(uint256 quorum);
    /// @notice The members keep their columns until `until`, which is not long enough.
    error TooShort(uint64 until);
    /// @notice The bytes are not a certificate, or not all of it.
    error BadCertificate();
    /// @notice A member's stake stays while it is in the current epoch.
    error StillMember();
    error NotClaimable(uint64 claimableAt);
    error NothingToCollect();

    /// @notice Adds the ether sent to the caller's stake.
    function stake() external payable;

    /// @notice Asks for the caller's stake back.
    /// @param current The list of the current epoch, in which the caller is not.
    function requestUnstake(address[] calldata current) external;

    /// @notice Takes the caller's stake, `retention` after it was asked for.
    function unstake(address[] calldata current) external;

    /// @notice Begins epoch 1, with the list that the deployment names, when all of it has staked. Anyone may.
    function begin(address[] calldata members) external;

    /// @notice Begins the next epoch. Anyone may, with the signatures of a quorum of the current one.
    /// @param next The next list.
    /// @param signers Bit i: member i of the current list signed.
    /// @param signed The addresses of those who did not, then 64 bytes (EIP-2098) of each who did, in the order of the members.
    function rotate(address[] calldata next, uint16 signers, bytes calldata signed) external;

    /// @notice Reverts unless the bytes certify that this epoch's members hold this batch's data.
    /// @param certificate `epoch u64 ‖ until u64 ‖ signers u16`, then as in {rotate}.
    function check(uint64 number, bytes32 dataRoot, bytes calldata certificate) external view;

    /// @notice For the proofs: takes a member's stake, half of it for the reporter, half burned.
    function slash(address member, address reporter) external;

    /// @notice Pays the caller the wei it is credited with.
    function collect() external;

    function config() external view returns (Config memory);

    /// @notice The current epoch; 0 before the first began.
    function epoch() external view returns (uint64);

    /// @notice keccak of an epoch's addresses, 20 bytes each; of epoch 1 from the start.
    function membersHash(uint64 epoch_) external view returns (bytes32);

    function staked(address member) external view returns (uint256);

    /// @notice From when on a member may take its stake; 0 if it did not ask.
    function unstakeAt(address member) external view returns (uint64);

    function credits(address account) external view returns (uint256);
}
