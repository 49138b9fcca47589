/** The verifier over the trace vector's batches: good ones pass, each kind of lie is named, and games get what they need. */
import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import '../../protocol/keccak/install.ts';
import { SqlVerifierStore } from '../../durable/verifier/store.ts';
import { openSql } from '../../local/sql.ts';
import { type Hex, hex, readUint, unhex } from '../../protocol/bytes.ts';
import { Inbox, META_INBOX, Region, addressOf, get, getBytes } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { type Context, commitment, stepsOf } from '../../protocol/engine.ts';
import { Shards } from '../../protocol/shards.ts';
import { keccak, verifyInclusion } from '../../protocol/log.ts';
import { openWitness } from '../../protocol/witness.ts';
import { runStep } from '../../protocol/step.ts';
import {
  type BatchHeader,
  type ChunkRecord,
  batchHash,
  frameLeaf,
  placeFrames,
  sealData,
} from '../../protocol/trace.ts';
import { verifyCell } from '../../protocol/trie.ts';
import { type KnownBatch, Verifier } from '../../protocol/verifier.ts';

const { domain, shards, frames } = JSON.parse(
  readFileSync(new URL('../vectors/trace.json', import.meta.url), 'utf8'),
) as {
  domain: { chainId: number; root: Hex };
  shards: number;
  frames: { shard: number; seq: number; frame: Hex }[];
};

interface Posted {
  readonly header: BatchHeader;
  readonly records: readonly ChunkRecord[];
  readonly accumulator: Uint8Array;
  /** The commitment after each step. */
  readonly after: readonly Hex[];
}

const PER_BATCH = 40;
let batches: Posted[];

const open = (resident: number | null = null): Verifier => {
  const sql = openSql(':memory:');
  return new Verifier({ shards, ...domain }, new SqlVerifierStore(sql, sql.together, resident));
};

async function take(verifier: Verifier, { header, records, accumulator }: Posted): Promise<KnownBatch> {
  verifier.begin(header);
  for (const record of records) await verifier.take([record]);
  return verifier.finish(accumulator);
}

beforeAll(() => {
  const state = new Shards({ shards, signing: new Signing(domain) });
  let pre = hex(commitment(state.tree().root()));
  let prev: Hex = `0x${'00'.repeat(32)}`;
  batches = [];
  for (let at = 0; at < frames.length; at += PER_BATCH) {
    const records = frames
      .slice(at, at + PER_BATCH)
      .map(({ shard, seq, frame }) => ({ shard, firstSeq: seq, frames: [unhex(frame)] }));
    const after: Hex[] = [];
    const ticks: number[] = [];
    for (const { shard, seq, frame } of placeFrames(records)) {
      let context: Context = 0;
      for (let index = 0; index < stepsOf(frame); index++) {
        ({ context } = runStep(state.engine(shard), seq, frame, index, context));
        after.push(hex(commitment(state.tree().root(), context)));
      }
      if (frame[0] === 1) ticks.push(readUint(frame, 1, 4));
    }
    const clocks = Array.from(state.engines, ({ machine }) => machine.time).filter((time) => time > 0);
    const { steps, dataRoot } = sealData(placeFrames(records));
    const inbox = state.engine(0).trie.read(Region.meta, META_INBOX);
    const header: BatchHeader = {
      number: batches.length + 1,
      prev,
      pre,
      post: after.at(-1)!,
      steps,
      timeFrom: Math.min(...ticks, ...clocks),
      timeTo: Math.max(...ticks, ...clocks),
      inboxCursor: get(inbox, Inbox.cursor),
      dataRoot: hex(dataRoot),
      da: 0,
    };
    batches.push({ header, records, accumulator: getBytes(inbox, Inbox.accumulator).slice(), after });
    [prev, pre] = [batchHash(header), header.post];
  }
}, 60_000);

test('finds nothing wrong with what is right, with little memory or much', async () => {
  expect(batches.length).toBeGreaterThan(3);
  for (const verifier of [open(), open(2)])
    for (const posted of batches) {
      const { verdict, post, hash } = await take(verifier, posted);
      expect(post).toBe(posted.header.post);
      expect(verdict).toEqual({ fault: null });
      expect(hash).toBe(batchHash(posted.header));
    }
});

/** A verifier that knows the batches before number `number`. */
async function upTo(number: number, verifier = open()): Promise<Verifier> {
  for (const posted of batches.slice(verifier.head, number - 1)) await take(verifier, posted);
  return verifier;
}

test('names each lie, and keeps nothing of it', async () => {
  const number = 3;
  const verifier = await upTo(number);
  const honest = batches[number - 1];
  const { header, accumulator } = honest;
  const lie = (change: Partial<BatchHeader>, acc = accumulator): Promise<KnownBatch> =>
    take(verifier, { ...honest, header: { ...header, ...change }, accumulator: acc });
  expect((await lie({ post: header.pre })).verdict.fault).toBe('post');
  expect(verifier.head).toBe(number - 1);

  const { verdict: inbox } = await lie({ inboxCursor: header.inboxCursor + 1 });
  if (inbox.fault !== 'inbox') throw new Error(`found ${inbox.fault}`);
  const { stateRoot, cell, proof } = inbox.inbox;
  expect(hex(commitment(unhex(stateRoot)))).toBe(header.post);
  expect(
    verifyCell(
      unhex(stateRoot),
      addressOf(0, Region.meta, META_INBOX),
      unhex(cell),
      proof.map((one) => unhex(one)),
    ),
  ).toBe(true);
  expect((await lie({}, new Uint8Array(32))).verdict.fault).toBe('inbox');

  // A tick in it is out of bounds; without one, the clock it leaves is.
  const times = { timeFrom: header.timeTo + 1, timeTo: header.timeTo + 2 };
  expect((await lie(times)).verdict.fault).toBe(
    honest.records.some(({ frames: [frame] }) => frame[0] === 1) ? 'time' : 'clock',
  );
  expect(verifier.head).toBe(number - 1);
  expect((await take(verifier, honest)).verdict).toEqual({ fault: null });
});

test('knows the commitment after any step of a batch, also when later ones came', async () => {
  const verifier = await upTo(batches.length + 1);
  for (const { header, after } of [batches[1], batches[2]]) {
    const ends = Array.from({ length: header.steps }, (_, i) => i + 1).filter((i) => i % 7 !== 3);
    const found = await verifier.commitments(header.number, [0, ...ends]);
    expect(found.map(hex)).toEqual([header.pre, ...ends.map((end) => after[end - 1])]);
  }
});

test('proves any step of a batch, in the frame that holds it', async () => {
  const verifier = await upTo(batches.length + 1);
  const { header, after } = batches[2];
  for (const step of [0, 1, 17, header.steps - 1]) {
    const { opening, witness } = await verifier.step(header.number, step);
    const { stateRoot, context } = openWitness(unhex(witness));
    expect(hex(commitment(stateRoot, context))).toBe(step === 0 ? header.pre : after[step - 1]);
    const { firstStep, shard, seq, frame, index, frames: size, path } = opening;
    const placed = { firstStep, shard, seq, frame: unhex(frame) };
    expect(step >= firstStep && step < firstStep + stepsOf(placed.frame)).toBe(true);
    const hashes = path.map((one) => unhex(one));
    expect(verifyInclusion(keccak, unhex(header.dataRoot), size, index, frameLeaf(placed), hashes)).toBe(true);
  }
});

test('goes back where a reorg went back, and forgets what is final', async () => {
  const verifier = await upTo(batches.length + 1);
  verifier.drop(3);
  expect(verifier.head).toBe(2);
  await upTo(batches.length + 1, verifier);
  verifier.settle(3);
  const { header, after } = batches[3];
  expect((await verifier.commitments(4, [1, header.steps])).map(hex)).toEqual([after[0], header.post]);
  verifier.settle(batches.length);
  expect(hex(commitment(verifier.state().tree().root()))).toBe(batches.at(-1)!.header.post);
});

test('starts a batch anew that was never finished', async () => {
  const verifier = await upTo(2);
  verifier.begin(batches[1].header);
  await verifier.take([batches[1].records[0]]);
  expect((await take(verifier, batches[1])).verdict).toEqual({ fault: null });
});
