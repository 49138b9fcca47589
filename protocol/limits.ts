/** Limits that frames are read by, and memory is laid out by (docs/protocol.md §3, §4). */

export const MAX_INTERACTIONS = 256;
/** Largest frame of the trace, so that a step's witness stays small. */
export const MAX_FRAME_BYTES = 4096;
/** Most numbers the fields of one interaction decode to. */
export const MAX_NUMBERS = 12;
