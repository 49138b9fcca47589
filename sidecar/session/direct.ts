/**
 * A session's socket that takes the short way when there is one (docs/protocol.md §8, "Direct"): it begins at the relay, and once the two parties have a
 * link of their own, all they say goes over it in order, halves and receipts over both. A link that breaks loses nothing: what its other end has not
 * acknowledged follows by the relay. To the endpoint it is one socket that keeps order. Runtime-neutral: who listens and dials is given.
 */
import { codeOf } from '../../protocol/errors.ts';
import { type DirectNote, PacketType, decodeDirect, encodeDirect } from '../../protocol/packet.ts';
import { ACK, Arrivals, Unacknowledged, isCounted, isMoney } from './counted.ts';
import { presenceIn } from './presence.ts';
import type { PacketSocket } from './types.ts';

/** An address at which the peer may dial us, once. */
export interface Offer {
  readonly url: string;
  readonly nonce: string;
  /** The peer's link, both sides known to each other; never, if it does not come. */
  readonly link: Promise<PacketSocket>;
  withdraw(): void;
}

export interface DirectOptions {
  /** Dials the relay, again when that went while the link stands. */
  readonly dialRelay: () => Promise<PacketSocket>;
  /** Makes an offer; null where this side does not listen. */
  readonly offer: () => Offer | null;
  /** Dials what the peer offers; null where this side's owner does not want that. Rejects when it is not the peer. */
  readonly accept: (offer: { url: string; nonce: string }) => Promise<PacketSocket> | null;
  /** Whether this side leaves dialling to the peer when both offer. */
  readonly yields: boolean;
  readonly onChange?: (isDirect: boolean) => void;
  readonly onError?: (error: unknown) => void;
  /** Milliseconds without an acknowledgement of what was sent, until the link is given up. Default 5,000. */
  readonly silenceMs?: number;
  /** Milliseconds until a new link is offered after one broke; doubles. Default 5,000. */
  readonly retryMs?: number;
}

const MAX_RETRY_MS = 300_000;
const REDIAL_MS = 200;

export class DirectSocket implements PacketSocket {
  readonly #options: DirectOptions;
  #relay: PacketSocket | null;
  #link: PacketSocket | null = null;
  #offer: Offer | null = null;
  #onPacket: (packet: Uint8Array) => void = () => {};
  #onClose: (reason: string) => void = () => {};
  #over = false;
  /** Counts links asked for: what comes of an older one is nothing. */
  #turn = 0;
  /** Hellos of this pairing: ours sent, the peer's come. */
  #said = { ours: false, theirs: false };

  /** We send over the link. */
  #outDirect = false;
  readonly #sent: Unacknowledged;
  /** Newest of each kind: what the relay must have, and all that the peer needs of them. */
  readonly #money = new Map<number, Uint8Array>();

  /** The peer sends over the link, and we read it. */
  #inDirect = false;
  /** The peer's word that we shall read it came before the link did. */
  #goSeen = false;
  readonly #arrivals = new Arrivals((ack) => this.#link?.send(ack));
  /** Packets that come by the relay once more, and that we have from the link. */
  #skip = 0;

  #retryMs: number;
  #retry: ReturnType<typeof setTimeout> | null = null;

  constructor(relay: PacketSocket, options: DirectOptions) {
    this.#relay = relay;
    this.#options = options;
    this.#retryMs = options.retryMs ?? 5_000;
    this.#sent = new Unacknowledged(options.silenceMs ?? 5_000, () => this.#broken());
  }

  /** Whether both ways lead over the link. */
  get isDirect(): boolean {
    return this.#outDirect && this.#inDirect;
  }

  listen(onPacket: (packet: Uint8Array) => void, onClose: (reason: string) => void): void {
    this.#onPacket = onPacket;
    this.#onClose = onClose;
    this.#hear(this.#relay!);
  }

  send(packet: Uint8Array): void {
    if (packet[0] === PacketType.hello) this.#hello('ours');
    if (isMoney(packet)) this.#money.set(packet[0], packet.slice());
    if (!this.#outDirect) {
      this.#relay?.send(packet);
      return;
    }
    if (isCounted(packet)) this.#sent.keep(packet);
    this.#link!.send(packet);
    if (isMoney(packet)) this.#relay?.send(packet);
  }

  buffered(): number {
    if (!this.#outDirect) return this.#relay?.buffered() ?? 0;
    return this.#link!.buffered() + this.#sent.excess;
  }

  close(reason: string): void {
    this.#end(reason);
  }

  #end(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#reset();
    const relay = this.#relay;
    this.#relay = null;
    relay?.close(reason);
    this.#onClose(reason);
  }

  // ---- the relay ----

  #hear(relay: PacketSocket): void {
    relay.listen(
      (packet) => {
        if (this.#relay === relay) this.#fromRelay(packet);
      },
      (reason) => {
        if (this.#relay !== relay || this.#over) return;
        this.#relay = null;
        if (this.isDirect) void this.#redial();
        else this.#end(reason);
      },
    );
  }

  /** The link carries on meanwhile. When the relay has both again, they begin a new pairing. */
  async #redial(): Promise<void> {
    for (let wait = REDIAL_MS; !this.#over && this.#relay === null; wait = Math.min(2 * wait, 5_000)) {
      try {
        const relay = await this.#options.dialRelay();
        if (this.#over || this.#relay !== null) return relay.close('not needed');
        this.#relay = relay;
        this.#hear(relay);
        for (const packet of this.#money.values()) relay.send(packet);
        return;
      } catch (error) {
        this.#options.onError?.(error);
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  #fromRelay(packet: Uint8Array): void {
    switch (packet[0]) {
      case PacketType.direct:
        return this.#noted(packet);
      case PacketType.error: {
        const presence = presenceIn(packet);
        // It is there all the same: over the link.
        if (presence === 'peer_offline' && this.isDirect) return;
        if (presence !== null) this.#reset();
        break;
      }
      case PacketType.hello:
        this.#onPacket(packet);
        return this.#hello('theirs');
      case PacketType.half:
      case PacketType.receipt:
        // For the relay to keep; the link has brought it, or brings it.
        if (this.#inDirect) return;
        break;
      default:
        if (this.#skip > 0) {
          this.#skip -= 1;
          return;
        }
    }
    this.#onPacket(packet);
  }

  /** A pairing begins, or all is over: nothing of the link before counts any more. */
  #reset(): void {
    this.#turn += 1;
    this.#drop('new pairing');
    this.#said = { ours: false, theirs: false };
    this.#clear();
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
    this.#setOut(false);
    this.#inDirect = false;
    this.#goSeen = false;
    this.#skip = 0;
  }

  #clear(): void {
    this.#sent.clear();
    this.#arrivals.clear();
  }

  /** Closes the link and forgets the offer for it. */
  #drop(reason: string): void {
    this.#offer?.withdraw();
    this.#offer = null;
    const link = this.#link;
    this.#link = null;
    link?.close(reason);
  }

  // ---- agreeing on a link ----

  #hello(whose: 'ours' | 'theirs'): void {
    this.#said[whose] = true;
    if (this.#said.ours && this.#said.theirs) queueMicrotask(() => this.#propose());
  }

  #propose(): void {
    if (this.#over || this.#offer !== null || this.#link !== null || this.#outDirect || this.#inDirect) return;
    const offer = this.#options.offer();
    if (offer === null) return;
    this.#offer = offer;
    const turn = this.#turn;
    offer.link.then(
      (link) => (turn === this.#turn && this.#offer === offer ? this.#take(link) : link.close('not needed')),
      () => {},
    );
    this.#note({ kind: 'offer', url: offer.url, nonce: offer.nonce });
    // The peer may not want it, or its dial may fail: it says nothing of either.
    this.#again();
  }

  #note(note: DirectNote): void {
    this.#relay?.send(encodeDirect(note));
  }

  #noted(packet: Uint8Array): void {
    let note: DirectNote;
    try {
      note = decodeDirect(packet);
    } catch (error) {
      return this.#end(codeOf(error));
    }
    if (note.kind === 'offer') void this.#accept(note);
    else if (note.kind === 'go') this.#go();
    else this.#back(note.from);
  }

  async #accept(offer: { url: string; nonce: string }): Promise<void> {
    if (this.#link !== null || this.#outDirect || this.#inDirect) return;
    if (this.#offer !== null && this.#options.yields) return;
    const turn = this.#turn;
    try {
      const link = await this.#options.accept(offer);
      if (link === null) return;
      if (this.#over || turn !== this.#turn || this.#link !== null || this.#outDirect) return link.close('not needed');
      this.#take(link);
    } catch (error) {
      this.#options.onError?.(error);
    }
  }

  /** A link with the peer at its other end: from here on we send over it. */
  #take(link: PacketSocket): void {
    this.#offer?.withdraw();
    this.#offer = null;
    this.#link = link;
    this.#clear();
    link.listen(
      (packet) => {
        if (this.#link === link) this.#fromLink(packet);
      },
      () => {
        if (this.#link === link) this.#broken();
      },
    );
    if (this.#link !== link) return;
    this.#note({ kind: 'go' });
    this.#setOut(true);
    if (this.#goSeen) this.#go();
  }

  // ---- reading the link ----

  #go(): void {
    this.#goSeen = this.#link === null;
    if (this.#goSeen || this.#inDirect) return;
    this.#inDirect = true;
    for (const packet of this.#arrivals.release()) this.#deliver(packet);
    this.#options.onChange?.(this.isDirect);
  }

  #fromLink(packet: Uint8Array): void {
    if (packet[0] === ACK) return this.#acknowledged(packet);
    if (this.#inDirect) return this.#deliver(packet);
    if (!this.#arrivals.hold(packet)) this.#broken();
  }

  #deliver(packet: Uint8Array): void {
    // Presence and hellos are the relay's to pass, and a link's peer has no word about links.
    if (packet[0] === PacketType.hello || packet[0] === PacketType.direct || presenceIn(packet) !== null) return;
    if (isCounted(packet)) this.#arrivals.add(packet);
    this.#onPacket(packet);
  }

  #acknowledged(packet: Uint8Array): void {
    if (!this.#sent.acknowledge(packet)) return this.#broken();
    if (this.#sent.isEmpty) this.#retryMs = this.#options.retryMs ?? 5_000;
  }

  // ---- giving the link up ----

  #setOut(isDirect: boolean): void {
    const before = this.isDirect;
    this.#outDirect = isDirect;
    if (before !== this.isDirect) this.#options.onChange?.(this.isDirect);
  }

  /** The link broke, or is worth nothing: what the peer may not have follows by the relay. */
  #broken(): void {
    if (this.#link === null) return;
    this.#drop('given up');
    if (!this.#outDirect) return;
    if (this.#relay === null) return this.#end('link and relay lost');
    this.#note({ kind: 'back', from: this.#sent.from });
    this.#setOut(false);
    // First: calls behind them count on them, and the relay has no older ones any more.
    for (const packet of this.#money.values()) this.#relay.send(packet);
    for (const packet of this.#sent.take()) this.#relay.send(packet);
    if (!this.#inDirect) this.#again();
  }

  /** The peer has given the link up. */
  #back(from: number): void {
    this.#goSeen = false;
    if (from > this.#arrivals.count + this.#arrivals.waiting) return this.#end('bad_link');
    // With the link read there are none.
    for (const packet of this.#arrivals.release()) this.#deliver(packet);
    this.#inDirect = false;
    this.#skip = this.#arrivals.count - from;
    this.#broken();
    this.#options.onChange?.(false);
    if (!this.#outDirect) this.#again();
  }

  /** Offers a link after a while, if there is none by then. */
  #again(): void {
    if (this.#over || this.#retry !== null) return;
    this.#retry = setTimeout(() => {
      this.#retry = null;
      if (this.#link !== null) return;
      this.#offer?.withdraw();
      this.#offer = null;
      this.#propose();
    }, this.#retryMs);
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
  }
}
