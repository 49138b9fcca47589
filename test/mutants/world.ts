/**
 * A deployment at an L1 of its own, whose batches hold every operation, every message and every inbox item; the sequencer's account is ours, to
 * post what we like. Time stands still unless told, and a snapshot brings all of L1 back.
 */
import { privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { VerifierHost } from '../../durable/verifier/host.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { openSql } from '../../local/sql.ts';
import { type Hex, hex, readUint, unhex } from '../../protocol/bytes.ts';
import { Inbox, META_INBOX, Region, get } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { type Context, commitment, stepsOf } from '../../protocol/engine.ts';
import { decodeInboxItem } from '../../protocol/inbox.ts';
import { Shards } from '../../protocol/shards.ts';
import { runStep } from '../../protocol/step.ts';
import { type BatchHeader, type PlacedFrame, batchHash, placeFrames } from '../../protocol/trace.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { readSettings } from '../../workers/settlement/env.ts';
import type { Log } from '../../workers/settlement/log.ts';
import { Watch } from '../../workers/settlement/watch.ts';
import { Carriage } from './carriage.ts';
import { traceVector } from '../vectors/trace.ts';

export const SHARDS = 2;
export const WINDOW = 100_000;
export const MOVE_WINDOW = 600;

export interface Frame {
  readonly shard: number;
  readonly seq: number;
  readonly frame: Uint8Array;
}

/** A batch that may be posted: what it holds, and what its header says. */
export interface Batch {
  readonly header: BatchHeader;
  readonly frames: readonly Frame[];
}

/** What frames come to on a state: the commitment after each step, and the state after the last. */
export interface Run {
  readonly shards: Shards;
  readonly after: readonly Hex[];
}

export const recordsOf = (frames: readonly Frame[]) =>
  frames.map(({ shard, seq, frame }) => ({ shard, firstSeq: seq, frames: [frame] }));
export const placed = (frames: readonly Frame[]): PlacedFrame[] => placeFrames(recordsOf(frames));

/** A header that says of frames what there is to say, on top of another batch. */
export function headerOf(
  previous: BatchHeader | null,
  frames: readonly Frame[],
  post: Hex,
  shards: Shards,
  genesis: Hex,
  carriage: Pick<Carriage, 'seal'>,
): BatchHeader {
  const ticks = frames
    .filter(({ frame }) => frame[0] === 1 && frame.length === 5)
    .map(({ frame }) => readUint(frame, 1, 4));
  const clocks = Array.from(shards.engines, ({ machine }) => machine.time).filter((time) => time > 0);
  const { da, steps, dataRoot } = carriage.seal(placed(frames));
  return {
    number: (previous?.number ?? 0) + 1,
    prev: previous ? batchHash(previous) : genesis,
    pre: previous
      ? previous.post
      : hex(commitment(new Shards({ shards: SHARDS, signing: shards.engine(0).machine.signing }).tree().root())),
    post,
    steps,
    timeFrom: Math.min(...ticks, ...clocks),
    timeTo: Math.max(...ticks, ...clocks),
    inboxCursor: get(shards.engine(0).trie.read(Region.meta, META_INBOX), Inbox.cursor),
    dataRoot: hex(dataRoot),
    da,
  };
}

export class DisputeWorld {
  readonly l1: L1;
  readonly signing: Signing;
  /** The whole trace, and where it is cut into the honest batches. */
  readonly frames: readonly Frame[];
  readonly batches: readonly Batch[];
  readonly carriage: Carriage;
  readonly #genesis: Hex;
  readonly #liar;

  private constructor(l1: L1, frames: readonly Frame[], perBatch: number, genesis: Hex, carriage: Carriage) {
    this.l1 = l1;
    this.carriage = carriage;
    this.frames = frames;
    this.signing = new Signing({ chainId: l1.chainId, root: l1.root });
    this.#genesis = genesis;
    this.#liar = privateKeyToAccount(l1.posterKey);
    const batches: Batch[] = [];
    for (let at = 0; at < frames.length; at += perBatch) {
      const own = frames.slice(at, at + perBatch);
      const { shards, after } = this.run(frames.slice(0, at), own);
      batches.push({
        frames: own,
        header: headerOf(batches.at(-1)?.header ?? null, own, after.at(-1)!, shards, genesis, carriage),
      });
    }
    this.batches = batches;
  }

  /** `perBatch`: frames of an honest batch; `da`: where their data is. */
  static async start(perBatch: number, da: number = Da.calldata): Promise<DisputeWorld> {
    const carriage = new Carriage(da);
    const l1 = await L1.start({
      dir: newRun(),
      blockTime: 0,
      window: WINDOW,
      moveWindow: MOVE_WINDOW,
      inboxDelay: 10_000_000,
      freezeAfter: 100_000_000,
      shards: SHARDS,
      ...carriage.terms,
    });
    await carriage.open(l1);
    const { timestamp } = await l1.client.getBlock();
    const start = Number(timestamp) + 60;
    const { frames } = traceVector({ domain: { chainId: l1.chainId, root: l1.root }, start, queueable: true });
    const all = frames.map(({ shard, seq, frame }) => ({ shard, seq, frame: unhex(frame) }));
    await l1.request('anvil_setNextBlockTimestamp', [start + 10_000]);
    await l1.request('anvil_mine', []);
    await queueItems(l1, all);
    const genesis = await l1.client.readContract({
      address: l1.root,
      abi: rootAbi,
      functionName: 'posted',
      args: [0n],
    });
    const world = new DisputeWorld(l1, all, perBatch, genesis.batchHash, carriage);
    await l1.write(world.#liar, {
      address: l1.root,
      abi: rootAbi,
      functionName: 'bond',
      args: [],
      value: 10n ** 17n,
    });
    return world;
  }

  /** Executes `own` after `before`, step by step. */
  run(before: readonly Frame[], own: readonly Frame[]): Run {
    const shards = new Shards({ shards: SHARDS, signing: this.signing });
    for (const { shard, seq, frame } of before) shards.engine(shard).run(seq, frame);
    const after: Hex[] = [];
    for (const { shard, seq, frame } of own) {
      let context: Context = 0;
      for (let index = 0; index < stepsOf(frame); index++) {
        ({ context } = runStep(shards.engine(shard), seq, frame, index, context));
        after.push(hex(commitment(shards.tree().root(), context)));
      }
    }
    return { shards, after };
  }

  /** The frames before a batch. */
  before(number: number): readonly Frame[] {
    return this.batches.slice(0, number - 1).flatMap(({ frames }) => frames);
  }
  header(previous: number, frames: readonly Frame[], post: Hex, shards: Shards): BatchHeader {
    return headerOf(this.batches[previous - 1]?.header ?? null, frames, post, shards, this.#genesis, this.carriage);
  }

  /** Number and predecessor of a batch that follows another than an honest one. */
  after(previous: BatchHeader): Pick<BatchHeader, 'number' | 'prev' | 'pre'> {
    return { number: previous.number + 1, prev: batchHash(previous), pre: previous.post };
  }

  /** Posts a batch as the sequencer would. Throws when L1 refuses it at once. */
  async post({ header, frames }: Batch): Promise<void> {
    await this.carriage.post(header, placed(frames));
  }

  /** A call by the sequencer's account. */
  async sequencer(call: {
    address: Hex;
    abi: readonly unknown[];
    functionName: string;
    args: readonly unknown[];
  }): Promise<void> {
    await this.l1.write(this.#liar, call);
  }

  /** A verifier that has seen nothing yet. */
  verifier(): VerifierHost {
    const sql = openSql(':memory:');
    const { chainId, root } = this.l1;
    return new VerifierHost(sql, sql.together, { shards: SHARDS, chainId, root });
  }

  /** One look of the challenger, who knows of L1, and of where its data is, alone. */
  async look(host: VerifierHost, log: Log = () => {}): Promise<void> {
    const settings = readSettings({
      SHARD: { getByName: () => null },
      SHARDS: String(SHARDS),
      CHAIN_ID: String(this.l1.chainId),
      ROOT_ADDRESS: this.l1.root,
      L1_RPC: this.l1.rpc,
      L1_CONFIRMATIONS: '0',
      CHALLENGER_KEY: this.l1.challengerKey,
      // To open a frame in a blob takes long.
      PASS_SECONDS: '300',
      ...this.carriage.vars,
    });
    await new Watch(settings, host, log).run();
  }

  async head(): Promise<number> {
    return Number(await this.l1.client.readContract({ address: this.l1.root, abi: rootAbi, functionName: 'head' }));
  }
  async bonded(): Promise<bigint> {
    return this.l1.client.readContract({ address: this.l1.root, abi: rootAbi, functionName: 'bonded' });
  }
  snapshot(): Promise<unknown> {
    return this.l1.request('evm_snapshot');
  }
  async revert(id: unknown): Promise<void> {
    await this.l1.request('evm_revert', [id]);
  }
  async later(seconds: number): Promise<void> {
    await this.l1.request('evm_increaseTime', [seconds]);
    await this.l1.request('anvil_mine', []);
  }
  async stop(): Promise<void> {
    await this.carriage.close();
    await this.l1.stop();
  }
}

/** Queues at L1, as their owners, the items that shard 0 takes in. */
async function queueItems(l1: L1, frames: readonly Frame[]): Promise<void> {
  const owners = new Set<Hex>();
  const big = 10n ** 15n;
  for (const { shard, frame } of frames) {
    if (shard !== 0 || frame[0] !== 2) continue;
    const item = decodeInboxItem(frame.subarray(1));
    const owner = hex(item.kind === 'deposit' ? item.from : item.owner);
    const send = async (
      address: Hex,
      abi: typeof rootAbi | typeof testTokenAbi,
      functionName: string,
      args: readonly unknown[],
    ): Promise<void> => {
      await l1.as(owner, { address, abi, functionName, args });
    };
    if (!owners.has(owner)) {
      owners.add(owner);
      await l1.fund(owner);
      await send(l1.token, testTokenAbi, 'mint', [owner, big]);
      await send(l1.token, testTokenAbi, 'approve', [l1.root, big]);
    }
    const key = 'key' in item ? [hex(item.key.subarray(0, 32)), hex(item.key.subarray(32))] : [];
    if (item.kind === 'register') await send(l1.root, rootAbi, 'register', [item.shard, ...key, BigInt(item.amount)]);
    else if (item.kind === 'deposit') await send(l1.root, rootAbi, 'deposit', [item.agent, BigInt(item.amount)]);
    else if (item.kind === 'withdraw') await send(l1.root, rootAbi, 'forceWithdraw', [item.agent, BigInt(item.amount)]);
    else if (item.kind === 'rotate') await send(l1.root, rootAbi, 'forceRotate', [item.agent, ...key]);
    else await send(l1.root, rootAbi, 'force', [item.agent, hex(item.interaction)]);
  }
}
