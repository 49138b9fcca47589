// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Game} from "../src/Game.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {IStep} from "../src/IStep.sol";
import {DataModel, Rfc6962Model} from "./Model.sol";
import {RootBase} from "./RootBase.sol";
import {vm} from "./Vm.sol";

/// @notice A machine that recites the alphabet: after i steps it is at letter i, whatever the frames say. So any number of
/// steps is known without making them, and the game is tested apart from the protocol it is about.
contract Alphabet is IStep {
    uint256 public constant shards = 4;

    /// @notice Steps of every frame: a frame's place and a step's index tell which letter is next.
    uint256 public immutable stepsOfAFrame;
    bytes32 private immutable _genesis;
    bytes32 private _domain;

    constructor(uint256 stepsOfAFrame_, bytes32 genesis) {
        stepsOfAFrame = stepsOfAFrame_;
        _genesis = genesis;
    }

    function setDomain(bytes32 domain) external {
        _domain = domain;
    }

    /// @notice The commitment after `index` steps from genesis.
    function letter(uint256 index) public view returns (bytes32) {
        return index == 0 ? _genesis : keccak256(abi.encode("letter", index));
    }

    /// @param witness The index of the letter that `pre` is.
    function step(
        bytes32 domain,
        bytes32 pre,
        uint8 shard,
        uint64 seq,
        bytes calldata frame,
        uint256 index,
        bytes calldata witness
    ) external view returns (bytes32 post, uint8, uint64) {
        if (witness.length != 32) revert BadWitness();
        uint256 place = abi.decode(witness, (uint256));
        if (pre != letter(place)) revert WrongPre(letter(place));
        // Nothing but what the game must hand over lets the recital go on.
        bool right = domain == _domain && shard == 0 && place == seq * stepsOfAFrame + index && frame.length == 2
            && index < stepsOfAFrame;
        post = right ? letter(place + 1) : keccak256(abi.encode("lost the thread", pre));
        return (post, 0, 0);
    }
}

/// @notice A deployment with a game in it, a sequencer that may lie, and challengers that may be wrong.
abstract contract GameBase is RootBase {
    uint64 internal constant MOVE_WINDOW = 12 hours;
    uint256 internal constant CHALLENGE_BOND = 0.1 ether + 1; // odd, so that halves differ
    uint256 internal constant HONEST = type(uint256).max;

    Game internal play_;
    Alphabet internal alphabet;
    address internal carol = vm.addr(10);

    /// @dev Steps from genesis after which the sequencer's commitments are lies.
    uint256 internal liesAfter = HONEST;

    /// @dev What the newest batch holds.
    uint256 internal stepsBefore;
    uint256 internal framesBefore;
    uint256 internal frameCount;

    function setUp() public virtual override {
        uint256 nonce = vm.getNonce(address(this));
        IRoot root_ = IRoot(vm.computeCreateAddress(address(this), nonce + 3));
        alphabet = new Alphabet(stepsOfAFrame(), genesisPost());
        play_ = newGame(root_, alphabet);
        game = address(play_);
        super.setUp();
        require(address(root) == address(root_), "the game is for another Root");
        alphabet.setDomain(root.domainSeparator());
        vm.deal(alice, 100 ether);
        vm.deal(carol, 100 ether);
    }

    /// @dev A move was just made.
    function moved(string memory move) internal virtual {}

    function newGame(IRoot root_, IStep stepper) internal returns (Game) {
        return
            Game(vm.deployCode("Game.sol:Game", abi.encode(root_, stepper, availability, MOVE_WINDOW, CHALLENGE_BOND)));
    }

    function stepsOfAFrame() internal pure virtual returns (uint256) {
        return 256;
    }

    function genesisPost() internal pure returns (bytes32) {
        bytes32 empty = keccak256(new bytes(64));
        for (uint256 height; height < 16; ++height) {
            empty = keccak256(abi.encodePacked(empty, empty, empty, empty));
        }
        return keccak256(abi.encode(empty, 0));
    }

    /// @dev What the sequencer says of the state after `index` steps from genesis.
    function claim(uint256 index) internal view returns (bytes32) {
        return index > liesAfter ? keccak256(abi.encode("lie", index)) : alphabet.letter(index);
    }

    function frameOf() internal pure returns (bytes memory) {
        return stepsOfAFrame() == 1 ? bytes(hex"0100") : abi.encodePacked(hex"10", uint8(stepsOfAFrame() - 2));
    }

    /// @dev Posts a batch of that many frames.
    function postFrames(uint256 frames) internal returns (IRoot.Batch memory batch) {
        stepsBefore += frameCount * stepsOfAFrame();
        framesBefore += frameCount;
        frameCount = frames;
        bytes[] memory all = new bytes[](frames);
        for (uint256 i; i < frames; ++i) {
            all[i] = frameOf();
        }
        bytes memory data = chunk(uint48(framesBefore), all);
        batch = nextBatch();
        batch.steps = uint64(frames * stepsOfAFrame());
        batch.dataRoot = Rfc6962Model.root(leaves(), DataModel.node);
        batch.post = claim(stepsBefore + batch.steps);
        post(batch, data);
    }

    /// @dev As {DataModel.chunk}, in one pass.
    function chunk(uint48 firstSeq, bytes[] memory frames) private pure returns (bytes memory) {
        bytes memory body = new bytes(frames.length * 4);
        for (uint256 i; i < frames.length; ++i) {
            body[4 * i + 1] = 0x02;
            body[4 * i + 2] = frames[i][0];
            body[4 * i + 3] = frames[i][1];
        }
        return abi.encodePacked(uint8(0), firstSeq, uint16(frames.length), body);
    }

    function leaves() internal view returns (bytes32[] memory hashes) {
        hashes = new bytes32[](frameCount);
        for (uint256 i; i < frameCount; ++i) {
            hashes[i] = keccak256(
                abi.encodePacked(hex"00", uint64(i * stepsOfAFrame()), uint8(0), uint64(framesBefore + i), frameOf())
            );
        }
    }

    /// @dev Opens the frame of the newest batch in which step `from` of the batch lies.
    function openingOf(uint64 from) internal view returns (IGame.Opening memory opening) {
        uint64 index = uint64(from / stepsOfAFrame());
        opening = IGame.Opening({
            firstStep: uint64(index * stepsOfAFrame()),
            shard: 0,
            seq: uint64(framesBefore + index),
            frame: frameOf(),
            index: index,
            frames: uint64(frameCount),
            path: Rfc6962Model.path(leaves(), index, DataModel.node),
            proof: ""
        });
    }

    function witnessOf(IGame.Play memory play) internal view returns (bytes memory) {
        return abi.encode(stepsBefore + play.from);
    }

    function openBy(address challenger, IRoot.Batch memory batch) internal returns (IGame.Play memory play) {
        vm.prank(challenger);
        uint256 id = play_.open{value: CHALLENGE_BOND}(batch);
        moved("open");
        play = IGame.Play({
            id: id,
            batchHash: keccak256(abi.encode(batch)),
            number: batch.number,
            dataRoot: batch.dataRoot,
            challenger: challenger,
            from: 0,
            length: batch.steps,
            pre: batch.pre,
            post: batch.post,
            reveals: 0,
            deadline: uint64(block.timestamp) + MOVE_WINDOW
        });
        expectStanding(play);
    }

    /// @dev How many parts a segment has, and where part i begins.
    function partsOf(IGame.Play memory play) internal pure returns (uint256) {
        return play.length < 128 ? play.length : 128;
    }

    function boundaryOf(IGame.Play memory play, uint256 i) internal pure returns (uint64) {
        return uint64(uint256(play.length) * i / partsOf(play));
    }

    /// @dev What the sequencer says of the inner boundaries.
    function innerOf(IGame.Play memory play) internal view returns (bytes32[] memory inner) {
        inner = new bytes32[](partsOf(play) - 1);
        for (uint256 i; i < inner.length; ++i) {
            inner[i] = claim(stepsBefore + play.from + boundaryOf(play, i + 1));
        }
    }

    function leavesOf(IGame.Play memory play, bytes32[] memory inner) internal pure returns (bytes32[] memory all) {
        all = new bytes32[](128);
        for (uint256 i; i < inner.length; ++i) {
            all[i] = inner[i];
        }
        all[inner.length] = play.post;
    }

    function pairHash(bytes32 left, bytes32 right) internal pure returns (bytes32) {
        return keccak256(bytes.concat(left, right));
    }

    /// @dev The binary tree over 128 leaves, level by level: its root, and the path of one of them.
    function treeOf(bytes32[] memory all, uint256 index) internal pure returns (bytes32 top, bytes32[] memory path) {
        bytes32[] memory level = new bytes32[](128);
        for (uint256 i; i < 128; ++i) {
            level[i] = all[i];
        }
        path = new bytes32[](7);
        for (uint256 height; height < 7; ++height) {
            path[height] = level[index >> height ^ 1];
            for (uint256 i; i < 64 >> height; ++i) {
                level[i] = pairHash(level[2 * i], level[2 * i + 1]);
            }
        }
        top = level[0];
    }

    function reveal(IGame.Play memory play) internal returns (IGame.Play memory next) {
        return reveal(play, innerOf(play));
    }

    function reveal(IGame.Play memory play, bytes32[] memory inner) internal returns (IGame.Play memory next) {
        vm.prank(sequencer);
        play_.reveal(play, inner);
        moved("reveal");
        next = copy(play);
        (next.reveals,) = treeOf(leavesOf(play, inner), 0);
        next.deadline = uint64(block.timestamp) + MOVE_WINDOW;
        expectStanding(next);
    }

    struct Pick {
        uint256 segment;
        bytes32 before;
        bytes32[] beforePath;
        bytes32 after_;
        bytes32[] afterPath;
    }

    /// @dev Opens the two ends of a segment, of what {innerOf} gives.
    function pickOf(IGame.Play memory play, uint256 segment) internal view returns (Pick memory) {
        return pickOf(play, innerOf(play), segment);
    }

    function pickOf(IGame.Play memory play, bytes32[] memory inner, uint256 segment)
        internal
        pure
        returns (Pick memory pick_)
    {
        bytes32[] memory all = leavesOf(play, inner);
        pick_.segment = segment;
        if (segment > 0) {
            pick_.before = all[segment - 1];
            (, pick_.beforePath) = treeOf(all, segment - 1);
        }
        pick_.after_ = all[segment];
        (, pick_.afterPath) = treeOf(all, segment);
    }

    function picked(IGame.Play memory play, Pick memory pick_) internal view returns (IGame.Play memory next) {
        next = copy(play);
        next.from = play.from + boundaryOf(play, pick_.segment);
        next.length = boundaryOf(play, pick_.segment + 1) - boundaryOf(play, pick_.segment);
        if (pick_.segment > 0) next.pre = pick_.before;
        next.post = pick_.after_;
        next.reveals = 0;
        next.deadline = uint64(block.timestamp) + MOVE_WINDOW;
    }

    function pick(IGame.Play memory play, uint256 segment) internal returns (IGame.Play memory next) {
        Pick memory pick_ = pickOf(play, segment);
        vm.prank(play.challenger);
        play_.pick(play, pick_.segment, pick_.before, pick_.beforePath, pick_.after_, pick_.afterPath);
        moved("pick");
        next = picked(play, pick_);
        expectStanding(next);
    }

    /// @dev The part in which step `target` of the batch lies.
    function segmentOf(IGame.Play memory play, uint64 target) internal pure returns (uint256 segment) {
        while (boundaryOf(play, segment + 1) <= target - play.from) ++segment;
    }

    /// @dev Both sides play on until one step is left, the one with that index in the batch.
    function narrow(IGame.Play memory play, uint64 target) internal returns (IGame.Play memory) {
        while (play.length > 1) {
            play = reveal(play);
            play = pick(play, segmentOf(play, target));
        }
        return play;
    }

    function step(IGame.Play memory play) internal {
        play_.step(play, openingOf(play.from), witnessOf(play));
    }

    function copy(IGame.Play memory play) internal pure returns (IGame.Play memory) {
        return abi.decode(abi.encode(play), (IGame.Play));
    }

    function expectStanding(IGame.Play memory play) internal view {
        vm.assertEq(play_.standing(play.id), keccak256(abi.encode(play)));
    }

    /// @dev The challenger has its bond and half the sequencer's back; the batch and all after it are void.
    function expectWon(IGame.Play memory play) internal view {
        vm.assertEq(play_.standing(play.id), 0);
        vm.assertEq(root.contested(play.batchHash), 0);
        vm.assertEq(root.head(), play.number - 1);
        vm.assertEq(root.bonded(), 0);
        vm.assertEq(root.credits(play.challenger), MIN_BOND / 2);
        vm.assertEq(play_.credits(play.challenger), CHALLENGE_BOND);
        vm.assertEq(play_.credits(sequencer), 0);
    }

    /// @dev The challenger has lost its bond, and nothing else has changed.
    function expectLost(IGame.Play memory play) internal view {
        vm.assertEq(play_.standing(play.id), 0);
        vm.assertEq(root.contested(play.batchHash), 0);
        vm.assertEq(root.posted(play.number).batchHash, play.batchHash);
        vm.assertEq(root.bonded(), MIN_BOND);
        vm.assertEq(root.credits(play.challenger), 0);
        vm.assertEq(play_.credits(play.challenger), 0);
        vm.assertEq(play_.credits(sequencer), CHALLENGE_BOND / 2);
        vm.assertEq(address(0xdEaD).balance, CHALLENGE_BOND - CHALLENGE_BOND / 2);
        vm.assertEq(address(play_).balance, CHALLENGE_BOND / 2);
    }
}
