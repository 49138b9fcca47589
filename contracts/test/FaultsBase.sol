// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Faults} from "../src/Faults.sol";
import {IFaults} from "../src/IFaults.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {DataModel, Rfc6962Model} from "./Model.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice A deployment with the direct proofs in it, and a state that says what a test wants it to.
abstract contract FaultsBase is RootBase {
    Faults internal proofs;
    address internal carol = vm.addr(10);

    function setUp() public virtual override {
        uint256 nonce = vm.getNonce(address(this));
        IRoot root_ = IRoot(vm.computeCreateAddress(address(this), nonce + 2));
        proofs = Faults(vm.deployCode("Faults.sol:Faults", abi.encode(root_, availability)));
        faults = address(proofs);
        super.setUp();
        require(address(root) == address(root_), "the proofs are for another Root");
    }

    function metaAddress(uint8 shard, uint256 slot) internal pure returns (uint32) {
        return uint32(uint256(shard) << 24 | slot);
    }

    function headCell(uint32 time, uint48 seq) internal pure returns (bytes memory) {
        return abi.encodePacked(time, bytes32(0), bytes4(0), seq, bytes18(0));
    }

    function inboxCell(bytes32 accumulator, uint64 cursor) internal pure returns (bytes memory) {
        return abi.encodePacked(accumulator, uint48(cursor), bytes26(0));
    }

    function peerCell(uint48 sent, uint48 acked, uint48 received) internal pure returns (bytes memory) {
        return abi.encodePacked(sent, acked, received, bytes32(0), bytes14(0));
    }

    function proven(uint32 place) internal view returns (IFaults.Proven memory) {
        return IFaults.Proven(trie.root(), trie.cellAt(place), trie.proof(place));
    }

    /// @dev What an honest state says of the inbox: all of it consumed.
    function setInbox() internal {
        uint64 cursor = root.inboxLength();
        trie.set(metaAddress(0, 1), inboxCell(root.accumulator(cursor), cursor));
    }

    function tick(uint32 time) internal pure returns (bytes memory) {
        return abi.encodePacked(uint8(1), time);
    }

    /// @dev Posts a batch over the trie as it is, of these frames of a shard.
    function postFrames(uint8 shard, uint48 firstSeq, bytes[] memory frames)
        internal
        returns (IRoot.Batch memory batch)
    {
        bytes memory data = DataModel.chunk(shard, firstSeq, frames);
        batch = nextBatch(data, trie.root());
        post(batch, data);
    }

    function openingOf(uint8 shard, uint48 firstSeq, bytes[] memory frames, uint64 index)
        internal
        pure
        returns (IGame.Opening memory)
    {
        (, DataModel.Frame[] memory all,) = DataModel.parse(DataModel.chunk(shard, firstSeq, frames));
        return IGame.Opening({
            firstStep: all[index].firstStep,
            shard: shard,
            seq: all[index].seq,
            frame: all[index].frame,
            index: index,
            frames: uint64(all.length),
            path: Rfc6962Model.path(DataModel.leaves(all), index, DataModel.node),
            proof: ""
        });
    }

    function expectVoided(uint64 number, string memory fault) internal {
        bytes32 batchHash = root.posted(number).batchHash;
        vm.expectEmit();
        emit IFaults.FaultShown(number, batchHash, fault, carol);
        vm.expectEmit();
        emit IRoot.Invalidated(number);
        vm.expectEmit();
        emit IRoot.Slashed(carol, MIN_BOND, 0);
        vm.prank(carol);
    }

    function expectRefused(bytes4 reason) internal {
        expectRefused(abi.encodeWithSelector(reason));
    }

    function expectRefused(bytes memory reason) internal {
        vm.prank(carol);
        vm.expectRevert(reason);
    }
}
