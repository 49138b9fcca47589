// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ICommittee} from "../src/ICommittee.sol";
import {IRoot} from "../src/IRoot.sol";
import {Root} from "../src/Root.sol";
import {TestToken} from "../src/TestToken.sol";
import {DataModel, TrieModel} from "./Model.sol";
import {vm} from "./Vm.sol";

/// @notice A deployment, and the hands that act on it.
abstract contract RootBase {
    uint256 internal constant UNIT = 100;
    uint64 internal constant MAX_AMOUNT = 2 ** 53 - 1;
    uint64 internal constant WINDOW = 3 days;
    uint64 internal constant INBOX_DELAY = 1 days;
    uint256 internal constant MIN_BOND = 1 ether;
    uint64 internal constant FREEZE_AFTER = 5 days;
    uint16 internal constant SHARDS = 4;

    address internal sequencer = vm.addr(1);
    address internal alice = vm.addr(2);
    address internal bob = vm.addr(3);
    /// @dev Stand in for the contracts around Root, unless a test deploys them.
    address internal game = vm.addr(4);
    address internal faults = vm.addr(5);
    address internal exits = vm.addr(6);
    /// @dev None, unless a test is about data outside of calldata.
    address internal availability;
    ICommittee internal committee;
    bytes32 internal keyX;
    bytes32 internal keyY;

    TestToken internal token;
    Root internal root;
    TrieModel internal trie;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        (uint256 x, uint256 y) = vm.publicKeyP256(7);
        (keyX, keyY) = (bytes32(x), bytes32(y));
        token = new TestToken();
        root = deploy(token);
        trie = new TrieModel();
        bondSequencer();
        fund(alice);
        fund(bob);
    }

    function deploy(TestToken token_) internal returns (Root) {
        return deploy(configOf(token_));
    }

    /// @dev From its artifact, so that Root's code is compiled once and not into every test contract.
    function deploy(IRoot.Config memory config) internal returns (Root) {
        return Root(vm.deployCode("Root.sol:Root", abi.encode(config)));
    }

    function configOf(TestToken token_) internal view returns (IRoot.Config memory) {
        return IRoot.Config({
            token: token_,
            unit: UNIT,
            sequencer: sequencer,
            sequencerX: keyX,
            sequencerY: keyY,
            window: WINDOW,
            inboxDelay: INBOX_DELAY,
            minBond: MIN_BOND,
            freezeAfter: FREEZE_AFTER,
            shards: SHARDS,
            game: game,
            faults: faults,
            exits: exits,
            availability: availability,
            committee: committee
        });
    }

    function bondSequencer() internal {
        vm.deal(sequencer, MIN_BOND);
        vm.prank(sequencer);
        root.bond{value: MIN_BOND}();
    }

    function fund(address account) internal {
        token.mint(account, MAX_AMOUNT * UNIT);
        vm.prank(account);
        token.approve(address(root), type(uint256).max);
    }

    function deposit(address account, uint32 agentId, uint64 amount) internal {
        vm.prank(account);
        root.deposit(agentId, amount);
    }

    /// @dev One tick of shard 0.
    function someData() internal pure returns (bytes memory) {
        bytes[] memory frames = new bytes[](1);
        frames[0] = hex"016b49d200";
        return DataModel.chunk(0, 0, frames);
    }

    /// @dev A header that the contract takes, with all of `data` for its data.
    function nextBatch(bytes memory data, bytes32 stateRoot) internal view returns (IRoot.Batch memory batch) {
        IRoot.Posted memory previous = root.posted(root.head());
        (, DataModel.Frame[] memory frames, uint64 steps) = DataModel.parse(data);
        batch.number = root.head() + 1;
        batch.prev = previous.batchHash;
        batch.pre = previous.post;
        batch.post = keccak256(abi.encode(stateRoot, 0));
        batch.steps = steps;
        batch.timeFrom = uint64(block.timestamp) - 10;
        batch.timeTo = uint64(block.timestamp);
        batch.inboxCursor = root.inboxLength();
        batch.dataRoot = DataModel.root(frames);
    }

    function nextBatch() internal view returns (IRoot.Batch memory) {
        return nextBatch(someData(), trie.root());
    }

    function post(IRoot.Batch memory batch, bytes memory data) internal {
        vm.prank(sequencer, sequencer);
        root.postBatch(batch, data);
    }

    function postPart(uint64 number, uint32 part, bytes memory data) internal {
        vm.prank(sequencer, sequencer);
        root.postData(number, part, data);
    }

    function postNext() internal returns (IRoot.Batch memory batch) {
        batch = nextBatch();
        post(batch, someData());
    }

    /// @dev As the game does when it is lost.
    function invalidate(uint64 number) internal {
        bytes32 batchHash = root.posted(number).batchHash;
        vm.prank(game);
        root.invalidate(number, batchHash, bob);
    }

    function settle(IRoot.Batch memory batch) internal {
        vm.warp(block.timestamp + WINDOW);
        root.finalize(batch.number);
    }

    function outboxCell(uint8 kind, uint48 serial, address recipient, uint56 amount)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodePacked(
            kind, uint8(0), serial, uint32(block.timestamp), uint32(256), recipient, amount, bytes21(0)
        );
    }

    function outboxAddress(uint8 shard, uint48 serial) internal pure returns (uint32) {
        return uint32(uint256(shard) << 24 | 7 << 20 | serial % 2 ** 20);
    }

    /// @dev Puts a withdrawal into the state, posts the state and lets it become final.
    function finalWithdrawal(uint8 shard, uint48 serial, address recipient, uint56 amount)
        internal
        returns (IRoot.Batch memory batch)
    {
        trie.set(outboxAddress(shard, serial), outboxCell(1, serial, recipient, amount));
        batch = postNext();
        settle(batch);
    }

    function withdraw(IRoot.Batch memory batch, uint8 shard, uint48 serial) internal {
        uint32 place = outboxAddress(shard, serial);
        root.withdraw(batch, trie.root(), shard, trie.cellAt(place), trie.proof(place));
    }
}
