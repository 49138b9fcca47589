// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cells, EscrowStatus, SessionStatus} from "../src/Cells.sol";
import {Digests} from "../src/Digests.sol";
import {IStep} from "../src/IStep.sol";
import {Trie} from "../src/Trie.sol";
import {Population} from "./Population.sol";
import {vm} from "./Vm.sol";

/// @notice What single steps cost on a populated state, each as a transaction of its own: calldata and its floor included.
/// `snapshots/Step.json` keeps the figures. All the steps here are `ok`: what is refused costs less.
contract StepGasTest is Population {
    /// @dev What a step may cost.
    uint256 private constant MOST = 1_000_000;

    uint32 private constant TIME = 1_700_000_000;
    uint256 private constant KEY_SECRET = 7;
    bytes32 private constant DOMAIN = keccak256("domain");

    /// @dev Ids of this shard.
    uint256 private constant ACTOR = 40_000 << 8;
    uint256 private constant OTHER = 20_000 << 8;
    uint256 private constant SERVICE = 600 << 8;
    uint256 private constant SESSION = 9000 << 8;
    uint256 private constant ESCROWS = 3_000_000;
    uint256 private constant WORKFLOWS = 3000;

    IStep private _step;
    bytes32 private _keyX;
    bytes32 private _keyY;

    function setUp() public {
        _step = IStep(vm.deployCode("Step.sol:Step", abi.encode(SHARDS)));
        (uint256 x, uint256 y) = vm.publicKeyP256(KEY_SECRET);
        (_keyX, _keyY) = (bytes32(x), bytes32(y));
    }

    function test_open_gas() public {
        _openBundle("open: a bundle of one", _bundle(0, _invocation()));
        bytes memory many;
        for (uint256 i; i < 256; ++i) {
            many = bytes.concat(many, _invocation());
        }
        _openBundle("open: a bundle of 256 invokes", _bundle(255, many));
        many = "";
        for (uint256 i; i < 256; ++i) {
            many = bytes.concat(many, hex"06", _varint(SERVICE), hex"320e0003", _varint(SERVICE), hex"05");
        }
        _openBundle("open: a bundle of 256 invokes in workflows, by capabilities", _bundle(255, many));
        bytes memory plan = hex"13640c";
        for (uint256 id; id < 24; ++id) {
            plan = bytes.concat(plan, hex"05");
        }
        many = "";
        for (uint256 i; i < 148; ++i) {
            many = bytes.concat(many, plan);
        }
        _openBundle("open: a bundle full of plans", _bundle(147, many));
    }

    function test_invoke_gas() public {
        _giveHead();
        _giveAgent(ACTOR);
        _giveService();
        give(Trie.ESCROW, ESCROWS + 1 & 2 ** 20 - 1);
        _interaction("invoke", _bundle(0, _invocation()), 1, ESCROWS + 1 << 8);
        bytes memory many;
        for (uint256 i; i < 256; ++i) {
            many = bytes.concat(many, _invocation());
        }
        _interaction("invoke: the last of 256", _bundle(255, many), 256, ESCROWS + 1 << 8);
    }

    function test_respond_gas() public {
        _giveHead();
        _giveAgent(ACTOR);
        _giveAgent(OTHER);
        _giveEscrow(EscrowStatus.OPEN, TIME + 5);
        _interaction("respond", _bundle(0, abi.encodePacked(hex"07", _varint(77 << 8), hex"0500")), 1, 0);
    }

    function test_expire_gas() public {
        _giveHead();
        _giveAgent(ACTOR);
        _giveAgent(OTHER);
        _giveEscrow(EscrowStatus.OPEN, TIME - 1);
        _run("advance: a penalty", _call(abi.encodePacked(hex"05", uint56(77 << 8)), 0, 0), 0);
    }

    function test_plan_gas() public {
        _giveHead();
        for (uint256 part; part < 4; ++part) {
            give(Trie.WORKFLOW, 4 * (WORKFLOWS + 1) + part);
        }
        bytes memory plan = hex"13640c";
        for (uint256 leg; leg < 12; ++leg) {
            plan = bytes.concat(plan, _varint(ACTOR), _varint(SERVICE));
        }
        _interaction("plan: twelve legs", _bundle(0, plan), 1, WORKFLOWS + 1 << 8);
    }

    function test_sessions_gas() public {
        _giveHead();
        _giveSession();
        bytes memory half = _signedHalf(3, 100, keccak256("log"));
        bytes memory head = abi.encodePacked(_varint(SESSION), hex"00");
        _interaction("settle", _bundle(0, bytes.concat(hex"0f", head, half)), 1, 0);

        _giveAgent(ACTOR);
        bytes memory other = _signedHalf(3, 101, keccak256("log"));
        _giveAgent(OTHER);
        _interaction("slash", _bundle(0, bytes.concat(hex"16", head, half, other)), 1, 0);

        Digests.Close memory end = Digests.Close(uint64(SESSION), 100, 0, 3, 0, keccak256("log"), 0);
        bytes memory close = abi.encodePacked(
            hex"12", _varint(SESSION), _varint(100), hex"000300", end.rootAB, end.rootBA, _signature(Digests.hash(end))
        );
        _interaction("close", _bundle(0, close), 1, 0);
    }

    function _openBundle(string memory name, bytes memory frame) private {
        clear();
        _giveHead();
        uint32 agent = _giveAgent(ACTOR);
        write(agent, Cells.AGENT_NONCE, 5);
        uint32 key = give(Trie.KEY, ACTOR >> 8);
        write(key, Cells.KEY_X, uint256(_keyX));
        write(key, Cells.KEY_Y, uint256(_keyY));
        _run(name, _call(frame, 0, 0), 0);
    }

    function _interaction(string memory name, bytes memory frame, uint256 index, uint256 value) private {
        _run(name, _call(frame, index, 1), value);
    }

    /// @dev Of the next frame; the place of one that is open already is not looked at.
    function _call(bytes memory frame, uint256 index, uint8 context) private view returns (bytes memory) {
        (bytes memory witness, bytes32 pre) = witnessOf(context);
        return abi.encodeCall(_step.step, (DOMAIN, pre, 0, 3, frame, index, witness));
    }

    function _run(string memory name, bytes memory call, uint256 expected) private {
        (bool done, bytes memory answer) = address(_step).call(call);
        vm.assertLt(vm.snapshotGasLastCall("Step", name), MOST, name);
        vm.assertTrue(done, name);
        (, uint8 status, uint64 value) = abi.decode(answer, (bytes32, uint8, uint64));
        vm.assertEq(status, 0, name);
        vm.assertEq(value, expected, name);
    }

    function _giveHead() private {
        uint32 head = give(Trie.META, Trie.META_HEAD);
        write(head, Cells.HEAD_TIME, TIME);
        write(head, Cells.HEAD_SEQ, 3);
        write(head, Cells.HEAD_ESCROWS, ESCROWS);
        write(head, Cells.HEAD_WORKFLOWS, WORKFLOWS);
    }

    function _giveAgent(uint256 id) private returns (uint32 agent) {
        agent = give(Trie.AGENT, id >> 8);
        write(agent, Cells.AGENT_OWNER, id);
        write(agent, Cells.AGENT_BALANCE, 1000);
        write(agent, Cells.AGENT_STAKE, 1000);
        write(agent, Cells.AGENT_FLAGS, Cells.EXISTS);
    }

    function _giveService() private {
        uint32 service = give(Trie.SERVICE, SERVICE >> 8);
        write(service, Cells.SERVICE_PROVIDER, OTHER);
        write(service, Cells.SERVICE_FLAGS, Cells.EXISTS | Cells.ACTIVE);
        write(service, Cells.SERVICE_CEILING, 100);
        write(service, Cells.SERVICE_DEADLINE_SECONDS, 60);
    }

    function _giveEscrow(uint256 status, uint256 deadline) private {
        uint32 escrow = give(Trie.ESCROW, 77);
        write(escrow, Cells.ESCROW_SERIAL, 77);
        write(escrow, Cells.ESCROW_PAYER, OTHER);
        write(escrow, Cells.ESCROW_PAYEE, ACTOR);
        write(escrow, Cells.ESCROW_SERVICE, SERVICE);
        write(escrow, Cells.ESCROW_AMOUNT, 50);
        write(escrow, Cells.ESCROW_STATUS, status);
        write(escrow, Cells.ESCROW_DEADLINE, deadline);
    }

    function _giveSession() private {
        uint32 session = give(Trie.SESSION, 4 * (SESSION >> 8));
        write(session, Cells.SESSION_A, ACTOR);
        write(session, Cells.SESSION_B, OTHER);
        write(session, Cells.SESSION_DEPOSIT_A, 500);
        write(session, Cells.SESSION_SERIAL, SESSION >> 8);
        write(session, Cells.SESSION_STATUS, SessionStatus.OPEN);
        for (uint256 part = 1; part < 3; ++part) {
            uint32 key = give(Trie.SESSION, 4 * (SESSION >> 8) + part);
            write(key, Cells.KEY_X, uint256(_keyX));
            write(key, Cells.KEY_Y, uint256(_keyY));
        }
        give(Trie.SESSION, 4 * (SESSION >> 8) + 3);
    }

    function _invocation() private pure returns (bytes memory) {
        return abi.encodePacked(hex"06", _varint(SERVICE), _varint(50), hex"00");
    }

    /// @dev Signed, by the actor.
    function _bundle(uint8 last, bytes memory interactions) private pure returns (bytes memory) {
        bytes memory body =
            abi.encodePacked(hex"10", last, hex"00", _varint(ACTOR), _varint(5), _varint(TIME), interactions);
        return bytes.concat(body, _signature(Digests.hashBundle(body)));
    }

    /// @dev What stands of a half behind its session and direction.
    function _signedHalf(uint256 calls, uint256 paid, bytes32 log) private pure returns (bytes memory) {
        bytes32 hash = Digests.hash(Digests.Half(uint64(SESSION), 0, 1, uint64(calls), uint64(paid), log, 0));
        return abi.encodePacked(_varint(1), _varint(calls), _varint(paid), log, _signature(hash));
    }

    function _signature(bytes32 structHash) private pure returns (bytes memory) {
        uint256 order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
        (bytes32 r, bytes32 s) = vm.signP256(KEY_SECRET, Digests.p256(DOMAIN, structHash));
        if (uint256(s) > order / 2) s = bytes32(order - uint256(s));
        return abi.encodePacked(r, s);
    }

    function _varint(uint256 value) private pure returns (bytes memory bytes_) {
        for (; value > 127; value >>= 7) {
            bytes_ = bytes.concat(bytes_, bytes1(uint8(value & 127 | 128)));
        }
        return bytes.concat(bytes_, bytes1(uint8(value)));
    }
}
