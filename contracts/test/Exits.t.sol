// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Digests} from "../src/Digests.sol";
import {IExits} from "../src/IExits.sol";
import {IRoot} from "../src/IRoot.sol";
import {ExitsBase} from "./ExitsBase.sol";
import {vm} from "./Vm.sol";

/// @notice Every row of docs/protocol.md §11's table, both ways.
contract ExitsTest is ExitsBase {
    uint32 private constant A = 256; // of shard 0
    uint32 private constant B = 2 * 256 + 1; // of shard 1
    uint32 private constant NOBODY = 9 * 256 + 1;
    uint48 private constant RECEIVED = 10;

    function setUp() public override {
        super.setUp();
        setAgent(A, alice, 100, 20);
        setAgent(B, bob, 0, 0);
        trie.set(peerAt(1, 0), peerCell(RECEIVED));
        trie.set(peerAt(0, 1), peerCell(RECEIVED));
    }

    // --- open ---

    function test_open_makesTheLastStateTheOneToLeaveFrom() public {
        freezeWith(500);
        bytes32 stateRoot = trie.root();
        vm.expectEmit();
        emit IExits.Opened(stateRoot, uint64(block.timestamp) + HALF_WINDOW);
        exit.open(last, stateRoot);
        vm.assertEq(exit.stateRoot(), stateRoot);
        vm.assertEq(exit.halvesUntil(), block.timestamp + HALF_WINDOW);
        _refuse(abi.encodeCall(IExits.open, (last, stateRoot)), abi.encodeWithSelector(IExits.AlreadyOpen.selector));
    }

    function test_open_revertsUnlessFrozen() public {
        last = postNext();
        settle(last);
        bytes32 stateRoot = trie.root();
        _refuse(abi.encodeCall(IExits.open, (last, stateRoot)), abi.encodeWithSelector(IExits.NotFrozen.selector));
    }

    function test_open_revertsUnlessTheNewestBatchIsFinal() public {
        IRoot.Batch memory older = postNext();
        settle(older);
        last = postNext();
        vm.warp(root.freezableAt());
        root.freeze();
        bytes32 stateRoot = trie.root();
        _refuse(abi.encodeCall(IExits.open, (last, stateRoot)), abi.encodeWithSelector(IExits.NotFinal.selector, 2));
        _refuse(abi.encodeCall(IExits.open, (older, stateRoot)), abi.encodeWithSelector(IExits.NotFinal.selector, 2));
        root.finalize(2);
        bytes32 batchHash = root.posted(2).batchHash;
        _refuse(
            abi.encodeCall(IExits.open, (older, stateRoot)),
            abi.encodeWithSelector(IExits.WrongBatch.selector, batchHash)
        );
        _refuse(
            abi.encodeCall(IExits.open, (last, keccak256("another"))),
            abi.encodeWithSelector(IExits.WrongStateRoot.selector)
        );
        exit.open(last, stateRoot);
    }

    /// @dev No batch ever came: the empty state is the last, and deposits are all there is.
    function test_open_fromGenesis() public {
        deposit(alice, A, 7);
        vm.warp(root.freezableAt());
        root.freeze();
        IRoot.Batch memory genesis;
        genesis.post = root.posted(0).post;
        exit.open(genesis, _emptyRoot());
        uint256 before = token.balanceOf(alice);
        exit.returnDeposit(0, abi.encodePacked(uint8(2), alice, A, uint56(7)));
        vm.assertEq(token.balanceOf(alice) - before, 7 * UNIT);
        vm.assertEq(root.held(), 0);
    }

    function test_show_revertsUnlessOpen() public {
        freezeWith(500);
        IExits.Shown memory cell = shown(agentAt(A));
        _refuse(abi.encodeCall(IExits.showAgent, (cell)), abi.encodeWithSelector(IExits.NotOpen.selector));
        _refuse(abi.encodeCall(IExits.returnDeposit, (0, "")), abi.encodeWithSelector(IExits.NotOpen.selector));
    }

    // --- agents ---

    function test_showAgent_claimsBalanceAndStake() public {
        openWith(500);
        IExits.Shown memory agent = shown(agentAt(A));
        vm.expectEmit();
        emit IExits.CellShown(agentAt(A), 1);
        vm.expectEmit();
        emit IExits.Claimed(A, 120);
        exit.showAgent(agent);
        vm.assertEq(exit.ownerOf(A), alice);
        vm.assertTrue(exit.shown(agentAt(A)));
        uint256 before = token.balanceOf(alice);
        vm.prank(bob); // by anyone
        exit.collect(A);
        vm.assertEq(token.balanceOf(alice) - before, 120 * UNIT);
        vm.assertEq(root.held(), 380);
        _refuse(abi.encodeCall(IExits.collect, (A)), abi.encodeWithSelector(IExits.NothingToCollect.selector));
    }

    function test_showAgent_once() public {
        openWith(500);
        exit.showAgent(shown(agentAt(A)));
        exit.collect(A);
        _refuse(abi.encodeCall(IExits.showAgent, (shown(agentAt(A)))), _again(agentAt(A)));
    }

    function test_showAgent_revertsOnABadProof() public {
        openWith(500);
        IExits.Shown memory cell = shown(agentAt(A));
        cell.cells = agentCell(bob, 100, 20);
        _refuse(abi.encodeCall(IExits.showAgent, (cell)), abi.encodeWithSelector(IExits.BadProof.selector));
        cell = shown(agentAt(A));
        cell.cellAddress += 1;
        _refuse(abi.encodeCall(IExits.showAgent, (cell)), abi.encodeWithSelector(IExits.BadProof.selector));
        cell = shown(agentAt(A));
        cell.proof = shownQuad(agentAt(A)).proof;
        _refuse(abi.encodeCall(IExits.showAgent, (cell)), abi.encodeWithSelector(IExits.BadProof.selector));
        cell.cells = "";
        _refuse(abi.encodeCall(IExits.showAgent, (cell)), abi.encodeWithSelector(IExits.BadProof.selector));
    }

    /// @dev Bytes that somebody chose, a key's for one, are no agent wherever they look like one.
    function test_showAgent_revertsElsewhere() public {
        uint32 key = at(0, 2, 1);
        trie.set(key, agentCell(bob, 1e6, 0));
        uint32 pinnedKey = at(0, 5, 5);
        trie.set(pinnedKey, escrowCell(_open(1, A, B, idOf(1, 0), 50)));
        openWith(500);
        _refuse(abi.encodeCall(IExits.showAgent, (shown(key))), _nothing(key));
        _refuse(abi.encodeCall(IExits.showAgent, (shown(at(0, 1, 7)))), _nothing(at(0, 1, 7)));
        _refuse(abi.encodeCall(IExits.showEscrow, (shown(pinnedKey))), _nothing(pinnedKey));
    }

    function test_collect_revertsUntilTheOwnerIsKnown() public {
        uint32 place = setEscrow(0, _open(1, A, B, idOf(1, 0), 50));
        openWith(500);
        exit.showEscrow(shown(place));
        vm.assertEq(exit.claims(A), 50);
        _refuse(abi.encodeCall(IExits.collect, (A)), abi.encodeWithSelector(IExits.UnknownOwner.selector, A));
        exit.showAgent(shown(agentAt(A)));
        exit.collect(A);
        vm.assertEq(root.held(), 500 - 170);
    }

    // --- escrows ---

    function test_showEscrow_refundsWhatIsUndecided() public {
        uint8[3] memory statuses = [1, 6, 7];
        for (uint48 i; i < 3; ++i) {
            Escrow memory e = _open(i + 1, A, B, idOf(1, 0), 50);
            e.status = statuses[i];
            e.paid = statuses[i] == 6 ? 30 : 0;
            setEscrow(0, e);
        }
        openWith(500);
        for (uint48 i = 1; i <= 3; ++i) {
            uint32 place = escrowAt(idOf(i, 0));
            exit.showEscrow(shown(place));
            vm.assertEq(exit.claims(A), 50 * i);
            _refuse(abi.encodeCall(IExits.showEscrow, (shown(place))), _again(place));
        }
        vm.assertEq(exit.claims(B), 0);
    }

    function test_showEscrow_paysOutWhatIsHeld() public {
        Escrow memory e = _open(1, A, B, idOf(1, 1), 50);
        (e.status, e.paid) = (2, 30);
        uint32 place = setEscrow(1, e);
        openWith(500);
        exit.showEscrow(shown(place));
        vm.assertEq(exit.claims(A), 20);
        vm.assertEq(exit.claims(B), 30);
    }

    function test_showEscrow_refundsAWaitingOrder() public {
        Escrow memory e = _open(1, A, 0, idOf(1, 1), 50);
        e.status = 7;
        uint32 place = setEscrow(0, e);
        openWith(500);
        exit.showEscrow(shown(place));
        vm.assertEq(exit.claims(A), 50);
    }

    /// @dev Done, or an order whose money is in its message or in the provider's escrow, or a leg, which has its own way.
    function test_showEscrow_revertsWhereThereIsNothing() public {
        uint8[4] memory done = [0, 3, 4, 5];
        for (uint48 i; i < 4; ++i) {
            Escrow memory e = _open(i + 1, A, B, idOf(1, 0), 50);
            e.status = done[i];
            setEscrow(0, e);
        }
        uint8[2] memory gone = [8, 2];
        for (uint48 i; i < 2; ++i) {
            Escrow memory e = _open(i + 5, A, B, idOf(1, 1), 50);
            e.status = gone[i];
            setEscrow(0, e);
        }
        Escrow memory leg = _leg(0, 7, 0, idOf(1, 0));
        setEscrow(0, leg);
        openWith(500);
        for (uint48 i = 1; i <= 7; ++i) {
            uint32 place = escrowAt(idOf(i, 0));
            _refuse(abi.encodeCall(IExits.showEscrow, (shown(place))), _nothing(place));
        }
    }

    // --- legs ---

    function test_showLeg_paysALegOfACommittedWorkflow() public {
        _showLeg(2, 5, true);
        vm.assertEq(exit.claims(B), 30);
        vm.assertEq(exit.claims(A), 20);
    }

    function test_showLeg_refundsOneOfAnOpenWorkflow() public {
        _showLeg(1, 5, true);
        vm.assertEq(exit.claims(A), 50);
        vm.assertEq(exit.claims(B), 0);
    }

    function test_showLeg_refundsOneOfAnAbortedWorkflow() public {
        _showLeg(3, 11, true);
        vm.assertEq(exit.claims(A), 50);
    }

    /// @dev Two answers to one leg: the workflow took the other one, and this one's refund has not come yet.
    function test_showLeg_refundsOneThatDidNotJoin() public {
        _showLeg(2, 5, false);
        vm.assertEq(exit.claims(A), 50);
        vm.assertEq(exit.claims(B), 0);
    }

    function test_showLeg_waitsForAVerdictWhenTheRecordIsGone() public {
        uint32 place = setEscrow(1, _leg(1, 1, 0, idOf(7, 0)));
        trie.set(workflowAt(idOf(7, 0)), workflowCell(7 + 2 ** 18, 2));
        openWith(500);
        IExits.Shown memory escrow = shown(place);
        IExits.Shown memory workflow = shownQuad(workflowAt(idOf(7, 0)));
        _refuse(
            abi.encodeCall(IExits.showLeg, (escrow, workflow)),
            abi.encodeWithSelector(IExits.TooEarly.selector, exit.halvesUntil())
        );
        pastHalves();
        exit.showLeg(escrow, workflow);
        vm.assertEq(exit.claims(A), 50);
        _refuse(abi.encodeCall(IExits.showLeg, (escrow, workflow)), _again(place));
    }

    function test_showVerdict_decidesWhereTheRecordIsGone(bool release) public {
        uint32 place = setEscrow(1, _leg(1, 1, 0, idOf(7, 0)));
        bytes memory payload = abi.encodePacked(uint8(6), uint56(idOf(1, 1)), release ? uint8(1) : uint8(0));
        uint32 message = setMessage(0, 1, RECEIVED + 1, 6, 0, 0, payload);
        openWith(500);
        IExits.Shown memory verdict = shown(message);
        IExits.Shown memory peer = shown(peerAt(1, 0));
        _refuse(
            abi.encodeCall(
                IExits.showVerdict,
                (verdict, peer, abi.encodePacked(uint8(6), uint56(idOf(1, 1)), release ? uint8(0) : uint8(1)))
            ),
            abi.encodeWithSelector(IExits.BadProof.selector)
        );
        vm.expectEmit();
        emit IExits.VerdictShown(place, release);
        exit.showVerdict(verdict, peer, payload);
        exit.showLeg(shown(place), shownQuad(workflowAt(idOf(7, 0))));
        vm.assertEq(exit.claims(B), release ? 30 : 0);
        vm.assertEq(exit.claims(A), release ? 20 : 50);
    }

    function test_showVerdict_reverts() public {
        bytes memory payload = abi.encodePacked(uint8(6), uint56(idOf(1, 1)), uint8(1));
        uint32 received = setMessage(0, 1, RECEIVED, 6, 0, 0, payload);
        uint32 rating = setMessage(0, 1, RECEIVED + 1, 7, 0, 0, payload);
        uint32 verdict = setMessage(0, 1, RECEIVED + 2, 6, 0, 0, payload);
        openWith(500);
        IExits.Shown memory peer = shown(peerAt(1, 0));
        _refuse(abi.encodeCall(IExits.showVerdict, (shown(received), peer, payload)), _nothing(received));
        _refuse(abi.encodeCall(IExits.showVerdict, (shown(rating), peer, payload)), _nothing(rating));
        _refuse(
            abi.encodeCall(IExits.showVerdict, (shown(verdict), shown(peerAt(0, 1)), payload)), _nothing(peerAt(0, 1))
        );
        pastHalves();
        _refuse(
            abi.encodeCall(IExits.showVerdict, (shown(verdict), peer, payload)),
            abi.encodeWithSelector(IExits.TooLate.selector, exit.halvesUntil())
        );
    }

    function test_showLeg_revertsWhereThereIsNothing() public {
        Escrow memory e = _open(1, A, B, idOf(1, 0), 50);
        (e.status, e.paid) = (2, 30);
        setEscrow(0, e);
        setEscrow(0, _leg(0, 2, 0, idOf(1, 0)));
        e = _leg(0, 3, 0, idOf(1, 0));
        e.status = 3;
        setEscrow(0, e);
        e = _leg(0, 4, 0, idOf(1, 0)); // an order
        e.service = idOf(1, 1);
        setEscrow(0, e);
        openWith(500);
        IExits.Shown memory workflow = shownQuad(workflowAt(idOf(1, 0)));
        for (uint48 i = 1; i <= 4; ++i) {
            if (i == 2) continue;
            _refuse(
                abi.encodeCall(IExits.showLeg, (shown(escrowAt(idOf(i, 0))), workflow)), _nothing(escrowAt(idOf(i, 0)))
            );
        }
        _refuse(
            abi.encodeCall(IExits.showLeg, (shown(escrowAt(idOf(2, 0))), shownQuad(workflowAt(idOf(2, 0))))),
            _nothing(workflowAt(idOf(2, 0)))
        );
        IExits.Shown memory shifted = shownQuad(workflowAt(idOf(1, 0)));
        shifted.cellAddress += 1;
        _refuse(
            abi.encodeCall(IExits.showLeg, (shown(escrowAt(idOf(2, 0))), shifted)),
            abi.encodeWithSelector(IExits.NothingThere.selector, shifted.cellAddress)
        );
    }

    // --- messages ---

    function test_showMessage_isItsAgents(uint8 kind) public {
        kind = 2 + kind % 3;
        uint32 place = setMessage(0, 1, RECEIVED + 1, kind, A, 40, "any");
        openWith(500);
        exit.showMessage(shown(place), shown(peerAt(1, 0)), "", nothing());
        vm.assertEq(exit.claims(A), 40);
        _refuse(abi.encodeCall(IExits.showMessage, (shown(place), shown(peerAt(1, 0)), "", nothing())), _again(place));
    }

    function test_showMessage_revertsWhereThereIsNothing() public {
        uint32 received = setMessage(0, 1, RECEIVED, 4, A, 40, "any");
        uint32 empty = setMessage(0, 1, RECEIVED + 1, 3, A, 0, "any");
        uint32 other = setMessage(0, 1, RECEIVED + 2, 3, A, 5, "any");
        openWith(500);
        _refuse(
            abi.encodeCall(IExits.showMessage, (shown(received), shown(peerAt(1, 0)), "", nothing())),
            _nothing(received)
        );
        _refuse(abi.encodeCall(IExits.showMessage, (shown(empty), shown(peerAt(1, 0)), "", nothing())), _nothing(empty));
        _refuse(
            abi.encodeCall(IExits.showMessage, (shown(other), shown(peerAt(2, 0)), "", nothing())),
            _nothing(peerAt(2, 0))
        );
        _refuse(
            abi.encodeCall(IExits.showMessage, (shown(messageAt(0, 1, 99)), shown(peerAt(0, 0)), "", nothing())),
            _nothing(messageAt(0, 1, 99))
        );
    }

    function test_showMessage_callIsItsActors() public {
        uint32 place = setMessage(0, 1, RECEIVED + 1, 1, A, 40, "any");
        openWith(500);
        exit.showMessage(shown(place), shown(peerAt(1, 0)), "", nothing());
        vm.assertEq(exit.claims(A), 40);
    }

    function test_showMessage_transferIsItsAddressees() public {
        uint32 place = setMessage(0, 1, RECEIVED + 1, 1, B, 40, "any");
        openWith(500);
        IExits.Shown memory message = shown(place);
        IExits.Shown memory peer = shown(peerAt(1, 0));
        _refuse(abi.encodeCall(IExits.showMessage, (message, peer, "", nothing())), _nothing(0));
        exit.showMessage(message, peer, "", shown(agentAt(B)));
        vm.assertEq(exit.claims(B), 40);
    }

    function test_showMessage_transferToNobodyIsItsActors() public {
        bytes memory payload = abi.encodePacked(uint8(1), A, uint56(40), hex"03");
        uint32[3] memory absent = [NOBODY, 1, uint32(2 ** 28 + 1)];
        for (uint48 i; i < 3; ++i) {
            setMessage(0, 1, RECEIVED + 1 + i, 1, absent[i], 40, payload);
        }
        openWith(500);
        for (uint48 i; i < 3; ++i) {
            IExits.Shown memory message = shown(messageAt(0, 1, RECEIVED + 1 + i));
            IExits.Shown memory peer = shown(peerAt(1, 0));
            IExits.Shown memory addressee = i == 0 ? shown(agentAt(NOBODY)) : nothing();
            _refuse(
                abi.encodeCall(IExits.showMessage, (message, peer, "", addressee)),
                abi.encodeWithSelector(IExits.BadProof.selector)
            );
            exit.showMessage(message, peer, payload, addressee);
            vm.assertEq(exit.claims(absent[i]), 0);
            vm.assertEq(exit.claims(A), 40 * (i + 1));
        }
    }

    function test_showMessage_paysItemsAtOnce() public {
        bytes memory registered = abi.encodePacked(uint8(9), uint8(1), uint8(1), bob, keyX, keyY, uint56(40));
        bytes memory deposited = abi.encodePacked(uint8(9), uint8(2), bob, B, uint56(2));
        setMessage(0, 1, RECEIVED + 1, 9, 0, 40, registered);
        setMessage(0, 1, RECEIVED + 2, 9, B, 2, deposited);
        openWith(500);
        uint256 before = token.balanceOf(bob);
        IExits.Shown memory peer = shown(peerAt(1, 0));
        IExits.Shown memory message = shown(messageAt(0, 1, RECEIVED + 1));
        _refuse(
            abi.encodeCall(IExits.showMessage, (message, peer, deposited, nothing())),
            abi.encodeWithSelector(IExits.BadProof.selector)
        );
        exit.showMessage(message, peer, registered, nothing());
        vm.assertEq(token.balanceOf(bob) - before, 40 * UNIT);
        exit.showMessage(shown(messageAt(0, 1, RECEIVED + 2)), peer, deposited, nothing());
        vm.assertEq(token.balanceOf(bob) - before, 42 * UNIT);
        _refuse(
            abi.encodeCall(IExits.showMessage, (message, peer, registered, nothing())),
            _again(messageAt(0, 1, RECEIVED + 1))
        );
    }

    // --- sessions ---

    function test_showSession_paysOutWhatTheStateSays() public {
        uint32 place = setSession(1, Session(1, A, B, 100, 20, 30, 5, 1));
        openWith(500);
        IExits.Shown memory session = shownQuad(place);
        _refuse(
            abi.encodeCall(IExits.showSession, (session)),
            abi.encodeWithSelector(IExits.TooEarly.selector, exit.halvesUntil())
        );
        pastHalves();
        exit.showSession(session);
        vm.assertEq(exit.claims(A), 75);
        vm.assertEq(exit.claims(B), 45);
        _refuse(abi.encodeCall(IExits.showSession, (session)), _again(place));
    }

    function test_showHalf_counts() public {
        uint32 place = setSession(1, Session(1, A, B, 100, 20, 30, 0, 2));
        openWith(500);
        IExits.Shown memory session = shownQuad(place);
        (Digests.Half memory newer, bytes32 r, bytes32 s) = half(idOf(1, 1), 0, 60);
        vm.expectEmit();
        emit IExits.HalfShown(place, 0, 60);
        exit.showHalf(session, newer, r, s);
        (Digests.Half memory older, bytes32 r2, bytes32 s2) = half(idOf(1, 1), 0, 50);
        exit.showHalf(session, older, r2, s2);
        vm.assertEq(exit.paidBy(place, 0), 60);
        (Digests.Half memory back, bytes32 r3, bytes32 s3) = half(idOf(1, 1), 1, 1);
        exit.showHalf(session, back, r3, s3);
        pastHalves();
        exit.showSession(session);
        vm.assertEq(exit.claims(A), 41);
        vm.assertEq(exit.claims(B), 79);
    }

    function test_showHalves_counts() public {
        uint32 one = setSession(1, Session(1, A, B, 100, 20, 30, 0, 2));
        uint32 two = setSession(1, Session(2, A, B, 100, 20, 30, 0, 1));
        openWith(500);
        IExits.SignedHalf[] memory halves = new IExits.SignedHalf[](3);
        halves[0] = _signed(one, idOf(1, 1), 60);
        // Says less than is known by then.
        halves[1] = _signed(one, idOf(1, 1), 50);
        halves[2] = _signed(two, idOf(2, 1), 70);
        exit.showHalves(halves);
        vm.snapshotGasLastCall("Leaving", "showHalves of 3");
        vm.assertEq(exit.paidBy(one, 0), 60);
        vm.assertEq(exit.paidBy(two, 0), 70);

        halves[0] = _signed(one, idOf(1, 1), 80);
        halves[2].s = bytes32(uint256(halves[2].s) ^ 1);
        _refuse(abi.encodeCall(IExits.showHalves, (halves)), abi.encodeWithSelector(IExits.BadSignature.selector));
        vm.assertEq(exit.paidBy(one, 0), 60);
        pastHalves();
        _refuse(
            abi.encodeCall(IExits.showHalves, (halves)),
            abi.encodeWithSelector(IExits.TooLate.selector, exit.halvesUntil())
        );
    }

    /// @dev Neither more than there is, nor less than nothing, whatever was signed.
    function test_showSession_clamps(uint64 paidAB, uint64 paidBA, uint56 depositA, uint56 depositB) public {
        (paidAB, paidBA) = (paidAB % 2 ** 53, paidBA % 2 ** 53);
        (depositA, depositB) = (depositA % 2 ** 52, depositB % 2 ** 52);
        uint32 place = setSession(1, Session(1, A, B, depositA, depositB, 0, 0, 1));
        openWith(500);
        IExits.Shown memory session = shownQuad(place);
        (Digests.Half memory ab, bytes32 r, bytes32 s) = half(idOf(1, 1), 0, paidAB);
        exit.showHalf(session, ab, r, s);
        (Digests.Half memory ba, bytes32 r2, bytes32 s2) = half(idOf(1, 1), 1, paidBA);
        exit.showHalf(session, ba, r2, s2);
        pastHalves();
        exit.showSession(session);
        int256 outB = int256(uint256(depositB)) + int256(uint256(paidAB)) - int256(uint256(paidBA));
        int256 total = int256(uint256(depositA)) + int256(uint256(depositB));
        if (outB < 0) outB = 0;
        if (outB > total) outB = total;
        vm.assertEq(exit.claims(B), uint256(outB));
        vm.assertEq(exit.claims(A), uint256(total - outB));
    }

    function test_showHalf_reverts() public {
        uint32 place = setSession(1, Session(1, A, B, 100, 20, 30, 0, 1));
        setSession(1, Session(2, A, B, 100, 20, 30, 0, 1));
        uint32 closed = setSession(1, Session(3, A, B, 100, 20, 30, 0, 3));
        openWith(500);
        IExits.Shown memory session = shownQuad(place);
        (Digests.Half memory good, bytes32 r, bytes32 s) = half(idOf(1, 1), 0, 60);

        (Digests.Half memory other, bytes32 r2, bytes32 s2) = half(idOf(2, 1), 0, 60);
        _refuseHalf(session, other, r2, s2);
        (r2, s2) = signHalf(good, pinned[1]);
        _refuseHalf(session, good, r2, s2);
        other = Digests.Half(idOf(1, 1), 2, 1, 1, 60, 0, 0);
        (r2, s2) = signHalf(other, pinned[0]);
        _refuseHalf(session, other, r2, s2);
        other = Digests.Half(idOf(1, 1), 0, 1, 1, 2 ** 53, 0, 0);
        (r2, s2) = signHalf(other, pinned[0]);
        _refuseHalf(session, other, r2, s2);
        other = Digests.Half(idOf(1, 1), 0, 1, 1, 60, 0, "lock");
        (r2, s2) = signHalf(other, pinned[0]);
        _refuseHalf(session, other, r2, s2);
        good.paid = 61;
        _refuseHalf(session, good, r, s);
        good.paid = 60;
        IExits.Shown memory done = shownQuad(closed);
        _refuse(abi.encodeCall(IExits.showHalf, (done, good, r, s)), _nothing(closed));
        pastHalves();
        _refuse(
            abi.encodeCall(IExits.showHalf, (session, good, r, s)),
            abi.encodeWithSelector(IExits.TooLate.selector, exit.halvesUntil())
        );
    }

    function test_showSession_revertsWhereThereIsNothing() public {
        uint32 closed = setSession(1, Session(3, A, B, 100, 20, 30, 0, 3));
        uint32 other = workflowAt(idOf(1, 1));
        trie.set(other, sessionCell(Session(1, A, B, 100, 20, 30, 0, 1)));
        openWith(500);
        pastHalves();
        _refuse(abi.encodeCall(IExits.showSession, (shownQuad(closed))), _nothing(closed));
        _refuse(abi.encodeCall(IExits.showSession, (shownQuad(other))), _nothing(other));
        // A cell is no quad, and a quad of proofs one level short is none.
        IExits.Shown memory cell = shown(closed);
        _refuse(abi.encodeCall(IExits.showSession, (cell)), abi.encodeWithSelector(IExits.BadProof.selector));
    }

    // --- the inbox ---

    function test_returnDeposit_paysWhatNoBatchConsumed() public {
        deposit(alice, A, 5);
        last = postNext();
        settle(last);
        deposit(bob, A, 7);
        vm.prank(bob);
        root.register(1, keyX, keyY, 8);
        vm.prank(bob);
        root.forceWithdraw(A, 9);
        vm.warp(root.freezableAt());
        root.freeze();
        exit.open(last, trie.root());
        uint256 before = token.balanceOf(bob);
        bytes memory consumed = abi.encodePacked(uint8(2), alice, A, uint56(5));
        _refuseItem(0, consumed);
        bytes memory deposited = abi.encodePacked(uint8(2), bob, A, uint56(7));
        bytes memory registered = abi.encodePacked(uint8(1), uint8(1), bob, keyX, keyY, uint56(8));
        _refuseItem(2, deposited);
        _refuseItem(4, deposited);
        _refuseItem(3, abi.encodePacked(uint8(3), bob, A, uint56(9)));
        vm.expectEmit();
        emit IExits.DepositReturned(1, bob, 7);
        exit.returnDeposit(1, deposited);
        exit.returnDeposit(2, registered);
        vm.assertEq(token.balanceOf(bob) - before, 15 * UNIT);
        vm.assertEq(root.held(), 5);
        vm.assertTrue(exit.returned(1));
        _refuse(
            abi.encodeCall(IExits.returnDeposit, (1, deposited)),
            abi.encodeWithSelector(IExits.AlreadyReturned.selector, 1)
        );
    }

    // --- gas ---

    function test_exits_gas() public {
        uint32 escrow = setEscrow(0, _open(1, A, B, idOf(1, 0), 50));
        uint32 session = setSession(1, Session(1, A, B, 100, 20, 30, 5, 1));
        openWith(500);
        vm.snapshotGasLastCall("Leaving", "open");
        exit.showAgent(shown(agentAt(A)));
        vm.snapshotGasLastCall("Leaving", "showAgent");
        exit.showEscrow(shown(escrow));
        vm.snapshotGasLastCall("Leaving", "showEscrow");
        (Digests.Half memory made, bytes32 r, bytes32 s) = half(idOf(1, 1), 0, 60);
        exit.showHalf(shownQuad(session), made, r, s);
        vm.snapshotGasLastCall("Leaving", "showHalf");
        pastHalves();
        exit.showSession(shownQuad(session));
        vm.snapshotGasLastCall("Leaving", "showSession");
        exit.collect(A);
        vm.snapshotGasLastCall("Leaving", "collect");
    }

    // --- helpers ---

    function _signed(uint32 place, uint64 session, uint64 paid) private returns (IExits.SignedHalf memory) {
        (Digests.Half memory made, bytes32 r, bytes32 s) = half(session, 0, paid);
        return IExits.SignedHalf(shownQuad(place), made, r, s);
    }

    function _open(uint48 serial, uint32 payer, uint32 payee, uint32 service, uint56 amount)
        private
        pure
        returns (Escrow memory)
    {
        return Escrow(serial, payer, payee, service, amount, 0, 1, 0, 0);
    }

    /// @dev An answered leg, 30 of 50, of a service of that shard.
    function _leg(uint8 shard, uint48 serial, uint8 leg, uint32 workflow) private pure returns (Escrow memory) {
        return Escrow(serial, A, B, idOf(1, shard), 50, 30, 2, workflow, leg);
    }

    function _showLeg(uint8 status, uint8 leg, bool joined) private {
        uint32 place = setEscrow(1, _leg(1, 1, leg, idOf(7, 0)));
        uint32 workflow = workflowAt(idOf(7, 0));
        trie.set(workflow, workflowCell(7, status));
        trie.set(workflow + 1 + leg / 4, legCell(leg, joined ? idOf(1, 1) : idOf(2, 1)));
        openWith(500);
        exit.showLeg(shown(place), shownQuad(workflow));
        _refuse(abi.encodeCall(IExits.showLeg, (shown(place), shownQuad(workflow))), _again(place));
    }

    function _emptyRoot() private view returns (bytes32) {
        return keccak256(abi.encodePacked(_z(15), _z(15), _z(15), _z(15)));
    }

    function _z(uint256 height) private view returns (bytes32) {
        // Nothing was ever set in this part of the tree.
        return trie.node(height, 4 ** (16 - height) - 1);
    }

    function _again(uint32 place) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IExits.AlreadyShown.selector, place);
    }

    function _nothing(uint32 place) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IExits.NothingThere.selector, place);
    }

    /// @dev By hand, because what is shown is looked up in the tree between a cheatcode and the call.
    function _refuse(bytes memory call, bytes memory reason) private {
        (bool done, bytes memory why) = exits.call(call);
        vm.assertFalse(done);
        vm.assertEq(why, reason, "reason");
    }

    function _refuseHalf(IExits.Shown memory session, Digests.Half memory bad, bytes32 r, bytes32 s) private {
        _refuse(
            abi.encodeCall(IExits.showHalf, (session, bad, r, s)), abi.encodeWithSelector(IExits.BadSignature.selector)
        );
    }

    function _refuseItem(uint64 index, bytes memory item) private {
        _refuse(
            abi.encodeCall(IExits.returnDeposit, (index, item)), abi.encodeWithSelector(IExits.BadItem.selector, index)
        );
    }
}
