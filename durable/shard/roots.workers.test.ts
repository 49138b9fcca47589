/** What strangers ask for costs a shard a bounded share of its time, however often they ask. */
import { runInDurableObject } from 'cloudflare:test';
import { expect, test, vi } from 'vitest';
import { hex } from '../../protocol/bytes.ts';
import { inboxFrame } from '../../protocol/engine.ts';
import { keccakCount } from '../../protocol/hash.ts';
import { makeId } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { Core } from './core.ts';
import { Lists } from './lists.ts';
import { Roots } from './roots.ts';
import { StatusReader } from './status.ts';
import { registerAgents, run, shard0, signing, testEnv, transfer } from './testing.ts';

const AGENTS = 4096;
const owner = new Uint8Array(20).fill(7);
const key = new Uint8Array(64).fill(9);
const register = inboxFrame(encodeInboxItem({ kind: 'register', shard: 0, owner, key, amount: 5 }));
const deposit = (agent: number): Uint8Array =>
  inboxFrame(encodeInboxItem({ kind: 'deposit', from: owner, agent: makeId(0, agent), amount: 1 }));

/** Hashes computed during `work`. */
async function hashes(work: () => unknown): Promise<number> {
  const before = keccakCount();
  await work();
  return keccakCount() - before;
}

test('a root that cost much is followed by a pause, after which all share the next; what it says is of one moment', async () => {
  await runInDurableObject(testEnv.SHARD.getByName('shard-2'), async (_, { storage }) => {
    const core = new Core(storage.sql, 0, signing, 1);
    core.restore();
    const roots = new Roots(core);
    const status = new StatusReader(core, new Lists(core.engine.machine), roots);
    vi.useFakeTimers();
    try {
      for (let i = 0; i < AGENTS; i++) core.execute(register);
      core.seal(Date.now());
      expect(await hashes(() => status.read())).toBeGreaterThan(AGENTS);
      expect(await hashes(() => Promise.all(Array.from({ length: 50 }, () => status.read())))).toBe(0);

      // Each asks after a frame that changed another page.
      const answers: Promise<{ seq: number; root: Uint8Array; balances: number }>[] = [];
      const costs: number[] = [];
      for (let i = 0; i < 20; i++) {
        core.execute(deposit(1 + 200 * i));
        core.seal(Date.now());
        const before = keccakCount();
        answers.push(status.read());
        costs.push(keccakCount() - before);
      }
      expect(costs.every((cost) => cost === 0)).toBe(true);
      const proof = roots.read(({ seq, shardRoot }) => ({ seq, root: shardRoot }));
      await vi.advanceTimersByTimeAsync(1000);
      for (const answer of [...(await Promise.all(answers)), await proof])
        expect(answer).toMatchObject({ seq: core.seq, root: core.engine.trie.root() });
      expect((await answers[0]).balances).toBe(5 * AGENTS + 20);

      // Too many for the one pause that there may be.
      core.execute(deposit(1));
      core.seal(Date.now());
      roots.charge(1e9);
      const many = Array.from({ length: 2049 }, () => roots.read(({ seq }) => seq));
      await vi.advanceTimersByTimeAsync(1000);
      expect((await Promise.all(many)).map((seq) => seq ?? 0)).toEqual([
        ...Array.from({ length: 2048 }, () => core.seq),
        0,
      ]);

      // Where little has changed, nobody waits.
      core.execute(deposit(1));
      core.seal(Date.now());
      await vi.advanceTimersByTimeAsync(1000);
      expect((await status.read()).seq).toBe(core.seq);
    } finally {
      vi.useRealTimers();
    }
  });
});

test('a cell alone costs no hash, and with its path leads to the root', async () => {
  const [alice, bob] = await registerAgents(2);
  const address = 2 ** 20 + Math.floor(alice.id / 256);
  await run(alice, transfer(bob, 1));
  expect(await hashes(() => shard0().cell(address))).toBe(0);
  await run(alice, transfer(bob, 1));
  expect(await shard0().cell(address, true)).toMatchObject({ shardRoot: hex((await shard0().status()).root) });
});
