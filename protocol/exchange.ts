/**
 * One HTTP exchange, free of any runtime's request objects: what the proxy, the sessions and first contact hand to each
 * other. Bodies stream; nobody in between may gather one.
 */
import type { Signal } from './aborts.ts';

type Fields = readonly (readonly [string, string])[];

/** An informational answer (1xx), before the final one. */
export interface Interim {
  readonly status: number;
  readonly headers: Fields;
}

/** Informational answers to one request: no window holds them back, so they have an end. */
export const MAX_INTERIM = 32;

export interface ExchangeRequest {
  readonly method: string;
  /** Origin-form target, normalised: what is priced, hashed and forwarded. */
  readonly target: string;
  readonly headers: Fields;
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborts when the caller went away. */
  readonly signal: Signal;
  /** Fields that came after the body; complete when the body has ended. */
  readonly trailers?: () => Fields;
  /** Asks for a WebSocket: answered by 101, after which the two bodies are the two directions of its connection. */
  readonly upgrade?: 'websocket';
  /** Takes what the callee says before its answer: 100 when it wants the body, hints. Absent where nobody would hear it. */
  readonly interim?: (head: Interim) => void;
}

export interface ExchangeResponse {
  readonly status: number;
  /** The phrase beside the status, when it is not the usual one. */
  readonly reason?: string;
  readonly headers: Fields;
  readonly body: AsyncIterable<Uint8Array>;
  /** Fields that came after the body; complete when the body has ended. */
  readonly trailers?: () => Fields;
}

/** Answers one exchange; rejects with a coded error when it can't. */
export type Handler = (request: ExchangeRequest) => Promise<ExchangeResponse>;
