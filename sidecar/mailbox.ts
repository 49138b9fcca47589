/** The agent's socket at the gateway: first-contact calls come in here, for as long as we run. */
import { type Agnt2Error, codeOf } from '../protocol/errors.ts';
import { formatId } from '../protocol/ids.ts';
import { PacketType, agentRoom } from '../protocol/packet.ts';
import type { Dial, Identity } from './identity.ts';
import { refusal } from './errors.ts';
import { CallMux, type IncomingHandler } from '../protocol/mux.ts';
import type { PacketSocket } from './session/index.ts';

const FIRST_DELAY_MS = 100;
const LAST_DELAY_MS = 10_000;
/** A socket that lived this long starts the backoff anew. */
const LIVED_MS = 5000;

export class Mailbox {
  readonly #base: string;
  readonly #identity: Identity;
  readonly #dial: Dial;
  readonly #handler: IncomingHandler;
  readonly #onError: (error: unknown) => void;
  readonly #onChange: (online: boolean) => void;
  readonly #stop = new AbortController();
  #socket: PacketSocket | null = null;
  #loop: Promise<void> | null = null;

  constructor(
    base: string,
    identity: Identity,
    dial: Dial,
    handler: IncomingHandler,
    on: { error: (error: unknown) => void; change: (online: boolean) => void },
  ) {
    this.#base = base;
    this.#identity = identity;
    this.#dial = dial;
    this.#handler = handler;
    this.#onError = on.error;
    this.#onChange = on.change;
  }

  get online(): boolean {
    return this.#socket !== null;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Closes the socket; calls in flight are lost, so let them finish first. */
  async close(): Promise<void> {
    this.#stop.abort();
    this.#socket?.close('going down');
    await this.#loop;
  }

  async #run(): Promise<void> {
    const room = agentRoom(formatId(this.#identity.agent));
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      const began = Date.now();
      try {
        const socket = await this.#dial(this.#base, room, this.#identity);
        if (this.#stop.signal.aborted) return socket.close('going down');
        await this.#serve(socket);
      } catch (error) {
        this.#onError(error);
      }
      failures = Date.now() - began > LIVED_MS ? 0 : failures + 1;
      await this.#pause(failures);
    }
  }

  /** Serves one socket until it closes. */
  #serve(socket: PacketSocket): Promise<void> {
    return new Promise((resolve) => {
      const mux = new CallMux({
        send: (packet) => socket.send(packet),
        buffered: () => socket.buffered(),
        numbering: 'none',
        handler: this.#handler,
      });
      socket.listen(
        (packet) => {
          try {
            if (packet[0] === PacketType.calls) mux.receive(packet);
            else if (packet[0] === PacketType.error)
              this.#onError(refusal('gateway_failed', new TextDecoder().decode(packet.subarray(1, 500))));
          } catch (error) {
            this.#onError(error);
            socket.close(codeOf(error));
          }
        },
        () => {
          mux.close(refusal('session_lost', "the gateway's socket closed") as Agnt2Error);
          if (this.#socket === socket) this.#socket = null;
          this.#onChange(false);
          resolve();
        },
      );
      this.#socket = socket;
      this.#onChange(true);
    });
  }

  #pause(failures: number): Promise<void> {
    const delay = Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures, 10)) * (0.5 + Math.random() / 2);
    return new Promise((resolve) => {
      if (this.#stop.signal.aborted) return resolve();
      const timer = setTimeout(resolve, delay);
      this.#stop.signal.addEventListener(
        'abort',
        () => {
          clearTimeout(timer);
          resolve();
        },
        { once: true },
      );
    });
  }
}
