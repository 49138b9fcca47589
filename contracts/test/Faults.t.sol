// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IFaults} from "../src/IFaults.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {FaultsBase} from "./FaultsBase.sol";
import {vm} from "./Vm.sol";

/// @notice Each fault that needs no game, shown; and what is no fault, refused.
contract FaultsTest is FaultsBase {
    uint32 private constant INBOX = 1;

    function test_root_isKnown() public view {
        vm.assertEq(address(proofs.root()), address(root));
    }

    function test_proveInbox_voidsAnotherCursor() public {
        deposit(alice, 256, 1);
        deposit(alice, 256, 2);
        trie.set(INBOX, inboxCell(root.accumulator(1), 1)); // the header says 2
        IRoot.Batch memory batch = postNext();
        IFaults.Proven memory inbox = proven(INBOX);
        expectVoided(1, "inbox");
        proofs.proveInbox(batch, inbox);
        vm.assertEq(root.head(), 0);
        vm.assertEq(root.credits(carol), MIN_BOND / 2);
    }

    function test_proveInbox_voidsAnotherAccumulator() public {
        deposit(alice, 256, 1);
        trie.set(INBOX, inboxCell(keccak256("another item"), 1));
        IRoot.Batch memory batch = postNext();
        IFaults.Proven memory inbox = proven(INBOX);
        expectVoided(1, "inbox");
        proofs.proveInbox(batch, inbox);
    }

    function test_proveInbox_voidsWhereNothingWasConsumed() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = postNext(); // the cell is empty, the header says 1
        IFaults.Proven memory inbox = proven(INBOX);
        expectVoided(1, "inbox");
        proofs.proveInbox(batch, inbox);
    }

    function test_proveInbox_refusesTheTruth(uint8 items, uint8 left) public {
        items %= 4;
        for (uint64 i; i < items; ++i) {
            deposit(alice, 256, 1 + i);
        }
        uint64 cursor = items - left % (items + 1);
        trie.set(INBOX, inboxCell(root.accumulator(cursor), cursor));
        IRoot.Batch memory batch = nextBatch();
        batch.inboxCursor = cursor;
        post(batch, someData());
        deposit(alice, 256, 99);
        IFaults.Proven memory inbox = proven(INBOX);
        expectRefused(IFaults.NoFault.selector);
        proofs.proveInbox(batch, inbox);
    }

    function test_proveInbox_refusesOtherCells() public {
        deposit(alice, 256, 1);
        setInbox();
        trie.set(metaAddress(1, 1), inboxCell(0, 7)); // another shard's
        trie.set(2, inboxCell(0, 7)); // another slot's
        IRoot.Batch memory batch = postNext();
        IFaults.Proven memory inbox = proven(metaAddress(1, 1));
        expectRefused(IFaults.BadProof.selector);
        proofs.proveInbox(batch, inbox);
        inbox = proven(2);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveInbox(batch, inbox);
        inbox = proven(INBOX);
        inbox.cell[37] = 0x09;
        expectRefused(IFaults.BadProof.selector);
        proofs.proveInbox(batch, inbox);
        inbox = proven(INBOX);
        inbox.cell = new bytes(63);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveInbox(batch, inbox);
    }

    function test_proveInbox_refusesAnotherState() public {
        deposit(alice, 256, 1);
        setInbox();
        IRoot.Batch memory batch = postNext();
        trie.set(INBOX, inboxCell(0, 7));
        IFaults.Proven memory inbox = proven(INBOX);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveInbox(batch, inbox);
    }

    /// @dev A `post` with another context is a wrong last step: the game's matter.
    function test_proveInbox_refusesAnotherContext() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = nextBatch();
        batch.post = keccak256(abi.encode(trie.root(), 1));
        post(batch, someData());
        IFaults.Proven memory inbox = proven(INBOX);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveInbox(batch, inbox);
    }

    function test_proveTime_voidsATickTooEarly() public {
        _voidTick(uint32(block.timestamp) - 11);
    }

    function test_proveTime_voidsATickTooLate() public {
        _voidTick(uint32(block.timestamp) + 1);
    }

    /// @dev The protocol refuses such a tick, and the page such a batch.
    function test_proveTime_voidsATickOutOfRange() public {
        _voidTick(type(uint32).max);
    }

    function test_proveTime_refusesTicksInTime(uint32 before) public {
        uint32 time = uint32(block.timestamp) - before % 11;
        _refuseFrame(tick(time));
    }

    function test_proveTime_refusesOtherFrames() public {
        _refuseFrame(hex"02ffffffff");
        _refuseFrame(hex"01ffffff");
        _refuseFrame(hex"01ffffffff00");
        _refuseFrame(hex"01");
        _refuseFrame(hex"11ffffffff");
    }

    function test_proveTime_refusesAFrameThatIsNotThere() public {
        bytes[] memory frames = _frames(tick(uint32(block.timestamp)));
        IRoot.Batch memory batch = postFrames(2, 40, frames);
        IGame.Opening memory opening = openingOf(2, 40, frames, 1);
        opening.frame = tick(1);
        expectRefused(IFaults.BadOpening.selector);
        proofs.proveTime(batch, opening);
        opening = openingOf(2, 40, frames, 1);
        opening.index = 0;
        expectRefused(IFaults.BadOpening.selector);
        proofs.proveTime(batch, opening);
        opening = openingOf(2, 40, frames, 1);
        opening.frames = 1;
        expectRefused(IFaults.BadOpening.selector);
        proofs.proveTime(batch, opening);
    }

    function test_proveClock_voidsAClockLeftBehind(uint8 shard, uint48 seq) public {
        seq = 1 + seq % (2 ** 48 - 1);
        IRoot.Batch memory batch = _postHead(shard, uint32(block.timestamp) - 11, seq);
        IFaults.Proven memory head = proven(metaAddress(shard, 0));
        expectVoided(1, "clock");
        proofs.proveClock(batch, shard, head);
    }

    function test_proveClock_refusesAClockInTime(uint8 shard, uint32 time) public {
        time = uint32(block.timestamp) - 10 + time % 10;
        IRoot.Batch memory batch = _postHead(shard, time, 1);
        IFaults.Proven memory head = proven(metaAddress(shard, 0));
        expectRefused(IFaults.NoFault.selector);
        proofs.proveClock(batch, shard, head);
    }

    function test_proveClock_refusesAShardThatNeverRan() public {
        IRoot.Batch memory batch = _postHead(3, 0, 0);
        IFaults.Proven memory head = proven(metaAddress(3, 0));
        expectRefused(IFaults.NoFault.selector);
        proofs.proveClock(batch, 3, head);
        head = proven(metaAddress(2, 0)); // empty
        expectRefused(IFaults.NoFault.selector);
        proofs.proveClock(batch, 2, head);
    }

    function test_proveClock_refusesAnotherShardsHead() public {
        IRoot.Batch memory batch = _postHead(3, 1, 1);
        IFaults.Proven memory head = proven(metaAddress(3, 0));
        expectRefused(IFaults.BadProof.selector);
        proofs.proveClock(batch, 2, head);
    }

    function test_proveLate_voidsAMessageNotReceived(uint8 from, uint8 to, uint48 sent, uint48 received) public {
        vm.assume(from != to);
        sent = 1 + sent % (2 ** 48 - 1);
        received %= sent;
        (IRoot.Batch memory one, IRoot.Batch memory two, IFaults.Proven memory a, IFaults.Proven memory b) =
            _twoBatches(from, to, sent, received);
        expectVoided(2, "late message");
        proofs.proveLate(one, two, from, to, a, b);
        vm.assertEq(root.head(), 1);
    }

    function test_proveLate_refusesWhatWasReceived(uint8 from, uint8 to, uint48 sent, uint48 more) public {
        vm.assume(from != to);
        uint48 received = more > type(uint48).max - sent ? type(uint48).max : sent + more;
        (IRoot.Batch memory one, IRoot.Batch memory two, IFaults.Proven memory a, IFaults.Proven memory b) =
            _twoBatches(from, to, sent, received);
        expectRefused(IFaults.NoFault.selector);
        proofs.proveLate(one, two, from, to, a, b);
    }

    /// @dev What was sent within the batch is the next one's to receive.
    function test_proveLate_refusesWhatWasJustSent() public {
        IRoot.Batch memory one = postNext();
        IFaults.Proven memory sent = proven(metaAddress(0, 256 + 1));
        trie.set(metaAddress(0, 256 + 1), peerCell(9, 0, 0));
        IRoot.Batch memory two = postNext();
        IFaults.Proven memory received = proven(metaAddress(1, 256));
        expectRefused(IFaults.NoFault.selector);
        proofs.proveLate(one, two, 0, 1, sent, received);
        sent = proven(metaAddress(0, 256 + 1));
        expectRefused(IFaults.BadProof.selector);
        proofs.proveLate(one, two, 0, 1, sent, received);
    }

    function test_proveLate_refusesAnotherPredecessor() public {
        (IRoot.Batch memory one, IRoot.Batch memory two, IFaults.Proven memory a, IFaults.Proven memory b) =
            _twoBatches(0, 1, 5, 4);
        IRoot.Batch memory three = postNext();
        expectRefused(abi.encodeWithSelector(IFaults.NotStanding.selector, 1));
        proofs.proveLate(one, three, 0, 1, a, b);
        expectRefused(abi.encodeWithSelector(IFaults.NotStanding.selector, 2));
        proofs.proveLate(two, two, 0, 1, b, b);
    }

    /// @dev The cells are the two shards' own for each other, not the other way round.
    function test_proveLate_refusesOtherPeers() public {
        (IRoot.Batch memory one, IRoot.Batch memory two, IFaults.Proven memory a, IFaults.Proven memory b) =
            _twoBatches(0, 1, 5, 4);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveLate(one, two, 1, 0, a, b);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveLate(one, two, 0, 2, a, b);
        expectRefused(IFaults.BadProof.selector);
        proofs.proveLate(one, two, 0, 1, b, a);
    }

    function test_prove_revertsOnWhatDoesNotStand() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = postNext();
        IFaults.Proven memory inbox = proven(INBOX);
        IGame.Opening memory opening;
        invalidate(1);
        bytes memory reason = abi.encodeWithSelector(IFaults.NotStanding.selector, 1);
        expectRefused(reason);
        proofs.proveInbox(batch, inbox);
        expectRefused(reason);
        proofs.proveTime(batch, opening);
        expectRefused(reason);
        proofs.proveClock(batch, 0, inbox);
        expectRefused(reason);
        proofs.proveLate(batch, batch, 0, 1, inbox, inbox);
    }

    function test_prove_revertsOnAFinalBatch() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = postNext();
        IFaults.Proven memory inbox = proven(INBOX);
        vm.warp(block.timestamp + WINDOW);
        root.finalize(1);
        expectRefused(abi.encodeWithSelector(IRoot.AlreadyFinal.selector, 1));
        proofs.proveInbox(batch, inbox);
    }

    /// @dev Past the window but not final yet: still wrong, still shown.
    function test_prove_worksUntilFinality() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = postNext();
        IFaults.Proven memory inbox = proven(INBOX);
        vm.warp(block.timestamp + WINDOW);
        expectVoided(1, "inbox");
        proofs.proveInbox(batch, inbox);
    }

    function test_prove_gas() public {
        deposit(alice, 256, 1);
        IRoot.Batch memory batch = postNext();
        proofs.proveInbox(batch, proven(INBOX));
        vm.snapshotGasLastCall("Faults", "proveInbox");
        bondSequencer();
        (IRoot.Batch memory one, IRoot.Batch memory two, IFaults.Proven memory a, IFaults.Proven memory b) =
            _twoBatches(0, 1, 5, 4);
        proofs.proveLate(one, two, 0, 1, a, b);
        vm.snapshotGasLastCall("Faults", "proveLate");
        bondSequencer();
        batch = _postHead(0, 1, 1);
        proofs.proveClock(batch, 0, proven(metaAddress(0, 0)));
        vm.snapshotGasLastCall("Faults", "proveClock");
        bondSequencer();
        bytes[] memory frames = _frames(tick(1));
        batch = postFrames(0, 0, frames);
        proofs.proveTime(batch, openingOf(0, 0, frames, 1));
        vm.snapshotGasLastCall("Faults", "proveTime");
    }

    function _voidTick(uint32 time) private {
        bytes[] memory frames = _frames(tick(time));
        IRoot.Batch memory batch = postFrames(2, 40, frames);
        IGame.Opening memory opening = openingOf(2, 40, frames, 1);
        expectVoided(1, "time");
        proofs.proveTime(batch, opening);
    }

    function _refuseFrame(bytes memory frame) private {
        bytes[] memory frames = _frames(frame);
        IRoot.Batch memory batch = postFrames(2, 40, frames);
        IGame.Opening memory opening = openingOf(2, 40, frames, 1);
        expectRefused(IFaults.NoFault.selector);
        proofs.proveTime(batch, opening);
    }

    /// @dev The frame between two others.
    function _frames(bytes memory frame) private pure returns (bytes[] memory frames) {
        frames = new bytes[](3);
        frames[0] = hex"1001ee";
        frames[1] = frame;
        frames[2] = hex"aa";
    }

    function _postHead(uint8 shard, uint32 time, uint48 seq) private returns (IRoot.Batch memory) {
        trie.set(metaAddress(shard, 0), headCell(time, seq));
        return postNext();
    }

    function _twoBatches(uint8 from, uint8 to, uint48 sent, uint48 received)
        private
        returns (IRoot.Batch memory one, IRoot.Batch memory two, IFaults.Proven memory a, IFaults.Proven memory b)
    {
        uint32 sender = metaAddress(from, 256 + uint256(to));
        uint32 receiver = metaAddress(to, 256 + uint256(from));
        trie.set(sender, peerCell(sent, 7, 8));
        one = postNext();
        a = proven(sender);
        trie.set(sender, peerCell(sent, 7, 9));
        trie.set(receiver, peerCell(3, 2, received));
        two = postNext();
        b = proven(receiver);
    }
}
