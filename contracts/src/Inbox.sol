// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {Freeze} from "./Freeze.sol";
import {IRoot} from "./IRoot.sol";
import {Items} from "./Items.sol";
import {Keys} from "./Keys.sol";

/// @title The inbox and the money behind it (docs/protocol.md §6)
/// @notice What comes from L1: an owner's own transaction is the signature. Items are only queued here; the sequencer must
/// consume them, and what cannot be applied comes back through the outbox.
abstract contract Inbox is Freeze {
    using SafeERC20 for IERC20;

    /// @dev The sum of deposits never passes this, so no sum on the other side can.
    uint64 internal constant MAX_AMOUNT = 2 ** 53 - 1;

    uint256 private constant MAX_INTERACTION = 512;

    IERC20 internal immutable _token;
    uint256 internal immutable _unit;

    /// @inheritdoc IRoot
    uint64 public held;

    /// @dev `u32` as times are everywhere: eight share a slot.
    uint32[] private _queuedAt;

    /// @inheritdoc IRoot
    mapping(uint64 index => bytes32) public accumulator;

    constructor(IERC20 token, uint256 unit) {
        if (address(token) == address(0) || unit == 0 || unit > type(uint256).max / MAX_AMOUNT) revert BadConfig();
        _token = token;
        _unit = unit;
    }

    /// @inheritdoc IRoot
    function register(uint8 shard, bytes32 keyX, bytes32 keyY, uint64 amount) external {
        _checkKey(keyX, keyY);
        _reserve(amount);
        _queue(Items.register(shard, msg.sender, keyX, keyY, amount));
        if (amount != 0) _pull(amount);
    }

    /// @inheritdoc IRoot
    function deposit(uint32 agentId, uint64 amount) external {
        _checkAmount(amount);
        _reserve(amount);
        _queue(Items.deposit(msg.sender, agentId, amount));
        _pull(amount);
    }

    /// @inheritdoc IRoot
    function forceWithdraw(uint32 agentId, uint64 amount) external {
        _checkAmount(amount);
        _queue(Items.withdraw(msg.sender, agentId, amount));
    }

    /// @inheritdoc IRoot
    function forceRotate(uint32 agentId, bytes32 keyX, bytes32 keyY) external {
        _checkKey(keyX, keyY);
        _queue(Items.rotate(msg.sender, agentId, keyX, keyY));
    }

    /// @inheritdoc IRoot
    function force(uint32 agentId, bytes calldata interaction) external {
        if (interaction.length == 0 || interaction.length > MAX_INTERACTION) revert BadInteraction();
        _queue(Items.act(msg.sender, agentId, interaction));
    }

    /// @inheritdoc IRoot
    function inboxLength() public view returns (uint64) {
        return uint64(_queuedAt.length);
    }

    /// @inheritdoc IRoot
    function queuedAt(uint64 index) public view returns (uint32) {
        return _queuedAt[index];
    }

    /// @dev Pays out of what is held. The caller has made all its marks.
    function _pay(address recipient, uint64 amount) internal {
        held -= amount;
        _token.safeTransfer(recipient, amount * _unit);
    }

    function _queue(bytes memory item) private notFrozen {
        uint64 index = inboxLength();
        _queuedAt.push(uint32(block.timestamp));
        accumulator[index + 1] = Items.accumulate(accumulator[index], item);
        emit InboxItem(index, item);
    }

    /// @dev Before the transfer, so that a token that calls back finds the books closed.
    function _reserve(uint64 amount) private {
        uint64 room = MAX_AMOUNT - held;
        if (amount > room) revert CapExceeded(room);
        held += amount;
    }

    function _pull(uint64 amount) private {
        uint256 asked = amount * _unit;
        uint256 before = _token.balanceOf(address(this));
        _token.safeTransferFrom(msg.sender, address(this), asked);
        uint256 moved = _token.balanceOf(address(this)) - before;
        if (moved != asked) revert WrongTransfer(asked, moved);
    }

    function _checkAmount(uint64 amount) private pure {
        if (amount == 0 || amount > MAX_AMOUNT) revert BadAmount();
    }

    function _checkKey(bytes32 keyX, bytes32 keyY) private pure {
        if (!Keys.isP256Key(keyX, keyY)) revert BadKey();
    }
}
