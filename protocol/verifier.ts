/**
 * Follows a deployment by L1's data alone, and says of each batch whether it is what it says (docs/protocol.md §7, §10). What it needs for
 * a game against any batch that is not final yet, the cells as they were before it and the frames in it, is kept in a {@link VerifierStore}.
 *
 *     verifier.begin(header);                        // of the batch after `verifier.head`
 *     for (const records of pages) await verifier.take(records);   // or, where the data is not in calldata: verifier.carry(carrier)
 *     const { verdict } = verifier.finish(accumulator);
 *
 * Total: whatever bytes a batch holds, executing them has an outcome. Nothing of a batch is kept before it is finished.
 */
import { decodeBundle } from './bundle.ts';
import { type Hex, equal, hex, readUint } from './bytes.ts';
import { Head, Inbox, META_HEAD, META_INBOX, META_PEERS, Peer, Region, get, getBytes } from './cells.ts';
import { type Carrier, type CarrierFault, Da, dataOf, faultIn, recordsOf } from './da/carrier.ts';
import { encodeColumns } from './da/columns.ts';
import { decodeData } from './da/layout.ts';
import { type CellAnswer, cellOf } from './da/offer.ts';
import { frameRanges, layoutRanges, openEncoding, openRanges } from './da/openings.ts';
import { Signing } from './eip712.ts';
import { Walk, commitmentsAt } from './dispute.ts';
import { type Engine, FrameKind, commitment } from './engine.ts';
import { inclusionPath, keccak } from './log.ts';
import type { VerifyP256 } from './machine.ts';
import { Shards } from './shards.ts';
import { type BatchHeader, type ChunkRecord, type PlacedFrame, batchHash, frameLeaf, placeFrames } from './trace.ts';
import { type PageImage, type PageStore, ShardTrie } from './trie.ts';
import { Verdicts } from './verdicts.ts';
import { Recorder } from './witness.ts';

/** A cell with its proof under a batch's state root. */
export interface ProvenCell {
  readonly stateRoot: Hex;
  readonly cell: Hex;
  /** 16 levels from the leaf up, 3 siblings each. */
  readonly proof: readonly Hex[];
}

/** A frame under a batch's `dataRoot`: `IGame.Opening`. */
export interface Opening {
  readonly firstStep: number;
  readonly shard: number;
  readonly seq: number;
  readonly frame: Hex;
  readonly index: number;
  readonly frames: number;
  readonly path: readonly Hex[];
  /** What opens it in data that is not in calldata; `0x` in calldata. */
  readonly proof: Hex;
}

/** What is wrong with a batch, and what shows it where no game is needed; `null`: nothing is. */
export type Verdict =
  | { readonly fault: null }
  | { readonly fault: 'post' }
  | { readonly fault: 'layout'; readonly kind: 'count' | 'first' | 'last' | 'next'; readonly index: number }
  | { readonly fault: 'encoding' }
  | { readonly fault: 'inbox'; readonly inbox: ProvenCell }
  /** `tick`: which frame. */
  | { readonly fault: 'time'; readonly tick: number }
  | { readonly fault: 'clock'; readonly shard: number; readonly head: ProvenCell }
  | {
      readonly fault: 'late';
      readonly from: number;
      readonly to: number;
      readonly sent: ProvenCell;
      readonly received: ProvenCell;
    };

/** What shows a fault of a carrier: of an encoding, with the place in the cells' row. */
export interface CarrierProof {
  readonly place: number;
  readonly proof: Hex;
}

export interface KnownBatch {
  readonly header: BatchHeader;
  readonly hash: Hex;
  /** The commitment that its frames lead to. */
  readonly post: Hex;
  readonly verdict: Verdict;
  readonly frames: number;
}

export interface ShardPage extends PageImage {
  readonly shard: number;
}

/** Where a verifier keeps what it knows: batches that are not final, and of older ones only the cells as the last final one left them. */
export interface VerifierStore {
  /** Number of the newest batch that is what it says; 0 for genesis. */
  readonly head: number;
  batch(number: number): KnownBatch | undefined;
  /** The next page of the data of batch `number`; page 0 voids what was there. */
  putData(number: number, page: number, records: readonly ChunkRecord[]): void;
  data(number: number): Iterable<readonly ChunkRecord[]>;
  /** What was made available of a batch's data outside of calldata; its frames are there as data, too. */
  putCarrier(number: number, carrier: Carrier): void;
  carrier(number: number): Carrier | null;
  /** A finished batch, all at once. One that is what it says brings the pages it changed, and is the new head. */
  put(batch: KnownBatch, pages: Iterable<ShardPage>): void;
  /** The newest version of each page as of the end of a batch. */
  pages(upTo: number): Iterable<ShardPage>;
  /** The same, one page at a time, for a shard's paging; null: keep all in memory. */
  pageStore(shard: number, upTo: number): { readonly store: PageStore; readonly resident: number } | null;
  /** Forgets batch `number` and all after it. */
  drop(number: number): void;
  /** Batches up to `upTo` will not be disputed any more. */
  settle(upTo: number): void;
}

/** The batch that is being taken in. */
interface Intake {
  readonly header: BatchHeader;
  pages: number;
  frames: number;
  /** Which frame is the first tick outside of the header's times. */
  tick: number | null;
  /** Of data that is not in calldata: why its frames were not even looked at. */
  fault: CarrierFault | null;
}

export class Verifier {
  readonly #shards: number;
  readonly #signing: Signing;
  readonly #store: VerifierStore;
  readonly #verdicts = new Verdicts();
  readonly #verify: VerifyP256;
  readonly #prefetches: boolean;
  /** The state after batch `head`, or inside the batch being taken in; null while it has to be loaded. */
  #live: Shards | null = null;
  #intake: Intake | null = null;

  /** `verify`: answers for signatures; without, they are checked. */
  constructor(
    deployment: {
      readonly shards: number;
      readonly chainId: number;
      readonly root: Hex;
      readonly verify?: VerifyP256;
    },
    store: VerifierStore,
  ) {
    this.#shards = deployment.shards;
    this.#signing = new Signing({ chainId: deployment.chainId, root: deployment.root });
    this.#store = store;
    this.#verify = deployment.verify ?? this.#verdicts.verify;
    this.#prefetches = deployment.verify === undefined;
  }

  /** Number of the newest batch that is what it says. */
  get head(): number {
    return this.#store.head;
  }
  batch(number: number): KnownBatch | undefined {
    return this.#store.batch(number);
  }

  /** The state after the newest good batch, for who looks something up in it. */
  state(): Shards {
    if (this.#intake) this.#restart();
    return (this.#live ??= this.#load(NEWEST));
  }

  #load(upTo: number, recorder?: Recorder): Shards {
    const tries = new Map<number, ShardTrie>();
    const trieOf = (shard: number): ShardTrie => {
      const known = tries.get(shard);
      if (known) return known;
      const paging = this.#store.pageStore(shard, upTo);
      const trie = recorder?.trie(shard, paging) ?? new ShardTrie(paging);
      tries.set(shard, trie);
      return trie;
    };
    for (const { shard, ...image } of this.#store.pages(upTo)) {
      const trie = trieOf(shard);
      trie.load(image);
      trie.evict();
    }
    return new Shards({ shards: this.#shards, signing: this.#signing, verify: this.#verify, trie: trieOf });
  }

  #restart(): void {
    this.#live = null;
    this.#intake = null;
  }

  // --- taking in ---

  /** Starts to take in the batch after `head`; what was taken in of another, unfinished, is void. */
  begin(header: BatchHeader): void {
    if (header.number !== this.head + 1)
      throw new RangeError(`batch ${header.number} does not follow ${this.head}, the newest that is known to be good`);
    if (this.#intake) this.#restart();
    this.state();
    this.#intake = { header, pages: 0, frames: 0, tick: null, fault: null };
  }

  /** Takes in a batch whose data is not in calldata, all at once. */
  async carry(carrier: Carrier): Promise<void> {
    const intake = this.#taking();
    const { number, steps } = intake.header;
    this.#store.putCarrier(number, carrier);
    intake.fault = faultIn(carrier, steps);
    if (intake.fault === null) await this.take(recordsOf(decodeData(dataOf(carrier), steps)));
  }

  /** Executes frames of the batch, in the order of its data. */
  async take(records: readonly ChunkRecord[]): Promise<void> {
    const intake = this.#taking();
    this.#store.putData(intake.header.number, intake.pages++, records);
    await this.#execute(this.#live!, records, (engine, seq, frame) => {
      const { header } = intake;
      if (intake.tick === null && isTick(frame)) {
        const time = readUint(frame, 1, 4);
        if (time < header.timeFrom || time > header.timeTo) intake.tick = intake.frames;
      }
      intake.frames += 1;
      engine.run(seq, frame);
      engine.takeSent();
    });
  }

  #taking(): Intake {
    if (!this.#intake) throw new RangeError('no batch has begun');
    return this.#intake;
  }

  /** Frames one after the other, their bundles' signatures checked ahead. */
  async #execute(
    shards: Shards,
    records: readonly ChunkRecord[],
    run: (engine: Engine, seq: number, frame: Uint8Array) => void,
  ): Promise<void> {
    if (this.#prefetches) await this.#prefetch(shards, records);
    for (const { shard, firstSeq, frames } of records) {
      const engine = shards.engine(shard);
      for (const [i, frame] of frames.entries()) run(engine, firstSeq + i, frame);
    }
  }

  /** By the keys as they are now: where a frame changes one, later signatures are checked in place. */
  async #prefetch(shards: Shards, records: readonly ChunkRecord[]): Promise<void> {
    const jobs: Promise<unknown>[] = [];
    for (const { shard, frames } of records) {
      const { machine } = shards.engine(shard);
      for (const frame of frames) {
        if (frame[0] !== FrameKind.bundle) continue;
        try {
          jobs.push(this.#verdicts.prefetch(machine, decodeBundle(frame)));
        } catch {
          // A frame that is no bundle gets its status from the engine.
        }
      }
    }
    await Promise.all(jobs);
  }

  /**
   * Says what the batch is. `accumulator` is L1's at the header's `inboxCursor`. One that is what it says becomes the head; of
   * another nothing is kept but the verdict and its data.
   */
  finish(accumulator: Uint8Array): KnownBatch {
    const { header, frames, tick } = this.#taking();
    const live = this.#live!;
    const stateRoot = live.tree().root();
    const post = hex(commitment(stateRoot));
    const verdict = this.#judge(live, post, accumulator, tick);
    const batch: KnownBatch = { header, hash: batchHash(header), post, verdict, frames };
    const isGood = verdict.fault === null;
    this.#store.put(batch, isGood ? changedPages(live) : []);
    this.#intake = null;
    if (isGood) for (const { trie } of live.engines) trie.evict();
    else this.#live = null;
    return batch;
  }

  #judge(live: Shards, post: Hex, accumulator: Uint8Array, tick: Intake['tick']): Verdict {
    const { header, fault } = this.#taking();
    if (fault?.kind === 'encoding') return { fault: 'encoding' };
    if (fault !== null) return { fault: 'layout', kind: fault.kind, index: fault.kind === 'next' ? fault.index : 0 };
    if (post !== header.post) return { fault: 'post' };
    const inbox = live.engine(0).trie.read(Region.meta, META_INBOX);
    if (get(inbox, Inbox.cursor) !== header.inboxCursor || !equal(getBytes(inbox, Inbox.accumulator), accumulator))
      return { fault: 'inbox', inbox: prove(live, 0, Region.meta, META_INBOX) };
    if (tick !== null) return { fault: 'time', tick };
    for (const engine of live.engines) {
      const head = engine.trie.read(Region.meta, META_HEAD);
      if (get(head, Head.seq) > 0 && get(head, Head.time) < header.timeFrom)
        return { fault: 'clock', shard: engine.shard, head: prove(live, engine.shard, Region.meta, META_HEAD) };
    }
    return this.#late(live, header.number) ?? { fault: null };
  }

  /** A message that was sent by the end of the batch before and is still not received. */
  #late(live: Shards, number: number): Verdict | null {
    if (number === 1) return null;
    let before: Shards | null = null;
    for (const { shard: to } of live.engines) {
      for (const { shard: from } of live.engines) {
        const received = get(live.engine(to).trie.read(Region.meta, META_PEERS + from), Peer.received);
        // What was sent never shrinks: most pairs need no look at how it was.
        const sentNow = get(live.engine(from).trie.read(Region.meta, META_PEERS + to), Peer.sent);
        if (from === to || sentNow <= received) continue;
        before ??= this.#load(number - 1);
        if (get(before.engine(from).trie.read(Region.meta, META_PEERS + to), Peer.sent) <= received) continue;
        const sent = prove(before, from, Region.meta, META_PEERS + to);
        return { fault: 'late', from, to, sent, received: prove(live, to, Region.meta, META_PEERS + from) };
      }
    }
    return null;
  }

  /** Forgets batch `number` and all after it: a reorg took them away, or they were voided. */
  drop(number: number): void {
    this.#restart();
    this.#store.drop(number);
  }

  /** Batches up to `upTo` are final. */
  settle(upTo: number): void {
    this.#store.settle(upTo);
  }

  // --- for games ---

  #placed(number: number): PlacedFrame[] {
    return placeFrames(Array.from(this.#store.data(number)).flat());
  }

  /** Frame `index` of a batch, as L1 takes it. */
  async opening(number: number, index: number): Promise<Opening> {
    const placed = this.#placed(number);
    const { firstStep, shard, seq, frame } = placed[index];
    const place = { firstStep, shard, seq, frame: hex(frame), index, frames: placed.length };
    const carrier = this.#store.carrier(number);
    if (carrier !== null)
      return { ...place, path: [], proof: await openRanges(carrier, frameRanges(dataOf(carrier), index)) };
    return { ...place, path: inclusionPath(keccak, placed.map(frameLeaf), index).map(hex), proof: '0x' };
  }

  /** What shows the layout or the encoding of a batch's data to be wrong. Throws where it is right. */
  async carrierProof(number: number): Promise<CarrierProof> {
    const carrier = this.#store.carrier(number);
    const fault = carrier && faultIn(carrier, this.#store.batch(number)!.header.steps);
    if (!carrier || !fault) throw new RangeError(`the data of batch ${number} is well formed`);
    if (fault.kind !== 'encoding')
      return { place: 0, proof: await openRanges(carrier, layoutRanges(dataOf(carrier), fault)) };
    if (carrier.da !== Da.committee) throw new RangeError('only columns are encoded');
    return openEncoding(carrier, fault.at);
  }

  /** A cell of a column of a batch's data, as its encoding has it; null where the data is in no columns, or is not here. */
  cell(number: number, column: number, row: number): CellAnswer | null {
    const carrier = this.#store.carrier(number);
    if (carrier?.da !== Da.committee) return null;
    const [n, k] = [carrier.roots.length, carrier.k];
    return cellOf(encodeColumns(dataOf(carrier), { n, k })[column], row);
  }

  #walk(number: number, recorder?: Recorder): Walk {
    const verdicts = this.#prefetches ? this.#verdicts : undefined;
    return new Walk(this.#load(number - 1, recorder), this.#placed(number), verdicts);
  }

  /** The commitments after so many steps of a batch, ascending. */
  async commitments(number: number, ends: readonly number[]): Promise<Uint8Array[]> {
    return commitmentsAt(this.#walk(number), ends);
  }

  /** What L1 needs to execute one step of a batch: its frame, and its witness. */
  async step(number: number, step: number): Promise<{ readonly opening: Opening; readonly witness: Hex }> {
    const recorder = new Recorder();
    const walk = this.#walk(number, recorder);
    await walk.to(step);
    const { witness } = await walk.prove(recorder);
    const placed = this.#placed(number);
    const behind = placed.findIndex(({ firstStep }) => firstStep > step);
    const opening = await this.opening(number, (behind < 0 ? placed.length : behind) - 1);
    return { opening, witness: hex(witness) };
  }
}

/** As of the newest batch, also when others follow it. */
const NEWEST = Number.MAX_SAFE_INTEGER;

const isTick = (frame: Uint8Array): boolean => frame.length === 5 && frame[0] === FrameKind.tick;

function* changedPages(shards: Shards): Generator<ShardPage> {
  for (const { shard, trie } of shards.engines) for (const image of trie.takeChanged()) yield { shard, ...image };
}

/** A cell as it is now, with its proof under the state root as it is now. */
export function prove(shards: Shards, shard: number, region: number, slot: number): ProvenCell {
  const tree = shards.tree();
  const { trie } = shards.engine(shard);
  const proof = [...trie.proof(region, slot), ...tree.siblings(shard)];
  return { stateRoot: hex(tree.root()), cell: hex(trie.read(region, slot)), proof: proof.map(hex) };
}
