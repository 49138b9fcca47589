/**
 * One HTTP exchange, free of any runtime's request objects: what the proxy, the sessions and first contact hand to each
 * other. Bodies stream; nobody in between may gather one.
 */
export interface ExchangeRequest {
  readonly method: string;
  /** Origin-form target, normalised: what is priced, hashed and forwarded. */
  readonly target: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborts when the caller went away. */
  readonly signal: AbortSignal;
}

export interface ExchangeResponse {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: AsyncIterable<Uint8Array>;
}

/** Answers one exchange; rejects with a coded error when it can't. */
export type Handler = (request: ExchangeRequest) => Promise<ExchangeResponse>;
