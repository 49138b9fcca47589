// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Keys} from "../src/Keys.sol";
import {vm} from "./Vm.sol";

contract KeysTest {
    uint256 private constant P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;
    uint256 private constant SECP256K1_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
    address private constant PRECOMPILE = address(0x100);

    function test_verifyP256_takesLowSOnly(uint256 key, bytes32 digest) public view {
        _verifyP256(key, digest);
    }

    /// @dev Without the precompile a call to its address succeeds and answers nothing.
    function test_verifyP256_fallsBackWithoutThePrecompile() public {
        vm.mockCall(PRECOMPILE, "", "");
        (bool success, bytes memory answer) = PRECOMPILE.staticcall(new bytes(160));
        vm.assertTrue(success && answer.length == 0);
        uint256 before = gasleft();
        _verifyP256(7, keccak256("digest"));
        vm.assertGe(before - gasleft(), 100_000); // curve arithmetic in Solidity: the precompile costs 6,900
    }

    function test_verifyP256_isFalseForBadInput() public view {
        (uint256 x, uint256 y) = vm.publicKeyP256(7);
        (bytes32 r, bytes32 s) = vm.signP256(7, "digest");
        vm.assertFalse(Keys.verifyP256("digest", 0, s, bytes32(x), bytes32(y)), "r = 0");
        vm.assertFalse(Keys.verifyP256("digest", r, 0, bytes32(x), bytes32(y)), "s = 0");
        vm.assertFalse(Keys.verifyP256("digest", bytes32(P256_N), s, bytes32(x), bytes32(y)), "r = n");
        vm.assertFalse(Keys.verifyP256("digest", r, s, bytes32(x), bytes32(y + 1)), "off the curve");
        vm.assertFalse(Keys.verifyP256("digest", r, s, 0, 0), "infinity");
    }

    function test_isP256Key_knowsTheCurve() public pure {
        (uint256 x, uint256 y) = vm.publicKeyP256(7);
        vm.assertTrue(Keys.isP256Key(bytes32(x), bytes32(y)));
        vm.assertFalse(Keys.isP256Key(bytes32(x), bytes32(y ^ 1)));
        vm.assertFalse(Keys.isP256Key(0, 0));
    }

    function test_verifySecp256k1_takesLowSOnly(uint256 key, bytes32 digest) public pure {
        key = 1 + key % (SECP256K1_N - 1);
        address owner = vm.addr(key);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        vm.assertTrue(Keys.verifySecp256k1(digest, abi.encodePacked(r, s, v), owner));
        vm.assertFalse(Keys.verifySecp256k1(~digest, abi.encodePacked(r, s, v), owner), "digest");
        bytes32 highS = bytes32(SECP256K1_N - uint256(s));
        vm.assertFalse(Keys.verifySecp256k1(digest, abi.encodePacked(r, highS, 55 - v), owner), "high s");
        vm.assertFalse(Keys.verifySecp256k1(digest, abi.encodePacked(r, s, v - 27), owner), "v of 0 or 1");
        vm.assertFalse(Keys.verifySecp256k1(digest, abi.encodePacked(r, s), owner), "64 bytes");
        vm.assertFalse(Keys.verifySecp256k1(digest, abi.encodePacked(r, r, v), address(0)), "nobody");
    }

    function _verifyP256(uint256 key, bytes32 digest) private view {
        key = 1 + key % (P256_N - 1);
        (uint256 x, uint256 y) = vm.publicKeyP256(key);
        (bytes32 r, bytes32 s) = vm.signP256(key, digest);
        bytes32 other = bytes32(P256_N - uint256(s));
        (bytes32 low, bytes32 high) = s < other ? (s, other) : (other, s);
        vm.assertTrue(Keys.verifyP256(digest, r, low, bytes32(x), bytes32(y)), "low s");
        vm.assertFalse(Keys.verifyP256(digest, r, high, bytes32(x), bytes32(y)), "high s");
        vm.assertFalse(Keys.verifyP256(~digest, r, low, bytes32(x), bytes32(y)), "digest");
    }
}
