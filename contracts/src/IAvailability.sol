// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ICommittee} from "./ICommittee.sol";
import {IGame} from "./IGame.sol";
import {IRoot} from "./IRoot.sol";
import {Views} from "./Views.sol";

/// @title Data that is not in calldata (docs/protocol.md §12)
/// @notice Opens frames of it, shows what is wrong with it, and has it shown where it is withheld. Proofs are as in `Views`.
interface IAvailability {
    /// @notice What is wrong with the index of data: the number of frames, its first or last entry, or one entry and the next.
    enum Layout {
        count,
        first,
        last,
        next
    }

    /// @notice A cell that somebody wants to see.
    /// @param columnRoot The root of its column.
    /// @param height How many cells the column has.
    /// @param deadline Last second in which it may be shown.
    struct Demand {
        uint256 id;
        bytes32 batchHash;
        bytes32 dataRoot;
        uint64 number;
        uint64 epoch;
        uint8 column;
        uint32 row;
        uint32 height;
        bytes32 columnRoot;
        address by;
        uint64 deadline;
    }

    event FaultShown(uint64 indexed number, bytes32 indexed batchHash, string fault, address reporter);
    event Demanded(uint256 indexed id, uint64 indexed number, Demand demand);
    event Answered(uint256 indexed id, bytes content, bytes32[] path);
    event Unanswered(uint256 indexed id);
    /// @notice The batch of the demand does not stand any more.
    event Dissolved(uint256 indexed id);
    /// @notice `account` may collect `amount` wei more.
    event Credited(address indexed account, uint256 amount);

    error NotStanding(uint64 number);
    /// @notice What was shown is as it should be.
    error NoFault();
    /// @notice The value sent is not `demandBond`.
    error WrongBond(uint256 demandBond);
    /// @notice The window in which the batch could be challenged has passed.
    error TooLate(uint64 number);
    /// @notice No such cell.
    error NoCell();
    /// @notice The demand is closed, or is another.
    error WrongDemand(bytes32 standing);
    error DeadlinePassed(uint64 deadline);
    error DeadlineNotPassed(uint64 deadline);
    /// @notice The signature is not of the column's member over this batch's data.
    error BadSignature();
    error NothingToCollect();

    /// @notice Whether a frame has this place in the data under `dataRoot`. Reverts where the proof opens nothing.
    function isUnder(IGame.Opening calldata opening, bytes32 dataRoot) external view returns (bool);

    /// @notice The data's index is not as it must be; voids the batch.
    /// @param index For `Layout.next`: which entry and its next.
    function proveLayout(IRoot.Batch calldata batch, Layout kind, uint256 index, bytes calldata proof) external;

    /// @notice The columns are no encoding of data; voids the batch.
    /// @param place Which byte of the cells' row is on no polynomial.
    /// @param proof One cell more than the threshold, of one row and different columns.
    function proveEncoding(IRoot.Batch calldata batch, uint256 place, bytes calldata proof) external;

    /// @notice Asks for a cell of a batch that could still be challenged, which is not final while the demand is open.
    function demand(IRoot.Batch calldata batch, Views.Columns calldata columns, uint8 column, uint32 row)
        external
        payable
        returns (uint256 id);

    /// @notice Shows the cell; the demand's bond is the caller's.
    function answer(Demand calldata demand_, bytes calldata content, bytes32[] calldata path) external;

    /// @notice Nobody showed the cell in time: voids the batch.
    function expire(Demand calldata demand_) external;

    /// @notice As {expire}; and the member who signed that it holds the column loses its stake.
    /// @param members The list of the data's epoch.
    /// @param until What the member signed.
    /// @param signature Its 64 bytes (EIP-2098).
    function expireAndSlash(Demand calldata demand_, address[] calldata members, uint64 until, bytes calldata signature)
        external;

    /// @notice Closes a demand whose batch does not stand any more; the bond goes back.
    function dissolve(Demand calldata demand_) external;

    /// @notice Pays the caller the wei it is credited with.
    function collect() external;

    function root() external view returns (IRoot);

    function committee() external view returns (ICommittee);

    function demandWindow() external view returns (uint64);

    function demandBond() external view returns (uint256);

    /// @notice How many demands there ever were.
    function demands() external view returns (uint256);

    /// @notice The hash of an open demand; 0 of a closed one.
    function standing(uint256 id) external view returns (bytes32);

    function credits(address account) external view returns (uint256);
}
