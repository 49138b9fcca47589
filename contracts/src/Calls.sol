// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cells, SessionStatus} from "./Cells.sol";
import {Digests} from "./Digests.sol";
import {Ids} from "./Ids.sol";
import {IRoot} from "./IRoot.sol";
import {Keys} from "./Keys.sol";
import {Log} from "./Log.sol";
import {Trie} from "./Trie.sol";

/// @title One call of a session, proved at L1 (docs/protocol.md §5, "A call at L1")
/// @notice Looks and keeps nothing: whoever's contract pays, insures or rates by calls asks here. That a party signed for
/// the call is proved, with what was asked, answered and charged; whether the answer was any good is not.
contract Calls {
    using Cells for bytes;

    /// @notice A session's quad under the state root of a final batch.
    /// @param number The batch.
    /// @param stateRoot Opens the batch's `post`.
    /// @param cellAddress Of the quad's first cell.
    /// @param quad 256 bytes.
    /// @param proof From the quad's node up 15 levels of 3 siblings.
    struct Session {
        uint64 number;
        bytes32 stateRoot;
        uint32 cellAddress;
        bytes quad;
        bytes32[] proof;
    }

    /// @notice A call as its parties have it in their logs, and who they are.
    struct Call {
        uint32 payer;
        uint32 payee;
        bytes32 requestHash;
        bytes32 responseHash;
        uint64 price;
        uint16 status;
        uint64 timeMs;
    }

    error NotFinal(uint64 number);
    error WrongStateRoot();
    error BadProof();
    /// @notice The quad is not of the session that the half names.
    error WrongSession();
    /// @notice Not a half, or not signed by the key that the session pinned for the party.
    error BadSignature();
    /// @notice The record is not the call it says it is, of the log that the half counts.
    error NotInLog();

    IRoot public immutable root;

    constructor(IRoot root_) {
        root = root_;
    }

    /// @notice The call, if `party` signed for it. Reverts otherwise.
    /// @param party Who signed: 0 for a, 1 for b. The payer's word is that it owes the price, the payee's that it answered so.
    /// @param record The 90 bytes in the log; the first 8 say which call of the log it is.
    /// @param path From the record's leaf up (RFC 6962).
    function proveCall(
        Session calldata session,
        Digests.Half calldata half,
        uint8 party,
        bytes32 r,
        bytes32 s,
        bytes calldata record,
        bytes32[] calldata path
    ) external view returns (Call memory call) {
        bytes calldata quad = _quad(session, half.session);
        if (party > 1 || half.dir > 1 || half.locks != 0) revert BadSignature();
        _checkSignature(quad[64 * (1 + uint256(party)):], half, r, s);
        // A record of another length proves nothing, and so its fields are there.
        if (record.length != Log.RECORD) revert NotInLog();
        if (!Log.verify(half.root, half.calls, uint64(bytes8(record[:8])), record, path)) revert NotInLog();
        (uint32 a, uint32 b) = (uint32(quad.get(Cells.SESSION_A)), uint32(quad.get(Cells.SESSION_B)));
        (call.payer, call.payee) = half.dir == 0 ? (a, b) : (b, a);
        call.requestHash = bytes32(record[8:40]);
        call.responseHash = bytes32(record[40:72]);
        call.price = uint64(bytes8(record[72:80]));
        call.status = uint16(bytes2(record[80:82]));
        call.timeMs = uint64(bytes8(record[82:90]));
    }

    /// @dev The quad of session `id`, open or not: a closed one stays until its slot is taken over.
    function _quad(Session calldata session, uint64 id) private view returns (bytes calldata quad) {
        if (!root.isFinal(session.number)) revert NotFinal(session.number);
        if (root.posted(session.number).post != keccak256(abi.encode(session.stateRoot, 0))) revert WrongStateRoot();
        quad = session.quad;
        uint32 place = session.cellAddress;
        if (quad.length != 4 * Cells.SIZE || session.proof.length != 3 * (Trie.DEPTH - 1)) revert BadProof();
        if (Trie.climb(place >> 2, Trie.quad(quad), session.proof) != session.stateRoot) revert BadProof();
        uint256 serial = quad.get(Cells.SESSION_SERIAL);
        if (
            quad.get(Cells.SESSION_STATUS) == SessionStatus.EMPTY || id != Ids.makeId(place >> 24, serial)
                || place != Trie.cellAddress(uint8(place >> 24), Trie.SESSION, Trie.slotOf(Trie.SESSION, serial))
        ) revert WrongSession();
    }

    function _checkSignature(bytes calldata key, Digests.Half calldata half, bytes32 r, bytes32 s) private view {
        bytes32 digest = Digests.p256(root.domainSeparator(), Digests.hash(half));
        if (!Keys.verifyP256(digest, r, s, bytes32(key.get(Cells.KEY_X)), bytes32(key.get(Cells.KEY_Y)))) {
            revert BadSignature();
        }
    }
}
