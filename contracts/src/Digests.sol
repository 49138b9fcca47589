// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title What is signed (docs/protocol.md §5)
/// @notice EIP-712 struct hashes, and the two digests of the same 66-byte preimage: SHA-256 for P-256 keys, because that
/// is what WebCrypto does with a message, and keccak for secp256k1 owners, because that is what wallets do.
library Digests {
    bytes32 internal constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant BUNDLE = keccak256("Bundle(bytes body)");
    bytes32 internal constant HALF =
        keccak256("Half(uint64 session,uint8 dir,uint64 seq,uint64 calls,uint64 paid,bytes32 root,bytes32 locks)");
    bytes32 internal constant CLOSE = keccak256(
        "Close(uint64 session,uint64 paidAB,uint64 paidBA,uint64 callsAB,uint64 callsBA,bytes32 rootAB,bytes32 rootBA)"
    );
    bytes32 internal constant ROTATE = keccak256("Rotate(uint64 agent,uint32 epoch,bytes32 keyX,bytes32 keyY)");
    bytes32 internal constant RECEIPT = keccak256(
        "Receipt(uint8 shard,uint64 seq,bytes32 frameHash,bytes32 runningHash,bytes32 outcomesHash,uint64 promisedBy)"
    );
    bytes32 internal constant CONNECT = keccak256("Connect(uint64 agent,string room,uint64 timeMs,bytes32 nonce)");
    bytes32 internal constant PAIRING =
        keccak256("Pairing(uint64 session,uint8 party,bytes32 keyX,bytes32 keyY,bytes32 peerX,bytes32 peerY)");
    bytes32 internal constant ANNOUNCE = keccak256("Announce(uint64 agent,bytes32 contentHash,uint64 timeMs)");
    bytes32 internal constant CHECKPOINT = keccak256("Checkpoint(uint8 shard,uint64 seq,bytes32 shardRoot)");
    bytes32 internal constant AVAILABLE =
        keccak256("Available(uint64 number,bytes32 dataRoot,uint64 epoch,uint64 until)");
    bytes32 internal constant ROTATE_COMMITTEE = keccak256("RotateCommittee(uint64 epoch,bytes32 members)");

    struct Half {
        uint64 session;
        uint8 dir;
        uint64 seq;
        uint64 calls;
        uint64 paid;
        bytes32 root;
        bytes32 locks;
    }

    struct Close {
        uint64 session;
        uint64 paidAB;
        uint64 paidBA;
        uint64 callsAB;
        uint64 callsBA;
        bytes32 rootAB;
        bytes32 rootBA;
    }

    struct Rotate {
        uint64 agent;
        uint32 epoch;
        bytes32 keyX;
        bytes32 keyY;
    }

    struct Receipt {
        uint8 shard;
        uint64 seq;
        bytes32 frameHash;
        bytes32 runningHash;
        bytes32 outcomesHash;
        uint64 promisedBy;
    }

    struct Connect {
        uint64 agent;
        string room;
        uint64 timeMs;
        bytes32 nonce;
    }

    /// @dev A party's word on which two keys seal a pairing's calls. `party` 0 is a, 1 is b.
    struct Pairing {
        uint64 session;
        uint8 party;
        bytes32 keyX;
        bytes32 keyY;
        bytes32 peerX;
        bytes32 peerY;
    }

    struct Announce {
        uint64 agent;
        bytes32 contentHash;
        uint64 timeMs;
    }

    /// @dev The sequencer's word on a shard's root after its first `seq` frames.
    struct Checkpoint {
        uint8 shard;
        uint64 seq;
        bytes32 shardRoot;
    }

    /// @dev A member's word that it keeps its column of a batch's data until then.
    struct Available {
        uint64 number;
        bytes32 dataRoot;
        uint64 epoch;
        uint64 until;
    }

    /// @notice The separator of one deployment on one chain, so that nothing signed is valid on another.
    function domainSeparator(uint256 chainId, address root) internal pure returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPE, keccak256("AGNT2"), keccak256("1"), chainId, root));
    }

    function hashBundle(bytes memory body) internal pure returns (bytes32) {
        return keccak256(abi.encode(BUNDLE, keccak256(body)));
    }

    function hash(Half memory half) internal pure returns (bytes32) {
        return keccak256(abi.encode(HALF, half));
    }

    function hash(Close memory close) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSE, close));
    }

    function hash(Rotate memory rotate) internal pure returns (bytes32) {
        return keccak256(abi.encode(ROTATE, rotate));
    }

    function hash(Receipt memory receipt) internal pure returns (bytes32) {
        return keccak256(abi.encode(RECEIPT, receipt));
    }

    function hash(Connect memory connect) internal pure returns (bytes32) {
        return
            keccak256(abi.encode(CONNECT, connect.agent, keccak256(bytes(connect.room)), connect.timeMs, connect.nonce));
    }

    function hash(Pairing memory pairing) internal pure returns (bytes32) {
        return keccak256(abi.encode(PAIRING, pairing));
    }

    function hash(Announce memory announce) internal pure returns (bytes32) {
        return keccak256(abi.encode(ANNOUNCE, announce));
    }

    function hash(Checkpoint memory checkpoint) internal pure returns (bytes32) {
        return keccak256(abi.encode(CHECKPOINT, checkpoint));
    }

    function hash(Available memory available) internal pure returns (bytes32) {
        return keccak256(abi.encode(AVAILABLE, available));
    }

    /// @param members The hash of the next epoch's list.
    function hashRotation(uint64 epoch, bytes32 members) internal pure returns (bytes32) {
        return keccak256(abi.encode(ROTATE_COMMITTEE, epoch, members));
    }

    function preimage(bytes32 separator, bytes32 structHash) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"1901", separator, structHash);
    }

    function p256(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return sha256(preimage(separator, structHash));
    }

    function secp256k1(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return keccak256(preimage(separator, structHash));
    }
}
