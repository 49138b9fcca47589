/**
 * The state transition alone, from wire bytes to root, signatures excluded: 40 % invoke, 40 % respond, 10 % transfer,
 * 10 % others, over 2^17 agents (uniform and Zipf 1.1), a root every 65,536 interactions.
 */
import '../../protocol/keccak/install.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, tickFrame } from '../../protocol/engine.ts';
import { keccak, keccakCount } from '../../protocol/hash.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { ACTIVE, EXISTS, Service, set } from '../../protocol/cells.ts';
import { type Suite, median, random } from './suite.ts';
import { anvilTransfersPerSecond } from './anvil-transfers.ts';

const ROOT_EVERY = 65_536;
const BUNDLE = 64;
const SIGNATURE = new Uint8Array(64).fill(1);
const NO_HASH = new Uint8Array(32);
const RUNS = 5;

/** Picks an agent number 1 … n; Zipf by the rejection-free power-law approximation (exponent s > 1). */
function picker(n: number, zipf: number | null, next: () => number): () => number {
  if (zipf === null) return () => 1 + Math.floor(next() * n);
  const exponent = 1 - zipf;
  const top = (n + 1) ** exponent - 1;
  return () => Math.min(n, Math.floor((next() * top + 1) ** (1 / exponent)));
}

/** A shard with n agents, one service each, ready to run; signatures are taken as valid. */
function world(agents: number): Engine {
  const engine = new Engine(0, new Signing({ chainId: 1, root: `0x${'00'.repeat(20)}` }), () => true);
  engine.execute(0, tickFrame(1_900_000_000));
  for (let i = 0; i < agents; i++) {
    const id = engine.machine.createAgent(new Uint8Array(20), new Uint8Array(64).fill(1), 1_000_000_000);
    const service = engine.machine.nextService();
    const cell = engine.machine.editService(service);
    set(cell, Service.provider, id);
    set(cell, Service.flags, EXISTS | ACTIVE);
    set(cell, Service.ceiling, 1_000_000);
    set(cell, Service.deadlineSeconds, 65_535);
  }
  engine.trie.root();
  return engine;
}

/** Frames of 64 interactions in the mix, as wire bytes; the engine is used to learn nonces only. */
function workload(count: number, agents: number, zipf: number | null, seed: number): Uint8Array[] {
  const next = random(seed);
  const pick = picker(agents, zipf, next);
  const nonces = new Map<number, number>();
  /** Escrows that wait for an answer, by the bundle that opened them. */
  const waiting: { payee: number; escrows: number[] }[] = [];
  let escrows = 0;
  const frames: Uint8Array[] = [];
  while (frames.length * BUNDLE < count) {
    // A bundle is of one agent, so one that pays and one that answers alternate, and the mix comes out over the pair.
    const answered = frames.length % 2 === 1 && waiting.length > 64 ? waiting.shift()! : null;
    const actor = answered?.payee ?? pick();
    const payee = 1 + (actor % agents);
    const opened: number[] = [];
    const interactions = Array.from({ length: BUNDLE }, (): Interaction => {
      const x = next();
      if (x < 0.1) return { op: 'transfer', to: pick() * 256, amount: 1 + Math.floor(x * 1000) };
      if (x < 0.15) return { op: 'withdraw', amount: 1 };
      if (x < 0.2)
        return {
          op: 'publish',
          service: actor * 256,
          active: true,
          ceiling: 1_000_000,
          deadlineSeconds: 65_535,
          arbiter: 0,
          contestSeconds: 0,
          metadataHash: NO_HASH,
        };
      const escrow = answered?.escrows.pop();
      if (escrow !== undefined) return { op: 'respond', escrow: escrow * 256, price: 40, result: 'fulfilled' };
      escrows += 1;
      opened.push(escrows);
      return { op: 'invoke', service: payee * 256, amount: 50 };
    });
    if (opened.length > 0) waiting.push({ payee, escrows: opened });
    const nonce = nonces.get(actor) ?? 0;
    nonces.set(actor, nonce + 1);
    frames.push(
      concat(encodeBundleBody({ actor: actor * 256, nonce, expiry: 2_000_000_000 }, interactions), SIGNATURE),
    );
  }
  return frames;
}

/** Seconds for all frames with their roots. */
function timed(engine: Engine, frames: readonly Uint8Array[]): number {
  const start = performance.now();
  let since = 0;
  for (const frame of frames) {
    const outcomes = engine.execute(engine.seq, frame);
    if (outcomes.some(({ status }) => status !== 0)) throw new Error('the workload must run without a refusal');
    since += BUNDLE;
    if (since >= ROOT_EVERY) {
      engine.trie.root();
      since = 0;
    }
  }
  engine.trie.root();
  return (performance.now() - start) / 1000;
}

function keccakPerSecond(): number {
  const block = new Uint8Array(128).fill(7);
  const rates: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const start = performance.now();
    for (let i = 0; i < 60_000; i++) keccak(block);
    rates.push(60_000 / ((performance.now() - start) / 1000));
  }
  return median(rates);
}

export const suite: Suite = {
  name: 'core',
  async run(progress) {
    const count = 2 * ROOT_EVERY;
    const measure = (agents: number, zipf: number | null): { rate: number; hashes: number } => {
      const rates: number[] = [];
      let hashes = 0;
      for (let run = 0; run < RUNS; run++) {
        const engine = world(agents);
        const frames = workload(count, agents, zipf, 17 + run);
        const before = keccakCount();
        const seconds = timed(engine, frames);
        hashes = (keccakCount() - before) / (frames.length * BUNDLE);
        rates.push((frames.length * BUNDLE) / seconds);
        progress(
          `${agents} agents, ${zipf ? `Zipf ${zipf}` : 'uniform'}, run ${run + 1}: ${Math.round(rates.at(-1)!)} interactions/s`,
        );
      }
      return { rate: median(rates), hashes };
    };
    const uniform = measure(2 ** 17, null);
    const zipf = measure(2 ** 17, 1.1);
    const perSecond = keccakPerSecond();
    // An agent is three cells (agent, key, service): 2^12 agents fill about 2^14 cells with their escrows, 2^17 about 2^19.
    const small = measure(2 ** 12, null);
    progress('the same transfers as ERC-20 calls on anvil');
    const anvil = await anvilTransfersPerSecond();
    const transfers = ((): number => {
      const engine = world(2 ** 12);
      const frames = Array.from({ length: 256 }, (_, f) =>
        concat(
          encodeBundleBody(
            { actor: 256 * (f + 1), nonce: 0, expiry: 2_000_000_000 },
            Array.from({ length: BUNDLE }, (_x, i) => ({ op: 'transfer' as const, to: 256 * (1000 + i), amount: 1 })),
          ),
          SIGNATURE,
        ),
      );
      return (frames.length * BUNDLE) / timed(engine, frames);
    })();
    const before = process.memoryUsage();
    const heavy = world(2 ** 17);
    const bytes = process.memoryUsage();
    const cells = 3 * 2 ** 17;
    heavy.trie.root();
    return {
      metrics: {
        interactionsPerSecond: uniform.rate,
        interactionsPerSecondZipf: zipf.rate,
        hashesPerInteraction: uniform.hashes,
        keccakPerSecond: perSecond,
        efficiency: uniform.rate / (perSecond / uniform.hashes),
        bytesPerCell: (bytes.arrayBuffers - before.arrayBuffers) / cells,
        scaling: uniform.rate / small.rate,
        vsAnvil: anvil === null ? null : transfers / anvil,
        parallelSpeedup: null,
      },
      notes: {
        parallelSpeedup: 'the parallel verifying executor is not built yet',
        ...(anvil === null ? { vsAnvil: 'anvil could not be started' } : {}),
      },
    };
  },
};
