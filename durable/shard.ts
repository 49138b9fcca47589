/**
 * Shard: orders, executes, makes durable and signs. One object a shard, `shard-<n>`.
 *
 * Bundles wait in memory until a turn of the event loop is over, then run as one chunk: one row, one commit, however many came. Answers leave
 * only after the row is durable (the platform's output gate). Memory is rebuilt from snapshot and log, so a crash between any two lines
 * loses nothing that was acknowledged and runs nothing twice.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Bundle } from '../protocol/bundle.ts';
import { type Hex, equal, unhex } from '../protocol/bytes.ts';
import { Agent, Head, Inbox, META_INBOX, Region, get, getBytes, placeOf } from '../protocol/cells.ts';
import { Signing } from '../protocol/eip712.ts';
import { inboxFrame } from '../protocol/engine.ts';

import { keccak } from '../protocol/hash.ts';
import { SHARDS, formatId, shardOf } from '../protocol/ids.ts';
import { MachineKey } from '../protocol/keys.ts';
import { type SignedReceipt, outcomesHash, signReceipt } from '../protocol/receipt.ts';
import type { RecordKind } from '../protocol/proof.ts';
import { MAX_FRAME_BYTES } from '../protocol/bundle.ts';
import {
  type BatchRecord,
  type Cut,
  type CutWithdrawal,
  type Failure,
  type FramesPage,
  type L1View,
  type Page,
  type PageQuery,
  type RecordProof,
  type SessionFacts,
  type ShardHead,
  type ShardRpc,
  type ShardStatus,
  type Submission,
  type SubmitResult,
  type Supply,
  failure,
} from './shard/api.ts';
import { Batches } from './shard/batches.ts';
import { Core, type Executed } from './shard/core.ts';
import { Cuts } from './shard/cuts.ts';
import { History } from './shard/history.ts';
import type { CellJson, ChunkJson, EventJson, FrameJson, RecordJson, WorkflowJson } from './shard/json.ts';
import { Lists } from './shard/lists.ts';
import { Nonces } from './shard/nonces.ts';
import { Proofs } from './shard/proofs.ts';
import { capabilityJson, workflowJson } from './shard/records.ts';
import { agentJson, cellJson, escrowJson, serviceJson, sessionFacts, sessionJson } from './shard/views.ts';

export interface ShardEnv {
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  /** P-256 secret scalar that signs receipts, 0x hex. */
  readonly SEQUENCER_KEY?: string;
}

/** Bundles that may wait at once; more are told to come back. */
const MAX_WAITING = 8192;

interface Waiting {
  readonly bundle: Bundle;
  readonly frame: Uint8Array;
  readonly key: Uint8Array;
  readonly answer: (result: SubmitResult | Promise<SubmitResult>) => void;
  readonly fail: (error: unknown) => void;
}

export class Shard extends DurableObject<ShardEnv> implements ShardRpc {
  readonly #core: Core;
  readonly #cuts: Cuts;
  readonly #batches: Batches;
  readonly #lists: Lists;
  readonly #history: History;
  readonly #proofs: Proofs;
  readonly #signing: Signing;
  #sequencer: MachineKey | null = null;
  #waiting: Waiting[] = [];
  /** Bundles taken in and not yet answered, waiting or not. */
  #taken = 0;
  #flushing = false;
  readonly #nonces: Nonces;

  constructor(ctx: DurableObjectState, env: ShardEnv) {
    super(ctx, env);
    const shard = Number(/^shard-(\d{1,3})$/.exec(ctx.id.name ?? '')?.[1] ?? NaN);
    if (!(shard < SHARDS))
      throw new RangeError(`a shard's object is named shard-0 to shard-255, not ${String(ctx.id.name)}`);
    const { sql } = ctx.storage;
    this.#signing = new Signing({ chainId: Number(env.CHAIN_ID), root: env.ROOT_ADDRESS as Hex });
    this.#core = new Core(sql, shard, this.#signing);
    this.#cuts = new Cuts(sql, this.#core.engine, this.#core.log);
    this.#batches = new Batches(sql);
    this.#nonces = new Nonces(sql);
    this.#lists = new Lists(this.#core.engine.machine);
    this.#history = new History(this.#core, this.#cuts);
    this.#proofs = new Proofs(this.#core, this.#signing);
    void ctx.blockConcurrencyWhile(async () => {
      this.#claim(`${env.CHAIN_ID}:${env.ROOT_ADDRESS.toLowerCase()}:${shard}`);
      if (env.SEQUENCER_KEY) this.#sequencer = await MachineKey.import(unhex(env.SEQUENCER_KEY, 32));
      await this.#core.restore();
    });
  }

  /** A log belongs to one deployment: under another chain or Root its signatures would mean nothing. */
  #claim(deployment: string): void {
    const owner = this.#core.snapshots.get('deployment');
    if (owner === null) this.#core.snapshots.put('deployment', deployment);
    else if (owner !== deployment) {
      throw new Error(
        `this log belongs to ${String(owner)}, not to ${deployment}: clear the local state, or set CHAIN_ID and ROOT_ADDRESS back`,
      );
    }
  }

  get #machine() {
    return this.#core.engine.machine;
  }
  get #shard(): number {
    return this.#core.engine.shard;
  }

  // --- submitting ---

  async submit(items: readonly Submission[]): Promise<SubmitResult[]> {
    if (!this.#sequencer) return items.map(() => failure('unavailable', 'the sequencer has no key: set SEQUENCER_KEY'));
    if (this.#taken + items.length > MAX_WAITING)
      return items.map(() => failure('overloaded', 'too many bundles are waiting: come back in a second'));
    this.#taken += items.length;
    try {
      const bundles = await Promise.all(items.map((item) => this.#prepare(item)));
      return await Promise.all(
        bundles.map((bundle, i) => ('error' in bundle ? bundle : this.#enqueue(bundle, items[i]))),
      );
    } finally {
      this.#taken -= items.length;
    }
  }

  /** Decodes a bundle and fetches the verdicts on signatures inside it; its own the gateway has checked. */
  async #prepare({ frame }: Submission): Promise<Bundle | Failure> {
    const bundle = Core.decode(frame);
    if (!bundle) return failure('malformed', 'not one whole canonical bundle');
    if (shardOf(bundle.actor) !== this.#shard)
      return failure('wrong_shard', `agent ${formatId(bundle.actor)} lives on another shard`);
    if (bundle.interactions.some(({ op }) => op === 'settle' || op === 'close')) await this.#core.prefetch(bundle);
    return bundle;
  }

  #enqueue(bundle: Bundle, { frame, key }: Submission): Promise<SubmitResult> {
    return new Promise((answer, fail) => {
      this.#waiting.push({ bundle, frame, key, answer, fail });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#flushing || this.#waiting.length === 0) return;
    this.#flushing = true;
    setTimeout(() => {
      this.#flushing = false;
      this.#flush();
      this.#schedule();
    }, 0);
  }

  /** Runs what waits as one chunk, up to a chunk's size. No await inside: state and log move together. */
  #flush(): void {
    const nowMs = Date.now();
    const accepted: { waiting: Waiting; executed: Executed }[] = [];
    const refused: { waiting: Waiting; why: Failure }[] = [];
    const promisedBy = this.#together(() => {
      let taken = 0;
      while (taken < this.#waiting.length && !this.#core.full) {
        const waiting = this.#waiting[taken++];
        const why = this.#refusal(waiting, nowMs);
        if (why) refused.push({ waiting, why });
        else {
          if (accepted.length === 0) this.#core.tick(nowMs);
          accepted.push({ waiting, executed: this.#core.execute(waiting.frame, waiting.bundle) });
        }
        this.#core.forget(waiting.bundle);
      }
      this.#waiting = this.#waiting.slice(taken);
      return this.#core.seal(nowMs)?.promisedBy ?? 0;
    });
    for (const { waiting, why } of refused) waiting.answer(why);
    for (const { waiting, executed } of accepted) {
      const receipt = this.#sign(executed, promisedBy).then((signed) => ({ receipt: signed }));
      receipt.then(waiting.answer, waiting.fail);
    }
  }

  /** Runs `work`; when it throws, memory may be ahead of the log, so the object starts over from the log. */
  #together<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.ctx.abort(`shard ${this.#shard} could not make a chunk durable: ${String(error)}`);
      throw error;
    }
  }

  /** Why a bundle must not enter the log, asked right before it would run. */
  #refusal({ bundle, frame, key }: Waiting, nowMs: number): Failure | null {
    const machine = this.#machine;
    const { actor } = bundle;
    if (!machine.agentExists(actor)) return failure('unknown_agent', `there is no agent ${formatId(actor)}`);
    const current = machine.keyOf(actor);
    if (!equal(current, key))
      return failure('stale_key', `agent ${formatId(actor)} has another key now`, { key: current.slice() });
    this.#core.verdicts.add(current, this.#signing.bundle(bundle.body), bundle.signature, true, bundle.body);
    const status = this.#core.engine.admit(bundle);
    if (status === 'bad_nonce') {
      const seq = this.#core.recent.placeOf(keccak(frame));
      const place = `${this.#shard}:${seq}`;
      if (seq !== undefined)
        return failure('replayed', `this bundle was executed as frame ${place}: fetch its receipt`, { place });
      const expected = get(machine.readAgent(actor), Agent.nonce);
      return failure('bad_nonce', `expected nonce ${expected}, got ${bundle.nonce}`, { expected });
    }
    const time = Math.max(machine.time, Math.floor(nowMs / 1000));
    if (status === 'expired' || (status === null && bundle.expiry < time))
      return failure('expired', `expired at ${bundle.expiry}; the shard's time is ${time}`);
    return status && failure(status, `refused: ${status}`);
  }

  #sign(
    executed: Pick<Executed, 'seq' | 'frameHash' | 'runningHash' | 'outcomes'>,
    promisedBy: number,
  ): Promise<SignedReceipt> {
    const { seq, frameHash, runningHash, outcomes } = executed;
    const receipt = {
      shard: this.#shard,
      seq,
      frameHash,
      runningHash,
      outcomesHash: outcomesHash(outcomes),
      promisedBy,
    };
    return signReceipt(this.#sequencer!, this.#signing, receipt, outcomes);
  }

  // --- settlement ---

  async head(): Promise<ShardHead> {
    const { seq, time, running, engine } = this.#core;
    const inbox = engine.trie.read(Region.meta, META_INBOX);
    return {
      shard: this.#shard,
      seq,
      time,
      running: running.slice(),
      root: engine.trie.root(),
      inboxCursor: get(inbox, Inbox.cursor),
      inboxAccumulator: getBytes(inbox, Inbox.accumulator).slice(),
      cut: this.#cuts.newest(),
    };
  }

  async cut(number: number, fromSeq: number): Promise<Cut | null | Failure> {
    return this.#cuts.cut(number, fromSeq);
  }

  async recut(number: number): Promise<void> {
    this.#cuts.recut(number);
  }

  async frames(fromSeq: number, toSeq: number, maxBytes?: number): Promise<FramesPage | Failure> {
    return this.#history.records(fromSeq, toSeq, maxBytes);
  }

  async inbox(items: readonly { index: number; bytes: Uint8Array }[]): Promise<{ cursor: number } | Failure> {
    if (this.#shard !== 0) return failure('wrong_shard', 'only shard 0 consumes the inbox');
    const cursor = (): number => get(this.#core.engine.trie.read(Region.meta, META_INBOX), Inbox.cursor);
    const due = items.filter(({ index }) => index >= cursor());
    for (const [i, { index, bytes }] of due.entries()) {
      if (index !== cursor() + i)
        return failure('inbox_gap', `expected item ${cursor() + i}, got ${index}`, { cursor: cursor() });
      if (bytes.length >= MAX_FRAME_BYTES) return failure('malformed', `inbox item ${index} is longer than a frame`);
    }
    if (due.length > 0) {
      this.#together(() => {
        this.#core.tick(Date.now());
        for (const { bytes } of due) {
          this.#core.execute(inboxFrame(bytes));
          if (this.#core.full) this.#core.seal(Date.now());
        }
        this.#core.seal(Date.now());
      });
    }
    return { cursor: cursor() };
  }

  async tickIfDue(maxAgeSeconds?: number): Promise<{ ticked: boolean; seq: number; time: number }> {
    const nowMs = Date.now();
    const old = maxAgeSeconds !== undefined && Math.floor(nowMs / 1000) - this.#core.time >= maxAgeSeconds;
    const ticked =
      (old || this.#core.untimed) &&
      this.#together(() => {
        const done = this.#core.tick(nowMs);
        this.#core.seal(nowMs);
        return done;
      });
    return { ticked, seq: this.#core.seq, time: this.#core.time };
  }

  async recordBatch(batch: BatchRecord): Promise<void> {
    if (this.#batches.put(batch)) this.#core.feed.push({ kind: 'batch', number: batch.number, state: batch.state });
  }
  async dropBatches(number: number): Promise<void> {
    this.#batches.drop(number);
  }
  async recordL1(view: L1View): Promise<void> {
    this.#batches.putL1(view);
  }
  async batches(query: { after?: number; limit?: number; newest?: boolean } = {}): Promise<BatchRecord[]> {
    return this.#batches.list(query);
  }
  async batch(number: number): Promise<BatchRecord | null> {
    return this.#batches.get(number);
  }
  async newestBatches(): Promise<{ posted: number; final: number }> {
    return this.#batches.newest();
  }
  async l1(): Promise<L1View | null> {
    return this.#batches.l1();
  }
  async supply(): Promise<Supply> {
    return this.#lists.supply(this.#cuts.withdrawn());
  }
  async withdrawal(number: number, id: number): Promise<CutWithdrawal | null> {
    return this.#cuts.withdrawal(number, id);
  }
  async rootAt(number: number): Promise<Uint8Array> {
    return this.#cuts.rootAt(number);
  }

  // --- reading ---

  async status(): Promise<ShardStatus> {
    const head = this.#machine.head();
    return {
      shard: this.#shard,
      seq: this.#core.seq,
      time: this.#core.time,
      chunks: this.#core.log.length,
      agents: get(head, Head.agents),
      services: get(head, Head.services),
      sessions: get(head, Head.sessions),
      escrows: get(head, Head.escrows),
      outbox: get(head, Head.outbox),
      interactions: this.#core.interactions,
      balances: this.#lists.balances(),
      root: this.#core.engine.trie.root(),
    };
  }

  async key(agent: number): Promise<{ key: Uint8Array; epoch: number } | null> {
    const machine = this.#machine;
    if (!machine.isLocal(agent) || !machine.agentExists(agent)) return null;
    return { key: machine.keyOf(agent).slice(), epoch: get(machine.readAgent(agent), Agent.epoch) };
  }

  async agent(id: number): Promise<RecordJson | null> {
    return agentJson(this.#machine, id);
  }
  async agents(query: PageQuery & { owner?: Hex; key?: Hex }): Promise<Page<RecordJson>> {
    return this.#lists.agents(query);
  }
  async service(id: number): Promise<RecordJson | null> {
    return serviceJson(this.#machine, id);
  }
  async services(query: PageQuery & { provider?: number }): Promise<Page<RecordJson>> {
    return this.#lists.services(query);
  }
  async session(id: number): Promise<RecordJson | null> {
    return sessionJson(this.#machine, id);
  }
  async sessions(query: PageQuery & { agent?: number }): Promise<Page<RecordJson>> {
    return this.#lists.sessions(query);
  }
  async sessionFacts(id: number): Promise<SessionFacts | null> {
    return sessionFacts(this.#machine, id);
  }

  async escrow(id: number): Promise<RecordJson | null> {
    const json = escrowJson(this.#machine, id);
    if (!json) return null;
    const { invoked, responded } = this.#history.escrowPlaces(id, json.status === 'open');
    return { ...json, ...(invoked ? { invoked } : {}), ...(responded ? { responded } : {}) };
  }

  async capability(id: number): Promise<RecordJson | null> {
    return capabilityJson(this.#machine, id);
  }
  async capabilities(query: PageQuery & { grantor?: number; grantee?: number }): Promise<Page<RecordJson>> {
    return this.#lists.capabilities(query);
  }
  async workflow(id: number): Promise<WorkflowJson | null> {
    return workflowJson(this.#machine, id);
  }
  async prove(kind: RecordKind, id: number): Promise<RecordProof | null | Failure> {
    if (!this.#sequencer) return failure('unavailable', 'the sequencer has no key: set SEQUENCER_KEY');
    return this.#proofs.prove(this.#sequencer, kind, id);
  }

  async cell(address: number): Promise<CellJson> {
    if (placeOf(address).shard !== this.#shard) throw new RangeError(`cell ${address} is not of shard ${this.#shard}`);
    return cellJson(this.#machine, address);
  }

  async claimNonce(nonce: Hex, timeMs: number): Promise<boolean> {
    return this.#nonces.take(nonce, timeMs);
  }

  // --- the log ---

  async chunks(query: PageQuery): Promise<Page<ChunkJson>> {
    return this.#history.chunks(query);
  }
  async chunk(number: number): Promise<ChunkJson | null> {
    return this.#history.chunk(number);
  }
  async frame(seq: number): Promise<FrameJson | null> {
    return this.#history.frame(seq);
  }

  /** Signed anew from what is stored: the same promise, whatever the signature's nonce. */
  async receipt(seq: number): Promise<SignedReceipt | null> {
    const promise = this.#sequencer && this.#history.promise(seq);
    return promise && this.#sign(promise, promise.promisedBy);
  }

  async feed(after?: number): Promise<EventJson[]> {
    return this.#core.feed.read(after);
  }
  async note(event: Record<string, string | number | boolean>): Promise<void> {
    this.#core.feed.push(event);
  }
}
