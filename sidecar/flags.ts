/**
 * How Node is to be started for a sidecar: the image, the command line and the local stack do. A young heap that need not grow, as hardly anything
 * outlives its call; an old one with a bound, without which it is collected late and the process takes twice the memory; and young
 * collections on demand (`young.ts`), without which a large body leaves 60 MB of dead buffers. Besides, `NODE_COMPILE_CACHE` (a directory that outlives
 * the process) saves every start but the first the stripping of types, and the 25 MB of what strips them.
 */
import flags from './flags.json' with { type: 'json' };

export const NODE_FLAGS: readonly string[] = flags;
