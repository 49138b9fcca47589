// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

import {ICommittee} from "./ICommittee.sol";

/// @title Layer Root: batches, the inbox, exits (docs/protocol.md §6, §7)
/// @notice Amounts are base units unless said otherwise, times are Unix seconds. Not pausable, no owner, no upgrade.
interface IRoot {
    /// @notice The constants of a deployment.
    /// @param token The ERC-20 that agents hold. Must move exactly what is asked: fee-on-transfer is refused.
    /// @param unit Token wei in one base unit.
    /// @param sequencer The account that bonds and posts; not a contract, see `NotTopLevel`.
    /// @param sequencerX The sequencer's P-256 key, which signs soft receipts.
    /// @param sequencerY See `sequencerX`.
    /// @param window Seconds between a batch's posting and its finality.
    /// @param inboxDelay Seconds after which a batch may no longer leave an inbox item unconsumed.
    /// @param minBond Wei that the sequencer must have bonded to post, and what it loses for a lie.
    /// @param freezeAfter Seconds without a batch after which anyone may freeze; no batch may be about older times.
    /// @param shards How many shards there are, 1 … 256.
    /// @param game The dispute game, which may void a batch.
    /// @param faults The direct proofs, which may void a batch or have the sequencer pay.
    /// @param exits Pays exits when the deployment is frozen.
    /// @param availability Proofs about data that is not in calldata, which may void a batch and keep it from being final; none, and all of it is.
    /// @param committee Certifies data of mode 2; none, and there is no such mode.
    struct Config {
        IERC20 token;
        uint256 unit;
        address sequencer;
        bytes32 sequencerX;
        bytes32 sequencerY;
        uint64 window;
        uint64 inboxDelay;
        uint256 minBond;
        uint64 freezeAfter;
        uint16 shards;
        address game;
        address faults;
        address exits;
        address availability;
        ICommittee committee;
    }

    /// @notice The header of a batch; its hash is `keccak256(abi.encode(batch))`.
    /// @param number One more than its predecessor's; 0 is genesis.
    /// @param prev The predecessor's hash.
    /// @param pre The commitment before the first step, `keccak256(state root ‖ context)`.
    /// @param post The commitment after the last step.
    /// @param steps How many steps the batch's frames take.
    /// @param timeFrom The earliest time a tick of the batch may carry.
    /// @param timeTo The latest.
    /// @param inboxCursor How many inbox items are consumed after the batch.
    /// @param dataRoot The Merkle root over its frames.
    /// @param da Where the frames are: 0 in calldata, 1 in blobs, 2 with a committee (docs/protocol.md §12).
    struct Batch {
        uint64 number;
        bytes32 prev;
        bytes32 pre;
        bytes32 post;
        uint64 steps;
        uint64 timeFrom;
        uint64 timeTo;
        uint64 inboxCursor;
        bytes32 dataRoot;
        uint8 da;
    }

    /// @notice What is kept of a posted batch.
    /// @param timeTo The latest time a tick of it may carry.
    struct Posted {
        bytes32 batchHash;
        bytes32 post;
        uint64 postedAt;
        uint64 inboxCursor;
        uint64 timeTo;
    }

    /// @notice An item joined the inbox.
    /// @param item The bytes of docs/protocol.md §6.
    event InboxItem(uint64 indexed index, bytes item);

    /// @notice The sequencer's bond grew by `amount` wei to `total`.
    event Bonded(uint256 amount, uint256 total);

    /// @notice A part of batch `number` is in the calldata of this event's transaction. Part 0 voids what came before it.
    /// @param frames Frames of the batch so far, this part's included.
    /// @param steps Steps of the batch so far, this part's included.
    event DataPosted(uint64 indexed number, uint32 indexed part, uint64 frames, uint64 steps);

    /// @notice A part of batch `number`'s blobs came with this event's transaction. Part 0 voids what came before it.
    /// @param blobs Blobs of the batch so far, this part's included.
    event BlobsPosted(uint64 indexed number, uint32 indexed part, uint64 blobs);

    event BatchPosted(uint64 indexed number, bytes32 indexed batchHash, Batch batch);

    /// @notice Every batch up to `upTo` is final.
    event Finalized(uint64 indexed upTo);

    /// @notice Batch `from` was proved invalid: it and all after it are void, and posting goes on from the one before.
    event Invalidated(uint64 indexed from);

    /// @notice The sequencer lost `amount` wei, half of it to `reporter`, half burned; `bondLeft` remain.
    event Slashed(address indexed reporter, uint256 amount, uint256 bondLeft);

    /// @notice The sequencer will take `amount` wei of its bond, from `claimableAt` on.
    event Unbonding(uint256 amount, uint64 claimableAt);
    event Unbonded(uint256 amount);

    /// @notice `account` may collect `amount` wei more.
    event Credited(address indexed account, uint256 amount);

    /// @notice Nothing is posted or queued any more, for good.
    event Frozen(uint64 head);

    event Withdrawn(uint8 indexed shard, uint64 indexed serial, address indexed recipient, uint64 amount);

    /// @notice A constant out of range: no token, no unit, no sequencer, a sequencer key that is not on the curve, no time
    /// before a freeze, shards outside 1 … 256, or one of the other contracts missing.
    error BadConfig();

    /// @notice The amount is 0 or above 2^53 − 1.
    error BadAmount();

    /// @notice The key is not a point of P-256, so nothing it signs could ever be valid.
    error BadKey();

    /// @notice Deposits, net of withdrawals, would pass 2^53 − 1 units.
    /// @param room How many units may still be deposited.
    error CapExceeded(uint64 room);

    /// @notice The token moved another amount of wei than asked.
    error WrongTransfer(uint256 asked, uint256 moved);

    error NotSequencer();

    /// @notice Data comes in a transaction from the sequencer's plain account straight to this contract, so that whoever
    /// checks the batch finds it in the transaction's own calldata, without a trace.
    error NotTopLevel();

    /// @notice The bond, less what the sequencer asked back of it, is below `minBond`.
    error NotBonded(uint256 bonded, uint256 minBond);
    error WrongNumber(uint64 expected);
    error WrongPart(uint32 expected);
    error WrongPrev(bytes32 expected);
    error WrongPre(bytes32 expected);

    /// @notice The batch has no frames: with no step to check, nobody could prove it wrong.
    error NoData();

    error WrongSteps(uint64 computed);
    error WrongDataRoot(bytes32 computed);
    error UnsupportedDa(uint8 da);

    /// @notice The data's length is not said in 8 bytes, or takes another number of blobs than came.
    error WrongBlobs(uint64 blobs);

    /// @notice Not `timeFrom ≤ timeTo ≤ block.timestamp`, or too far behind L1's clock, or too far ahead of the last batch.
    error BadTimes();

    /// @notice Only the contract that `config` names for it may call this, `payExit` when frozen.
    error NotAllowed();

    /// @notice The batch does not stand under this hash.
    error NotStanding(uint64 number);

    error IsFrozen();

    /// @notice Not yet: before `freezableAt`.
    error NotFreezable(uint64 freezableAt);

    /// @notice The bond may be taken from `claimableAt` on, when the newest batch is final; nothing was asked for if it is 0.
    error NotClaimable(uint64 claimableAt);

    error NothingToCollect();

    /// @notice The interaction has no bytes, or more than 512.
    error BadInteraction();

    /// @notice The cursor is outside `min … max`: the predecessor's cursor and the inbox's length.
    error WrongCursor(uint64 min, uint64 max);

    /// @notice The batch leaves an item unconsumed that has waited longer than `inboxDelay`.
    error InboxOverdue(uint64 index);

    /// @notice No such batch, its window has not passed, or a game is open against it.
    error NotFinal(uint64 number);

    error AlreadyFinal(uint64 number);

    /// @notice The header given is not the one posted under its number.
    error WrongBatch(bytes32 posted);

    /// @notice The state root does not open the batch's `post`.
    error WrongStateRoot();

    /// @notice The cell is not 64 bytes, or not an outbox cell of kind 1.
    error NotWithdrawal();

    /// @notice The proof does not lead from the cell, at the address its serial gives, to the state root.
    error BadProof();

    error AlreadyWithdrawn(uint8 shard, uint64 serial);

    /// @notice Queues the registration of a new agent, owned by the caller, and takes its first deposit.
    /// @param shard The shard to live on; one that does not serve the inbox refunds the amount through its outbox.
    /// @param keyX The machine key's P-256 coordinates.
    /// @param amount The deposit, 0 … 2^53 − 1; the caller has approved `amount × unit` token wei.
    function register(uint8 shard, bytes32 keyX, bytes32 keyY, uint64 amount) external;

    /// @notice Queues a deposit to any agent. An unknown agent's is refunded to the caller through the outbox.
    function deposit(uint32 agentId, uint64 amount) external;

    /// @notice Queues a withdrawal to the caller, who must own the agent; the sequencer cannot leave it out for longer than
    /// `inboxDelay`.
    function forceWithdraw(uint32 agentId, uint64 amount) external;

    /// @notice Queues a new machine key for an agent of the caller.
    function forceRotate(uint32 agentId, bytes32 keyX, bytes32 keyY) external;

    /// @notice Queues an interaction of an agent of the caller, which needs no signature and no nonce (an *act*: docs/protocol.md
    /// §6 says which operations).
    /// @param interaction Its wire bytes, 1 … 512.
    function force(uint32 agentId, bytes calldata interaction) external;

    /// @notice Adds the ether sent to the sequencer's bond.
    function bond() external payable;

    /// @notice Asks for `amount` wei of the bond back; replaces what was asked before, 0 takes it back.
    function requestUnbond(uint256 amount) external;

    /// @notice Takes what was asked for, when `window` has passed since and every batch is final.
    function unbond() external;

    /// @notice Pays the caller the wei it is credited with.
    function collect() external;

    /// @notice For the game and the proofs: voids a batch that stands and is not final, and all after it; the sequencer pays.
    function invalidate(uint64 number, bytes32 batchHash, address reporter) external;

    /// @notice For the proofs: the sequencer pays.
    function slash(address reporter) external;

    /// @notice For the game: while games are open against a batch it does not get final.
    function contest(bytes32 batchHash) external;

    /// @notice For the game: one of them is over.
    function uncontest(bytes32 batchHash) external;

    /// @notice Freezes, when no batch came for `freezeAfter`. Anyone may.
    function freeze() external;

    /// @notice For the exits: pays base units out of what is held. Only when frozen.
    function payExit(address recipient, uint64 amount) external;

    /// @notice Posts one part of the next batch's data.
    /// @param number The next batch's number.
    /// @param part Counts from 0, without a gap. Part 0 starts anew, whatever was posted for this number.
    /// @param data Whole chunk records.
    function postData(uint64 number, uint32 part, bytes calldata data) external;

    /// @notice Posts one part of the next batch's blobs: those of this transaction.
    /// @param part Counts from 0, without a gap. Part 0 starts anew, whatever was posted for this number.
    function postBlobs(uint64 number, uint32 part) external;

    /// @notice Posts a batch: the sequencer asserts its `post`; of data in calldata all else is checked here, of other data that it is what was made
    /// available.
    /// @param data In calldata: the last part, or the only one, or nothing if all parts are in. To give up parts already posted and put everything here,
    /// start anew with `postData(number, 0, …)` instead. In blobs, the last of which come with this transaction: the data's length, 8 bytes. With a
    /// committee: its certificate.
    function postBatch(Batch calldata batch, bytes calldata data) external;

    /// @notice Marks every batch up to `upTo` final. Anyone may, once the window of `upTo` has passed and no game is open
    /// against any of them.
    function finalize(uint64 upTo) external;

    /// @notice Pays a withdrawal that a final batch's state holds. Anyone may call; the recipient is the cell's.
    /// @param batch The header as posted.
    /// @param stateRoot Opens `batch.post`.
    /// @param cell The 64 bytes of an outbox cell of kind 1.
    /// @param proof 16 levels from the leaf up, 3 siblings each.
    function withdraw(
        Batch calldata batch,
        bytes32 stateRoot,
        uint8 shard,
        bytes calldata cell,
        bytes32[48] calldata proof
    ) external;

    function config() external view returns (Config memory);

    /// @notice The EIP-712 domain of this deployment on this chain.
    function domainSeparator() external view returns (bytes32);

    /// @notice Base units held for agents: deposits net of withdrawals.
    function held() external view returns (uint64);

    /// @notice Wei bonded by the sequencer.
    function bonded() external view returns (uint256);

    /// @notice Wei that `account` may collect.
    function credits(address account) external view returns (uint256);

    /// @notice Games open against a batch.
    function contested(bytes32 batchHash) external view returns (uint256);

    function frozen() external view returns (bool);

    /// @notice From when on anyone may freeze.
    function freezableAt() external view returns (uint64);

    /// @notice What the sequencer asked back of its bond, and from when on it may take it.
    function unbonding() external view returns (uint256 amount, uint64 claimableAt);

    /// @notice The newest batch's number; 0 before the first.
    function head() external view returns (uint64);

    /// @notice The newest final batch's number.
    function finalized() external view returns (uint64);

    function isFinal(uint64 number) external view returns (bool);

    /// @notice What is kept of a batch; zeros for one that does not stand.
    function posted(uint64 number) external view returns (Posted memory);

    /// @notice The data under way: for which batch, how many parts, and the frames and steps in them.
    function pending() external view returns (uint64 number, uint32 parts, uint64 frames, uint64 steps);

    /// @notice How many items the inbox ever took.
    function inboxLength() external view returns (uint64);

    /// @notice `acc[index]`, which covers the items before `index`.
    function accumulator(uint64 index) external view returns (bytes32);

    /// @notice When item `index` was queued.
    function queuedAt(uint64 index) external view returns (uint32);

    /// @notice Whether the withdrawal `serial` of `shard` was paid.
    function withdrawn(uint8 shard, uint64 serial) external view returns (bool);
}
