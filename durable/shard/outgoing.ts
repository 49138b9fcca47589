/**
 * Messages this shard has sent (docs/protocol.md §4a): kept with the chunk that sent them until they are acknowledged in
 * the log, and brought to the other shards' objects at once, in order, again and again until they are there.
 */
import { Reader, Writer } from '../../protocol/bytes.ts';
import { Peer } from '../../protocol/cells.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { SentMessage } from '../../protocol/messages.ts';
import { type Delivery, type DeliveryRpc, type Failure, isFailure } from './api.ts';

export type Receiver = DeliveryRpc;

/** Bytes of messages brought at once, about. */
const MAX_DELIVERY_BYTES = 256 * 1024;
/** Messages to one peer that are kept in memory; more are read again when it is their turn. */
const MAX_IN_MEMORY = 1024;
/** Milliseconds before trying again, doubled each time: up to the first while the peer answers, up to the second while it doesn't. */
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 400;
const LAST_LOST_RETRY_MS = 10_000;

/** One peer's messages that are not known to be there. */
class Lane {
  /** The peer has, durably, all messages up to this. */
  received: number;
  /** All messages up to this have been sent. */
  kept: number;
  /** Payloads of messages `received + 1` and following, as far as they are in memory. */
  payloads: Uint8Array[] = [];
  /** What the peer had in its epochs that are ahead of ours: what it received there can't be acknowledged yet. */
  ahead: { readonly epoch: number; received: number }[] = [];
  /** What may be acknowledged. */
  certain: number;
  running = false;

  constructor(acked: number, kept: number) {
    this.received = acked;
    this.certain = acked;
    this.kept = kept;
  }
}

export class Outgoing {
  readonly #sql: SqlStorage;
  readonly #machine: Machine;
  readonly #receiver: (shard: number) => Receiver;
  readonly #epoch: () => number;
  readonly #onReceived: () => void;
  readonly #lanes = new Map<number, Lane>();

  /** `epoch`: the number of this shard's newest cut. `onReceived`: somebody has more than before, so an ack may be due. */
  constructor(
    sql: SqlStorage,
    machine: Machine,
    receiver: (shard: number) => Receiver,
    epoch: () => number,
    onReceived: () => void,
  ) {
    this.#sql = sql;
    this.#machine = machine;
    this.#receiver = receiver;
    this.#epoch = epoch;
    this.#onReceived = onReceived;
    sql.exec(
      'CREATE TABLE IF NOT EXISTS parcels (peer INTEGER, first INTEGER, count INTEGER NOT NULL, payloads BLOB NOT NULL, PRIMARY KEY (peer, first)) WITHOUT ROWID',
    );
  }

  /** After a restart: what no ack has settled is to be brought again. */
  restore(): void {
    for (const { peer } of this.#sql.exec<{ peer: number }>('SELECT DISTINCT peer FROM parcels')) this.#lane(peer);
    this.pump();
  }

  /** Stores what a chunk sent; with the chunk, so both are durable or neither. */
  keep(sent: readonly SentMessage[]): void {
    for (const [peer, list] of Map.groupBy(sent, ({ to }) => to)) {
      const payloads = list.map(({ payload }) => payload);
      const { number } = list[0];
      this.#sql.exec('INSERT INTO parcels VALUES (?, ?, ?, ?)', peer, number, list.length, pack(payloads));
      // A lane made now already counts these.
      const lane = this.#lanes.get(peer) ?? this.#lane(peer);
      const isNext = lane.received + lane.payloads.length + 1 === number;
      if (isNext && lane.payloads.length < MAX_IN_MEMORY) lane.payloads.push(...payloads);
      lane.kept = number + list.length - 1;
    }
  }

  /** An ack frame has run: nobody will ask for these again. */
  settled(peer: number, number: number): void {
    this.#sql.exec('DELETE FROM parcels WHERE peer = ? AND first + count - 1 <= ?', peer, number);
  }

  /** Whether anything is not acknowledged yet. */
  get isBusy(): boolean {
    for (const [peer, lane] of this.#lanes) if (lane.kept > this.#acked(peer)) return true;
    return false;
  }

  /** For each peer that has more than the log says: up to which number it may be acknowledged. */
  due(): { to: number; number: number; count: number }[] {
    const out: { to: number; number: number; count: number }[] = [];
    for (const [to, lane] of this.#lanes) {
      while (lane.ahead.length > 0 && lane.ahead[0].epoch <= this.#epoch()) lane.certain = lane.ahead.shift()!.received;
      const count = lane.certain - this.#acked(to);
      if (count > 0) out.push({ to, number: lane.certain, count });
    }
    return out;
  }

  /** Whether an ack waits for this shard's next cut. */
  get waitsForCut(): boolean {
    for (const { ahead } of this.#lanes.values()) if (ahead.length > 0) return true;
    return false;
  }

  /** Whether shard `to` is known to have all messages up to `number`, by what this shard's epoch may know. */
  hasReceived(to: number, number: number): boolean {
    return this.#lane(to).certain >= number;
  }

  /** Brings what is durable and not known to be there; call it after a chunk is committed. */
  pump(): void {
    for (const [peer, lane] of this.#lanes) if (!lane.running && lane.kept > lane.received) void this.#run(peer, lane);
  }

  #lane(peer: number): Lane {
    let lane = this.#lanes.get(peer);
    if (!lane) {
      const [acked, sent] = [this.#acked(peer), Peer.sent.get(this.#machine.cells, this.#machine.peer(peer))];
      this.#lanes.set(peer, (lane = new Lane(acked, sent)));
    }
    return lane;
  }
  #acked(peer: number): number {
    return Peer.acked.get(this.#machine.cells, this.#machine.peer(peer));
  }

  async #run(peer: number, lane: Lane): Promise<void> {
    lane.running = true;
    let retryMs = FIRST_RETRY_MS;
    // Told to wait, it asks without bringing anything.
    let isLater = false;
    while (lane.kept > lane.received) {
      if (lane.payloads.length === 0) this.#refill(peer, lane);
      const before = lane.received;
      let lastMs = LAST_RETRY_MS;
      let answer: Delivery | Failure | null = null;
      try {
        const payloads = isLater ? [] : upTo(lane.payloads, MAX_DELIVERY_BYTES);
        answer = await this.#receiver(peer).deliver(this.#machine.shard, this.#epoch(), before + 1, payloads);
      } catch {
        // It is not there: later.
      }
      const wasLater = isLater;
      isLater = answer !== null && !isFailure(answer) && answer.later === true;
      if (answer === null || isFailure(answer)) lastMs = LAST_LOST_RETRY_MS;
      else this.#arrived(lane, answer);
      if (lane.received > before) this.#onReceived();
      if (lane.received > before || (wasLater && !isLater)) {
        retryMs = FIRST_RETRY_MS;
        continue;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(retryMs, lastMs)));
      retryMs = Math.min(2 * retryMs, lastMs);
    }
    lane.running = false;
  }

  /** What a peer says it has is believed only as far as it was sent. */
  #arrived(lane: Lane, { received, epoch }: Delivery): void {
    if (!Number.isSafeInteger(received) || !Number.isSafeInteger(epoch)) return;
    const known = Math.min(received, lane.kept);
    const count = known - lane.received;
    if (count <= 0) return;
    lane.received = known;
    lane.payloads.splice(0, count);
    const last = lane.ahead.at(-1);
    if (epoch <= this.#epoch()) {
      lane.certain = known;
      lane.ahead = [];
    } else if (last && last.epoch >= epoch) last.received = known;
    else lane.ahead.push({ epoch, received: known });
  }

  /** Reads again what did not stay in memory. */
  #refill(peer: number, lane: Lane): void {
    const next = lane.received + 1;
    const rows = this.#sql.exec<{ first: number; payloads: ArrayBuffer }>(
      'SELECT first, payloads FROM parcels WHERE peer = ? AND first + count > ? ORDER BY first LIMIT 64',
      peer,
      next,
    );
    for (const row of rows) {
      if (lane.payloads.length >= MAX_IN_MEMORY) break;
      lane.payloads.push(...unpack(new Uint8Array(row.payloads)).slice(Math.max(next - row.first, 0)));
    }
  }
}

function upTo(payloads: readonly Uint8Array[], maxBytes: number): Uint8Array[] {
  const out: Uint8Array[] = [];
  let bytes = 0;
  for (const payload of payloads) {
    if (out.length > 0 && bytes + payload.length > maxBytes) break;
    out.push(payload);
    bytes += payload.length;
  }
  return out;
}

function pack(payloads: readonly Uint8Array[]): Uint8Array {
  const writer = new Writer();
  for (const payload of payloads) writer.u16(payload.length).bytes(payload);
  return writer.finish();
}

function unpack(bytes: Uint8Array): Uint8Array[] {
  const reader = new Reader(bytes);
  const out: Uint8Array[] = [];
  while (reader.left > 0) out.push(reader.bytes(reader.u16()));
  return out;
}
