/**
 * Writes the shared vectors: `node test/vectors/generate.ts` (or `--check`). TypeScript and forge both read them, so a
 * change of protocol shows in either twin. Everything is deterministic: fixed keys, RFC 6979 signatures.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { p256 } from '@noble/curves/nist.js';
import { concat, hex, utf8, word } from '../../protocol/bytes.ts';
import { encodeCallRecord } from '../../protocol/call.ts';
import { type CellJson, LAYOUTS, addressOf, cellFromJson, Region } from '../../protocol/cells.ts';
import { Signing, domainSeparator, structHashes } from '../../protocol/eip712.ts';
import { inboxFrame, tickFrame } from '../../protocol/engine.ts';
import { keccak, sha } from '../../protocol/hash.ts';
import { accumulate, encodeInboxItem } from '../../protocol/inbox.ts';
import { ownerAddress, signOwner } from '../../protocol/keys.ts';
import { inclusionPath, leafHash, rootOf } from '../../protocol/log.ts';
import { PacketType } from '../../protocol/packet.ts';
import { SealedFlow, platformSealing, sealKey } from '../../protocol/seal.ts';
import { type ChunkRecord, encodeChunkRecord, frameLeaf, placeFrames, sealData } from '../../protocol/trace.ts';
import { ShardTrie, StateTree, ZERO_HASHES } from '../../protocol/trie.ts';
import { daVector } from './da.ts';
import { halvesVector } from './halves.ts';
import { stepsVector } from './steps.ts';
import { traceVector } from './trace.ts';

/** 32 bytes that depend on a label only. */
const seeded = (label: string): Uint8Array => sha(utf8(`agnt2 vector ${label}`));
const seededBytes = (label: string, length: number): Uint8Array =>
  concat(...Array.from({ length: Math.ceil(length / 32) }, (_, i) => seeded(`${label} ${i}`))).slice(0, length);

function trie() {
  const cases = [
    { name: 'empty', cells: [] as { address: number; cell: Uint8Array }[], open: [0, addressOf(255, 15, 2 ** 20 - 1)] },
    {
      name: 'one agent',
      cells: [{ address: addressOf(0, Region.agent, 1), cell: seededBytes('agent 1', 64) }],
      open: [addressOf(0, Region.agent, 1), addressOf(0, Region.agent, 2), addressOf(1, Region.agent, 1)],
    },
    {
      name: 'neighbours, far cells and two shards',
      cells: [0, 1, 2, 3, 4, 1023, 1024, 65_535, 2 ** 20 - 1]
        .map((slot) => ({ address: addressOf(0, Region.escrow, slot), cell: seededBytes(`escrow ${slot}`, 64) }))
        .concat([
          { address: addressOf(0, Region.meta, 0), cell: seededBytes('head', 64) },
          { address: addressOf(7, Region.outbox, 9), cell: seededBytes('outbox', 64) },
          { address: addressOf(255, Region.workflow, 2 ** 20 - 1), cell: seededBytes('last', 64) },
        ]),
      open: [
        addressOf(0, Region.escrow, 0),
        addressOf(0, Region.escrow, 3),
        addressOf(0, Region.escrow, 1024),
        addressOf(0, Region.escrow, 5),
        addressOf(0, Region.meta, 0),
        addressOf(7, Region.outbox, 9),
        addressOf(255, Region.workflow, 2 ** 20 - 1),
      ],
    },
  ];
  return {
    zero: ZERO_HASHES.map(hex),
    cases: cases.map(({ name, cells, open }) => {
      const shards = new Map<number, ShardTrie>();
      for (const { address, cell } of cells) {
        const shard = address >>> 24;
        if (!shards.has(shard)) shards.set(shard, new ShardTrie());
        shards.get(shard)!.edit((address >>> 20) & 15, address & 0xfffff).set(cell);
      }
      const top = new StateTree([...shards].map(([shard, tree]) => [shard, tree.root()] as const));
      return {
        name,
        cells: cells.map(({ address, cell }) => ({ address, cell: hex(cell) })),
        root: hex(top.root()),
        proofs: open.map((address) => {
          const shard = shards.get(address >>> 24) ?? new ShardTrie();
          const [region, slot] = [(address >>> 20) & 15, address & 0xfffff];
          return { address, cell: hex(shard.read(region, slot)), siblings: [...shard.proof(region, slot), ...top.siblings(address >>> 24)].map(hex) };
        }),
      };
    }),
  };
}

/** Keys of a pairing, and packets of both directions: the first two, and those about the first change of key. */
async function seal() {
  const { separator } = new Signing({ chainId: 31337, root: '0x5fbdb2315678afecb367f032d93f642f64180aa3' });
  const scalars = [seeded('pairing key a'), seeded('pairing key b')];
  const [keyA, keyB] = scalars.map((scalar) => p256.getPublicKey(scalar, false).slice(1));
  const secret = p256.getSharedSecret(scalars[0], concat(Uint8Array.of(4), keyB), false).slice(1, 33);
  const pairing = { secret, keyA, keyB, separator, session: 1792 };
  const packet = concat(Uint8Array.of(PacketType.calls), seededBytes('parts', 100));
  const packets = [];
  for (const dir of [0, 1] as const) {
    for (const n of [0, 1, 2 ** 16 - 1, 2 ** 16, 2 ** 16 + 1]) {
      const flow = new SealedFlow(platformSealing, sealKey(pairing, dir));
      for (let i = 0; i < n; i++) flow.skip();
      packets.push({ dir, n: String(n), sealed: hex(await flow.seal(packet)) });
    }
  }
  const keys = { scalarA: hex(scalars[0]), scalarB: hex(scalars[1]), keyA: hex(keyA), keyB: hex(keyB), secret: hex(secret) };
  return { session: '1792', separator: hex(separator), ...keys, packet: hex(packet), packets };
}

const domain = { chainId: 31337, root: '0x5fbdb2315678afecb367f032d93f642f64180aa3' } as const;

function digests() {
  const separator = domainSeparator(domain);
  const machine = seeded('machine key');
  const owner = seeded('owner key');
  const point = p256.getPublicKey(machine, false);
  const values = [
    { type: 'Bundle', value: { body: hex(seededBytes('body', 111)) }, structHash: structHashes.bundle(seededBytes('body', 111)) },
    ...([0, 1] as const).map((dir) => {
      const half = { session: 256 * 7, dir, seq: 3, calls: 1000 + dir, paid: dir ? Number.MAX_SAFE_INTEGER : 123_456, root: seeded('root') };
      const value = { session: '1792', dir, seq: '3', calls: String(half.calls), paid: String(half.paid), root: hex(half.root), locks: hex(new Uint8Array(32)) };
      return { type: 'Half', value, structHash: structHashes.half(half) };
    }),
    (() => {
      const close = { session: 1792, paidAB: 9, paidBA: 8, callsAB: 7, callsBA: 6, rootAB: seeded('ab'), rootBA: seeded('ba') };
      const value = { session: '1792', paidAB: '9', paidBA: '8', callsAB: '7', callsBA: '6', rootAB: hex(close.rootAB), rootBA: hex(close.rootBA) };
      return { type: 'Close', value, structHash: structHashes.close(close) };
    })(),
    (() => {
      const key = concat(seeded('new x'), seeded('new y'));
      const value = { agent: '512', epoch: 4, keyX: hex(key.subarray(0, 32)), keyY: hex(key.subarray(32)) };
      return { type: 'Rotate', value, structHash: structHashes.rotate({ agent: 512, epoch: 4, key }) };
    })(),
    (() => {
      const receipt = { shard: 3, seq: 99, frameHash: seeded('f'), runningHash: seeded('r'), outcomesHash: seeded('o'), promisedBy: 1_900_000_000 };
      const value = {
        shard: 3,
        seq: '99',
        frameHash: hex(receipt.frameHash),
        runningHash: hex(receipt.runningHash),
        outcomesHash: hex(receipt.outcomesHash),
        promisedBy: '1900000000',
      };
      return { type: 'Receipt', value, structHash: structHashes.receipt(receipt) };
    })(),
    (() => {
      const connect = { agent: 256, room: '/sessions/0:1/socket', timeMs: 1_900_000_000_123, nonce: seeded('nonce') };
      const value = { agent: '256', room: connect.room, timeMs: '1900000000123', nonce: hex(connect.nonce) };
      return { type: 'Connect', value, structHash: structHashes.connect(connect) };
    })(),
    (() => {
      const [key, peerKey] = ['a', 'b'].map((party) => concat(seeded(`${party} pairs x`), seeded(`${party} pairs y`)));
      const [keyX, keyY, peerX, peerY] = [key, peerKey].flatMap((k) => [hex(k.subarray(0, 32)), hex(k.subarray(32))]);
      const value = { session: '1792', party: 1, keyX, keyY, peerX, peerY };
      return { type: 'Pairing', value, structHash: structHashes.pairing({ session: 1792, party: 1, key, peerKey }) };
    })(),
    (() => {
      const announce = { agent: 256, contentHash: seeded('content'), timeMs: 1_900_000_000_123 };
      const value = { agent: '256', contentHash: hex(announce.contentHash), timeMs: '1900000000123' };
      return { type: 'Announce', value, structHash: structHashes.announce(announce) };
    })(),
    (() => {
      const checkpoint = { shard: 255, seq: 2 ** 48 - 1, shardRoot: seeded('shard root') };
      const value = { shard: 255, seq: String(checkpoint.seq), shardRoot: hex(checkpoint.shardRoot) };
      return { type: 'Checkpoint', value, structHash: structHashes.checkpoint(checkpoint) };
    })(),
    (() => {
      const available = { number: 77, dataRoot: seeded('data root'), epoch: 3, until: 1_900_000_000 };
      const value = { number: '77', dataRoot: hex(available.dataRoot), epoch: '3', until: '1900000000' };
      return { type: 'Available', value, structHash: structHashes.available(available) };
    })(),
    (() => {
      const rotation = { epoch: 4, members: seeded('members') };
      const value = { epoch: '4', members: hex(rotation.members) };
      return { type: 'RotateCommittee', value, structHash: structHashes.rotateCommittee(rotation) };
    })(),
  ];
  return {
    domain: { chainId: domain.chainId, verifyingContract: domain.root, separator: hex(separator) },
    cases: values.map(({ type, value, structHash }) => {
      const preimage = concat(Uint8Array.of(0x19, 1), separator, structHash);
      const signature = p256.sign(sha(preimage), machine, { prehash: false, lowS: true });
      const highS = signature.slice();
      highS.set(word(p256.Point.CURVE().n - BigInt(hex(signature.subarray(32)))), 32);
      return {
        type,
        value,
        structHash: hex(structHash),
        preimage: hex(preimage),
        sha: hex(sha(preimage)),
        keccak: hex(keccak(preimage)),
        p256: { x: hex(point.subarray(1, 33)), y: hex(point.subarray(33)), signature: hex(signature), highS: hex(highS) },
        secp256k1: { address: hex(ownerAddress(owner)), signature: hex(signOwner(owner, preimage)) },
      };
    }),
  };
}

function log() {
  const records = Array.from({ length: 21 }, (_, i) =>
    encodeCallRecord({ index: i, requestHash: seeded(`q${i}`), responseHash: seeded(`p${i}`), price: i * 100, status: 200 + i, timeMs: 1_900_000_000_000 + i }),
  );
  const leaves = records.map((record) => leafHash(sha, record));
  const sizes = [0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 21];
  return {
    records: records.map(hex),
    roots: sizes.map((size) => ({ size, root: hex(rootOf(sha, leaves.slice(0, size))) })),
    proofs: [1, 2, 5, 8, 17, 21].flatMap((size) =>
      [...new Set([0, Math.floor(size / 2), size - 1])].map((index) => ({ size, index, path: inclusionPath(sha, leaves.slice(0, size), index).map(hex) })),
    ),
  };
}

function dataRoot() {
  const bundle = (count: number, length: number) => {
    const frame = seededBytes(`bundle ${count} ${length}`, length);
    frame[0] = 0x10;
    frame[1] = count - 1;
    return frame;
  };
  const cases: { name: string; parts: ChunkRecord[][] }[] = [
    { name: 'one tick', parts: [[{ shard: 0, firstSeq: 0, frames: [tickFrame(1_900_000_000)] }]] },
    {
      name: 'bundles, an inbox item, junk and a one-byte frame',
      parts: [[{ shard: 0, firstSeq: 41, frames: [bundle(1, 120), bundle(256, 4096), inboxFrame(seededBytes('item', 32)), Uint8Array.of(0x10), Uint8Array.of(0xff, 9)] }]],
    },
    {
      name: 'two shards in three parts',
      parts: [
        [{ shard: 0, firstSeq: 0, frames: [tickFrame(1), bundle(2, 130), bundle(3, 140)] }, { shard: 5, firstSeq: 2 ** 47, frames: [bundle(4, 150)] }],
        [{ shard: 5, firstSeq: 2 ** 47 + 1, frames: [bundle(5, 160)] }],
        [{ shard: 0, firstSeq: 3, frames: [bundle(64, 777), tickFrame(2)] }],
      ],
    },
  ];
  return {
    cases: cases.map(({ name, parts }) => {
      const placed = placeFrames(parts.flat());
      const leaves = placed.map(frameLeaf);
      const { steps, dataRoot: root } = sealData(placed);
      return {
        name,
        parts: parts.map((records) => hex(concat(...records.map(encodeChunkRecord)))),
        frames: placed.map(({ firstStep, shard, seq, frame }) => ({ firstStep, shard, seq: String(seq), frame: hex(frame) })),
        steps,
        dataRoot: hex(root),
        proofs: leaves.map((_, index) => ({ index, path: inclusionPath(keccak, leaves, index).map(hex) })),
      };
    }),
  };
}

function cells() {
  const value = (kind: string): CellJson =>
    Object.fromEntries(
      Object.entries(LAYOUTS[kind]).map(([name, field], i) => {
        if (field.kind === 'bytes') return [name, hex(seededBytes(`${kind} ${name}`, field.width))];
        if (field.kind === 'id') return [name, `${i}:${i + 1}`];
        const top = Math.min(256 ** field.width - 1, Number.MAX_SAFE_INTEGER);
        const n = name === 'status' ? 1 : top - i;
        return [name, field.kind === 'amount' || field.width > 4 ? String(n) : n];
      }),
    );
  return {
    cases: Object.keys(LAYOUTS).map((kind) => {
      const json = value(kind);
      return { kind, value: json, cell: hex(cellFromJson(LAYOUTS[kind], json)) };
    }),
  };
}

function inbox() {
  const owner = ownerAddress(seeded('owner key'));
  const key = concat(seeded('x'), seeded('y'));
  const items = [
    encodeInboxItem({ kind: 'register', shard: 0, owner, key, amount: 1_000_000 }),
    encodeInboxItem({ kind: 'deposit', from: owner, agent: 256, amount: Number.MAX_SAFE_INTEGER }),
    encodeInboxItem({ kind: 'withdraw', owner, agent: 256, amount: 5 }),
    encodeInboxItem({ kind: 'rotate', owner, agent: 256, key }),
    encodeInboxItem({ kind: 'act', owner, agent: 256, interaction: Uint8Array.of(0x18) }),
  ];
  const accumulators: Uint8Array[] = [new Uint8Array(32)];
  for (const item of items) accumulators.push(accumulate(accumulators.at(-1)!, item));
  return { values: { owner: hex(owner), keyX: hex(key.subarray(0, 32)), keyY: hex(key.subarray(32)) }, items: items.map(hex), accumulators: accumulators.map(hex) };
}

/** Every vector file by name. */
export const generate = async (): Promise<Record<string, unknown>> => {
  const trace = traceVector();
  return {
    'trie.json': trie(),
    'digests.json': digests(),
    'seal.json': await seal(),
    'log.json': log(),
    'halves.json': halvesVector(seeded, domain),
    'dataroot.json': dataRoot(),
    'da.json': daVector(seededBytes, domain),
    'cells.json': cells(),
    'inbox.json': inbox(),
    'trace.json': trace,
    'steps.json': await stepsVector(trace),
  };
};

if (import.meta.main) {
  let stale = 0;
  for (const [name, value] of Object.entries(await generate())) {
    const path = new URL(name, import.meta.url);
    const text = `${JSON.stringify(value, null, 1)}\n`;
    if (process.argv.includes('--check')) {
      if (readFileSync(path, 'utf8') !== text) {
        console.error(`${name} is stale: run node test/vectors/generate.ts`);
        stale += 1;
      }
    } else writeFileSync(path, text);
  }
  process.exitCode = stale > 0 ? 1 : 0;
}
