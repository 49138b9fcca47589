/** Batches of real shard objects that trade with each other all the while: what is composed can be executed again, and every frame be found in it. */
import { expect, test } from 'vitest';
import { type BatchRecord, isFailure, shardStub } from '../../durable/shard/api.ts';
import { type TestAgent, registerAgents, testEnv, transfer } from '../../durable/shard/testing.ts';
import { Trace, replayBatch } from '../../protocol/replay.ts';
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { Da, recordsOf as runsOf } from '../../protocol/da/carrier.ts';
import { columnRoot, committeeRoot, encodeColumns } from '../../protocol/da/columns.ts';
import { decodeData, encodeData } from '../../protocol/da/layout.ts';
import { keccak } from '../../protocol/hash.ts';
import { verifyInclusion } from '../../protocol/log.ts';
import { type ChunkRecord, frameLeaf } from '../../protocol/trace.ts';
import { call, getJson, problemOf } from '../gateway/testing.ts';
import { type Sealer, compose, finishCut, seal } from './compose.ts';
import type { Records, Sealed } from './modes/mode.ts';
import { wholeOf } from './modes/whole.ts';
import { orderOf, readRecords } from './order.ts';

const SHARDS = 3;
/** The batch whose data is not in calldata. */
const WITH_COMMITTEE = 6;
const NOTHING: Hex = `0x${'00'.repeat(32)}`;
const shards = Array.from({ length: SHARDS }, (_, shard) => shardStub(testEnv.SHARD, shard));
const composed: BatchRecord[] = [];
const events: string[] = [];
const log = (event: string): void => void events.push(event);

/** As if a committee had signed for it. */
async function inColumns(records: Records): Promise<Sealed> {
  const whole = await wholeOf(records);
  if ('cannot' in whole) throw new Error(whole.cannot);
  const { data, steps, frames } = whole;
  return { da: Da.committee, steps, frames, dataRoot: rootOf(data) };
}
const rootOf = (data: Uint8Array): Uint8Array =>
  committeeRoot(data.length, 1, encodeColumns(data, { n: 16, k: 6 }).map(columnRoot));

/** As a pass does, for an L1 that takes everything. */
async function batch(): Promise<boolean> {
  await finishCut(shards, log);
  const newest = composed.at(-1);
  const tip = { batchHash: newest?.hash ?? NOTHING, post: newest?.header.post ?? NOTHING, postedAt: 0, inboxCursor: 0 };
  const sealer: Sealer = (number, records) => (number === WITH_COMMITTEE ? inColumns(records) : seal(records()));
  const next = await compose(shards, { head: composed.length, tip }, log, false, undefined, sealer);
  if (!next) return false;
  await shards[0].recordBatch(next.record);
  composed.push(next.record);
  return true;
}

async function recordsOf(record: BatchRecord): Promise<ChunkRecord[]> {
  const records: ChunkRecord[] = [];
  for await (const page of readRecords(shards, await orderOf(shards, record))) records.push(...page);
  return records;
}

test('batches of shards that trade on', async () => {
  const agents: TestAgent[] = [];
  for (let shard = 0; shard < SHARDS; shard++) agents.push(...(await registerAgents(2, 1_000_000, shard)));
  let trading = true;
  const trade = async (agent: TestAgent, to: readonly TestAgent[]): Promise<void> => {
    while (trading) {
      const results = await agent.submit(await agent.bundle(to.map((other) => transfer(other, 1))));
      expect(results.map((result) => (isFailure(result) ? result.error.code : 'ok'))).toEqual(['ok']);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const traders = agents.map((agent) =>
    trade(
      agent,
      agents.filter((other) => other !== agent),
    ),
  );
  for (let i = 0; composed.length < 8; i++) {
    expect(i, 'batches are made while shards trade').toBeLessThan(200);
    await batch();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  trading = false;
  await Promise.all(traders);
  // Until everything is received, and nothing but acks is left.
  for (let quiet = 0; quiet < 5;) {
    const standing = await Promise.all(shards.map((shard) => shard.standing()));
    quiet = (await batch()) || standing.some(({ hasWork }) => hasWork) ? 0 : quiet + 1;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  const trace = new Trace({
    shards: SHARDS,
    chainId: Number(testEnv.CHAIN_ID),
    root: testEnv.ROOT_ADDRESS as Hex,
  });
  let most = 0;
  for (const record of composed) {
    const records = await recordsOf(record);
    most = Math.max(most, records.length);
    const { isCanonical, stateRoot } = await replayBatch(trace, records);
    expect([isCanonical, hex(stateRoot)]).toEqual([true, record.stateRoot]);
  }
  expect(most, 'shards more than once in a batch').toBeGreaterThan(SHARDS);
  // Nothing is lost on the way.
  const balances = trace.runs.flatMap(({ engine }) => [1, 2].map((serial) => engine.machine.balance(256 * serial)));
  expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(agents.length * 1_000_000);

  const record = composed[4];
  let firstStep = 0;
  let index = 0;
  for (const { shard, firstSeq, frames } of await recordsOf(record)) {
    const at = await getJson<{ firstStep: number; index: number; size: number; path: Hex[]; dataRoot: Hex }>(
      `/batches/${record.number}/frames/${shard}/${firstSeq}`,
    );
    expect([at.firstStep, at.index]).toEqual([firstStep, index]);
    const leaf = frameLeaf({ shard, seq: firstSeq, firstStep, frame: frames[0] });
    const path = at.path.map((step) => unhex(step));
    expect(verifyInclusion(keccak, unhex(record.header.dataRoot), at.size, at.index, leaf, path)).toBe(true);
    for (const [kind, count] of frames) firstStep += kind === 0x10 ? 2 + count : 1;
    index += frames.length;
    if (index > 60) break;
  }
}, 60_000);

test('what is not in calldata comes from the archive, as it was, and nothing else does', async () => {
  const { header, number } = composed[WITH_COMMITTEE - 1];
  const answer = await call(`/archive/${number}`);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/octet-stream']);
  const data = new Uint8Array(await answer.arrayBuffer());
  expect(hex(rootOf(data))).toBe(header.dataRoot);
  const frames = runsOf(decodeData(data, header.steps));
  expect(hex(encodeData(frames).data)).toBe(hex(data));
  // Of that one, no path leads to a frame.
  const { shard, firstSeq } = frames[0];
  expect(await problemOf(await call(`/batches/${number}/frames/${shard}/${firstSeq}`))).toMatchObject({
    code: 'not_found',
  });

  for (const [path, code] of [
    [`/archive/${number - 1}`, 'not_found'],
    ['/archive/999999', 'not_found'],
    ['/archive/0', 'not_found'],
    ['/archive/-1', 'malformed'],
    ['/archive/1e3', 'malformed'],
    ['/archive/99999999999999999999', 'malformed'],
    ['/archive/six', 'malformed'],
  ])
    expect([path, (await problemOf(await call(path))).code]).toEqual([path, code]);
});
