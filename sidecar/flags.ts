/**
 * How Node is to be started for a sidecar. A young heap that need not grow, as hardly anything outlives its call; an old one with a bound, without
 * which it is collected late and the process takes twice the memory. Besides, `NODE_COMPILE_CACHE` (a directory that outlives the process) saves
 * every start but the first the stripping of types, and the memory of what strips them.
 */
export const NODE_FLAGS: readonly string[] = ['--max-semi-space-size=2', '--max-old-space-size=128'];
