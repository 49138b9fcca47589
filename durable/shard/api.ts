/**
 * What a Shard answers to: the types of its RPC, for whoever holds a stub (gateway, settlement, Session, Agent).
 *
 * Expected failures come back as `{error: {code, detail}}`, because a class does not survive RPC and a code does; what throws is a bug or an
 * object that can't be reached. Bytes are `Uint8Array`s over a buffer of their own, amounts and ids `number`s, unless a type ends in `Json`.
 */
import type { ESCROW_STATUS } from '../../protocol/cells.ts';
import type { BatchHeader } from '../../protocol/trace.ts';
import type { Hex } from '../../protocol/bytes.ts';
import type { MessageKind } from '../../protocol/messages.ts';
import type { RecordKind } from '../../protocol/proof.ts';
import type { SignedReceipt } from '../../protocol/receipt.ts';
import type { StatusName } from '../../protocol/status.ts';
import type { GraphRpc } from './graph.ts';
import type { CellJson, ChunkJson, EventJson, FrameJson, RecordJson, WorkflowJson } from './json.ts';

export interface Failure {
  readonly error: { readonly code: string; readonly detail: string; readonly [more: string]: unknown };
}
export const isFailure = (answer: object | null): answer is Failure => answer !== null && 'error' in answer;
export const failure = (code: string, detail: string, more: Record<string, unknown> = {}): Failure => ({
  error: { code, detail, ...more },
});

// --- submitting ---

/** A bundle whose signature the gateway found valid under `key` (x ‖ y). */
export interface Submission {
  readonly frame: Uint8Array;
  readonly key: Uint8Array;
}

/**
 * A receipt as its record (`encodeReceipt`), or why the bundle was not taken (it changed nothing and is not in the log): a status of docs/protocol.md §9, or
 * `stale_key` (with `key`: the agent's key now, or null) · `replayed` (with `place`, `shard:seq`) · `too_early` · `too_costly` ·
 * `overloaded`, `rate_limited` (with `retryAfter`, seconds).
 */
export type SubmitResult = { readonly receipt: Uint8Array } | Failure;

// --- what the settlement worker uses ---

export interface ShardHead {
  readonly shard: number;
  /** Frames executed. */
  readonly seq: number;
  /** Shard time, Unix seconds. */
  readonly time: number;
  /** Running hash after the last frame. */
  readonly running: Uint8Array;
  /** Shard root now. */
  readonly root: Uint8Array;
  /** L1 inbox items consumed (shard 0; else 0). */
  readonly inboxCursor: number;
  readonly inboxAccumulator: Uint8Array;
  /** The newest cut: `{0, 0}` when there is none. `toSeq` is where the next must start. */
  readonly cut: { readonly number: number; readonly toSeq: number };
}

/** What settlement looks at before it has anything cut. */
export interface Standing {
  /** The newest cut: `{0, 0}` when there is none. */
  readonly cut: { readonly number: number; readonly toSeq: number };
  /** Whether frames other than ticks and acks came since. */
  readonly hasWork: boolean;
  /** Messages received from each shard. */
  readonly received: readonly number[];
}

/** Frames `fromSeq … toSeq − 1` of one shard, as one batch holds them (there may be none), and the state after them. */
export interface Cut {
  /** The epoch it starts: all shards' cuts of one number belong together. */
  readonly number: number;
  readonly batch: number;
  readonly shard: number;
  /** Where the batch before ended. */
  readonly fromSeq: number;
  /** Exclusive. */
  readonly toSeq: number;
  readonly shardRoot: Uint8Array;
  /** Bounds of the ticks in the cut; both are the shard's time when there is none. */
  readonly timeFrom: number;
  readonly timeTo: number;
  readonly inboxCursor: number;
  readonly inboxAccumulator: Uint8Array;
  /** Steps of its frames, and bytes of its chunk records. */
  readonly steps: number;
  readonly bytes: number;
  /** Messages sent to, and received from, each shard since genesis. */
  readonly sent: readonly number[];
  readonly received: readonly number[];
}

export interface FramesPage {
  /** Whole chunk records, concatenated: `decodeChunkRecords` reads them, `cutParts` cuts them. */
  readonly records: Uint8Array;
  /** Where the next page starts; equal to the asked `toSeq` when this was the last. */
  readonly nextSeq: number;
}

export interface LinksPage {
  /** Links of frames from the asked `fromSeq` on: `decodeLinks` (links.ts) reads them. */
  readonly links: Uint8Array;
  /** Where the next page starts; equal to the asked `toSeq` when this was the last. */
  readonly nextSeq: number;
}

/** Base units, by where they are. Their sum is what L1 took in and has not promised to pay out. */
export interface Supply {
  readonly balances: number;
  readonly stakes: number;
  /** In open and held escrows. */
  readonly escrows: number;
  /** In open and exiting sessions. */
  readonly sessions: number;
  /** All withdrawals ever put into the outbox, paid at L1 or not. */
  readonly withdrawals: number;
}

export type BatchState = 'pending' | 'posted' | 'final' | 'invalid';

/** A batch as the settlement worker knows it; kept by shard 0 and shown by the API. */
export interface BatchRecord {
  readonly number: number;
  readonly header: BatchHeader;
  readonly hash: Hex;
  readonly stateRoot: Hex;
  readonly state: BatchState;
  /** The L1 transaction and block that posted it. */
  readonly tx?: Hex;
  readonly block?: number;
  /** Unix seconds; `finalAt` is when its window ends. */
  readonly postedAt?: number;
  readonly finalAt?: number;
  /** The shards' cuts between which its frames lie. */
  readonly cuts: { readonly after: number; readonly upTo: number };
  /** Its frames, of each shard that has any. How its data interleaves them follows from their links (workers/settlement/order.ts). */
  readonly ranges: readonly { readonly shard: number; readonly firstSeq: number; readonly frames: number }[];
  /** What a committee's members signed for its data. */
  readonly certificate?: Hex;
}

/** How settlement's newest pass went. */
export interface SettlementMetrics {
  /** When it ended, and how long it took. */
  readonly passAtMs: number;
  readonly passMs: number;
  /** Wei of the poster's account, decimal; none where nobody posts. */
  readonly posterWei?: string;
  /** Transactions it sent. */
  readonly sent: number;
  /** Why it could not do all it should. */
  readonly error?: string;
}

/** How L1 stood when last looked at. */
export interface L1View {
  readonly head: number;
  readonly finalized: number;
  /** Items in L1's inbox. */
  readonly inbox: number;
  /** Base unit in token wei, decimal. */
  readonly unit?: string;
  readonly settlement?: SettlementMetrics;
}

/** A withdrawal as of the cut that first held it: its outbox cell and the 12 × 3 siblings up to that cut's shard root. */
export interface CutWithdrawal {
  readonly number: number;
  readonly id: number;
  readonly cell: Uint8Array;
  readonly siblings: Uint8Array[];
  readonly shardRoot: Uint8Array;
}

export interface SettlementRpc {
  head(): Promise<ShardHead>;
  standing(): Promise<Standing>;
  /**
   * Seals batch `batch`'s part of this shard, up to the newest frame, as cut `number`, which must be the next (else `bad_cut`). Idempotent:
   * a cut already made for that batch answers the same again, after any restart. `not_ready` until at least `mustReceive` messages of
   * each shard have been received. A batch cut before may be cut again, with a higher number, when none of it is or can still get on L1.
   */
  cut(number: number, batch: number, mustReceive: readonly number[]): Promise<Cut | Failure>;
  cutAt(number: number): Promise<Cut | null>;
  /** Links of frames `fromSeq … toSeq − 1` to other shards' frames. `not_found` beyond the head. */
  links(fromSeq: number, toSeq: number): Promise<LinksPage | Failure>;
  /** Chunk records of frames `fromSeq … toSeq − 1`, at least one frame, at most about `maxBytes` (default 1 MiB). `not_found` beyond the head. */
  frames(fromSeq: number, toSeq: number, maxBytes?: number): Promise<FramesPage | Failure>;
  /** Consumes L1 inbox items, ascending. Items below the cursor are ignored; `inbox_gap` when one is missing; `wrong_shard` except on shard 0. */
  inbox(
    items: readonly { readonly index: number; readonly bytes: Uint8Array }[],
  ): Promise<{ readonly cursor: number } | Failure>;
  /** Executes a tick when frames came since the last one or, with `maxAgeSeconds`, when the shard's time is older than that. */
  tickIfDue(maxAgeSeconds?: number): Promise<{ readonly ticked: boolean; readonly seq: number; readonly time: number }>;
  /**
   * Creates or changes a batch's record (shard 0). One that was made anew, up to a later cut, takes the place of the old one and of all
   * after it, which were made on top of that; one made up to an earlier cut than the record is too late, and ignored.
   */
  recordBatch(batch: BatchRecord): Promise<void>;
  recordL1(view: L1View): Promise<void>;
  /** Records with numbers above `after`, ascending; with `newest`, the last `limit`. */
  batches(query?: { after?: number; limit?: number; newest?: boolean }): Promise<BatchRecord[]>;
  supply(): Promise<Supply>;
}

// --- what the gateway reads ---

export interface ShardStatus {
  readonly shard: number;
  readonly seq: number;
  readonly time: number;
  readonly chunks: number;
  readonly agents: number;
  readonly services: number;
  readonly sessions: number;
  readonly escrows: number;
  readonly outbox: number;
  readonly interactions: number;
  readonly balances: number;
  readonly root: Uint8Array;
}

export interface PageQuery {
  /** Serial (or chunk number) after which to start. */
  readonly after?: number;
  readonly limit?: number;
}
export interface Page<T> {
  readonly items: T[];
  /** Give it back as `after`; absent on the last page. */
  readonly next?: number;
}

/** A page of a list that is looked through for what is asked for, so many records at a time: it may be short and still have a next. */
export interface LookedPage<T> extends Page<T> {
  /** Serial of the last record looked at. */
  readonly upTo: number;
}

export interface EscrowsQuery extends PageQuery {
  readonly payer?: number;
  readonly payee?: number;
  readonly workflow?: number;
  readonly statuses?: readonly (typeof ESCROW_STATUS)[number][];
}

/** A session's cell and pinned keys: what the Session object is configured with. */
export interface SessionFacts {
  readonly id: number;
  readonly a: number;
  readonly b: number;
  readonly keyA: Uint8Array;
  readonly keyB: Uint8Array;
  readonly depositA: number;
  readonly depositB: number;
  readonly paidAB: number;
  readonly paidBA: number;
  readonly callsAB: number;
  readonly callsBA: number;
  readonly rootAB: Uint8Array;
  readonly rootBA: Uint8Array;
  readonly exitAt: number;
  readonly exitDelay: number;
  /** SessionStatus. */
  readonly status: number;
}

/** A record's cells and their path up to the shard root after `seq` frames, which the sequencer signs (`Checkpoint`). */
export interface RecordProof {
  /** One cell or a quad's four, 64 bytes each. */
  readonly cells: Uint8Array;
  /** 32 bytes each, three a level from the record up: 12 levels, of a quad 11. */
  readonly siblings: Uint8Array;
  readonly seq: number;
  readonly shardRoot: Uint8Array;
  readonly signature: Uint8Array;
}

export interface ReadRpc {
  /** All of one moment, now or up to a second later. */
  status(): Promise<ShardStatus>;
  /** x ‖ y and epoch; null for an unknown agent. */
  key(agent: number): Promise<{ readonly key: Uint8Array; readonly epoch: number } | null>;
  /** x ‖ y of each, null for an unknown agent. */
  keys(agents: readonly number[]): Promise<(Uint8Array | null)[]>;
  agent(id: number): Promise<RecordJson | null>;
  agents(query: PageQuery & { readonly owner?: Hex; readonly key?: Hex }): Promise<Page<RecordJson>>;
  service(id: number): Promise<RecordJson | null>;
  services(query: PageQuery & { readonly provider?: number }): Promise<Page<RecordJson>>;
  session(id: number): Promise<RecordJson | null>;
  sessions(query: PageQuery & { readonly agent?: number }): Promise<Page<RecordJson>>;
  sessionFacts(id: number): Promise<SessionFacts | null>;
  /** Sessions that somebody is leaving alone; `after` is an id. */
  exiting(query: PageQuery): Promise<LookedPage<SessionFacts>>;
  escrow(id: number): Promise<RecordJson | null>;
  escrows(query: EscrowsQuery): Promise<LookedPage<RecordJson>>;
  capability(id: number): Promise<RecordJson | null>;
  capabilities(query: PageQuery & { readonly grantor?: number; readonly grantee?: number }): Promise<Page<RecordJson>>;
  workflow(id: number): Promise<WorkflowJson | null>;
  workflows(query: PageQuery & { readonly planner?: number }): Promise<LookedPage<WorkflowJson>>;
  /**
   * A record with its proof, as it stands now or up to a second later: much that ran takes a while to hash. null for an unknown id;
   * `overloaded` when too many wait; `unavailable` without a sequencer's key.
   */
  prove(kind: RecordKind, id: number): Promise<RecordProof | null | Failure>;
  /** The shard's root, as of now or up to a second later; `overloaded` when too many wait. */
  root(): Promise<Uint8Array | Failure>;
  /** A cell of this shard; with its path, as of now or up to a second later, or `overloaded` when too many wait. */
  cell(address: number, withPath?: boolean): Promise<CellJson | Failure>;
  chunks(query: PageQuery): Promise<Page<ChunkJson>>;
  chunk(number: number): Promise<ChunkJson | null>;
  frame(seq: number): Promise<FrameJson | null>;
  receipt(seq: number): Promise<SignedReceipt | null>;
  feed(after?: number): Promise<EventJson[]>;
  /** Adds an event that is not in the log (a socket came, a half was signed) to the feed; kept in memory only. */
  note(event: Record<string, string | number | boolean>): Promise<void>;
  batch(number: number): Promise<BatchRecord | null>;
  newestBatches(): Promise<{ readonly posted: number; readonly final: number }>;
  l1(): Promise<L1View | null>;
  withdrawal(number: number, id: number): Promise<CutWithdrawal | null>;
  /** Shard root under batch `number`, or the newest cut before it: that shard's leaf of the batch's state root. */
  rootAt(number: number): Promise<Uint8Array>;
  /** Takes a `Connect` nonce (0x hex): false when it was taken in the last minutes. */
  claimNonce(nonce: Hex, timeMs: number): Promise<boolean>;
}

// --- messages between shards ---

/** What a message came to, as its receiver's log has it. */
export interface MessageOutcome {
  readonly kind: MessageKind;
  /** The receive frame that applied it. */
  readonly seq: number;
  readonly status: StatusName;
  /** The id it made, 0 if none. */
  readonly value: number;
}

/** Who calls across shards asks this for the outcome: of message `n` the sender's shard knows that it left, the receiver's what it did. */
export interface MessagesRpc {
  /** Of message `number` from this shard to `to`: its kind, null while it was not sent, and once its place in the ring was taken over. */
  sentMessage(to: number, number: number): Promise<MessageKind | null>;
  /**
   * Of message `number` from shard `from` to this one: what it came to; null while it has not been received. With `waitMs` the answer
   * waits so long for it (at most {@link MAX_MESSAGE_WAIT_MS}); null at once where too many wait already.
   */
  receivedMessage(from: number, number: number, waitMs?: number): Promise<MessageOutcome | null>;
}

/** What a shard has, durably, of another's messages. */
export interface Delivery {
  /** Up to this number. */
  readonly received: number;
  /** Number of its newest cut: before its sender has made that one too, it may not say so in its log. */
  readonly epoch: number;
  /** It takes no more until it has made the cut that the sender has made. */
  readonly later?: true;
}

/** Between the objects of shards: nobody else calls it. */
export interface DeliveryRpc {
  /** Messages `first` and following from shard `from`, whose newest cut has number `epoch`. Answers when they have run, or can't yet. */
  deliver(from: number, epoch: number, first: number, payloads: readonly Uint8Array[]): Promise<Delivery | Failure>;
}

export const MAX_MESSAGE_WAIT_MS = 10_000;

export interface ShardRpc extends SettlementRpc, ReadRpc, MessagesRpc, DeliveryRpc, GraphRpc {
  submit(items: readonly Submission[]): Promise<SubmitResult[]>;
}

/** What a Durable Object namespace is to whoever only wants a stub: also where the platform's types are not. */
export interface Namespace {
  getByName(name: string): unknown;
}

/** The stub of a shard, by its number. */
export const shardStub = (namespace: Namespace, shard: number): ShardRpc =>
  namespace.getByName(`shard-${shard}`) as ShardRpc;
