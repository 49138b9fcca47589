// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Digests} from "../src/Digests.sol";
import {Exits} from "../src/Exits.sol";
import {IExits} from "../src/IExits.sol";
import {IRoot} from "../src/IRoot.sol";
import {Root} from "../src/Root.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice A deployment whose last state a test writes cell by cell, and the way out of it.
abstract contract ExitsBase is RootBase {
    uint64 internal constant HALF_WINDOW = 7 days;
    uint256 internal constant P256_N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;

    Exits internal exit;
    IRoot.Batch internal last;
    /// @dev The secrets of the parties' pinned keys.
    uint256[2] internal pinned = [uint256(71), 72];

    function setUp() public virtual override {
        super.setUp();
        // Root names Exits and Exits names Root: here Exits' code is put where Root looks for it.
        exit = Exits(exits);
        vm.etch(exits, vm.deployCode("Exits.sol:Exits", abi.encode(root, HALF_WINDOW)).code);
    }

    // --- cells, field by field as docs/protocol.md §2 has them ---

    function agentCell(address owner, uint56 balance, uint56 stake) internal pure returns (bytes memory) {
        return abi.encodePacked(owner, balance, stake, bytes29(0), uint8(1));
    }

    struct Escrow {
        uint48 serial;
        uint32 payer;
        uint32 payee;
        uint32 service;
        uint56 amount;
        uint56 paid;
        uint8 status;
        uint56 workflow;
        uint8 leg;
    }

    function escrowCell(Escrow memory e) internal pure returns (bytes memory) {
        bytes memory start = abi.encodePacked(e.serial, e.payer, e.payee, e.service, e.amount, e.paid, uint32(9));
        return bytes.concat(start, abi.encodePacked(e.status, e.workflow, bytes19(0), uint8(e.leg << 4)));
    }

    function workflowCell(uint48 serial, uint8 status) internal pure returns (bytes memory) {
        return abi.encodePacked(
            serial, uint32(256), uint8(12), status, uint32(9), uint16(1), uint16(0), bytes32(0), bytes12(0)
        );
    }

    /// @dev One leg's escrow in its cell of four.
    function legCell(uint8 leg, uint56 escrow) internal pure returns (bytes memory cell) {
        for (uint256 i; i < 4; ++i) {
            cell = bytes.concat(cell, bytes8(0), bytes7(i == leg % 4 ? escrow : 0), bytes1(0));
        }
    }

    struct Session {
        uint48 serial;
        uint32 a;
        uint32 b;
        uint56 depositA;
        uint56 depositB;
        uint56 paidAB;
        uint56 paidBA;
        uint8 status;
    }

    function sessionCell(Session memory s) internal pure returns (bytes memory) {
        bytes memory start =
            abi.encodePacked(s.a, s.b, s.depositA, s.depositB, s.paidAB, s.paidBA, uint48(0), uint48(0));
        return bytes.concat(start, abi.encodePacked(uint64(0), s.serial, s.status, uint8(0)));
    }

    function messageCell(uint48 number, uint8 to, uint8 kind, uint32 agent, uint56 amount, bytes memory payload)
        internal
        pure
        returns (bytes memory)
    {
        return abi.encodePacked(number, to, kind, uint32(9), agent, amount, keccak256(payload), bytes9(0));
    }

    function peerCell(uint48 received) internal pure returns (bytes memory) {
        return abi.encodePacked(uint96(0), received, bytes32(0), bytes14(0));
    }

    // --- their places ---

    function at(uint256 shard, uint256 region, uint256 slot) internal pure returns (uint32) {
        return uint32(shard << 24 | region << 20 | slot);
    }

    function agentAt(uint32 id) internal pure returns (uint32) {
        return at(uint8(id), 1, id >> 8);
    }

    function escrowAt(uint256 id) internal pure returns (uint32) {
        return at(uint8(id), 6, (id >> 8) % 2 ** 20);
    }

    function sessionAt(uint256 id) internal pure returns (uint32) {
        return at(uint8(id), 5, 4 * ((id >> 8) % 2 ** 18));
    }

    function workflowAt(uint256 id) internal pure returns (uint32) {
        return at(uint8(id), 8, 4 * ((id >> 8) % 2 ** 18));
    }

    function messageAt(uint256 from, uint256 to, uint256 number) internal pure returns (uint32) {
        return at(from, 9, to * 4096 + number % 4096);
    }

    function peerAt(uint256 shard, uint256 other) internal pure returns (uint32) {
        return at(shard, 0, 256 + other);
    }

    function idOf(uint256 serial, uint256 shard) internal pure returns (uint32) {
        return uint32(serial * 256 + shard);
    }

    // --- putting them there ---

    function setAgent(uint32 agent, address owner, uint56 balance, uint56 stake) internal {
        trie.set(agentAt(agent), agentCell(owner, balance, stake));
    }

    function setEscrow(uint256 shard, Escrow memory e) internal returns (uint32 place) {
        place = escrowAt(uint256(e.serial) << 8 | shard);
        trie.set(place, escrowCell(e));
    }

    function setSession(uint256 shard, Session memory s) internal returns (uint32 place) {
        place = sessionAt(uint256(s.serial) << 8 | shard);
        trie.set(place, sessionCell(s));
        for (uint32 party; party < 2; ++party) {
            (uint256 x, uint256 y) = vm.publicKeyP256(pinned[party]);
            trie.set(place + 1 + party, abi.encodePacked(x, y));
        }
    }

    function setMessage(
        uint8 from,
        uint8 to,
        uint48 number,
        uint8 kind,
        uint32 agent,
        uint56 amount,
        bytes memory payload
    ) internal returns (uint32 place) {
        place = messageAt(from, to, number);
        trie.set(place, messageCell(number, to, kind, agent, amount, payload));
    }

    // --- leaving ---

    /// @dev Deposits all that the state says there is, and makes that state the last one, final and frozen.
    function freezeWith(uint64 money) internal {
        if (money != 0) deposit(alice, 256, money);
        last = postNext();
        settle(last);
        vm.warp(root.freezableAt());
        root.freeze();
    }

    function openWith(uint64 money) internal {
        freezeWith(money);
        exit.open(last, trie.root());
    }

    function pastHalves() internal {
        vm.warp(exit.halvesUntil() + 1);
    }

    function shown(uint32 place) internal view returns (IExits.Shown memory) {
        bytes32[48] memory siblings = trie.proof(place);
        bytes32[] memory proof = new bytes32[](48);
        for (uint256 i; i < 48; ++i) {
            proof[i] = siblings[i];
        }
        return IExits.Shown(place, trie.cellAt(place), proof);
    }

    function shownQuad(uint32 place) internal view returns (IExits.Shown memory) {
        bytes32[48] memory siblings = trie.proof(place);
        bytes32[] memory proof = new bytes32[](45);
        for (uint256 i; i < 45; ++i) {
            proof[i] = siblings[i + 3];
        }
        bytes memory cells;
        for (uint32 i; i < 4; ++i) {
            cells = bytes.concat(cells, trie.cellAt(place + i));
        }
        return IExits.Shown(place, cells, proof);
    }

    function nothing() internal pure returns (IExits.Shown memory none) {}

    function half(uint64 session, uint8 dir, uint64 paid)
        internal
        view
        returns (Digests.Half memory made, bytes32 r, bytes32 s)
    {
        made = Digests.Half({session: session, dir: dir, seq: 1, calls: 1, paid: paid, root: 0, locks: 0});
        (r, s) = signHalf(made, pinned[dir % 2]);
    }

    function signHalf(Digests.Half memory made, uint256 key) internal view returns (bytes32 r, bytes32 s) {
        (r, s) = vm.signP256(key, Digests.p256(root.domainSeparator(), Digests.hash(made)));
        // Low s only.
        if (uint256(s) > P256_N / 2) s = bytes32(P256_N - uint256(s));
    }
}
