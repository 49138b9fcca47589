/** The writing half of a connection: all that is written in one turn leaves in one system call. */
import type { Socket } from 'node:net';
import { STALL_MS } from './stream.ts';

/** Bytes not yet taken by the kernel above which bodies wait. */
const HIGH_WATER = 64 * 1024;
/** What is copied together rather than handed over piece by piece. */
const SMALL = 16 * 1024;

const flushOf = (output: Output): void => output.flush();

export class Output {
  readonly #socket: Socket;
  #parts: (string | Uint8Array)[] = [];
  #bytes = 0;
  #isScheduled = false;
  #isHeld = false;
  #wake: ((open: boolean) => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('drain', () => this.#roomier(true));
    socket.on('close', () => this.#roomier(false));
  }

  /** Latin-1. */
  text(text: string): void {
    this.#parts.push(text);
    this.#bytes += text.length;
    this.#schedule();
  }

  /** Bytes that nobody changes any more. */
  bytes(bytes: Uint8Array): void {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    this.#schedule();
  }

  /** Until `flush`, which has to follow in this turn, nothing is scheduled: a tick costs more than all that is written here. */
  hold(): void {
    this.#isHeld = true;
  }

  get isClosed(): boolean {
    return !this.#socket.writable;
  }

  get isFull(): boolean {
    return this.#bytes + this.#socket.writableLength > HIGH_WATER;
  }

  /** Until there is room again; false when the connection went instead. One may wait at a time. */
  async room(): Promise<boolean> {
    this.flush();
    if (this.#socket.destroyed) return false;
    if (!this.#socket.writableNeedDrain) return true;
    const stalled = setTimeout(() => this.#socket.destroy(), STALL_MS);
    const isOpen = await new Promise<boolean>((resolve) => (this.#wake = resolve));
    clearTimeout(stalled);
    return isOpen;
  }

  flush(): void {
    const parts = this.#parts;
    const total = this.#bytes;
    this.#isScheduled = false;
    this.#isHeld = false;
    if (parts.length === 0) return;
    this.#parts = [];
    this.#bytes = 0;
    const socket = this.#socket;
    if (!socket.writable) return;
    if (parts.length === 1) {
      const [part] = parts;
      if (typeof part === 'string') socket.write(part, 'latin1');
      else socket.write(part);
    } else if (total <= SMALL) {
      const all = Buffer.allocUnsafe(total);
      let at = 0;
      for (const part of parts) {
        if (typeof part === 'string') all.write(part, at, 'latin1');
        else all.set(part, at);
        at += part.length;
      }
      socket.write(all);
    } else {
      socket.cork();
      for (const part of parts)
        if (typeof part === 'string') socket.write(part, 'latin1');
        else socket.write(part);
      socket.uncork();
    }
  }

  #schedule(): void {
    if (this.#isScheduled || this.#isHeld) return;
    this.#isScheduled = true;
    process.nextTick(flushOf, this);
  }

  #roomier(open: boolean): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.(open);
  }
}
