/** Moving a body from an async iterable to a Node stream: one chunk in hand, no chunk ahead of what the other side takes. */
import type { Writable } from 'node:stream';
import { refusal } from '../errors.ts';

/** How long a reader may take nothing while there is something for it. Long pauses are a reader's right; holding what is under way for good is not. */
export const STALL_MS = 300_000;

/** Until `out` takes more; false when it closed instead, as it does when its reader takes nothing for too long. */
const room = (out: Writable): Promise<boolean> =>
  new Promise((resolve) => {
    const settle = (ok: boolean): void => {
      clearTimeout(timer);
      out.off('drain', onDrain);
      out.off('close', onClose);
      resolve(ok);
    };
    const onDrain = (): void => settle(true);
    const onClose = (): void => settle(false);
    if (out.destroyed || out.closed) return resolve(false);
    const timer = setTimeout(() => out.destroy(refusal('timeout', 'the reader takes nothing')), STALL_MS);
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
