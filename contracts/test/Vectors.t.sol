// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Cells, Field} from "../src/Cells.sol";
import {DataRoot} from "../src/DataRoot.sol";
import {Digests} from "../src/Digests.sol";
import {Items} from "../src/Items.sol";
import {Keys} from "../src/Keys.sol";
import {Log} from "../src/Log.sol";
import {Trie} from "../src/Trie.sol";
import {vm} from "./Vm.sol";

/// @notice What Solidity and TypeScript must agree on: `test/vectors/`, which the TypeScript side writes.
contract VectorsTest {
    using DataRoot for DataRoot.Tree;

    string private _json;

    function test_trie_agrees() public {
        _open("trie");
        for (uint256 h; h <= Trie.DEPTH; ++h) {
            vm.assertEq(_bytes32(_item(".zero", h)), Trie.zero(h));
        }
        for (uint256 i; _has(_item(".cases", i)); ++i) {
            string memory case_ = _item(".cases", i);
            bytes32 root = _bytes32(_field(case_, "root"));
            for (uint256 j; _has(_item(_field(case_, "proofs"), j)); ++j) {
                string memory proof = _item(_field(case_, "proofs"), j);
                bytes32[] memory list = vm.parseJsonBytes32Array(_json, _field(proof, "siblings"));
                vm.assertEq(list.length, 48);
                bytes32[48] memory siblings;
                for (uint256 k; k < 48; ++k) {
                    siblings[k] = list[k];
                }
                bytes memory cell = _bytes(_field(proof, "cell"));
                vm.assertEq(this.trieRoot(uint32(_uint(_field(proof, "address"))), cell, siblings), root, proof);
            }
        }
    }

    function test_digests_agree() public {
        _open("digests");
        bytes32 separator = _bytes32(".domain.separator");
        vm.assertEq(
            Digests.domainSeparator(_uint(".domain.chainId"), vm.parseJsonAddress(_json, ".domain.verifyingContract")),
            separator
        );
        for (uint256 i; _has(_item(".cases", i)); ++i) {
            string memory case_ = _item(".cases", i);
            bytes32 structHash = _structHash(vm.parseJsonString(_json, _field(case_, "type")), _field(case_, "value."));
            vm.assertEq(structHash, _bytes32(_field(case_, "structHash")), case_);
            vm.assertEq(Digests.preimage(separator, structHash), _bytes(_field(case_, "preimage")), case_);
            bytes32 sha = Digests.p256(separator, structHash);
            vm.assertEq(sha, _bytes32(_field(case_, "sha")), case_);
            vm.assertTrue(_verifyP256(sha, case_, "p256.signature"), case_);
            vm.assertFalse(_verifyP256(sha, case_, "p256.highS"), case_);
            bytes32 keccak = Digests.secp256k1(separator, structHash);
            vm.assertEq(keccak, _bytes32(_field(case_, "keccak")), case_);
            address signer = vm.parseJsonAddress(_json, _field(case_, "secp256k1.address"));
            vm.assertTrue(Keys.verifySecp256k1(keccak, _bytes(_field(case_, "secp256k1.signature")), signer), case_);
        }
    }

    function test_log_agrees() public {
        _open("log");
        bytes[] memory records = vm.parseJsonBytesArray(_json, ".records");
        for (uint256 i; _has(_item(".roots", i)); ++i) {
            string memory root = _item(".roots", i);
            bytes memory joined;
            for (uint256 j; j < _uint(_field(root, "size")); ++j) {
                joined = bytes.concat(joined, records[j]);
            }
            vm.assertEq(this.logRoot(joined), _bytes32(_field(root, "root")), root);
        }
        for (uint256 i; _has(_item(".proofs", i)); ++i) {
            string memory proof = _item(".proofs", i);
            uint256 size = _uint(_field(proof, "size"));
            uint256 index = _uint(_field(proof, "index"));
            bytes memory joined;
            for (uint256 j; j < size; ++j) {
                joined = bytes.concat(joined, records[j]);
            }
            bytes32[] memory path = vm.parseJsonBytes32Array(_json, _field(proof, "path"));
            vm.assertTrue(this.logVerify(this.logRoot(joined), size, index, records[index], path), proof);
        }
    }

    function test_dataRoot_agrees() public {
        _open("dataroot");
        for (uint256 i; _has(_item(".cases", i)); ++i) {
            string memory case_ = _item(".cases", i);
            bytes32 dataRoot = _bytes32(_field(case_, "dataRoot"));
            DataRoot.Tree memory tree;
            bytes[] memory parts = vm.parseJsonBytesArray(_json, _field(case_, "parts"));
            for (uint256 j; j < parts.length; ++j) {
                tree = this.absorb(tree, parts[j]);
            }
            vm.assertEq(tree.root(), dataRoot, case_);
            vm.assertEq(tree.steps, _uint(_field(case_, "steps")), case_);
            for (uint256 j; _has(_item(_field(case_, "proofs"), j)); ++j) {
                string memory proof = _item(_field(case_, "proofs"), j);
                uint256 index = _uint(_field(proof, "index"));
                bytes32[] memory path = vm.parseJsonBytes32Array(_json, _field(proof, "path"));
                bytes32 leaf = _leaf(_item(_field(case_, "frames"), index));
                vm.assertTrue(this.dataVerify(dataRoot, tree.frames, index, leaf, path), proof);
            }
        }
    }

    function test_inbox_agrees() public {
        _open("inbox");
        bytes[] memory items = vm.parseJsonBytesArray(_json, ".items");
        bytes32[] memory accumulators = vm.parseJsonBytes32Array(_json, ".accumulators");
        address owner = vm.parseJsonAddress(_json, ".values.owner");
        bytes32 keyX = _bytes32(".values.keyX");
        bytes32 keyY = _bytes32(".values.keyY");
        vm.assertEq(items[0], Items.register(0, owner, keyX, keyY, 1_000_000), "register");
        vm.assertEq(items[1], Items.deposit(owner, 256, 2 ** 53 - 1), "deposit");
        vm.assertEq(items[2], Items.withdraw(owner, 256, 5), "withdraw");
        vm.assertEq(items[3], Items.rotate(owner, 256, keyX, keyY), "rotate");
        vm.assertEq(items[4], Items.act(owner, 256, hex"18"), "act");
        vm.assertEq(accumulators[0], 0);
        for (uint256 i; i < items.length; ++i) {
            vm.assertEq(Items.accumulate(accumulators[i], items[i]), accumulators[i + 1]);
        }
    }

    function test_cells_agree() public {
        _open("cells");
        for (uint256 i; _has(_item(".cases", i)); ++i) {
            string memory case_ = _item(".cases", i);
            bytes memory cell = _bytes(_field(case_, "cell"));
            vm.assertEq(cell.length, Cells.SIZE);
            (string[] memory names, Field[] memory fields) = _layout(vm.parseJsonString(_json, _field(case_, "kind")));
            for (uint256 j; j < names.length; ++j) {
                string memory key = string.concat(case_, ".value.", names[j]);
                vm.assertEq(this.get(cell, fields[j]), _number(key), key);
            }
            _checkDecoders(case_, cell);
        }
    }

    // Libraries read calldata: these put the arguments there.

    function trieRoot(uint32 place, bytes calldata cell, bytes32[48] calldata siblings)
        external
        pure
        returns (bytes32)
    {
        return Trie.root(place, cell, siblings);
    }

    function logRoot(bytes calldata records) external pure returns (bytes32) {
        return Log.root(records);
    }

    function logVerify(bytes32 root, uint256 size, uint256 index, bytes calldata record, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return Log.verify(root, size, index, record, path);
    }

    function absorb(DataRoot.Tree memory tree, bytes calldata part) external pure returns (DataRoot.Tree memory) {
        tree.absorb(part);
        return tree;
    }

    function leafHash(uint64 firstStep, uint8 shard, uint64 seq, bytes calldata frame) external pure returns (bytes32) {
        return DataRoot.leafHash(firstStep, shard, seq, frame);
    }

    function dataVerify(bytes32 root, uint256 size, uint256 index, bytes32 leaf, bytes32[] calldata path)
        external
        pure
        returns (bool)
    {
        return DataRoot.verify(root, size, index, leaf, path);
    }

    function get(bytes calldata cell, Field field) external pure returns (uint256) {
        return Cells.get(cell, field);
    }

    function head(bytes calldata cell) external pure returns (Cells.Head memory) {
        return Cells.head(cell);
    }

    function inbox(bytes calldata cell) external pure returns (Cells.Inbox memory) {
        return Cells.inbox(cell);
    }

    function session(bytes calldata cell) external pure returns (Cells.Session memory) {
        return Cells.session(cell);
    }

    function outbox(bytes calldata cell) external pure returns (Cells.Outbox memory) {
        return Cells.outbox(cell);
    }

    /// @dev A decoder's struct holds the layout's fields in order, one word each.
    function _checkDecoders(string memory case_, bytes memory cell) private view {
        string memory kind = vm.parseJsonString(_json, _field(case_, "kind"));
        bytes memory decoded;
        if (_same(kind, "head")) decoded = abi.encode(this.head(cell));
        else if (_same(kind, "inbox")) decoded = abi.encode(this.inbox(cell));
        else if (_same(kind, "session")) decoded = abi.encode(this.session(cell));
        else if (_same(kind, "outbox")) decoded = abi.encode(this.outbox(cell));
        else return;
        (string[] memory names,) = _layout(kind);
        bytes memory expected;
        for (uint256 i; i < names.length; ++i) {
            expected = abi.encodePacked(expected, _number(string.concat(case_, ".value.", names[i])));
        }
        vm.assertEq(decoded, expected, case_);
    }

    function _layout(string memory kind) private pure returns (string[] memory names, Field[] memory fields) {
        names = new string[](14);
        fields = new Field[](14);
        uint256 n;
        if (_same(kind, "head")) {
            (names[n], fields[n++]) = ("time", Cells.HEAD_TIME);
            (names[n], fields[n++]) = ("agents", Cells.HEAD_AGENTS);
            (names[n], fields[n++]) = ("services", Cells.HEAD_SERVICES);
            (names[n], fields[n++]) = ("capabilities", Cells.HEAD_CAPABILITIES);
            (names[n], fields[n++]) = ("sessions", Cells.HEAD_SESSIONS);
            (names[n], fields[n++]) = ("escrows", Cells.HEAD_ESCROWS);
            (names[n], fields[n++]) = ("outbox", Cells.HEAD_OUTBOX);
            (names[n], fields[n++]) = ("workflows", Cells.HEAD_WORKFLOWS);
            (names[n], fields[n++]) = ("seq", Cells.HEAD_SEQ);
            (names[n], fields[n++]) = ("burned", Cells.HEAD_BURNED);
        } else if (_same(kind, "inbox")) {
            (names[n], fields[n++]) = ("accumulator", Cells.INBOX_ACCUMULATOR);
            (names[n], fields[n++]) = ("cursor", Cells.INBOX_CURSOR);
        } else if (_same(kind, "peer")) {
            (names[n], fields[n++]) = ("sent", Cells.PEER_SENT);
            (names[n], fields[n++]) = ("acked", Cells.PEER_ACKED);
            (names[n], fields[n++]) = ("received", Cells.PEER_RECEIVED);
        } else if (_same(kind, "agent")) {
            (names[n], fields[n++]) = ("owner", Cells.AGENT_OWNER);
            (names[n], fields[n++]) = ("balance", Cells.AGENT_BALANCE);
            (names[n], fields[n++]) = ("stake", Cells.AGENT_STAKE);
            (names[n], fields[n++]) = ("nonce", Cells.AGENT_NONCE);
            (names[n], fields[n++]) = ("epoch", Cells.AGENT_EPOCH);
            (names[n], fields[n++]) = ("completed", Cells.AGENT_COMPLETED);
            (names[n], fields[n++]) = ("failed", Cells.AGENT_FAILED);
            (names[n], fields[n++]) = ("volume", Cells.AGENT_VOLUME);
            (names[n], fields[n++]) = ("ratings", Cells.AGENT_RATINGS);
            (names[n], fields[n++]) = ("ratingSum", Cells.AGENT_RATING_SUM);
            (names[n], fields[n++]) = ("unstakeAt", Cells.AGENT_UNSTAKE_AT);
            (names[n], fields[n++]) = ("flags", Cells.AGENT_FLAGS);
        } else if (_same(kind, "key")) {
            (names[n], fields[n++]) = ("x", Cells.KEY_X);
            (names[n], fields[n++]) = ("y", Cells.KEY_Y);
        } else if (_same(kind, "service")) {
            (names[n], fields[n++]) = ("provider", Cells.SERVICE_PROVIDER);
            (names[n], fields[n++]) = ("flags", Cells.SERVICE_FLAGS);
            (names[n], fields[n++]) = ("ceiling", Cells.SERVICE_CEILING);
            (names[n], fields[n++]) = ("deadlineSeconds", Cells.SERVICE_DEADLINE_SECONDS);
            (names[n], fields[n++]) = ("arbiter", Cells.SERVICE_ARBITER);
            (names[n], fields[n++]) = ("contestSeconds", Cells.SERVICE_CONTEST_SECONDS);
            (names[n], fields[n++]) = ("metadataHash", Cells.SERVICE_METADATA_HASH);
            (names[n], fields[n++]) = ("version", Cells.SERVICE_VERSION);
        } else if (_same(kind, "capability")) {
            (names[n], fields[n++]) = ("grantor", Cells.CAPABILITY_GRANTOR);
            (names[n], fields[n++]) = ("grantee", Cells.CAPABILITY_GRANTEE);
            (names[n], fields[n++]) = ("service", Cells.CAPABILITY_SERVICE);
            (names[n], fields[n++]) = ("limit", Cells.CAPABILITY_LIMIT);
            (names[n], fields[n++]) = ("used", Cells.CAPABILITY_USED);
            (names[n], fields[n++]) = ("expiry", Cells.CAPABILITY_EXPIRY);
            (names[n], fields[n++]) = ("flags", Cells.CAPABILITY_FLAGS);
        } else if (_same(kind, "session")) {
            (names[n], fields[n++]) = ("a", Cells.SESSION_A);
            (names[n], fields[n++]) = ("b", Cells.SESSION_B);
            (names[n], fields[n++]) = ("depositA", Cells.SESSION_DEPOSIT_A);
            (names[n], fields[n++]) = ("depositB", Cells.SESSION_DEPOSIT_B);
            (names[n], fields[n++]) = ("paidAB", Cells.SESSION_PAID_AB);
            (names[n], fields[n++]) = ("paidBA", Cells.SESSION_PAID_BA);
            (names[n], fields[n++]) = ("callsAB", Cells.SESSION_CALLS_AB);
            (names[n], fields[n++]) = ("callsBA", Cells.SESSION_CALLS_BA);
            (names[n], fields[n++]) = ("exitAt", Cells.SESSION_EXIT_AT);
            (names[n], fields[n++]) = ("exitDelay", Cells.SESSION_EXIT_DELAY);
            (names[n], fields[n++]) = ("serial", Cells.SESSION_SERIAL);
            (names[n], fields[n++]) = ("status", Cells.SESSION_STATUS);
            (names[n], fields[n++]) = ("flags", Cells.SESSION_FLAGS);
        } else if (_same(kind, "sessionRoots")) {
            (names[n], fields[n++]) = ("rootAB", Cells.SESSION_ROOT_AB);
            (names[n], fields[n++]) = ("rootBA", Cells.SESSION_ROOT_BA);
        } else if (_same(kind, "escrow")) {
            (names[n], fields[n++]) = ("serial", Cells.ESCROW_SERIAL);
            (names[n], fields[n++]) = ("payer", Cells.ESCROW_PAYER);
            (names[n], fields[n++]) = ("payee", Cells.ESCROW_PAYEE);
            (names[n], fields[n++]) = ("service", Cells.ESCROW_SERVICE);
            (names[n], fields[n++]) = ("amount", Cells.ESCROW_AMOUNT);
            (names[n], fields[n++]) = ("paid", Cells.ESCROW_PAID);
            (names[n], fields[n++]) = ("deadline", Cells.ESCROW_DEADLINE);
            (names[n], fields[n++]) = ("status", Cells.ESCROW_STATUS);
            (names[n], fields[n++]) = ("workflow", Cells.ESCROW_WORKFLOW);
            (names[n], fields[n++]) = ("link", Cells.ESCROW_LINK);
            (names[n], fields[n++]) = ("capability", Cells.ESCROW_CAPABILITY);
            (names[n], fields[n++]) = ("arbiter", Cells.ESCROW_ARBITER);
            (names[n], fields[n++]) = ("contestSeconds", Cells.ESCROW_CONTEST_SECONDS);
            (names[n], fields[n++]) = ("flags", Cells.ESCROW_FLAGS);
        } else if (_same(kind, "outbox")) {
            (names[n], fields[n++]) = ("kind", Cells.OUTBOX_KIND);
            (names[n], fields[n++]) = ("serial", Cells.OUTBOX_SERIAL);
            (names[n], fields[n++]) = ("time", Cells.OUTBOX_TIME);
            (names[n], fields[n++]) = ("agent", Cells.OUTBOX_AGENT);
            (names[n], fields[n++]) = ("recipient", Cells.OUTBOX_RECIPIENT);
            (names[n], fields[n++]) = ("amount", Cells.OUTBOX_AMOUNT);
        } else if (_same(kind, "workflow")) {
            (names[n], fields[n++]) = ("serial", Cells.WORKFLOW_SERIAL);
            (names[n], fields[n++]) = ("planner", Cells.WORKFLOW_PLANNER);
            (names[n], fields[n++]) = ("legs", Cells.WORKFLOW_LEGS);
            (names[n], fields[n++]) = ("status", Cells.WORKFLOW_STATUS);
            (names[n], fields[n++]) = ("deadline", Cells.WORKFLOW_DEADLINE);
            (names[n], fields[n++]) = ("done", Cells.WORKFLOW_DONE);
            (names[n], fields[n++]) = ("told", Cells.WORKFLOW_TOLD);
        } else if (_same(kind, "workflowLegs")) {
            for (uint256 i; i < 4; ++i) {
                string memory suffix = vm.toString(i);
                (names[n], fields[n++]) = (string.concat("payer", suffix), _shift(Cells.LEG_PAYER, 16 * i));
                (names[n], fields[n++]) = (string.concat("service", suffix), _shift(Cells.LEG_SERVICE, 16 * i));
                (names[n], fields[n++]) = (string.concat("escrow", suffix), _shift(Cells.LEG_ESCROW, 16 * i));
            }
        } else if (_same(kind, "message")) {
            (names[n], fields[n++]) = ("number", Cells.MESSAGE_NUMBER);
            (names[n], fields[n++]) = ("to", Cells.MESSAGE_TO);
            (names[n], fields[n++]) = ("kind", Cells.MESSAGE_KIND);
            (names[n], fields[n++]) = ("time", Cells.MESSAGE_TIME);
            (names[n], fields[n++]) = ("agent", Cells.MESSAGE_AGENT);
            (names[n], fields[n++]) = ("amount", Cells.MESSAGE_AMOUNT);
            (names[n], fields[n++]) = ("hash", Cells.MESSAGE_HASH);
        } else {
            revert(string.concat("no layout for ", kind));
        }
        assembly ("memory-safe") {
            mstore(names, n)
            mstore(fields, n)
        }
    }

    function _shift(Field field, uint256 bytes_) private pure returns (Field) {
        return Field.wrap(uint16(Field.unwrap(field) + (bytes_ << 8)));
    }

    function _structHash(string memory kind, string memory value) private view returns (bytes32) {
        if (_same(kind, "Bundle")) return Digests.hashBundle(_bytes(string.concat(value, "body")));
        if (_same(kind, "Half")) {
            return Digests.hash(
                Digests.Half(
                    _u64(value, "session"),
                    uint8(_u64(value, "dir")),
                    _u64(value, "seq"),
                    _u64(value, "calls"),
                    _u64(value, "paid"),
                    _b32(value, "root"),
                    _b32(value, "locks")
                )
            );
        }
        if (_same(kind, "Close")) {
            return Digests.hash(
                Digests.Close(
                    _u64(value, "session"),
                    _u64(value, "paidAB"),
                    _u64(value, "paidBA"),
                    _u64(value, "callsAB"),
                    _u64(value, "callsBA"),
                    _b32(value, "rootAB"),
                    _b32(value, "rootBA")
                )
            );
        }
        if (_same(kind, "Rotate")) {
            return Digests.hash(
                Digests.Rotate(
                    _u64(value, "agent"), uint32(_u64(value, "epoch")), _b32(value, "keyX"), _b32(value, "keyY")
                )
            );
        }
        if (_same(kind, "Receipt")) {
            return Digests.hash(
                Digests.Receipt(
                    uint8(_u64(value, "shard")),
                    _u64(value, "seq"),
                    _b32(value, "frameHash"),
                    _b32(value, "runningHash"),
                    _b32(value, "outcomesHash"),
                    _u64(value, "promisedBy")
                )
            );
        }
        if (_same(kind, "Connect")) {
            string memory room = vm.parseJsonString(_json, string.concat(value, "room"));
            return
                Digests.hash(Digests.Connect(_u64(value, "agent"), room, _u64(value, "timeMs"), _b32(value, "nonce")));
        }
        if (_same(kind, "Pairing")) {
            return Digests.hash(
                Digests.Pairing(
                    _u64(value, "session"),
                    uint8(_u64(value, "party")),
                    _b32(value, "keyX"),
                    _b32(value, "keyY"),
                    _b32(value, "peerX"),
                    _b32(value, "peerY")
                )
            );
        }
        if (_same(kind, "Announce")) {
            return
                Digests.hash(Digests.Announce(_u64(value, "agent"), _b32(value, "contentHash"), _u64(value, "timeMs")));
        }
        if (_same(kind, "Checkpoint")) {
            return
                Digests.hash(
                    Digests.Checkpoint(uint8(_u64(value, "shard")), _u64(value, "seq"), _b32(value, "shardRoot"))
                );
        }
        if (_same(kind, "Available")) {
            return Digests.hash(
                Digests.Available(
                    _u64(value, "number"), _b32(value, "dataRoot"), _u64(value, "epoch"), _u64(value, "until")
                )
            );
        }
        if (_same(kind, "RotateCommittee")) {
            return Digests.hashRotation(_u64(value, "epoch"), _b32(value, "members"));
        }
        revert(string.concat("no type ", kind));
    }

    function _verifyP256(bytes32 digest, string memory case_, string memory key) private view returns (bool) {
        (bytes32 r, bytes32 s) = abi.decode(_bytes(_field(case_, key)), (bytes32, bytes32));
        return Keys.verifyP256(digest, r, s, _bytes32(_field(case_, "p256.x")), _bytes32(_field(case_, "p256.y")));
    }

    function _leaf(string memory frame) private view returns (bytes32) {
        return this.leafHash(
            uint64(_uint(_field(frame, "firstStep"))),
            uint8(_uint(_field(frame, "shard"))),
            uint64(_uint(_field(frame, "seq"))),
            _bytes(_field(frame, "frame"))
        );
    }

    /// @dev A number as JSON has it, plain, in quotes or in hex, or an id in its text form `shard:serial`.
    function _number(string memory key) private view returns (uint256) {
        try vm.parseJsonUint(_json, key) returns (uint256 value) {
            return value;
        } catch {
            bytes memory text = bytes(vm.parseJsonString(_json, key));
            uint256[2] memory parts;
            uint256 part;
            for (uint256 i; i < text.length; ++i) {
                if (text[i] == ":") ++part;
                else parts[part] = parts[part] * 10 + uint8(text[i]) - 48;
            }
            return parts[1] * 256 + parts[0];
        }
    }

    function _open(string memory name) private {
        _json = vm.readFile(string.concat("../test/vectors/", name, ".json"));
    }

    function _item(string memory list, uint256 index) private pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]");
    }

    function _field(string memory object, string memory name) private pure returns (string memory) {
        return string.concat(object, ".", name);
    }

    function _has(string memory key) private view returns (bool) {
        return vm.keyExistsJson(_json, key);
    }

    function _bytes(string memory key) private view returns (bytes memory) {
        return vm.parseJsonBytes(_json, key);
    }

    function _bytes32(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(_json, key);
    }

    function _b32(string memory value, string memory name) private view returns (bytes32) {
        return _bytes32(string.concat(value, name));
    }

    function _uint(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(_json, key);
    }

    function _u64(string memory value, string memory name) private view returns (uint64) {
        return uint64(_uint(string.concat(value, name)));
    }

    function _same(string memory a, string memory b) private pure returns (bool) {
        return keccak256(bytes(a)) == keccak256(bytes(b));
    }
}
