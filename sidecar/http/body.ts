/** Moving a body from an async iterable to a Node stream: one chunk in hand, no chunk ahead of what the other side takes. */
import type { OutgoingMessage } from 'node:http';
import type { Writable } from 'node:stream';
import { refusal } from '../errors.ts';
import { type Header, trailing } from './headers.ts';

export const EMPTY: AsyncIterable<Uint8Array> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};

// eslint-disable-next-line require-await -- it is an async iterable because every body is.
export async function* bytes(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** Sends the head before there is a body. `flushHeaders` would write it as UTF-8, and every byte beyond ASCII as two. */
export const flushHead = (out: OutgoingMessage): void => void out.write('', 'latin1');

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
 * Writes `body` into `out` with backpressure, without ending it; false when `out` closed before the end. A body that is not as long as declared is a
 * `body_mismatch`: what follows on the same connection would be read as something else.
 */
export async function pour(
  body: AsyncIterable<Uint8Array>,
  out: Writable,
  length: number | null = null,
): Promise<boolean> {
  let sent = 0;
  for await (const chunk of body) {
    if (out.destroyed) return false;
    sent += chunk.length;
    if (length !== null && sent > length)
      throw refusal('body_mismatch', `the body is longer than the declared ${length} bytes`);
    if (chunk.length > 0 && !out.write(chunk) && !(await room(out))) return false;
  }
  if (length !== null && sent < length)
    throw refusal('body_mismatch', `the body ended after ${sent} of ${length} bytes`);
  return true;
}

/** {@link pour}, then the end, with its trailers where the framing has room for them (chunks). */
export async function pump(
  body: AsyncIterable<Uint8Array>,
  out: OutgoingMessage,
  length: number | null = null,
  trailers?: () => readonly Header[],
): Promise<void> {
  if (!(await pour(body, out, length))) return;
  const fields = trailing(trailers?.() ?? []);
  if (fields.length > 0) out.addTrailers(fields.map(([name, value]): [string, string] => [name, value]));
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
