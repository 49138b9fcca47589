// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Committee} from "../src/Committee.sol";
import {ICommittee} from "../src/ICommittee.sol";
import {IRoot} from "../src/IRoot.sol";
import {vm} from "./Vm.sol";

/// @notice Certificates and rotations as TypeScript writes them (`test/vectors/da.json`), at the contract that takes them.
contract CertificatesTest {
    string private _json = vm.readFile("../test/vectors/da.json");
    Committee private _committee;
    uint64 private _number;
    bytes32 private _dataRoot;

    function setUp() public {
        address[] memory list = vm.parseJsonAddressArray(_json, ".certificates.list");
        ICommittee.Config memory config = ICommittee.Config({
            root: IRoot(0x5FbDB2315678afecb367f032d93F642f64180aa3),
            availability: address(this),
            members: uint8(list.length),
            threshold: uint8(vm.parseJsonUint(_json, ".committee.threshold")),
            quorum: uint8(vm.parseJsonUint(_json, ".certificates.quorum")),
            retention: 14 days,
            memberStake: 1 ether
        });
        _committee = Committee(vm.deployCode("Committee.sol:Committee", abi.encode(config, list)));
        for (uint256 i; i < list.length; ++i) {
            vm.deal(list[i], 1 ether);
            vm.prank(list[i]);
            _committee.stake{value: 1 ether}();
        }
        _committee.begin(list);
        _number = uint64(vm.parseJsonUint(_json, ".certificates.number"));
        _dataRoot = vm.parseJsonBytes32(_json, ".committee.dataRoot");
    }

    function test_check_takesThoseOfTheVector() public view {
        _committee.check(_number, _dataRoot, _certificate("quorate"));
        _committee.check(_number, _dataRoot, _certificate("unanimous"));
    }

    function test_check_refusesTheShortOne() public {
        bytes memory short = _certificate("short");
        vm.expectRevert(abi.encodeWithSelector(ICommittee.TooFewSignatures.selector, 11));
        _committee.check(_number, _dataRoot, short);
    }

    /// @dev Each of its bytes counts: a few of them.
    function test_check_refusesEveryChange() public view {
        bytes memory good = _certificate("quorate");
        for (uint256 i; i < good.length; i += 7) {
            good[i] ^= 0x01;
            (bool ok,) = address(_committee).staticcall(abi.encodeCall(ICommittee.check, (_number, _dataRoot, good)));
            vm.assertFalse(ok);
            good[i] ^= 0x01;
        }
        _committee.check(_number, _dataRoot, good);
    }

    function test_rotate_takesThatOfTheVector() public {
        address[] memory next = vm.parseJsonAddressArray(_json, ".certificates.next");
        uint16 signers = uint16(vm.parseJsonUint(_json, ".certificates.rotation.signers"));
        _committee.rotate(next, signers, vm.parseJsonBytes(_json, ".certificates.rotation.signed"));
        vm.assertEq(_committee.epoch(), 2);
    }

    function _certificate(string memory name) private view returns (bytes memory) {
        return vm.parseJsonBytes(_json, string.concat(".certificates.", name));
    }
}
