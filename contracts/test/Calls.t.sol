// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Calls} from "../src/Calls.sol";
import {Digests} from "../src/Digests.sol";
import {IExits} from "../src/IExits.sol";
import {ExitsBase} from "./ExitsBase.sol";
import {vm} from "./Vm.sol";

/// @notice Single calls out of the log of test/vectors/log.json, under halves of a session of shard 1.
contract CallsTest is ExitsBase {
    uint48 private constant SERIAL = 2 ** 18 + 5; // its slot is that of serial 5
    uint32 private constant SESSION = uint32(SERIAL) * 256 + 1;
    uint32 private constant A = 3 * 256 + 1;
    uint32 private constant B = 4 * 256 + 2;

    Calls private calls;
    string private json;
    uint32 private place;

    function setUp() public override {
        super.setUp();
        calls = new Calls(root);
        json = vm.readFile("../test/vectors/log.json");
        place = _setSession(1);
        last = postNext();
        settle(last);
    }

    function test_proveCall_opensEveryVector() public view {
        uint256 proofs;
        for (; vm.keyExistsJson(json, _key(proofs, "")); ++proofs) {
            (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(proofs, uint8(proofs % 2));
            for (uint8 party; party < 2; ++party) {
                Calls.Call memory call = _prove(half, party, record, path);
                vm.assertEq(call.payer, half.dir == 0 ? A : B);
                vm.assertEq(call.payee, half.dir == 0 ? B : A);
                vm.assertEq(
                    abi.encodePacked(
                        uint64(vm.parseJsonUint(json, _key(proofs, ".index"))),
                        call.requestHash,
                        call.responseHash,
                        call.price,
                        call.status,
                        call.timeMs
                    ),
                    record,
                    "record"
                );
            }
        }
        vm.assertGe(proofs, 10);
    }

    function test_proveCall_opensTheCallOfAClosedSession() public {
        _setSession(3);
        last = postNext();
        settle(last);
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        _prove(half, 0, record, path);
    }

    function test_proveCall_revertsOnAnotherRecord() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        for (uint256 at; at < record.length; at += 7) {
            bytes memory other = bytes.concat(record);
            other[at] ^= 0x01;
            _expect(Calls.NotInLog.selector, half, 0, other, path);
        }
        _expect(Calls.NotInLog.selector, half, 0, bytes.concat(record, hex"00"), path);
        _expect(Calls.NotInLog.selector, half, 0, "", path);
    }

    function test_proveCall_revertsOnAnotherPath() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        path[0] = ~path[0];
        _expect(Calls.NotInLog.selector, half, 0, record, path);
        _expect(Calls.NotInLog.selector, half, 0, record, new bytes32[](0));
    }

    /// @dev An inner node has 65 hashed bytes and a record 91: none can stand for the other.
    function test_proveCall_revertsOnACallThatTheHalfDoesNotCount() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        half.calls = 0;
        _expect(Calls.NotInLog.selector, half, 0, record, path);
    }

    function test_proveCall_revertsOnWhatNobodySigned() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        Calls.Session memory session = _session();
        (bytes32 r, bytes32 s) = signHalf(half, pinned[0]);
        Digests.Half memory other = half;
        other.paid += 1;
        vm.expectRevert(Calls.BadSignature.selector);
        calls.proveCall(session, other, 0, r, s, record, path);
        other.paid -= 1;
        // The payer's is not the payee's, and there is no third party.
        vm.expectRevert(Calls.BadSignature.selector);
        calls.proveCall(session, half, 1, r, s, record, path);
        vm.expectRevert(Calls.BadSignature.selector);
        calls.proveCall(session, half, 2, r, s, record, path);
        vm.expectRevert(Calls.BadSignature.selector);
        calls.proveCall(session, half, 0, r, bytes32(P256_N - uint256(s)), record, path);
    }

    function test_proveCall_revertsOnWhatIsNoHalf() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        half.locks = bytes32(uint256(1));
        _expect(Calls.BadSignature.selector, half, 0, record, path);
        half.locks = 0;
        half.dir = 2;
        _expect(Calls.BadSignature.selector, half, 0, record, path);
    }

    function test_proveCall_revertsOnAnotherDeployment() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        Calls.Session memory session = _session();
        (bytes32 r, bytes32 s) =
            vm.signP256(pinned[0], Digests.p256(Digests.domainSeparator(1, address(root)), Digests.hash(half)));
        if (uint256(s) > P256_N / 2) s = bytes32(P256_N - uint256(s));
        vm.expectRevert(Calls.BadSignature.selector);
        calls.proveCall(session, half, 0, r, s, record, path);
    }

    /// @dev The quad's slot is shared by serials 2^18 apart: only the one whose record it is counts.
    function test_proveCall_revertsOnAnotherSession() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        half.session = 5 * 256 + 1;
        _expect(Calls.WrongSession.selector, half, 0, record, path);
        half.session = SESSION + 1;
        _expect(Calls.WrongSession.selector, half, 0, record, path);
        // The low 32 bits alone don't name a session.
        half.session = uint64(SESSION) + 2 ** 56;
        _expect(Calls.WrongSession.selector, half, 0, record, path);
    }

    /// @dev Cells of another region that look like a session's quad.
    function test_proveCall_revertsOnAnotherRegion() public {
        uint32 workflow = at(1, 8, 4 * 5);
        for (uint32 i; i < 4; ++i) {
            trie.set(workflow + i, trie.cellAt(place + i));
        }
        last = postNext();
        settle(last);
        place = workflow;
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        _expect(Calls.WrongSession.selector, half, 0, record, path);
    }

    function test_proveCall_revertsOnABadProof() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        (bytes32 r, bytes32 s) = signHalf(half, pinned[0]);
        Calls.Session memory session = _session();
        session.quad[70] ^= 0x01;
        vm.expectRevert(Calls.BadProof.selector);
        calls.proveCall(session, half, 0, r, s, record, path);
        session = _session();
        session.proof[44] = ~session.proof[44];
        vm.expectRevert(Calls.BadProof.selector);
        calls.proveCall(session, half, 0, r, s, record, path);
        session.proof = new bytes32[](42);
        vm.expectRevert(Calls.BadProof.selector);
        calls.proveCall(session, half, 0, r, s, record, path);
        session = _session();
        session.quad = new bytes(64);
        vm.expectRevert(Calls.BadProof.selector);
        calls.proveCall(session, half, 0, r, s, record, path);
        session = _session();
        session.stateRoot = ~session.stateRoot;
        vm.expectRevert(Calls.WrongStateRoot.selector);
        calls.proveCall(session, half, 0, r, s, record, path);
    }

    function test_proveCall_revertsBeforeTheBatchIsFinal() public {
        (Digests.Half memory half, bytes memory record, bytes32[] memory path) = _vector(3, 0);
        (bytes32 r, bytes32 s) = signHalf(half, pinned[0]);
        last = postNext();
        Calls.Session memory session = _session();
        vm.expectRevert(abi.encodeWithSelector(Calls.NotFinal.selector, last.number));
        calls.proveCall(session, half, 0, r, s, record, path);
    }

    function _setSession(uint8 status) private returns (uint32) {
        return setSession(
            1, Session({serial: SERIAL, a: A, b: B, depositA: 100, depositB: 100, paidAB: 0, paidBA: 0, status: status})
        );
    }

    function _session() private view returns (Calls.Session memory) {
        IExits.Shown memory quad = shownQuad(place);
        return Calls.Session(last.number, trie.root(), place, quad.cells, quad.proof);
    }

    function _expect(bytes4 error, Digests.Half memory half, uint8 party, bytes memory record, bytes32[] memory path)
        private
    {
        (bytes32 r, bytes32 s) = signHalf(half, pinned[party]);
        Calls.Session memory session = _session();
        vm.expectRevert(error);
        calls.proveCall(session, half, party, r, s, record, path);
    }

    function _prove(Digests.Half memory half, uint8 party, bytes memory record, bytes32[] memory path)
        private
        view
        returns (Calls.Call memory)
    {
        (bytes32 r, bytes32 s) = signHalf(half, pinned[party]);
        return calls.proveCall(_session(), half, party, r, s, record, path);
    }

    /// @dev Proof `n` of the vectors, under a half that counts as many calls as its tree has.
    function _vector(uint256 n, uint8 dir)
        private
        view
        returns (Digests.Half memory half, bytes memory record, bytes32[] memory path)
    {
        uint256 size = vm.parseJsonUint(json, _key(n, ".size"));
        uint256 index = vm.parseJsonUint(json, _key(n, ".index"));
        record = vm.parseJsonBytes(json, string.concat(".records[", vm.toString(index), "]"));
        path = vm.parseJsonBytes32Array(json, _key(n, ".path"));
        half = Digests.Half({session: SESSION, dir: dir, seq: 7, calls: uint64(size), paid: 9, root: 0, locks: 0});
        for (uint256 i; half.root == 0; ++i) {
            string memory at_ = string.concat(".roots[", vm.toString(i), "]");
            if (vm.parseJsonUint(json, string.concat(at_, ".size")) == size) {
                half.root = vm.parseJsonBytes32(json, string.concat(at_, ".root"));
            }
        }
    }

    function _key(uint256 n, string memory field) private pure returns (string memory) {
        return string.concat(".proofs[", vm.toString(n), "]", field);
    }
}
