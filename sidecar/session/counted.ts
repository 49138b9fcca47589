/**
 * How the two ends of a link count, so that one that breaks loses no call (docs/protocol.md §8, "Direct"): the sender keeps what the receiver has not
 * acknowledged, the receiver says how much has come, and holds back what came before its turn.
 */
import { Reader, Writer } from '../../protocol/bytes.ts';
import { PacketType } from '../../protocol/packet.ts';

/** Type of an acknowledgement, which is no packet: it goes over links only. */
export const ACK = 0;
/** Packets and bytes after which the receiver acknowledges at once; else after a moment. */
const ACK_PACKETS = 64;
const ACK_BYTES = 256 * 1024;
const ACK_MS = 20;
/** Bytes that wait for the peer's word to read them: a link with more is given up. */
const MAX_HELD = 16 * 1024 * 1024;
/** Bytes not acknowledged that don't count as a full socket. */
const FREE_BYTES = 1024 * 1024;

export const isMoney = (packet: Uint8Array): boolean =>
  packet[0] === PacketType.half || packet[0] === PacketType.receipt;
/** Of the packets that go one way in order: halves and receipts stand for themselves, reports need no order. */
export const isCounted = (packet: Uint8Array): boolean => !isMoney(packet) && packet[0] !== PacketType.error;

const encodeAck = (count: number): Uint8Array => new Writer().u8(ACK).varint(count).finish();

/** What went over the link and is not acknowledged, in order. */
export class Unacknowledged {
  readonly #silenceMs: number;
  readonly #onSilence: () => void;
  #packets: Uint8Array[] = [];
  #bytes = 0;
  #from = 0;
  #silence: ReturnType<typeof setTimeout> | null = null;

  /** `onSilence` is told when nothing is acknowledged for `silenceMs`. */
  constructor(silenceMs: number, onSilence: () => void) {
    this.#silenceMs = silenceMs;
    this.#onSilence = onSilence;
  }

  /** Number of the first packet that is not acknowledged. */
  get from(): number {
    return this.#from;
  }
  get isEmpty(): boolean {
    return this.#packets.length === 0;
  }
  /** Bytes beyond what may be under way. */
  get excess(): number {
    return Math.max(0, this.#bytes - FREE_BYTES);
  }

  /** Keeps a copy: the sender may use its bytes again. */
  keep(packet: Uint8Array): void {
    this.#packets.push(packet.slice());
    this.#bytes += packet.length;
    this.#watch();
  }

  /** Takes the receiver's word; false for one that can't be true. */
  acknowledge(ack: Uint8Array): boolean {
    let count: number;
    try {
      const reader = new Reader(ack, 1);
      count = reader.varint();
      reader.end();
    } catch {
      return false;
    }
    if (count < this.#from || count > this.#from + this.#packets.length) return false;
    for (const done of this.#packets.splice(0, count - this.#from)) this.#bytes -= done.length;
    this.#from = count;
    this.#rest();
    if (!this.isEmpty) this.#watch();
    return true;
  }

  /** All that is not acknowledged, to go another way. */
  take(): Uint8Array[] {
    const packets = this.#packets;
    this.#packets = [];
    this.#bytes = 0;
    this.#rest();
    return packets;
  }

  /** Counts from 0, of a new link. */
  clear(): void {
    this.take();
    this.#from = 0;
  }

  #watch(): void {
    this.#silence ??= setTimeout(this.#onSilence, this.#silenceMs);
  }
  #rest(): void {
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#silence = null;
  }
}

/** What came over the link. */
export class Arrivals {
  readonly #send: (ack: Uint8Array) => void;
  #count = 0;
  #toAck = { packets: 0, bytes: 0 };
  #timer: ReturnType<typeof setTimeout> | null = null;
  /** Come before the peer's word that they are next. */
  #held: Uint8Array[] = [];
  #heldBytes = 0;

  constructor(send: (ack: Uint8Array) => void) {
    this.#send = send;
  }

  /** Packets counted. */
  get count(): number {
    return this.#count;
  }
  /** Packets held back. */
  get waiting(): number {
    return this.#held.length;
  }

  /** Holds a packet back; false when there are too many. */
  hold(packet: Uint8Array): boolean {
    this.#held.push(packet);
    this.#heldBytes += packet.length;
    return this.#heldBytes <= MAX_HELD;
  }

  /** All that was held back. */
  release(): Uint8Array[] {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    return held;
  }

  /** Counts a packet that is being read, and says so in time. */
  add(packet: Uint8Array): void {
    this.#count += 1;
    this.#toAck.packets += 1;
    this.#toAck.bytes += packet.length;
    if (this.#toAck.packets >= ACK_PACKETS || this.#toAck.bytes >= ACK_BYTES) this.#ack();
    else this.#timer ??= setTimeout(() => this.#ack(), ACK_MS);
  }

  #ack(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#toAck.packets === 0) return;
    this.#toAck = { packets: 0, bytes: 0 };
    this.#send(encodeAck(this.#count));
  }

  /** Counts from 0, of a new link. */
  clear(): void {
    this.release();
    this.#count = 0;
    this.#toAck = { packets: 0, bytes: 0 };
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
