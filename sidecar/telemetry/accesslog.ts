/** The access log: one JSON line per call, of these fields and no others. No header, query or body ever comes near it. */
import type { CallSink, NotedCall } from './call.ts';

/** Calls that wait to be written; what comes while it is full is counted, not kept. */
const MAX_WAITING = 4096;
/** Written as far as this: a path is the app's, and may be as long as a request line. */
const MAX_PATH = 256;

const round = (value: number): number => Math.round(value * 1000) / 1000;

export class AccessLog implements CallSink {
  readonly #write: (fields: Record<string, unknown>) => void;
  #waiting: NotedCall[] = [];
  #dropped = 0;
  #isScheduled = false;

  constructor(write: (fields: Record<string, unknown>) => void) {
    this.#write = write;
  }

  get dropped(): number {
    return this.#dropped;
  }

  call(call: NotedCall): void {
    if (this.#waiting.length >= MAX_WAITING) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(call);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    // After whatever this turn still has to do for calls.
    setTimeout(() => this.flush(), 20).unref();
  }

  /** Writes what waits. */
  flush(): void {
    this.#isScheduled = false;
    const calls = this.#waiting;
    this.#waiting = [];
    for (const call of calls) this.#write(fieldsOf(call));
  }
}

const fieldsOf = (call: NotedCall): Record<string, unknown> => ({
  timeMs: call.startMs,
  direction: call.direction,
  method: call.method.slice(0, 32),
  path: call.path.slice(0, MAX_PATH),
  route: call.route,
  peer: call.peer,
  status: call.status,
  ...(call.code !== '' && { code: call.code }),
  price: String(call.price),
  bytes: call.bytes,
  ms: round(call.ms),
  ...(call.span !== null && { trace: call.span.traceId }),
});
