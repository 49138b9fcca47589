/**
 * Messages this shard has sent (docs/protocol.md §4a): kept with the chunk that sent them until they are acknowledged in
 * the log, and brought to the other shards' objects at once, in order, again and again until they are there.
 */
import { Reader, Writer } from '../../protocol/bytes.ts';
import { Peer } from '../../protocol/cells.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { SentMessage } from '../../protocol/messages.ts';
import { type DeliveryRpc, isFailure } from './api.ts';

export type Receiver = DeliveryRpc;

/** Bytes of messages brought at once, about. */
const MAX_DELIVERY_BYTES = 256 * 1024;
/** Milliseconds before trying again, when the receiver was not there; doubled each time. */
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 10_000;

/** One peer's messages that are not known to be there. */
class Lane {
  /** The peer has, durably, all messages up to this. */
  received: number;
  /** Payloads of messages `received + 1` and following, as far as they are in memory. */
  payloads: Uint8Array[] = [];
  running = false;

  constructor(received: number) {
    this.received = received;
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
    for (const row of this.#sql.exec('SELECT peer, first, count, payloads FROM parcels ORDER BY peer, first')) {
      const lane = this.#lane(row.peer as number);
      const payloads = unpack(new Uint8Array(row.payloads as ArrayBuffer));
      // An ack may have settled the first of them.
      lane.payloads.push(...payloads.slice(Math.max(lane.received + 1 - (row.first as number), 0)));
    }
  }

  /** Stores what a chunk sent; with the chunk, so both are durable or neither. */
  keep(sent: readonly SentMessage[]): void {
    const byPeer = new Map<number, SentMessage[]>();
    for (const message of sent) {
      const list = byPeer.get(message.to);
      if (list) list.push(message);
      else byPeer.set(message.to, [message]);
    }
    for (const [peer, list] of byPeer) {
      const payloads = list.map(({ payload }) => payload);
      const { number } = list[0];
      this.#sql.exec('INSERT INTO parcels VALUES (?, ?, ?, ?)', peer, number, list.length, pack(payloads));
      this.#lane(peer).payloads.push(...payloads);
    }
  }

  /** An ack frame has run: nobody will ask for these again. */
  settled(peer: number, number: number): void {
    this.#sql.exec('DELETE FROM parcels WHERE peer = ? AND first + count - 1 <= ?', peer, number);
  }

  /** Whether anything is not acknowledged yet. */
  get isBusy(): boolean {
    for (const [peer, lane] of this.#lanes)
      if (lane.payloads.length > 0 || lane.received > this.#acked(peer)) return true;
    return false;
  }

  /** For each peer that has more than the log says: up to which number. */
  due(): { to: number; number: number; count: number }[] {
    const out: { to: number; number: number; count: number }[] = [];
    for (const [to, { received }] of this.#lanes) {
      const count = received - this.#acked(to);
      if (count > 0) out.push({ to, number: received, count });
    }
    return out;
  }

  /** Whether shard `to` is known to have all messages up to `number`. */
  hasReceived(to: number, number: number): boolean {
    return this.#lane(to).received >= number;
  }

  /** Brings what is durable and not known to be there; call it after a chunk is committed. */
  pump(): void {
    for (const [peer, lane] of this.#lanes) {
      if (lane.running || lane.payloads.length === 0) continue;
      lane.running = true;
      void this.#run(peer, lane).finally(() => {
        lane.running = false;
      });
    }
  }

  #lane(peer: number): Lane {
    let lane = this.#lanes.get(peer);
    if (!lane) this.#lanes.set(peer, (lane = new Lane(this.#acked(peer))));
    return lane;
  }
  #acked(peer: number): number {
    return Peer.acked.get(this.#machine.cells, this.#machine.peer(peer));
  }

  async #run(peer: number, lane: Lane): Promise<void> {
    let retryMs = FIRST_RETRY_MS;
    while (lane.payloads.length > 0) {
      const before = lane.received;
      try {
        const answer = await this.#receiver(peer).deliver(
          this.#machine.shard,
          this.#epoch(),
          before + 1,
          upTo(lane.payloads, MAX_DELIVERY_BYTES),
        );
        if (!isFailure(answer)) this.#arrived(lane, answer.received);
      } catch {
        // It is not there: later.
      }
      if (lane.received > before) {
        retryMs = FIRST_RETRY_MS;
        this.#onReceived();
      } else {
        await new Promise((resolve) => setTimeout(resolve, retryMs));
        retryMs = Math.min(2 * retryMs, LAST_RETRY_MS);
      }
    }
  }

  /** What a peer says it has is believed only as far as it was sent. */
  #arrived(lane: Lane, received: number): void {
    const count = Math.min(received - lane.received, lane.payloads.length);
    if (count <= 0) return;
    lane.received += count;
    lane.payloads.splice(0, count);
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
