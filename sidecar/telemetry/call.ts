/** What is noted of one call, for the access log and traces. On a call's path it is only filled in; it is written down later. */
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';
import { type Span, beginSpan, traceParentOf } from './trace.ts';

/** Takes note of calls: never waits, never throws. */
export interface CallSink {
  call(call: NotedCall): void;
}

/** Who takes note of calls; where nobody does, nothing is noted. */
export interface Notes {
  readonly sinks: readonly CallSink[];
  /** Part of the traces begun here that are sampled; null: no traces, and `traceparent` passes as it is. */
  readonly ratio: number | null;
}

export class NotedCall {
  /** `out`: of the local app; `in`: to it. */
  readonly direction: 'out' | 'in';
  readonly startMs: number = Date.now();
  readonly #began: number = performance.now();
  method: string;
  /** Never with a query. */
  path = '';
  /** An agent's id, a host, or '' when it is not known. */
  peer = '';
  /** `session`, `core`, `free`, `egress`, or '' when it got nowhere. */
  route = '';
  status = 0;
  /** Of a refusal; '' otherwise. */
  code = '';
  /** Base units reserved (out) or asked (in). */
  price = 0;
  /** Where it is only known at the end. */
  priceAtEnd: (() => number) | null = null;
  /** Of the answer's body. */
  bytes = 0;
  ms = 0;
  /** Its place in a trace, where there are traces. */
  span: Span | null = null;
  readonly #notes: Notes;

  constructor(direction: 'out' | 'in', method: string, notes: Notes) {
    this.direction = direction;
    this.method = method;
    this.#notes = notes;
  }

  /** Takes its place in the trace that a request came with, or begins one. Answers the request as it goes on: the next hop's parent is this span. */
  trace(request: ExchangeRequest): ExchangeRequest {
    const { ratio } = this.#notes;
    if (ratio === null) return request;
    const isTraceParent = ([name]: readonly [string, string]): boolean => name.toLowerCase() === 'traceparent';
    this.span = beginSpan(request.headers.find(isTraceParent)?.[1] ?? null, ratio);
    const others = request.headers.filter((header) => !isTraceParent(header));
    // A new trace has no state of the one that could not be read.
    const kept = this.span.parent === null ? others.filter(([name]) => name.toLowerCase() !== 'tracestate') : others;
    return {
      method: request.method,
      target: request.target,
      headers: [...kept, ['traceparent', traceParentOf(this.span)]],
      body: request.body,
      signal: request.signal,
      trailers: request.trailers,
      interim: request.interim,
      upgrade: request.upgrade,
    };
  }

  /** It was refused or failed. */
  fail(code: string, status: number): void {
    this.code = code;
    this.status = status;
    this.end();
  }

  /** It is over, however it ended. Only the first time counts. */
  end(): void {
    if (this.ms > 0) return;
    this.ms = Math.max(performance.now() - this.#began, Number.MIN_VALUE);
    if (this.priceAtEnd !== null) this.price = this.priceAtEnd();
    for (const sink of this.#notes.sinks) sink.call(this);
  }
}

/** A body whose end is its call's, and whose bytes are counted. */
export function noted(body: AsyncIterable<Uint8Array>, call: NotedCall): AsyncIterable<Uint8Array> {
  if (body instanceof Whole) {
    call.bytes = body.length;
    call.end();
    return body;
  }
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const step = await iterator.next();
            if (step.done) call.end();
            else call.bytes += step.value.length;
            return step;
          } catch (error) {
            call.code = 'broken_off';
            call.end();
            throw error;
          }
        },
        async return() {
          call.code ||= 'abandoned';
          call.end();
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
