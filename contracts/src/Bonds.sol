// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {IRoot} from "./IRoot.sol";

/// @title The sequencer's bond (docs/protocol.md §10)
/// @notice What the sequencer has at stake, in wei. Who is owed a share of it collects it: a payee that cannot be paid stops
/// nobody else.
abstract contract Bonds is IRoot {
    using Address for address payable;

    /// @dev Nobody has its key.
    address private constant BURNED = 0x000000000000000000000000000000000000dEaD;

    address internal immutable _sequencer;
    uint64 internal immutable _window;
    uint256 internal immutable _minBond;

    /// @inheritdoc IRoot
    uint256 public bonded;

    /// @inheritdoc IRoot
    mapping(address account => uint256) public credits;

    uint256 private _asked;
    uint64 private _claimableAt;

    constructor(address sequencer, uint64 window, uint256 minBond) {
        if (sequencer == address(0)) revert BadConfig();
        _sequencer = sequencer;
        _window = window;
        _minBond = minBond;
    }

    modifier onlySequencer() {
        if (msg.sender != _sequencer) revert NotSequencer();
        _;
    }

    /// @inheritdoc IRoot
    function bond() external payable onlySequencer {
        bonded += msg.value;
        emit Bonded(msg.value, bonded);
    }

    /// @inheritdoc IRoot
    function requestUnbond(uint256 amount) external onlySequencer {
        _asked = amount;
        _claimableAt = amount == 0 ? 0 : uint64(block.timestamp) + _window;
        emit Unbonding(_asked, _claimableAt);
    }

    /// @inheritdoc IRoot
    function unbond() external onlySequencer {
        if (_claimableAt == 0 || block.timestamp < _claimableAt || !_allFinal()) revert NotClaimable(_claimableAt);
        uint256 amount = _asked < bonded ? _asked : bonded;
        _asked = 0;
        _claimableAt = 0;
        bonded -= amount;
        emit Unbonded(amount);
        payable(_sequencer).sendValue(amount);
    }

    /// @inheritdoc IRoot
    function collect() external {
        uint256 amount = credits[msg.sender];
        if (amount == 0) revert NothingToCollect();
        credits[msg.sender] = 0;
        payable(msg.sender).sendValue(amount);
    }

    /// @inheritdoc IRoot
    function unbonding() external view returns (uint256 amount, uint64 claimableAt) {
        return (_asked, _claimableAt);
    }

    /// @dev What is asked back backs no new batch: a request cannot be left standing to take the bond at a moment's notice.
    function _checkBonded() internal view {
        uint256 stays = bonded > _asked ? bonded - _asked : 0;
        if (stays < _minBond) revert NotBonded(stays, _minBond);
    }

    /// @dev Half is burned, so that a sequencer who reports itself does not get off cheaply.
    function _slash(address reporter) internal {
        uint256 amount = bonded < _minBond ? bonded : _minBond;
        uint256 reward = amount / 2;
        bonded -= amount;
        credits[reporter] += reward;
        emit Slashed(reporter, amount, bonded);
        emit Credited(reporter, reward);
        // If even this cannot be paid, the wei is stuck here, which is as good.
        (bool burned,) = BURNED.call{value: amount - reward}("");
        burned;
    }

    /// @dev Whether no batch can be proved wrong any more.
    function _allFinal() internal view virtual returns (bool);
}
