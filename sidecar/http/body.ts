/** Moving a body from an async iterable to a Node stream: one chunk in hand, no chunk ahead of what the other side takes. */
import type { Writable } from 'node:stream';
import { refusal } from '../errors.ts';

export const EMPTY: AsyncIterable<Uint8Array> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};

// eslint-disable-next-line require-await -- it is an async iterable because every body is.
export async function* bytes(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** Until `out` takes more; false when it closed instead. */
const room = (out: Writable): Promise<boolean> =>
  new Promise((resolve) => {
    const settle = (ok: boolean): void => {
      out.off('drain', onDrain);
      out.off('close', onClose);
      resolve(ok);
    };
    const onDrain = (): void => settle(true);
    const onClose = (): void => settle(false);
    if (out.destroyed || out.closed) return resolve(false);
    out.on('drain', onDrain);
    out.on('close', onClose);
  });

/**
 * Writes `body` into `out` with backpressure and ends it. A body that is not as long as declared is a
 * `body_mismatch`: what follows on the same connection would be read as something else.
 */
export async function pump(
  body: AsyncIterable<Uint8Array>,
  out: Writable,
  length: number | null = null,
): Promise<void> {
  let sent = 0;
  for await (const chunk of body) {
    if (out.destroyed) return;
    sent += chunk.length;
    if (length !== null && sent > length)
      throw refusal('body_mismatch', `the body is longer than the declared ${length} bytes`);
    if (chunk.length > 0 && !out.write(chunk) && !(await room(out))) return;
  }
  if (length !== null && sent < length)
    throw refusal('body_mismatch', `the body ended after ${sent} of ${length} bytes`);
  out.end();
}

/** A body that tells, once, how it ended: read to its end, or broken off or abandoned before. */
export function tracked(body: AsyncIterable<Uint8Array>, onOver: (whole: boolean) => void): AsyncIterable<Uint8Array> {
  let over = false;
  const settle = (whole: boolean): void => {
    if (!over) onOver(whole);
    over = true;
  };
  return {
    [Symbol.asyncIterator]: () => {
      const iterator = body[Symbol.asyncIterator]();
      return {
        async next() {
          try {
            const step = await iterator.next();
            if (step.done) settle(true);
            return step;
          } catch (error) {
            settle(false);
            throw error;
          }
        },
        async return() {
          settle(false);
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      };
    },
  };
}
