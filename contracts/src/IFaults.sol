// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Digests} from "./Digests.sol";
import {IAvailability} from "./IAvailability.sol";
import {IGame} from "./IGame.sol";
import {IRoot} from "./IRoot.sol";

/// @title Direct proofs, and soft receipts (docs/protocol.md §10)
/// @notice Each call either shows the fault, and the sequencer pays, or reverts. Rewards are credited by Root.
interface IFaults {
    /// @notice A cell under a batch's `post`.
    /// @param cell 64 bytes.
    /// @param proof 16 levels from the leaf up, 3 siblings each.
    struct Proven {
        bytes32 stateRoot;
        bytes cell;
        bytes32[48] proof;
    }

    /// @notice A soft receipt with the sequencer's signature.
    struct Signed {
        Digests.Receipt receipt;
        bytes32 r;
        bytes32 s;
    }

    event FaultShown(uint64 indexed number, bytes32 indexed batchHash, string fault, address reporter);
    event ReceiptBroken(uint8 indexed shard, uint64 indexed seq, string fault, address reporter);

    error NotStanding(uint64 number);
    error NotFinal(uint64 number);
    error BadProof();
    error BadOpening();
    error BadSignature();
    /// @notice What was shown is as it should be.
    error NoFault();
    /// @notice The sequencer has paid for this place already.
    error AlreadyShown(uint8 shard, uint64 seq);

    /// @notice Shard 0's inbox cell is not what L1's queue and the header say.
    function proveInbox(IRoot.Batch calldata batch, Proven calldata inbox) external;

    /// @notice A tick outside `timeFrom … timeTo`.
    function proveTime(IRoot.Batch calldata batch, IGame.Opening calldata tick) external;

    /// @notice A shard whose clock the batch leaves behind `timeFrom`.
    function proveClock(IRoot.Batch calldata batch, uint8 shard, Proven calldata head) external;

    /// @notice A message of shard `from` to shard `to`, sent by the end of `previous` and not received by that of `batch`.
    function proveLate(
        IRoot.Batch calldata previous,
        IRoot.Batch calldata batch,
        uint8 from,
        uint8 to,
        Proven calldata sent,
        Proven calldata received
    ) external;

    /// @notice Two receipts for one place.
    function slashTwo(Signed calldata one, Signed calldata other) external;

    /// @notice A receipt, and another frame at its place in a final batch.
    function slashBroken(Signed calldata signed, IRoot.Batch calldata batch, IGame.Opening calldata opening) external;

    /// @notice A receipt whose frame is in no batch yet, `window` seconds after it was promised.
    function slashLate(Signed calldata signed, IRoot.Batch calldata head, Proven calldata shardHead) external;

    function root() external view returns (IRoot);

    /// @notice What opens frames that are not in calldata.
    function availability() external view returns (IAvailability);
}
