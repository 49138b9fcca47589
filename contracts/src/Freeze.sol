// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IRoot} from "./IRoot.sol";

/// @title The freeze (docs/protocol.md §11)
/// @notice A deployment whose sequencer has gone stops for good, so that there is a last state to leave from. Nothing comes
/// in any more; whatever decides over what is in already goes on.
abstract contract Freeze is IRoot {
    uint64 internal immutable _freezeAfter;

    /// @inheritdoc IRoot
    bool public frozen;

    constructor(uint64 freezeAfter) {
        if (freezeAfter == 0) revert BadConfig();
        _freezeAfter = freezeAfter;
    }

    modifier notFrozen() {
        if (frozen) revert IsFrozen();
        _;
    }

    /// @inheritdoc IRoot
    function freeze() external notFrozen {
        uint64 freezableAt_ = freezableAt();
        if (block.timestamp < freezableAt_) revert NotFreezable(freezableAt_);
        frozen = true;
        emit Frozen(_head());
    }

    /// @inheritdoc IRoot
    function freezableAt() public view returns (uint64) {
        return _aliveAt() + _freezeAfter;
    }

    /// @dev When the chain of batches was last seen to move: posting, or a void batch that the sequencer has to replace.
    function _aliveAt() internal view virtual returns (uint64);

    function _head() internal view virtual returns (uint64);
}
