// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Digests} from "../src/Digests.sol";
import {IFaults} from "../src/IFaults.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {FaultsBase} from "./FaultsBase.sol";
import {vm} from "./Vm.sol";

/// @notice Soft receipts that the sequencer did not keep.
contract ReceiptsTest is FaultsBase {
    uint256 private constant SEQUENCER_KEY = 7; // of `RootBase.keyX`
    uint8 private constant SHARD = 2;
    uint48 private constant SEQ = 41;

    function test_slashTwo_paysForTwoFrames() public {
        IFaults.Signed memory one = _sign(_receipt());
        Digests.Receipt memory other = _receipt();
        other.frameHash = keccak256("another frame");
        IFaults.Signed memory two = _sign(other);
        _expectSlash("two");
        proofs.slashTwo(one, two);
        vm.assertEq(root.credits(carol), MIN_BOND / 2);
        vm.assertEq(root.bonded(), 0);
        vm.assertEq(root.head(), 0);
    }

    function test_slashTwo_paysForTwoPasts() public {
        Digests.Receipt memory other = _receipt();
        other.runningHash = keccak256("another past");
        _slashTwo(other);
    }

    function test_slashTwo_paysForTwoOutcomes() public {
        Digests.Receipt memory other = _receipt();
        other.outcomesHash = keccak256("another outcome");
        _slashTwo(other);
    }

    function test_slashTwo_refusesTheSameSaidTwice() public {
        IFaults.Signed memory one = _sign(_receipt());
        Digests.Receipt memory other = _receipt();
        other.promisedBy += 5;
        IFaults.Signed memory two = _sign(other);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashTwo(one, one);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashTwo(one, two);
    }

    function test_slashTwo_refusesOtherPlaces() public {
        IFaults.Signed memory one = _sign(_receipt());
        Digests.Receipt memory other = _receipt();
        other.frameHash = keccak256("another frame");
        other.seq += 1;
        IFaults.Signed memory two = _sign(other);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashTwo(one, two);
        other.seq = SEQ;
        other.shard = 1;
        two = _sign(other);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashTwo(one, two);
    }

    function test_slashTwo_refusesOtherSignatures() public {
        IFaults.Signed memory one = _sign(_receipt());
        Digests.Receipt memory other = _receipt();
        other.frameHash = keccak256("another frame");
        IFaults.Signed memory two = _signBy(8, root.domainSeparator(), other); // another key
        expectRefused(IFaults.BadSignature.selector);
        proofs.slashTwo(one, two);
        expectRefused(IFaults.BadSignature.selector);
        proofs.slashTwo(two, one);
        two = _signBy(SEQUENCER_KEY, Digests.domainSeparator(block.chainid, address(this)), other); // another deployment
        expectRefused(IFaults.BadSignature.selector);
        proofs.slashTwo(one, two);
        two = _sign(other);
        two.receipt.frameHash = keccak256("a third frame");
        expectRefused(IFaults.BadSignature.selector);
        proofs.slashTwo(one, two);
    }

    function test_slashTwo_paysOnceForAPlace() public {
        vm.deal(sequencer, 5 * MIN_BOND);
        vm.prank(sequencer);
        root.bond{value: 5 * MIN_BOND}();
        IFaults.Signed memory one = _sign(_receipt());
        Digests.Receipt memory other = _receipt();
        other.frameHash = keccak256("another frame");
        IFaults.Signed memory two = _sign(other);
        other.frameHash = keccak256("a third frame");
        IFaults.Signed memory three = _sign(other);
        vm.prank(carol);
        proofs.slashTwo(one, two);
        expectRefused(abi.encodeWithSelector(IFaults.AlreadyShown.selector, SHARD, SEQ));
        proofs.slashTwo(two, one);
        expectRefused(abi.encodeWithSelector(IFaults.AlreadyShown.selector, SHARD, SEQ));
        proofs.slashTwo(three, one);

        one.receipt.seq += 1; // of another place it pays again
        other.seq += 1;
        one = _sign(one.receipt);
        two = _sign(other);
        vm.prank(carol);
        proofs.slashTwo(one, two);
        one.receipt.shard = other.shard = 3;
        one = _sign(one.receipt);
        two = _sign(other);
        vm.prank(carol);
        proofs.slashTwo(one, two);
        vm.assertEq(root.bonded(), 3 * MIN_BOND);
        vm.assertEq(root.credits(carol), 3 * (MIN_BOND / 2));
    }

    function test_slashBroken_paysForAnotherFrame() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory batch, IGame.Opening memory opening) = _finalFrame(SHARD, hex"beef");
        _expectSlash("broken");
        proofs.slashBroken(signed, batch, opening);
        expectRefused(abi.encodeWithSelector(IFaults.AlreadyShown.selector, SHARD, SEQ));
        proofs.slashBroken(signed, batch, opening);
        vm.assertEq(root.head(), 1); // the batch is as good as any
    }

    function test_slashBroken_refusesTheFrameItself() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory batch, IGame.Opening memory opening) = _finalFrame(SHARD, "a frame");
        expectRefused(IFaults.NoFault.selector);
        proofs.slashBroken(signed, batch, opening);
    }

    function test_slashBroken_refusesOtherPlaces() public {
        Digests.Receipt memory receipt = _receipt();
        receipt.seq -= 1;
        IFaults.Signed memory signed = _sign(receipt);
        (IRoot.Batch memory batch, IGame.Opening memory opening) = _finalFrame(SHARD, hex"beef");
        expectRefused(IFaults.NoFault.selector);
        proofs.slashBroken(signed, batch, opening);
        signed = _sign(_receipt());
        (batch, opening) = _finalFrame(3, hex"beef");
        expectRefused(IFaults.NoFault.selector);
        proofs.slashBroken(signed, batch, opening);
        opening.shard = SHARD;
        expectRefused(IFaults.BadOpening.selector);
        proofs.slashBroken(signed, batch, opening);
    }

    function test_slashBroken_refusesBeforeFinality() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory batch, IGame.Opening memory opening) = _frame(SHARD, hex"beef");
        vm.warp(block.timestamp + WINDOW);
        expectRefused(abi.encodeWithSelector(IFaults.NotFinal.selector, 1));
        proofs.slashBroken(signed, batch, opening);
        root.finalize(1);
        batch.steps += 1;
        expectRefused(abi.encodeWithSelector(IFaults.NotStanding.selector, 1));
        proofs.slashBroken(signed, batch, opening);
    }

    function test_slashBroken_refusesOtherSignatures() public {
        IFaults.Signed memory signed = _signBy(8, root.domainSeparator(), _receipt());
        (IRoot.Batch memory batch, IGame.Opening memory opening) = _finalFrame(SHARD, hex"beef");
        expectRefused(IFaults.BadSignature.selector);
        proofs.slashBroken(signed, batch, opening);
    }

    function test_slashLate_paysForWhatIsInNoBatch() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory batch, IFaults.Proven memory head) = _headAt(SEQ); // frames 0 … 40
        vm.warp(signed.receipt.promisedBy + WINDOW);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashLate(signed, batch, head);
        vm.warp(block.timestamp + 1);
        _expectSlash("late");
        proofs.slashLate(signed, batch, head);
        expectRefused(abi.encodeWithSelector(IFaults.AlreadyShown.selector, SHARD, SEQ));
        proofs.slashLate(signed, batch, head);
    }

    function test_slashLate_paysWhereNothingWasEverPosted() public {
        IFaults.Signed memory signed = _sign(_receipt());
        IRoot.Batch memory genesis;
        genesis.post = root.posted(0).post;
        IFaults.Proven memory head = proven(metaAddress(SHARD, 0));
        vm.warp(signed.receipt.promisedBy + WINDOW + 1);
        _expectSlash("late");
        proofs.slashLate(signed, genesis, head);
    }

    function test_slashLate_refusesWhatIsInABatch() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory batch, IFaults.Proven memory head) = _headAt(SEQ + 1);
        vm.warp(signed.receipt.promisedBy + WINDOW + 1);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashLate(signed, batch, head);
    }

    function test_slashLate_refusesAllButTheNewestBatch() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory old, IFaults.Proven memory head) = _headAt(SEQ);
        (IRoot.Batch memory batch,) = _headAt(SEQ + 1);
        vm.warp(signed.receipt.promisedBy + WINDOW + 1);
        expectRefused(abi.encodeWithSelector(IFaults.NotStanding.selector, 1));
        proofs.slashLate(signed, old, head);
        batch.post = old.post;
        expectRefused(abi.encodeWithSelector(IFaults.NotStanding.selector, 2));
        proofs.slashLate(signed, batch, head);
    }

    function test_slashLate_refusesOtherCellsAndSignatures() public {
        IFaults.Signed memory signed = _sign(_receipt());
        (IRoot.Batch memory batch, IFaults.Proven memory head) = _headAt(SEQ + 1);
        vm.warp(signed.receipt.promisedBy + WINDOW + 1);
        IFaults.Proven memory other = proven(metaAddress(SHARD + 1, 0)); // a shard that never ran
        expectRefused(IFaults.BadProof.selector);
        proofs.slashLate(signed, batch, other);
        signed = _signBy(8, root.domainSeparator(), _receipt());
        expectRefused(IFaults.BadSignature.selector);
        proofs.slashLate(signed, batch, head);
    }

    /// @dev A promise for the end of time is never late, and overflows nothing.
    function test_slashLate_refusesAPromiseForTheEndOfTime() public {
        Digests.Receipt memory receipt = _receipt();
        receipt.promisedBy = type(uint64).max;
        IFaults.Signed memory signed = _sign(receipt);
        (IRoot.Batch memory batch, IFaults.Proven memory head) = _headAt(SEQ);
        expectRefused(IFaults.NoFault.selector);
        proofs.slashLate(signed, batch, head);
    }

    function test_slash_gas() public {
        IFaults.Signed memory one = _sign(_receipt());
        Digests.Receipt memory other = _receipt();
        other.frameHash = keccak256("another frame");
        IFaults.Signed memory two = _sign(other);
        proofs.slashTwo(one, two);
        vm.snapshotGasLastCall("Faults", "slashTwo");
        bondSequencer();
        other.seq += 1;
        one = _sign(other);
        (IRoot.Batch memory batch, IFaults.Proven memory head) = _headAt(SEQ);
        vm.warp(block.timestamp + WINDOW + 61);
        proofs.slashLate(one, batch, head);
        vm.snapshotGasLastCall("Faults", "slashLate");
    }

    function _receipt() private view returns (Digests.Receipt memory) {
        return Digests.Receipt({
            shard: SHARD,
            seq: SEQ,
            frameHash: keccak256("a frame"),
            runningHash: keccak256("a past"),
            outcomesHash: keccak256("an outcome"),
            promisedBy: uint64(block.timestamp) + 60
        });
    }

    function _sign(Digests.Receipt memory receipt) private view returns (IFaults.Signed memory) {
        return _signBy(SEQUENCER_KEY, root.domainSeparator(), receipt);
    }

    function _signBy(uint256 key, bytes32 domain, Digests.Receipt memory receipt)
        private
        pure
        returns (IFaults.Signed memory)
    {
        bytes32 typeHash = keccak256(
            "Receipt(uint8 shard,uint64 seq,bytes32 frameHash,bytes32 runningHash,bytes32 outcomesHash,uint64 promisedBy)"
        );
        bytes32 digest = sha256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(typeHash, receipt))));
        (bytes32 r, bytes32 s) = vm.signP256(key, digest);
        // Low s only: of the two signatures that both are good, keys here give the one.
        uint256 n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551;
        if (uint256(s) > n / 2) s = bytes32(n - uint256(s));
        // A copy: tests go on changing theirs.
        return IFaults.Signed(abi.decode(abi.encode(receipt), (Digests.Receipt)), r, s);
    }

    function _slashTwo(Digests.Receipt memory other) private {
        IFaults.Signed memory one = _sign(_receipt());
        IFaults.Signed memory two = _sign(other);
        _expectSlash("two");
        proofs.slashTwo(one, two);
    }

    function _frame(uint8 shard, bytes memory frame)
        private
        returns (IRoot.Batch memory batch, IGame.Opening memory opening)
    {
        bytes[] memory frames = new bytes[](3);
        frames[0] = hex"aa";
        frames[1] = frame;
        frames[2] = hex"bb";
        batch = postFrames(shard, SEQ - 1, frames);
        opening = openingOf(shard, SEQ - 1, frames, 1);
    }

    function _finalFrame(uint8 shard, bytes memory frame)
        private
        returns (IRoot.Batch memory batch, IGame.Opening memory opening)
    {
        (batch, opening) = _frame(shard, frame);
        settle(batch);
    }

    function _headAt(uint48 seq) private returns (IRoot.Batch memory batch, IFaults.Proven memory head) {
        trie.set(metaAddress(SHARD, 0), headCell(uint32(block.timestamp), seq));
        batch = postNext();
        head = proven(metaAddress(SHARD, 0));
    }

    function _expectSlash(string memory fault) private {
        vm.expectEmit();
        emit IFaults.ReceiptBroken(SHARD, SEQ, fault, carol);
        vm.expectEmit();
        emit IRoot.Slashed(carol, MIN_BOND, 0);
        vm.prank(carol);
    }
}
