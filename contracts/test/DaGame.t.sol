// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Faults} from "../src/Faults.sol";
import {Game} from "../src/Game.sol";
import {IFaults} from "../src/IFaults.sol";
import {IGame} from "../src/IGame.sol";
import {IRoot} from "../src/IRoot.sol";
import {IStep} from "../src/IStep.sol";
import {Views} from "../src/Views.sol";
import {DaBase, DaModel} from "./DaBase.sol";
import {vm} from "./Vm.sol";

/// @notice A machine whose every step comes to one commitment, if it is handed the frame that the test says.
contract OneStep is IStep {
    uint256 public constant shards = 4;
    bytes32 public constant POST = keccak256("after");
    bytes32 private immutable _frame;

    constructor(bytes memory frame) {
        _frame = keccak256(frame);
    }

    function step(bytes32, bytes32, uint8 shard, uint64 seq, bytes calldata frame, uint256 index, bytes calldata)
        external
        view
        returns (bytes32, uint8, uint64)
    {
        require(keccak256(frame) == _frame && shard == 0 && seq == 7 && index == 0, "another step");
        return (POST, 0, 0);
    }
}

/// @notice Games and direct proofs over data that L1 never read.
contract DaGameTest is DaBase {
    uint256 private constant BOND = 0.1 ether;

    Game private _game;
    Faults private _faults;
    OneStep private _step;

    function setUp() public override {
        uint256 nonce = vm.getNonce(address(this));
        address root_ = vm.computeCreateAddress(address(this), nonce + 6);
        address availability_ = vm.computeCreateAddress(address(this), nonce + 4);
        _step = new OneStep(_frames()[0].content);
        _game = Game(vm.deployCode("Game.sol:Game", abi.encode(root_, _step, availability_, 12 hours, BOND)));
        _faults = Faults(vm.deployCode("Faults.sol:Faults", abi.encode(root_, availability_)));
        (game, faults) = (address(_game), address(_faults));
        super.setUp();
        require(address(root) == root_ && address(proofs) == availability_, "for another Root");
    }

    function test_step_provesALie() public {
        (IRoot.Batch memory batch, IGame.Play memory play, IGame.Opening memory opened) = _open(keccak256("a lie"));
        opened.proof[opened.proof.length - 40] ^= 0x01;
        vm.expectRevert(Views.BadProof.selector);
        _game.step(play, opened, "");
        opened.proof[opened.proof.length - 40] ^= 0x01;
        _game.step(play, opened, "");
        vm.snapshotGasLastCall("Availability", "step: a frame with the committee");
        expectVoided(batch, carol);
    }

    function test_step_holdsATruth() public {
        (IRoot.Batch memory batch, IGame.Play memory play, IGame.Opening memory opened) = _open(_step.POST());
        _game.step(play, opened, "");
        vm.assertEq(root.head(), batch.number);
        vm.assertEq(_game.credits(sequencer), BOND / 2);
    }

    function test_step_takesNoOpeningOfCalldata() public {
        (, IGame.Play memory play, IGame.Opening memory opened) = _open(keccak256("a lie"));
        opened.proof = "";
        opened.frames = 1;
        vm.expectRevert(IGame.BadOpening.selector);
        _game.step(play, opened, "");
    }

    function test_proveTime_opensTheTick() public {
        DaModel.Frame[] memory frames = _frames();
        frames[0].content = hex"0100000001";
        (bytes memory all, uint48 steps) = DaModel.data(frames);
        IRoot.Batch memory batch = postData(all, steps);
        vm.prank(carol);
        _faults.proveTime(batch, opening(frames, 0, DaModel.proof(all, 1, 0, 0)));
        expectVoided(batch, carol);
    }

    function test_proveTime_revertsOnATickInTime() public {
        DaModel.Frame[] memory frames = _frames();
        frames[0].content = abi.encodePacked(uint8(1), uint32(block.timestamp));
        (bytes memory all, uint48 steps) = DaModel.data(frames);
        IRoot.Batch memory batch = postData(all, steps);
        vm.expectRevert(IFaults.NoFault.selector);
        _faults.proveTime(batch, opening(frames, 0, DaModel.proof(all, 1, 0, 0)));
    }

    function _frames() private pure returns (DaModel.Frame[] memory frames) {
        frames = new DaModel.Frame[](1);
        frames[0] = DaModel.Frame(0, 7, hex"016b49d200");
    }

    function _open(bytes32 post_)
        private
        returns (IRoot.Batch memory batch, IGame.Play memory play, IGame.Opening memory opened)
    {
        (bytes memory all, uint48 steps) = DaModel.data(_frames());
        batch = committeeBatch(all, steps);
        batch.post = post_;
        post(batch, certificate(batch.number, batch.dataRoot));
        vm.prank(carol);
        uint256 id = _game.open{value: BOND}(batch);
        play = IGame.Play({
            id: id,
            batchHash: keccak256(abi.encode(batch)),
            number: batch.number,
            dataRoot: batch.dataRoot,
            challenger: carol,
            from: 0,
            length: 1,
            pre: batch.pre,
            post: batch.post,
            reveals: 0,
            deadline: uint64(block.timestamp) + 12 hours
        });
        opened = opening(_frames(), 0, DaModel.proof(all, 1, 0, 0));
    }
}
