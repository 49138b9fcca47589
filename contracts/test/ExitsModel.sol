// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Digests} from "../src/Digests.sol";
import {ExitsBase} from "./ExitsBase.sol";
import {vm} from "./Vm.sol";

/// @notice Random last states, kept as what they owe to whom, beside the cells that say it.
abstract contract ExitsModel is ExitsBase {
    /// @dev How something is shown.
    enum Way {
        agent,
        escrow,
        leg,
        message,
        session
    }

    /// @dev Money in one place of the state.
    struct Piece {
        Way way;
        uint32 place;
        /// @dev Its workflow's, its receiver's peer cell, or its own id, by the way it is shown.
        uint32 beside;
        uint32 addressee;
        uint32[2] agents;
        uint64[2] owed;
        /// @dev Of an item: who has it at once.
        address owner;
        bytes payload;
        uint64 amount;
        bool isTimed;
        bool isShown;
    }

    uint32 internal constant NOBODY = 99 * 256 + 1;
    uint48 internal constant RECEIVED = 10;
    uint256 internal constant AGENTS = 6;

    Piece[] internal pieces;
    /// @dev Places that hold nothing, though they look as if.
    Piece[] internal hollow;
    uint64 internal burned;
    /// @dev Base units of withdrawals in the outbox, by serial − 1, of shard 0.
    uint64[] internal withdrawals;
    uint48[2] internal serials;
    uint48[2] internal sent;

    /// @dev Agent i, of shard i mod 2, and its owner.
    function agentId(uint256 i) internal pure returns (uint32) {
        return idOf(1 + (i % AGENTS) / 2, i % 2);
    }

    function ownerAt(uint256 i) internal pure returns (address) {
        return vm.addr(100 + i % AGENTS);
    }

    function setUp() public virtual override {
        super.setUp();
        trie.set(peerAt(1, 0), peerCell(RECEIVED));
        trie.set(peerAt(0, 1), peerCell(RECEIVED));
        for (uint256 i; i < AGENTS; ++i) {
            (uint56 balance, uint56 stake) = (uint56(1000 * i), uint56(i * i));
            setAgent(agentId(i), ownerAt(i), balance, stake);
            Piece storage piece = pieces.push();
            (piece.way, piece.place, piece.beside) = (Way.agent, agentAt(agentId(i)), agentId(i));
            owe(piece, agentId(i), balance + stake, agentId(i), 0);
        }
        (sent[0], sent[1]) = (RECEIVED, RECEIVED);
    }

    function owe(Piece storage piece, uint32 a, uint64 toA, uint32 b, uint64 toB) internal {
        (piece.agents[0], piece.agents[1]) = (a, b);
        (piece.owed[0], piece.owed[1]) = (toA, toB);
        piece.amount = toA + toB;
    }

    /// @dev An escrow's fields with random parties and amounts, of a service of `shard`.
    function randomEscrow(uint256 seed, uint256 shard) internal returns (Escrow memory e) {
        e.serial = ++serials[shard];
        e.payer = agentId(seed >> 8);
        e.payee = agentId(2 * (seed >> 16) + shard);
        e.service = idOf(1, shard);
        e.amount = uint56(1 + (seed >> 24) % 1e6);
        e.paid = uint56((seed >> 48) % (e.amount + 1));
        e.leg = uint8((seed >> 64) % 12);
    }

    function addUndecided(uint256 seed) internal {
        uint256 shard = seed % 2;
        Escrow memory e = randomEscrow(seed, shard);
        e.status = [1, 6, 7][(seed >> 72) % 3];
        // Waiting may be an order, too.
        if (e.status == 7 && seed >> 80 & 1 == 1) (e.service, e.payee) = (idOf(1, 1 - shard), 0);
        Piece storage piece = pieces.push();
        (piece.way, piece.place) = (Way.escrow, setEscrow(shard, e));
        owe(piece, e.payer, e.amount, e.payee, 0);
    }

    function addHeld(uint256 seed) internal {
        Escrow memory e = randomEscrow(seed, seed % 2);
        e.status = 2;
        Piece storage piece = pieces.push();
        (piece.way, piece.place) = (Way.escrow, setEscrow(seed % 2, e));
        owe(piece, e.payer, e.amount - e.paid, e.payee, e.paid);
        addOrder(seed, e, 2);
    }

    /// @dev What the payer's shard keeps of an escrow elsewhere: no money.
    function addOrder(uint256 seed, Escrow memory escrow, uint8 status) internal {
        Escrow memory e = escrow;
        uint256 home = 1 - seed % 2;
        (e.serial, e.status) = (++serials[home], status);
        Piece storage piece = hollow.push();
        (piece.way, piece.place) = (Way.escrow, setEscrow(home, e));
    }

    /// @dev A leg whose workflow is there, or gone with or without a verdict on its way.
    function addLeg(uint256 seed) internal {
        uint256 shard = seed % 2;
        Escrow memory e = randomEscrow(seed, shard);
        uint48 serial = 1000 + 2 * e.serial + uint48(shard); // nobody else's
        uint256 home = seed >> 80 & 1; // the workflow's shard
        (e.status, e.workflow) = (2, idOf(serial, home));
        Piece storage piece = pieces.push();
        (piece.way, piece.place) = (Way.leg, setEscrow(shard, e));
        piece.beside = workflowAt(e.workflow);
        bool release;
        bool isThere = seed >> 81 & 1 == 1;
        if (isThere) {
            uint8 status = uint8(1 + (seed >> 88) % 3);
            bool joined = seed >> 96 & 1 == 1;
            trie.set(piece.beside, workflowCell(serial, status));
            trie.set(piece.beside + 1 + e.leg / 4, legCell(e.leg, idOf(joined ? e.serial : 77_777, shard)));
            release = joined && status == 2;
        } else {
            piece.isTimed = true;
            if (home != shard && seed >> 97 & 1 == 1) {
                release = seed >> 98 & 1 == 1;
                bytes memory payload =
                    abi.encodePacked(uint8(6), uint56(idOf(e.serial, shard)), release ? uint8(1) : uint8(0));
                // What to show in time.
                piece.payload = payload;
                piece.addressee = setMessage(uint8(home), uint8(shard), ++sent[home], 6, 0, 0, payload);
            }
        }
        uint64 paid = release ? e.paid : 0;
        owe(piece, e.payer, e.amount - paid, e.payee, paid);
    }

    /// @dev A message on its way, sometimes with the order that it is the money of; or one that has come.
    function addMessage(uint256 seed) internal {
        uint8 from = uint8(seed % 2);
        uint64 amount = uint64(1 + (seed >> 8) % 1e6);
        uint32 agent = agentId(seed >> 32);
        uint256 kind = (seed >> 40) % 7;
        Piece storage piece = pieces.push();
        (piece.way, piece.beside) = (Way.message, peerAt(1 - from, from));
        owe(piece, agent, amount, agent, 0);
        uint8 code = [2, 3, 4, 1, 1, 9, 9][kind];
        // A call is of an agent here; a transfer for one there, or for nobody.
        if (kind == 3) agent = agentId(2 * (seed >> 32) + from);
        if (kind == 4) {
            agent = seed >> 48 & 1 == 1 ? agentId(2 * (seed >> 32) + 1 - from) : idOf(99 + seed % 9, 1 - from);
        }
        if (kind == 3 || kind == 4) {
            uint32 actor = agentId(2 * (seed >> 56) + from);
            piece.payload = abi.encodePacked(uint8(1), actor, uint56(amount), hex"0300");
            piece.addressee = kind == 4 ? agentAt(agent) : 0;
            bool toNobody = kind == 4 && seed >> 48 & 1 == 0;
            owe(piece, toNobody ? actor : agent, amount, actor, 0);
        }
        if (kind > 4) {
            piece.owner = ownerAt(seed >> 64);
            piece.payload = kind == 5
                ? abi.encodePacked(uint8(9), uint8(2), piece.owner, agent, uint56(amount))
                : abi.encodePacked(uint8(9), uint8(1), uint8(1), piece.owner, keyX, keyY, uint56(amount));
        }
        piece.place = setMessage(from, 1 - from, ++sent[from], code, agent, uint56(amount), piece.payload);
        if (kind == 0) addOrder(1 - from, randomEscrow(seed, 1 - from), 8);
        Piece storage old = hollow.push();
        (old.way, old.beside, old.payload) = (Way.message, piece.beside, piece.payload);
        uint48 number = uint48(RECEIVED - (seed >> 72) % 2); // the newest that came, or the one before
        old.place = setMessage(from, 1 - from, number, code, agent, uint56(amount), piece.payload);
    }

    function addSession(uint256 seed) internal {
        uint256 shard = seed % 2;
        Session memory s;
        (s.serial, s.a, s.b) = (++serials[shard], agentId(seed >> 8), agentId((seed >> 8) + 1));
        (s.depositA, s.depositB) = (uint56(1 + (seed >> 16) % 1e6), uint56((seed >> 40) % 1e6));
        (s.paidAB, s.paidBA) = (uint56((seed >> 64) % 2e6), uint56((seed >> 96) % 1e6));
        s.status = uint8(1 + (seed >> 128) % 3);
        uint32 place = setSession(shard, s);
        Piece storage piece = s.status == 3 ? hollow.push() : pieces.push();
        (piece.way, piece.place, piece.beside) = (Way.session, place, idOf(s.serial, shard));
        if (s.status == 3) return;
        piece.isTimed = true;
        piece.payload = abi.encode(s);
        settleSession(piece, 0, 0);
    }

    /// @dev Counts what halves say was paid, and what the parties get of it.
    function settleSession(Piece storage piece, uint8 dir, uint64 paid) internal {
        Session memory s = abi.decode(piece.payload, (Session));
        if (dir == 0 && paid > s.paidAB) s.paidAB = uint56(paid);
        if (dir == 1 && paid > s.paidBA) s.paidBA = uint56(paid);
        piece.payload = abi.encode(s);
        int256 outB = int256(uint256(s.depositB)) + int256(uint256(s.paidAB)) - int256(uint256(s.paidBA));
        int256 total = int256(uint256(s.depositA) + s.depositB);
        outB = outB < 0 ? int256(0) : outB > total ? total : outB;
        owe(piece, s.a, uint64(uint256(total - outB)), s.b, uint64(uint256(outB)));
    }

    function addWithdrawal(uint256 seed) internal {
        uint64 amount = uint64(1 + seed % 1e6);
        withdrawals.push(amount);
        uint48 serial = uint48(withdrawals.length);
        trie.set(outboxAddress(0, serial), outboxCell(1, serial, ownerAt(seed >> 32), uint56(amount)));
    }

    // --- showing ---

    function callFor(Piece storage piece) internal view returns (bytes memory) {
        if (piece.way == Way.agent) return abi.encodeCall(exit.showAgent, (shown(piece.place)));
        if (piece.way == Way.escrow) return abi.encodeCall(exit.showEscrow, (shown(piece.place)));
        if (piece.way == Way.leg) return abi.encodeCall(exit.showLeg, (shown(piece.place), shownQuad(piece.beside)));
        if (piece.way == Way.session) return abi.encodeCall(exit.showSession, (shownQuad(piece.place)));
        return abi.encodeCall(
            exit.showMessage,
            (
                shown(piece.place),
                shown(piece.beside),
                piece.payload,
                piece.addressee == 0 ? nothing() : shown(piece.addressee)
            )
        );
    }

    /// @dev The verdict that a leg without its workflow waits for.
    function callForVerdict(Piece storage piece) internal view returns (bytes memory) {
        uint32 peer = peerAt(piece.place >> 24, piece.addressee >> 24);
        return abi.encodeCall(exit.showVerdict, (shown(piece.addressee), shown(peer), piece.payload));
    }

    function callForHalf(Piece storage piece, uint8 dir, uint64 paid) internal view returns (bytes memory) {
        (Digests.Half memory made, bytes32 r, bytes32 s) = half(piece.beside, dir, paid);
        return abi.encodeCall(exit.showHalf, (shownQuad(piece.place), made, r, s));
    }

    function isLeg(Piece storage piece) internal view returns (bool) {
        return piece.way == Way.leg && piece.addressee != 0;
    }

    function attempt(bytes memory call) internal returns (bool done) {
        (done,) = exits.call(call);
    }
}
