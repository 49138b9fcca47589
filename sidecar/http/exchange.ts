/** One request of a connection and what is known of its answer. */
import { CallSignal } from '../../protocol/aborts.ts';
import type { ExchangeRequest, Interim } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';
import { refusal } from '../errors.ts';
import { EMPTY, Incoming, type Source } from './body.ts';
import { type Header, endToEnd, trailing } from './headers.ts';
import { type RequestHead, persists } from './message.ts';

/** How long a body waits for its `100 Continue` before it goes anyway (RFC 9110 §10.1.1). */
export const CONTINUE_MS = 1000;

/** A client that waits with its body until it is wanted (`Expect: 100-continue`): by the callee, or after a while by nobody's word. */
class Continue {
  readonly #say: () => void;
  readonly #timer: NodeJS.Timeout;
  #isWaiting = true;

  constructor(say: () => void) {
    this.#say = say;
    this.#timer = setTimeout(() => this.send(), CONTINUE_MS);
  }

  send(): void {
    if (this.settle()) this.#say();
  }

  /** No 100 from here on; false when that was settled before. */
  settle(): boolean {
    if (!this.#isWaiting) return false;
    this.#isWaiting = false;
    clearTimeout(this.#timer);
    return true;
  }
}

export interface ExchangeContext extends Source {
  /** Writes a 1xx before the answer, if it is not too late. */
  interim(exchange: ServedExchange, head: Interim): void;
}

export class ServedExchange {
  readonly head: RequestHead;
  readonly #context: ExchangeContext;
  readonly #body: Whole | Incoming;
  readonly #wait: Continue | null;
  /** A client that might have waited with its body did not. */
  #comes = false;
  #trailers: readonly Header[] = [];
  readonly #signal = new CallSignal();
  /** The whole request is here. */
  isReceived = false;
  /** The answer's head was written. */
  isAnswering = false;
  /** Nothing more is written for it. */
  isOver = false;
  /** Whether the connection goes on after it. */
  persists: boolean;

  constructor(head: RequestHead, whole: Buffer | null, context: ExchangeContext) {
    this.head = head;
    this.#context = context;
    this.#body = whole === null ? new Incoming(context) : whole.length === 0 ? EMPTY : new Whole(whole);
    this.persists = persists(head);
    const expects = head.expect !== null && head.minor === 1;
    this.#wait = expects ? new Continue(() => context.interim(this, { status: 100, headers: [] })) : null;
  }

  /** The request as it goes on, under the target that was made of its own. */
  request(target: string): ExchangeRequest {
    return {
      method: this.head.method,
      target,
      headers: endToEnd(this.head.fields),
      body: this.#body,
      signal: this.#signal,
      trailers: () => trailing(this.#trailers),
      interim: (head) => (head.status === 100 ? this.#wait?.send() : this.#context.interim(this, head)),
    };
  }

  push(chunk: Buffer): void {
    this.#comes = true;
    if (this.#body instanceof Incoming) this.#body.push(chunk);
  }

  received(trailers: readonly Header[]): void {
    this.#trailers = trailers;
    this.isReceived = true;
    if (this.#body instanceof Incoming) this.#body.end();
  }

  /** There is an answer. A client never told to go on may still send its body or not: what follows could be either. */
  answering(): void {
    if (this.#wait?.settle() !== true || this.#comes || this.isReceived) return;
    this.persists = false;
    if (this.#body instanceof Incoming) this.#body.end();
  }

  /** Nobody is there for the answer any more: whatever still works on it works for nobody. */
  gone(reason: string): void {
    if (this.#signal.aborted) return;
    const cancelled = refusal('cancelled', reason);
    this.#wait?.settle();
    if (this.#body instanceof Incoming) this.#body.fail(refusal('cancelled', 'the caller broke off its request'));
    this.#signal.abort(cancelled);
  }
}
