/**
 * A deployment at an L1 of its own on which a few thousand agents live, with services, calls under way and sessions: the batch that made them, and
 * one of exactly as many steps as asked for. Every signature is real, as L1's and the challenger's checks are.
 */
import { privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { signBundle } from '../../protocol/bundle.ts';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { type Context, commitment, inboxFrame, stepsOf, tickFrame } from '../../protocol/engine.ts';
import { Signing } from '../../protocol/eip712.ts';
import { makeId } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { MachineKey } from '../../protocol/keys.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { Shards } from '../../protocol/shards.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { Status } from '../../protocol/status.ts';
import { bundleIn, runStep } from '../../protocol/step.ts';
import { cutParts } from '../../protocol/trace.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { Carriage } from '../mutants/carriage.ts';
import { type Batch, type Frame, headerOf, recordsOf } from '../mutants/world.ts';
import { random } from './suite.ts';

/** All but the first only tick: enough that the ways of proofs through the shards are not empty. */
export const SHARDS = 16;
const AGENTS = 3_000;
const PROVIDERS = 1_000;
const SESSIONS = 300;
const CALLS_EACH = 2;
/** A frame has at most 4,096 bytes. */
const REGISTERED_AT_ONCE = 40;
const BUNDLE = 64;
const TICKS = 4;
const PART_BYTES = 100_000;
const TERMS = { ceiling: 1_000_000, deadlineSeconds: 100_000, arbiter: 0, contestSeconds: 0 } as const;

interface Inhabitant {
  readonly id: number;
  readonly key: MachineKey;
  nonce: number;
}

export class Crowd {
  readonly l1: L1;
  readonly signing: Signing;
  readonly sequencer;
  readonly #agents: Inhabitant[] = [];
  readonly #genesis: Hex;
  readonly #shards: Shards;
  readonly #owner = hex(new Uint8Array(20).fill(0xab));
  readonly #batches: Batch[] = [];
  #frames: Frame[] = [];
  #time: number;

  private constructor(l1: L1, start: number, genesis: Hex) {
    this.l1 = l1;
    this.signing = new Signing({ chainId: l1.chainId, root: l1.root });
    this.sequencer = privateKeyToAccount(l1.posterKey);
    this.#time = start;
    this.#genesis = genesis;
    // Signed right here: the verifier will check.
    this.#shards = new Shards({ shards: SHARDS, signing: this.signing, verify: () => true });
  }

  static async start(): Promise<Crowd> {
    const l1 = await L1.start({
      dir: newRun(),
      blockTime: 0,
      window: 100_000,
      moveWindow: 600,
      inboxDelay: 10_000_000,
      freezeAfter: 100_000_000,
      shards: SHARDS,
    });
    const { timestamp } = await l1.client.getBlock();
    const at = { address: l1.root, abi: rootAbi } as const;
    const genesis = await l1.client.readContract({ ...at, functionName: 'posted', args: [0n] });
    await l1.write(privateKeyToAccount(l1.posterKey), { ...at, functionName: 'bond', args: [], value: 10n ** 17n });
    const crowd = new Crowd(l1, Number(timestamp) + 60, genesis.batchHash);
    await crowd.#settle();
    await l1.request('anvil_setNextBlockTimestamp', [crowd.#time + 1_000]);
    await l1.request('anvil_mine', []);
    return crowd;
  }

  // --- life ---

  /** Runs a frame, of which every step must succeed. Returns the steps' values. */
  #run(frame: Uint8Array, shard = 0): number[] {
    const engine = this.#shards.engine(shard);
    const { seq } = engine;
    const outcomes = engine.execute(seq, frame);
    const failed = outcomes.findIndex(({ status }) => status !== Status.ok);
    if (failed >= 0) throw new Error(`step ${failed} of a frame came to status ${outcomes[failed].status}`);
    this.#frames.push({ shard, seq, frame });
    return outcomes.map(({ value }) => value);
  }
  async #bundle(actor: Inhabitant, interactions: readonly Interaction[]): Promise<number[]> {
    const head = { actor: actor.id, nonce: actor.nonce++, expiry: 0xf0000000 };
    return this.#run(await signBundle(actor.key, this.signing, head, interactions)).slice(1);
  }
  #tick(shard = 0): void {
    this.#run(tickFrame(this.#time), shard);
  }

  /** The agents come, publish, call and open sessions: the first batch. */
  async #settle(): Promise<void> {
    for (let shard = 0; shard < SHARDS; shard++) this.#tick(shard);
    const keys = await Promise.all(Array.from({ length: AGENTS }, () => MachineKey.import(MachineKey.randomSecret())));
    const [first] = keys;
    const wealth = 10 ** 12;
    await this.#queue(first, wealth);
    const item = { kind: 'register', shard: 0, owner: new Uint8Array(20).fill(0xab), key: first.publicKey } as const;
    this.#add(first, this.#run(inboxFrame(encodeInboxItem({ ...item, amount: wealth })))[0]);
    const owner = new Uint8Array(20).fill(0xcd);
    for (let i = 1; i < AGENTS; i += REGISTERED_AT_ONCE) {
      const some = keys.slice(i, i + REGISTERED_AT_ONCE);
      const ids = await this.#bundle(
        this.#agents[0],
        some.map(({ publicKey: key }) => ({
          op: 'register',
          owner,
          key,
          amount: Math.floor(wealth / AGENTS / 2),
        })),
      );
      for (const [k, id] of ids.entries()) this.#add(some[k], id);
    }
    const metadataHash = new Uint8Array(32).fill(0x5a);
    for (const provider of this.#agents.slice(0, PROVIDERS))
      await this.#bundle(provider, [{ op: 'publish', service: 0, active: true, ...TERMS, metadataHash }]);
    for (const [i, caller] of this.#agents.entries()) {
      if (i < PROVIDERS) continue;
      const call = { op: 'invoke', service: makeId(0, 1 + (i % PROVIDERS)), amount: 500 + i } as const;
      const open = { op: 'open', peer: makeId(0, 1 + (i % PROVIDERS)), deposit: 70_000, exitDelay: 3600 } as const;
      await this.#bundle(caller, [
        ...Array.from({ length: CALLS_EACH }, () => call),
        ...(i < PROVIDERS + SESSIONS ? [open] : []),
      ]);
    }
    this.#time += 10;
    this.#tick();
    this.#seal();
  }

  #add(key: MachineKey, id: number): void {
    this.#agents.push({ id, key, nonce: 0 });
  }
  async #queue({ publicKey: key }: MachineKey, amount: number): Promise<void> {
    const { l1 } = this;
    await l1.fund(this.#owner);
    const amounts = BigInt(amount) * l1.unit;
    const token = { address: l1.token, abi: testTokenAbi } as const;
    await l1.as(this.#owner, { ...token, functionName: 'mint', args: [this.#owner, amounts] });
    await l1.as(this.#owner, { ...token, functionName: 'approve', args: [l1.root, amounts] });
    const args = [0, hex(key.subarray(0, 32)), hex(key.subarray(32)), BigInt(amount)];
    await l1.as(this.#owner, { address: l1.root, abi: rootAbi, functionName: 'register', args });
  }

  /** A batch of exactly so many steps: bundles of 64 by turns of a caller and of who answers, and ticks. */
  async trade(steps: number): Promise<Batch> {
    const next = random(11);
    const pick = (): Inhabitant => this.#agents[PROVIDERS + Math.floor(next() * (AGENTS - PROVIDERS))];
    const waiting: { readonly provider: Inhabitant; readonly escrows: number[] }[] = [];
    const bundles = Math.floor((steps - TICKS) / (BUNDLE + 1));
    const ticks = steps - bundles * (BUNDLE + 1);
    for (let b = 0; b < bundles; b++) {
      if (b % Math.ceil(bundles / ticks) === 0) this.#passTime();
      const answered = b % 2 === 1 ? waiting.shift() : undefined;
      const actor = answered?.provider ?? pick();
      const provider = Math.floor(next() * PROVIDERS);
      const opened: number[] = [];
      const interactions = Array.from({ length: BUNDLE }, (_, i): Interaction => {
        const escrow = answered?.escrows[i];
        if (escrow !== undefined) return { op: 'respond', escrow, price: 40 + i, result: 'fulfilled' };
        const x = next();
        if (answered || x < 0.15) return { op: 'transfer', to: pick().id, amount: 1 + Math.floor(x * 1000) };
        if (x < 0.2) return { op: 'withdraw', amount: 1 + i };
        opened.push(i);
        return { op: 'invoke', service: makeId(0, 1 + provider), amount: 200 + i };
      });
      const values = await this.#bundle(actor, interactions);
      if (!answered) waiting.push({ provider: this.#agents[provider], escrows: opened.map((i) => values[i]) });
    }
    const done = this.#frames.reduce((sum, { frame }) => sum + stepsOf(frame), 0);
    for (let i = done; i < steps; i++) this.#passTime();
    return this.#seal();
  }
  #passTime(): void {
    this.#time += 1;
    this.#tick();
  }

  #seal(): Batch {
    const frames = this.#frames;
    const post = hex(commitment(this.#shards.tree().root()));
    const previous = this.#batches.at(-1)?.header ?? null;
    const batch = {
      frames,
      header: headerOf(previous, frames, post, this.#shards, this.#genesis, new Carriage(Da.calldata)),
    };
    this.#batches.push(batch);
    this.#frames = [];
    return batch;
  }

  // --- L1 ---

  /** The batch in which all came to live here. */
  get first(): Batch {
    return this.#batches[0];
  }

  /** The true commitment after each step of the last batch. */
  truth(): Hex[] {
    const shards = new Shards({ shards: SHARDS, signing: this.signing, verify: () => true });
    const [own, ...before] = this.#batches.toReversed();
    for (const { frames } of before.toReversed())
      for (const { shard, seq, frame } of frames) shards.engine(shard).run(seq, frame);
    const after: Hex[] = [];
    for (const { shard, seq, frame } of own.frames) {
      const bundle = bundleIn(frame);
      let context: Context = 0;
      for (let index = 0; index < stepsOf(frame); index++) {
        ({ context } = runStep(shards.engine(shard), seq, frame, index, context, bundle));
        after.push(hex(commitment(shards.tree().root(), context)));
      }
    }
    return after;
  }

  /** Posts a batch, in as many parts as it takes. */
  async post({ header, frames }: Batch): Promise<void> {
    const at = { address: this.l1.root, abi: rootAbi } as const;
    const parts = cutParts(recordsOf(frames), PART_BYTES).map(hex);
    for (const [i, part] of parts.entries()) {
      const [functionName, args] =
        i + 1 < parts.length
          ? (['postData', [BigInt(header.number), i, part]] as const)
          : (['postBatch', [toWire(header), part]] as const);
      await this.l1.write(this.sequencer, { ...at, functionName, args });
    }
  }
}
