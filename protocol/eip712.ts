/**
 * EIP-712 preimages of everything AGNT2 signs (docs/protocol.md §5). A P-256 key signs the SHA-256 of the 66 bytes,
 * a secp256k1 key their keccak: one encoding, two curves.
 * @see https://eips.ethereum.org/EIPS/eip-712
 */
import { type Hex, ZERO_BYTES32, concat, unhex, utf8, word } from './bytes.ts';
import type { Half } from './half.ts';
import { keccak } from './hash.ts';

/** What binds a signature to one deployment. */
export interface Domain {
  readonly chainId: number;
  /** Address of Root. */
  readonly root: Hex;
}

const typeHash = (type: string): Uint8Array => keccak(utf8(type));

const DOMAIN_TYPE = typeHash('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)');
const NAME = keccak(utf8('AGNT2'));
const VERSION = keccak(utf8('1'));

export const domainSeparator = ({ chainId, root }: Domain): Uint8Array =>
  keccak(concat(DOMAIN_TYPE, NAME, VERSION, word(chainId), new Uint8Array(12), unhex(root, 20)));

/** The 66 bytes `0x1901 ‖ separator ‖ structHash`. */
const preimage = (separator: Uint8Array, structHash: Uint8Array): Uint8Array =>
  concat(Uint8Array.of(0x19, 0x01), separator, structHash);

const BUNDLE = typeHash('Bundle(bytes body)');
const HALF = typeHash('Half(uint64 session,uint8 dir,uint64 seq,uint64 calls,uint64 paid,bytes32 root,bytes32 locks)');
const CLOSE = typeHash(
  'Close(uint64 session,uint64 paidAB,uint64 paidBA,uint64 callsAB,uint64 callsBA,bytes32 rootAB,bytes32 rootBA)',
);
const ROTATE = typeHash('Rotate(uint64 agent,uint32 epoch,bytes32 keyX,bytes32 keyY)');
const RECEIPT = typeHash(
  'Receipt(uint8 shard,uint64 seq,bytes32 frameHash,bytes32 runningHash,bytes32 outcomesHash,uint64 promisedBy)',
);
const CONNECT = typeHash('Connect(uint64 agent,string room,uint64 timeMs,bytes32 nonce)');
const PAIRING = typeHash('Pairing(uint64 session,uint8 party,bytes32 keyX,bytes32 keyY,bytes32 peerX,bytes32 peerY)');
const ANNOUNCE = typeHash('Announce(uint64 agent,bytes32 contentHash,uint64 timeMs)');
const CHECKPOINT = typeHash('Checkpoint(uint8 shard,uint64 seq,bytes32 shardRoot)');
const AVAILABLE = typeHash('Available(uint64 number,bytes32 dataRoot,uint64 epoch,uint64 until)');
const OFFER = typeHash('Offer(uint64 number,bytes32 dataRoot,uint64 epoch,uint64 until)');
const ROTATE_COMMITTEE = typeHash('RotateCommittee(uint64 epoch,bytes32 members)');

/** A cooperative close: both directions as both parties agree they ended. */
export interface Close {
  readonly session: number;
  readonly paidAB: number;
  readonly paidBA: number;
  readonly callsAB: number;
  readonly callsBA: number;
  readonly rootAB: Uint8Array;
  readonly rootBA: Uint8Array;
}

export interface Rotate {
  readonly agent: number;
  /** The agent's epoch before the rotation. */
  readonly epoch: number;
  /** x ‖ y, 64 bytes. */
  readonly key: Uint8Array;
}

/** The sequencer's promise of a place in the trace. */
export interface Receipt {
  readonly shard: number;
  readonly seq: number;
  readonly frameHash: Uint8Array;
  readonly runningHash: Uint8Array;
  readonly outcomesHash: Uint8Array;
  /** Unix seconds by which a batch holds the frame. */
  readonly promisedBy: number;
}

export interface Connect {
  readonly agent: number;
  /** URL path of the socket. */
  readonly room: string;
  readonly timeMs: number;
  readonly nonce: Uint8Array;
}

/** A party's word on which two keys seal a pairing's calls. */
export interface Pairing {
  readonly session: number;
  /** 0: a, 1: b. */
  readonly party: 0 | 1;
  /** The party's own pairing key, x ‖ y, 64 bytes. */
  readonly key: Uint8Array;
  readonly peerKey: Uint8Array;
}

export interface Announce {
  readonly agent: number;
  readonly contentHash: Uint8Array;
  readonly timeMs: number;
}

/** The sequencer's word on a shard's root after its first `seq` frames. */
export interface Checkpoint {
  readonly shard: number;
  readonly seq: number;
  readonly shardRoot: Uint8Array;
}

/** A committee member's word that it keeps its column of a batch's data. */
export interface Available {
  /** The batch's. */
  readonly number: number;
  readonly dataRoot: Uint8Array;
  readonly epoch: number;
  /** Unix seconds. */
  readonly until: number;
}

/** The next epoch of a committee; `members` is keccak of its addresses. */
export interface RotateCommittee {
  readonly epoch: number;
  readonly members: Uint8Array;
}

export const structHashes = {
  bundle: (body: Uint8Array) => keccak(concat(BUNDLE, keccak(body))),
  half: (h: Half) =>
    keccak(concat(HALF, word(h.session), word(h.dir), word(h.seq), word(h.calls), word(h.paid), h.root, ZERO_BYTES32)),
  close: (c: Close) =>
    keccak(
      concat(
        CLOSE,
        word(c.session),
        word(c.paidAB),
        word(c.paidBA),
        word(c.callsAB),
        word(c.callsBA),
        c.rootAB,
        c.rootBA,
      ),
    ),
  rotate: (r: Rotate) => keccak(concat(ROTATE, word(r.agent), word(r.epoch), r.key)),
  receipt: (r: Receipt) =>
    keccak(concat(RECEIPT, word(r.shard), word(r.seq), r.frameHash, r.runningHash, r.outcomesHash, word(r.promisedBy))),
  connect: (c: Connect) => keccak(concat(CONNECT, word(c.agent), keccak(utf8(c.room)), word(c.timeMs), c.nonce)),
  pairing: (p: Pairing) => keccak(concat(PAIRING, word(p.session), word(p.party), p.key, p.peerKey)),
  announce: (a: Announce) => keccak(concat(ANNOUNCE, word(a.agent), a.contentHash, word(a.timeMs))),
  checkpoint: (c: Checkpoint) => keccak(concat(CHECKPOINT, word(c.shard), word(c.seq), c.shardRoot)),
  available: (a: Available) => keccak(concat(AVAILABLE, word(a.number), a.dataRoot, word(a.epoch), word(a.until))),
  offer: (o: Available) => keccak(concat(OFFER, word(o.number), o.dataRoot, word(o.epoch), word(o.until))),
  rotateCommittee: (r: RotateCommittee) => keccak(concat(ROTATE_COMMITTEE, word(r.epoch), r.members)),
};

/** Preimages under one deployment's domain: what a key's `sign` and `verify` take. */
export class Signing {
  readonly separator: Uint8Array;

  constructor(domain: Domain) {
    this.separator = domainSeparator(domain);
  }

  bundle(body: Uint8Array): Uint8Array {
    return preimage(this.separator, structHashes.bundle(body));
  }
  half(half: Half): Uint8Array {
    return preimage(this.separator, structHashes.half(half));
  }
  close(close: Close): Uint8Array {
    return preimage(this.separator, structHashes.close(close));
  }
  rotate(rotate: Rotate): Uint8Array {
    return preimage(this.separator, structHashes.rotate(rotate));
  }
  receipt(receipt: Receipt): Uint8Array {
    return preimage(this.separator, structHashes.receipt(receipt));
  }
  connect(connect: Connect): Uint8Array {
    return preimage(this.separator, structHashes.connect(connect));
  }
  pairing(pairing: Pairing): Uint8Array {
    return preimage(this.separator, structHashes.pairing(pairing));
  }
  announce(announce: Announce): Uint8Array {
    return preimage(this.separator, structHashes.announce(announce));
  }
  checkpoint(checkpoint: Checkpoint): Uint8Array {
    return preimage(this.separator, structHashes.checkpoint(checkpoint));
  }
  available(available: Available): Uint8Array {
    return preimage(this.separator, structHashes.available(available));
  }
  /** What the sequencer asks of a committee's members, by its P-256 key: the words that they sign. */
  offer(offer: Available): Uint8Array {
    return preimage(this.separator, structHashes.offer(offer));
  }
  rotateCommittee(rotation: RotateCommittee): Uint8Array {
    return preimage(this.separator, structHashes.rotateCommittee(rotation));
  }
}
