/** Where calls of ours wait for the peer, and for room in the credit it gives: an honest payer is never refused for it. */
import type { Signal } from '../../protocol/aborts.ts';
import { Agnt2Error } from '../../protocol/errors.ts';

export interface GateOptions {
  /** Longest wait, milliseconds. */
  readonly waitMs: number;
  /** Whether the peer is there. */
  readonly ready: () => boolean;
  /** Why no call may enter any more. */
  readonly shut: () => Agnt2Error | null;
  /** Base units recorded and not signed. */
  readonly owed: () => number;
  /** Base units the peer lets us owe. */
  readonly credit: () => number;
  /** A call waits for something to be signed. */
  readonly full: () => void;
  /** Half of the credit is owed or promised. */
  readonly half: () => void;
}

interface Waiting {
  readonly max: number;
  readonly pass: () => void;
  readonly fail: (error: Agnt2Error) => void;
}

export class Gate {
  readonly #options: GateOptions;
  readonly #queue: Waiting[] = [];
  /** Agreed maximum of our calls in flight: what they may add to what is owed. */
  promised = 0;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  get waiting(): boolean {
    return this.#queue.length > 0;
  }

  /** Enters at once, if it can. */
  pass(max: number): boolean {
    if (this.waiting || !this.#options.ready()) return false;
    const owed = this.#owed;
    if (!this.#fits(owed, max)) return false;
    this.promised += max;
    if ((owed + max) * 2 >= this.#options.credit()) this.#options.half();
    return true;
  }

  /** Enters in its turn. Rejects with `peer_offline` or `over_credit` after the wait, `cancelled`, or what shut the gate. */
  wait(max: number, signal: Signal, deadlineMs = Infinity): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', aborted);
        const at = this.#queue.indexOf(entry);
        if (at >= 0) this.#queue.splice(at, 1);
      };
      const entry: Waiting = {
        max,
        pass: () => {
          leave();
          resolve();
        },
        fail: (error) => {
          leave();
          reject(error);
        },
      };
      const aborted = (): void => entry.fail(new Agnt2Error('cancelled', 'the caller went away'));
      const late = (): void =>
        entry.fail(
          this.#options.ready()
            ? new Agnt2Error('over_credit', 'what is owed left no room within the time to wait')
            : new Agnt2Error('peer_offline', 'the other party is not connected'),
        );
      const timer = setTimeout(late, Math.min(deadlineMs, this.#options.waitMs));
      if (signal.aborted) {
        aborted();
        return;
      }
      signal.addEventListener('abort', aborted);
      this.#queue.push(entry);
      this.open();
    });
  }

  /** A call that entered is over, and costs no more than was recorded. */
  release(max: number): void {
    this.promised -= max;
    this.open();
  }

  /** Lets waiting calls in, in order. */
  open(): void {
    while (this.#queue.length > 0) {
      const first = this.#queue[0];
      const shut = this.#options.shut();
      if (shut !== null) first.fail(shut);
      else if (!this.#options.ready()) return;
      else if (this.#fits(this.#owed, first.max)) {
        this.promised += first.max;
        first.pass();
      } else {
        this.#options.full();
        return;
      }
    }
  }

  /** Base units owed, or promised to calls in flight. */
  get #owed(): number {
    return this.promised + this.#options.owed();
  }

  /** One call dearer than the whole credit may go alone; whether to trust it that far is the peer's to say. */
  #fits(owed: number, max: number): boolean {
    return owed === 0 || owed + max <= this.#options.credit();
  }
}
