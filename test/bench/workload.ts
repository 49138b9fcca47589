/**
 * The mixed workload of the benches: 40 % invoke, 40 % respond, 10 % transfer, 10 % others, in bundles of 64, over any number of agents, uniform or
 * Zipf.
 */
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat } from '../../protocol/bytes.ts';
import { ACTIVE, EXISTS, Service } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, tickFrame } from '../../protocol/engine.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { random } from './suite.ts';

export const BUNDLE = 64;
/** Taken as valid. */
export const SIGNATURE: Uint8Array = new Uint8Array(64).fill(1);
const NO_HASH = new Uint8Array(32);

/** Picks an agent number 1 … n; Zipf by the rejection-free power-law approximation (exponent s > 1). */
function picker(n: number, zipf: number | null, next: () => number): () => number {
  if (zipf === null) return () => 1 + Math.floor(next() * n);
  const exponent = 1 - zipf;
  const top = (n + 1) ** exponent - 1;
  return () => Math.min(n, Math.floor((next() * top + 1) ** (1 / exponent)));
}

/** A shard with n agents, one service each, ready to run; signatures are taken as valid. */
export function world(agents: number): Engine {
  const engine = new Engine(0, new Signing({ chainId: 1, root: `0x${'00'.repeat(20)}` }), { verify: () => true });
  const { machine } = engine;
  const { cells } = machine;
  engine.execute(0, tickFrame(1_900_000_000));
  for (let i = 0; i < agents; i++) {
    const id = machine.createAgent(new Uint8Array(20), new Uint8Array(64).fill(1), 1_000_000_000);
    const service = machine.edit(machine.service(machine.createService()));
    Service.provider.set(cells, service, id);
    Service.flags.set(cells, service, EXISTS | ACTIVE);
    Service.ceiling.set(cells, service, 1_000_000);
    Service.deadlineSeconds.set(cells, service, 65_535);
  }
  engine.trie.root();
  return engine;
}

/** Frames of 64 interactions in the mix, as wire bytes; the engine is used to learn nonces only. */
export function workload(count: number, agents: number, zipf: number | null, seed: number): Uint8Array[] {
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
