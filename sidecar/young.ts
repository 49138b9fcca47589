/**
 * Keeps the buffers of large bodies from piling up. V8 begins a young collection by the size of its own heap, of which the bytes behind a buffer are no
 * part: a body streamed through leaves hundreds of dead buffers before one begins, and what ends them is a full collection for too much
 * memory outside, many times a second. A young one finds them all, and costs a fraction of a millisecond. It takes `--expose-gc` (`flags.ts`);
 * without, V8 does as it does (docs/decisions/0025).
 */

/** Bytes of bodies between two collections; each has been copied a few times on its way. */
const COLLECT_BYTES = 1024 * 1024;

const { gc } = globalThis as { gc?: (options: { type: 'minor' } | { type: 'major'; flavor: 'last-resort' }) => void };
let passed = 0;

/** So many bytes of a body came by, in a buffer of their own. */
export function passing(bytes: number): void {
  passed += bytes;
  if (passed < COLLECT_BYTES) return;
  passed = 0;
  gc?.({ type: 'minor' });
}

/** The start is over: what it left goes, the code that ran once included. Some 8 MB from source, and once a process a few hundredths of a second. */
export const started = (): void => gc?.({ type: 'major', flavor: 'last-resort' });
