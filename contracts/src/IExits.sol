// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Digests} from "./Digests.sol";
import {IRoot} from "./IRoot.sol";

/// @title Exits from a frozen deployment (docs/protocol.md §11)
/// @notice Everybody shows the cells that hold their money, once each, under the last final state root. Needs nobody's
/// consent and nothing but L1 and the posted data. Amounts are base units.
interface IExits {
    /// @notice A cell, or a quad of four, under the exit root.
    /// @param cellAddress Of the cell, or the quad's first.
    /// @param cells 64 bytes, or 256.
    /// @param proof From the leaf up 16 levels of 3 siblings; for a quad from its node up 15.
    struct Shown {
        uint32 cellAddress;
        bytes cells;
        bytes32[] proof;
    }

    /// @notice A half with its payer's signature, and its session.
    struct SignedHalf {
        Shown session;
        Digests.Half half;
        bytes32 r;
        bytes32 s;
    }

    event Opened(bytes32 stateRoot, uint64 halvesUntil);
    event CellShown(uint32 indexed cellAddress, uint64 serial);
    event Claimed(uint32 indexed agentId, uint64 amount);
    event Collected(uint32 indexed agentId, address indexed owner, uint64 amount);
    event HalfShown(uint32 indexed cellAddress, uint8 dir, uint64 paid);
    event VerdictShown(uint32 indexed cellAddress, bool release);
    event DepositReturned(uint64 indexed index, address indexed owner, uint64 amount);

    error NotFrozen();
    error NotFinal(uint64 number);
    error WrongBatch(bytes32 posted);
    error WrongStateRoot();
    error AlreadyOpen();
    error NotOpen();
    error BadProof();
    /// @notice The cell is not of the kind the call is for, or holds no money.
    error NothingThere(uint32 cellAddress);
    error AlreadyShown(uint32 cellAddress);
    error BadSignature();
    error AlreadyReturned(uint64 index);
    /// @notice Halves and verdicts may be shown until `halvesUntil`, what depends on them afterwards.
    error TooLate(uint64 halvesUntil);
    error TooEarly(uint64 halvesUntil);
    error UnknownOwner(uint32 agentId);
    error NothingToCollect();
    error BadItem(uint64 index);

    /// @notice Opens the exits, once: the deployment is frozen and its newest batch final.
    function open(IRoot.Batch calldata batch, bytes32 stateRoot) external;

    /// @notice An agent: its owner becomes known, balance and stake are claimed.
    function showAgent(Shown calldata agent) external;

    /// @notice An escrow or a waiting order outside of workflows, or one that is not held.
    function showEscrow(Shown calldata escrow) external;

    /// @notice A held escrow of a workflow, with the workflow's quad. If the record in that place is of another one, this
    /// works only after `halvesUntil`, unless a verdict was shown.
    function showLeg(Shown calldata escrow, Shown calldata workflow) external;

    /// @notice The verdict on a held escrow that was on its way: the message's cell, its receiver's peer cell, the payload.
    function showVerdict(Shown calldata message, Shown calldata peer, bytes calldata payload) external;

    /// @notice A message sent and not received, with its receiver's peer cell.
    /// Transfers and items of the inbox that bring money say more than the cell.
    /// @param payload What its hash is of; needed for items, and for a transfer whose addressee is not there.
    /// @param addressee Of a transfer the cell of the agent it is for, which shows whether there is one: else its money could
    /// become the claim of nobody. Not looked at for anything else.
    function showMessage(Shown calldata message, Shown calldata peer, bytes calldata payload, Shown calldata addressee)
        external;

    /// @notice A newer half of a session, signed by its payer's pinned key.
    function showHalf(Shown calldata session, Digests.Half calldata half, bytes32 r, bytes32 s) external;

    /// @notice Many halves at once, of as many sessions; reverts as a whole if one of them would. One that says no more than is known changes nothing.
    function showHalves(SignedHalf[] calldata halves) external;

    /// @notice A session, after `halvesUntil`: both parties' shares are claimed.
    function showSession(Shown calldata session) external;

    /// @notice A deposit or registration that no batch consumed goes back.
    function returnDeposit(uint64 index, bytes calldata item) external;

    /// @notice Pays an agent's claim to its owner, once that is known.
    function collect(uint32 agentId) external;

    function root() external view returns (IRoot);
    /// @notice Seconds for halves and verdicts after the opening.
    function halfWindow() external view returns (uint64);
    function stateRoot() external view returns (bytes32);
    /// @notice 0 while the exits are not open.
    function halvesUntil() external view returns (uint64);
    function claims(uint32 agentId) external view returns (uint64);
    function ownerOf(uint32 agentId) external view returns (address);
    function shown(uint32 cellAddress) external view returns (bool);
    function returned(uint64 index) external view returns (bool);
    /// @notice The most that halves shown for a session say was paid in a direction; 0 without any.
    function paidBy(uint32 cellAddress, uint8 dir) external view returns (uint64);
    /// @notice The verdict that was shown on an escrow.
    function verdictOn(uint64 escrowId) external view returns (bool isKnown, bool release);
}
