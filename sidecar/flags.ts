/**
 * How Node is to be started for a sidecar: the image, the command line and the local stack do. A young heap that need not grow, as hardly anything
 * outlives its call; an old one with a bound, without which it is collected late and the process takes twice the memory; and young
 * collections on demand (`young.ts`), without which a large body leaves 30 MB of dead buffers. And one arena for malloc, which gives back what
 * is free at its end: glibc keeps one a thread, and what V8's compiler threads had for a moment stays theirs, 10 MB of it. And one optimising compiler,
 * TurboFan, that begins after 500 calls of a function, in place of two, of which the better begins after 3000: less of Node's file is touched, less memory
 * to compile in, and code that is the better one from a few thousand requests on (docs/decisions/0028). Besides,
 * `NODE_COMPILE_CACHE` (a directory that outlives the process) saves every start but the first the stripping of types, and the 25 MB of what strips them.
 */
import start from './flags.json' with { type: 'json' };

/** Those arguments of `node` that its environment may hold too (`NODE_OPTIONS`). */
export const OPTION_FLAGS: readonly string[] = start.node;
/** All arguments of `node`, before its program. */
export const NODE_FLAGS: readonly string[] = [...start.node, ...start.v8];
/** Of its environment: what glibc reads before its first line, and nobody else. */
export const MALLOC_ENV: Readonly<Record<string, string>> = start.env;
