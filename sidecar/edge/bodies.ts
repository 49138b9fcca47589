/** Bodies between the platform's streams and ours. */
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { type Header, contentLength } from '../http/headers.ts';

/** What a stream holds, at the reader's pace; abandoned, it is cancelled. */
export async function* chunksOf(stream: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (stream === null) return;
  const reader = stream.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** A body as a stream that pulls. */
export function streamOf(body: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const source = body[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await source.next();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        controller.error(error);
      }
    },
    async cancel() {
      await source.return?.();
    },
  });
}

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
