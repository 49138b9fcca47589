/** Reading the log: chunks and frames for people, records for L1, what a receipt promised. */
import { concat, hex } from '../../protocol/bytes.ts';
import type { Receipt } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { serialOf } from '../../protocol/ids.ts';
import { extendRunning, outcomesHash } from '../../protocol/receipt.ts';
import { type Outcome, Status } from '../../protocol/status.ts';
import { encodeChunkRecord } from '../../protocol/trace.ts';
import { type Failure, type FramesPage, type LinksPage, type Page, type PageQuery, failure } from './api.ts';
import { Core } from './core.ts';
import type { Cuts } from './cuts.ts';
import type { ChunkJson, FrameJson, PlaceJson } from './json.ts';
import { encodeLinks } from '../../protocol/links.ts';
import { MAX_PAGE } from './lists.ts';
import { type Chunk, decodeOutcomes, framesOf } from './log.ts';
import { frameJson } from './views.ts';

/** Bytes of frames that a page of records and a list of chunks hold, about. */
const PAGE_BYTES = 1024 * 1024;
const LIST_BYTES = 256 * 1024;
/** Links in a page of them: a few hundred kilobytes. */
const PAGE_LINKS = 2 ** 16;
/** Chunks, and bytes of them, looked through for the interaction that ended an escrow: anybody may ask. */
const RESPOND_HORIZON = 200;
const RESPOND_BYTES = 4 * 1024 * 1024;

export class History {
  readonly #core: Core;
  readonly #cuts: Cuts;

  constructor(core: Core, cuts: Cuts) {
    this.#core = core;
    this.#cuts = cuts;
  }

  get #shard(): number {
    return this.#core.engine.shard;
  }

  /** Whole chunk records of frames `fromSeq … toSeq − 1`, at least one frame and about `maxBytes`. */
  records(fromSeq: number, toSeq: number, maxBytes = PAGE_BYTES): FramesPage | Failure {
    const { log, seq: end } = this.#core;
    if (fromSeq < 0 || fromSeq >= toSeq || toSeq > end) return failure('not_found', `there are ${end} frames`);
    const parts: Uint8Array[] = [];
    let [seq, size] = [fromSeq, 0];
    for (let chunk = log.ofFrame(seq); chunk && seq < toSeq; chunk = log.at(chunk.number + 1)) {
      const { firstSeq, count, record } = chunk;
      const next = Math.min(toSeq, firstSeq + count);
      const whole = seq === firstSeq && next === firstSeq + count;
      const frames = whole ? [] : framesOf(chunk).slice(seq - firstSeq, next - firstSeq);
      const part = whole ? record : encodeChunkRecord({ shard: this.#shard, firstSeq: seq, frames });
      if (size > 0 && size + part.length > maxBytes) break;
      parts.push(part);
      size += part.length;
      seq = next;
    }
    return { records: concat(...parts), nextSeq: seq };
  }

  /** Links of frames `fromSeq … toSeq − 1`, at least those of one chunk and about {@link PAGE_LINKS}. */
  links(fromSeq: number, toSeq: number): LinksPage | Failure {
    const { log, seq: end } = this.#core;
    if (fromSeq < 0 || fromSeq >= toSeq || toSeq > end) return failure('not_found', `there are ${end} frames`);
    const { links, nextSeq } = log.links(fromSeq, toSeq, PAGE_LINKS);
    return { links: encodeLinks(fromSeq, links), nextSeq };
  }

  #chunkJson(chunk: Chunk): ChunkJson {
    const { number, firstSeq, timeMs, running } = chunk;
    const frames = framesOf(chunk);
    const outcomes = decodeOutcomes(chunk.outcomes, frames);
    const batch = this.#cuts.ofFrame(firstSeq);
    const place = (i: number) => ({ shard: this.#shard, seq: firstSeq + i, chunk: number, batch });
    return {
      shard: this.#shard,
      number,
      firstSeq: String(firstSeq),
      frames: frames.map((frame, i) => frameJson(place(i), frame, outcomes[i])),
      timeMs,
      runningHash: hex(running),
      ...(batch === undefined ? {} : { batch }),
    };
  }

  chunks({ after, limit = 20 }: PageQuery): Page<ChunkJson> {
    const items: ChunkJson[] = [];
    let bytes = 0;
    for (const chunk of this.#core.log.from((after ?? -1) + 1)) {
      bytes += chunk.record.length;
      const full = bytes > LIST_BYTES || items.length >= Math.min(limit, MAX_PAGE);
      if (items.length > 0 && full) return { items, next: chunk.number - 1 };
      items.push(this.#chunkJson(chunk));
    }
    return { items };
  }

  chunk(number: number): ChunkJson | null {
    const chunk = this.#core.log.at(number);
    return chunk && this.#chunkJson(chunk);
  }

  frame(seq: number): FrameJson | null {
    const chunk = this.#core.log.ofFrame(seq);
    if (!chunk) return null;
    const frames = framesOf(chunk);
    const i = seq - chunk.firstSeq;
    const place = { shard: this.#shard, seq, chunk: chunk.number, batch: this.#cuts.ofFrame(seq) };
    return frameJson(place, frames[i], decodeOutcomes(chunk.outcomes, frames)[i]);
  }

  /** All that the receipt of a frame says. */
  promise(seq: number): (Receipt & { outcomes: Outcome[] }) | null {
    const chunk = this.#core.log.ofFrame(seq);
    if (!chunk) return null;
    const frames = framesOf(chunk);
    const i = seq - chunk.firstSeq;
    let runningHash = this.#core.log.runningBefore(chunk);
    for (const frame of frames.slice(0, i + 1)) runningHash = extendRunning(runningHash, keccak(frame));
    const outcomes = decodeOutcomes(chunk.outcomes, frames)[i];
    return {
      shard: this.#shard,
      seq,
      frameHash: keccak(frames[i]),
      runningHash,
      outcomesHash: outcomesHash(outcomes),
      promisedBy: chunk.promisedBy,
      outcomes,
    };
  }

  /** Where an escrow was opened and, if it was within the horizon, ended. */
  escrowPlaces(id: number, open: boolean): { invoked?: PlaceJson; responded?: PlaceJson } {
    const first = this.#core.log.ofEscrow(serialOf(id));
    if (!first) return {};
    const out: { invoked?: PlaceJson; responded?: PlaceJson } = {};
    const end = open ? first.number + 1 : first.number + RESPOND_HORIZON;
    let bytes = 0;
    for (const chunk of this.#core.log.from(first.number)) {
      if (chunk.number >= end || out.responded || bytes > RESPOND_BYTES) break;
      bytes += chunk.record.length;
      const frames = framesOf(chunk);
      const outcomes = decodeOutcomes(chunk.outcomes, frames);
      for (const [i, frame] of frames.entries()) {
        if (outcomes[i].length > 1) this.#seek(id, frame, outcomes[i], chunk.firstSeq + i, out);
      }
    }
    return out;
  }

  /** Notes in `out` what a bundle did to an escrow. */
  #seek(
    id: number,
    frame: Uint8Array,
    outcomes: readonly Outcome[],
    seq: number,
    out: { invoked?: PlaceJson; responded?: PlaceJson },
  ): void {
    for (const [index, interaction] of (Core.decode(frame)?.interactions ?? []).entries()) {
      const { status, value } = outcomes[index + 1];
      if (status !== Status.ok) continue;
      const place = { shard: this.#shard, seq: String(seq), index };
      if (interaction.op === 'invoke' && value === id) out.invoked = place;
      if ((interaction.op === 'respond' || interaction.op === 'expire') && interaction.escrow === id)
        out.responded = place;
    }
  }
}
