/** Pages that there is no room for: the state is the same, whatever rests in SQLite and however often the shard starts over. */
import { runInDurableObject } from 'cloudflare:test';
import { expect, test } from 'vitest';
import { hex } from '../../protocol/bytes.ts';
import { Region } from '../../protocol/cells.ts';
import { inboxFrame } from '../../protocol/engine.ts';
import { makeId } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { PAGE_CELLS } from '../../protocol/trie.ts';
import { Core } from './core.ts';
import { signing, testEnv } from './testing.ts';

/** Agents and their keys fill several pages each; deposits go all over them. */
const AGENTS = 6 * PAGE_CELLS;
const RESIDENT = 3;
const owner = new Uint8Array(20).fill(7);
const key = new Uint8Array(64).fill(9);

const register = inboxFrame(encodeInboxItem({ kind: 'register', shard: 0, owner, key, amount: 5 }));
const deposit = (agent: number): Uint8Array =>
  inboxFrame(encodeInboxItem({ kind: 'deposit', from: owner, agent: makeId(0, agent), amount: 1 }));

function* frames(): Generator<Uint8Array> {
  for (let i = 0; i < AGENTS; i++) yield register;
  for (let i = 0; i < 4000; i++) yield deposit(1 + ((i * 7919) % AGENTS));
}

/** Roots now and then, on an object that is nobody's, with so many pages in memory and a restart after every so many chunks. */
const rootsOf = (object: string, resident: number, restartEvery: number) =>
  runInDurableObject(testEnv.SHARD.getByName(object), async (_, { storage }) => {
    const open = (): Core => {
      const core = new Core(storage.sql, 0, signing, 1, resident);
      core.restore();
      return core;
    };
    let core = open();
    const roots: string[] = [];
    let [count, chunks] = [0, 0];
    for (const frame of frames()) {
      core.execute(frame);
      count += 1;
      if (count % 100 !== 0) continue;
      core.seal(Date.now());
      chunks += 1;
      expect(core.engine.trie.resident).toBeLessThanOrEqual(Math.max(resident, RESIDENT));
      if (chunks % 10 === 0) roots.push(hex(core.engine.trie.root()));
      if (chunks % restartEvery === 0) core = open();
    }
    core.seal(Date.now());
    const [cell, proof] = [core.engine.trie.read(Region.agent, 1), core.engine.trie.proof(Region.agent, 1)];
    return { roots, last: hex(core.engine.trie.root()), cell: hex(cell), proof: proof.map((sibling) => hex(sibling)) };
  });

test('roots and proofs are those of a shard that has room for all', async () => {
  const roomy = await rootsOf('shard-2', 1000, Infinity);
  const paged = await rootsOf('shard-1', RESIDENT, 23);
  expect(paged).toEqual(roomy);
  expect(new Set(paged.roots).size).toBe(paged.roots.length);
}, 120_000);

test('a chunk ends before it has called back more pages than there is room for', async () => {
  await runInDurableObject(testEnv.SHARD.getByName('shard-0'), async (_, { storage }) => {
    const core = new Core(storage.sql, 0, signing, 1, RESIDENT);
    core.restore();
    for (let i = 0; i < AGENTS; i++) {
      core.execute(register);
      if (core.full) core.seal(Date.now());
    }
    core.seal(Date.now());
    for (let i = 0; i < 50; i++) {
      // One page after the other, as far from the last as can be.
      core.execute(deposit(1 + (i % 6) * PAGE_CELLS));
      expect(core.engine.trie.resident).toBeLessThanOrEqual(RESIDENT + 2);
      if (core.full) core.seal(Date.now());
    }
  });
}, 120_000);
