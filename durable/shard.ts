/**
 * Shard: orders, executes, makes durable and signs. One object a shard, `shard-<n>`.
 *
 * Bundles wait in memory for the next turn (intake.ts), then run as one chunk: one row, one commit, however many came. Answers leave
 * only after the row is durable (the platform's output gate). Memory is rebuilt from snapshot and log, so a crash between any two lines
 * loses nothing that was acknowledged and runs nothing twice.
 */
import { DurableObject } from 'cloudflare:workers';
import { type Hex, unhex } from '../protocol/bytes.ts';
import {
  Agent,
  Inbox,
  META_INBOX,
  MessageCell,
  Region,
  get,
  getBytes,
  messageSlot,
  placeOf,
} from '../protocol/cells.ts';
import { Signing } from '../protocol/eip712.ts';
import { inboxFrame } from '../protocol/engine.ts';

import { SHARDS } from '../protocol/ids.ts';
import { MachineKey } from '../protocol/keys.ts';
import { MESSAGE_KINDS, type MessageKind } from '../protocol/messages.ts';
import { type SignedReceipt, encodeReceipt } from '../protocol/receipt.ts';
import type { RecordKind } from '../protocol/proof.ts';
import { MAX_FRAME_BYTES } from '../protocol/bundle.ts';
import {
  type BatchRecord,
  type Cut,
  type CutWithdrawal,
  type Delivery,
  type EscrowsQuery,
  type Failure,
  type FramesPage,
  type L1View,
  type LinksPage,
  type LookedPage,
  type MessageOutcome,
  type Namespace,
  type Page,
  type PageQuery,
  type RecordProof,
  type SessionFacts,
  type ShardHead,
  type ShardRpc,
  type ShardStatus,
  type Standing,
  type Submission,
  type SubmitResult,
  type Supply,
  failure,
  shardStub,
} from './shard/api.ts';
import { AgentIndex, type AgentsQuery } from './shard/agents.ts';
import { Batches } from './shard/batches.ts';
import { listEscrows, listWorkflows } from './shard/calls.ts';
import { Core, type Executed } from './shard/core.ts';
import { Cuts } from './shard/cuts.ts';
import { Exiting } from './shard/exiting.ts';
import { type ChunkGraph, type ChunkNode, type ChunkOfMessage, GraphReader } from './shard/graph.ts';
import { History } from './shard/history.ts';
import { Intake, MAX_WAIT_MS } from './shard/intake.ts';
import type { CellJson, ChunkJson, EventJson, FrameJson, RecordJson, WorkflowJson } from './shard/json.ts';
import { Lists } from './shard/lists.ts';
import { Mail } from './shard/mail.ts';
import { Nonces } from './shard/nonces.ts';
import { Proofs } from './shard/proofs.ts';
import { capabilityJson, workflowJson } from './shard/records.ts';
import { Roots } from './shard/roots.ts';
import { StatusReader } from './shard/status.ts';
import { agentJson, cellJson, escrowJson, serviceJson, sessionFacts, sessionJson } from './shard/views.ts';

export interface ShardEnv {
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  /** How many shards there are, 1 to 256. */
  readonly SHARDS: string;
  readonly SHARD: Namespace;
  /** P-256 secret scalar that signs receipts, 0x hex. */
  readonly SEQUENCER_KEY?: string;
  /** Longest that a bundle may expect to wait before it is refused as `overloaded`, milliseconds; 500 unless set. */
  readonly MAX_WAIT_MS?: string;
}

export class Shard extends DurableObject<ShardEnv> implements ShardRpc {
  readonly #core: Core;
  readonly #cuts: Cuts;
  readonly #batches: Batches;
  readonly #lists: Lists;
  readonly #agents: AgentIndex;
  readonly #exiting: Exiting;
  readonly #history: History;
  readonly #graph: GraphReader;
  readonly #roots: Roots;
  readonly #proofs: Proofs;
  readonly #status: StatusReader;
  readonly #signing: Signing;
  #sequencer: MachineKey | null = null;
  readonly #nonces: Nonces;
  readonly #intake: Intake;
  readonly #mail: Mail;

  constructor(ctx: DurableObjectState, env: ShardEnv) {
    super(ctx, env);
    const shard = Number(/^shard-(\d{1,3})$/.exec(ctx.id.name ?? '')?.[1] ?? NaN);
    if (!(shard < SHARDS))
      throw new RangeError(`a shard's object is named shard-0 to shard-255, not ${String(ctx.id.name)}`);
    const { sql } = ctx.storage;
    this.#signing = new Signing({ chainId: Number(env.CHAIN_ID), root: env.ROOT_ADDRESS as Hex });
    this.#core = new Core(sql, shard, this.#signing, Math.max(1, Number(env.SHARDS) || 1));
    this.#cuts = new Cuts(sql, this.#core.engine, this.#core.log);
    this.#batches = new Batches(sql);
    this.#nonces = new Nonces(sql);
    this.#lists = new Lists(this.#core.engine.machine, () => this.#core.rest());
    this.#agents = new AgentIndex(sql, this.#core.engine.machine);
    this.#exiting = new Exiting(this.#core.engine.machine);
    this.#history = new History(this.#core, this.#cuts);
    this.#graph = new GraphReader(sql, this.#core.engine.machine, this.#core.log, this.#core.arrivals);
    this.#roots = new Roots(this.#core);
    this.#proofs = new Proofs(this.#core, this.#signing, this.#roots);
    this.#status = new StatusReader(this.#core, this.#lists, this.#roots);
    this.#mail = new Mail(sql, this.#core, {
      together: (work) => this.#together(work),
      peer: (to) => shardStub(env.SHARD, to),
      epoch: () => this.#cuts.newest().number,
      alarm: (atMs) => void ctx.storage.setAlarm(atMs),
      came: (from, count) => this.#intake.came(from, count),
      ran: (from, count) => this.#intake.ran(from, count),
    });
    this.#mail.sweeper.onAgent = (id) => this.#agents.note(id);
    this.#mail.sweeper.onSession = (id) => this.#exiting.note(id);
    this.#intake = new Intake(
      this.#core,
      {
        together: (work) => this.#together(work),
        receipt: (executed, promisedBy) => this.#receipt(executed, promisedBy),
      },
      this.#mail.sweeper.orders,
      Number(env.MAX_WAIT_MS) || MAX_WAIT_MS,
    );
    void ctx.blockConcurrencyWhile(async () => {
      this.#claim(`${env.CHAIN_ID}:${env.ROOT_ADDRESS.toLowerCase()}:${shard}`);
      if (env.SEQUENCER_KEY) this.#sequencer = await MachineKey.import(unhex(env.SEQUENCER_KEY, 32));
      this.#core.restore();
      this.#agents.restore(() => this.#core.rest());
      this.#exiting.restore(() => this.#core.rest());
      this.#mail.restore();
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
    return this.#intake.submit(items);
  }

  async #receipt(executed: Executed, promisedBy: number): Promise<SubmitResult> {
    const { seq, frameHash, runningHash, outcomes, outcomesHash } = executed;
    const receipt = { shard: this.#shard, seq, frameHash, runningHash, outcomesHash, promisedBy };
    const signature = await this.#sequencer!.sign(this.#signing.receipt(receipt));
    return { receipt: encodeReceipt(receipt, outcomes, signature) };
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

  // --- messages ---

  async deliver(
    from: number,
    epoch: number,
    first: number,
    payloads: readonly Uint8Array[],
  ): Promise<Delivery | Failure> {
    return this.#mail.incoming.take(from, epoch, first, payloads);
  }

  override async alarm(): Promise<void> {
    this.#mail.wake();
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
      root: this.#roots.newest().shardRoot,
      inboxCursor: get(inbox, Inbox.cursor),
      inboxAccumulator: getBytes(inbox, Inbox.accumulator).slice(),
      cut: this.#cuts.newest(),
    };
  }

  async standing(): Promise<Standing> {
    return this.#cuts.standing();
  }
  async cut(number: number, batch: number, mustReceive: readonly number[]): Promise<Cut | Failure> {
    return this.#cuts.cut(number, batch, mustReceive);
  }
  async cutAt(number: number): Promise<Cut | null> {
    return this.#cuts.at(number);
  }
  async links(fromSeq: number, toSeq: number): Promise<LinksPage | Failure> {
    return this.#history.links(fromSeq, toSeq);
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
    return this.#status.read();
  }

  async key(agent: number): Promise<{ key: Uint8Array; epoch: number } | null> {
    const machine = this.#machine;
    if (!machine.isLocal(agent) || !machine.agentExists(agent)) return null;
    return { key: machine.keyOf(agent).slice(), epoch: get(machine.readAgent(agent), Agent.epoch) };
  }

  async keys(agents: readonly number[]): Promise<(Uint8Array | null)[]> {
    const machine = this.#machine;
    return agents.map((id) => (machine.isLocal(id) && machine.agentExists(id) ? machine.keyOf(id) : null));
  }

  async agent(id: number): Promise<RecordJson | null> {
    return agentJson(this.#machine, id);
  }
  async agents(query: AgentsQuery): Promise<Page<RecordJson>> {
    return query.key || query.owner ? this.#agents.list(query) : this.#lists.agents(query);
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
  async exiting(query: PageQuery): Promise<LookedPage<SessionFacts>> {
    return this.#exiting.list(query);
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

  async escrows(query: EscrowsQuery): Promise<LookedPage<RecordJson>> {
    return listEscrows(this.#machine, query);
  }

  async sentMessage(to: number, number: number): Promise<MessageKind | null> {
    const cell = this.#machine.trie.read(Region.message, messageSlot(to, number));
    return get(cell, MessageCell.number) === number
      ? (MESSAGE_KINDS[get(cell, MessageCell.kind)] as MessageKind)
      : null;
  }
  async receivedMessage(from: number, number: number, waitMs = 0): Promise<MessageOutcome | null> {
    return this.#core.arrivals.wait(from, number, waitMs);
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
  async workflows(query: PageQuery & { planner?: number }): Promise<LookedPage<WorkflowJson>> {
    return listWorkflows(this.#machine, query);
  }
  async prove(kind: RecordKind, id: number): Promise<RecordProof | null | Failure> {
    if (!this.#sequencer) return failure('unavailable', 'the sequencer has no key: set SEQUENCER_KEY');
    return this.#proofs.prove(this.#sequencer, kind, id);
  }

  async root(): Promise<Uint8Array | Failure> {
    const root = await this.#roots.read(({ shardRoot }) => shardRoot);
    return root ?? failure('overloaded', 'too many are waiting for a root: come back in a second');
  }
  async cell(address: number, withPath = false): Promise<CellJson | Failure> {
    if (placeOf(address).shard !== this.#shard) throw new RangeError(`cell ${address} is not of shard ${this.#shard}`);
    return withPath ? this.#proofs.cell(address) : cellJson(this.#machine, address);
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

  async chunkNodes(limit: number, to?: number): Promise<ChunkNode[]> {
    return this.#graph.nodes(limit, to);
  }
  async chunkGraph(number: number): Promise<ChunkGraph | null> {
    return this.#graph.chunk(number);
  }
  async sentIn(to: number, number: number, timeMs: number): Promise<ChunkOfMessage | null> {
    return this.#graph.sentIn(to, number, timeMs);
  }
  async receivedIn(from: number, number: number): Promise<ChunkOfMessage | null> {
    return this.#graph.receivedIn(from, number);
  }

  /** Signed anew from what is stored: the same promise, whatever the signature's nonce. */
  async receipt(seq: number): Promise<SignedReceipt | null> {
    const promise = this.#sequencer && this.#history.promise(seq);
    if (!promise) return null;
    const { outcomes, ...receipt } = promise;
    return { receipt, outcomes, signature: await this.#sequencer!.sign(this.#signing.receipt(receipt)) };
  }

  async feed(after?: number): Promise<EventJson[]> {
    return this.#core.feed.read(after);
  }
  async note(event: Record<string, string | number | boolean>): Promise<void> {
    this.#core.feed.push(event);
  }
}
