/** Requests and answers between the platform's form and ours. */
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { streamOf } from '../../protocol/streams.ts';
import { type Header, contentLength } from '../http/headers.ts';

/** Methods of which the platform's requests have no body. */
const BODILESS = new Set(['GET', 'HEAD']);

/** The rest of a body that nobody wants. */
async function discard(body: AsyncIterable<Uint8Array>): Promise<void> {
  try {
    for await (const _ of body);
  } catch {
    // Nobody wanted it.
  }
}

/** A request's body for the platform; null where it takes none, and what came then is read away. */
export function bodyOf({ method, headers, body }: ExchangeRequest): ReadableStream<Uint8Array> | null {
  if (BODILESS.has(method)) {
    void discard(body);
    return null;
  }
  const length = contentLength(headers);
  if (length === 0) {
    void discard(body);
    return null;
  }
  return streamOf(body);
}

export const headersOf = (headers: Headers): Header[] => Array.from(headers);
