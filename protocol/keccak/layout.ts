/**
 * Where a memory that the keccak module hashes in holds what. The first cell's 64 bytes are not its own; then come the
 * round constants and the list of what to hash in place, two words an entry.
 */
export const KECCAK_CONSTANTS = 64;
export const KECCAK_LIST: number = KECCAK_CONSTANTS + 24 * 8;
export const KECCAK_LIST_PAIRS = 2048;
/** What follows is free. */
export const KECCAK_END: number = KECCAK_LIST + 8 * KECCAK_LIST_PAIRS;

/** In the memory of who hashes one message at a time: the input, the room its padding needs, and the output. */
export const KECCAK_INPUT: number = KECCAK_END;
export const KECCAK_INPUT_BYTES = 65_536;
export const KECCAK_OUTPUT: number = KECCAK_INPUT + KECCAK_INPUT_BYTES + 136;
/** Pages of 64 KiB of that memory, and of the largest there may be. */
export const KECCAK_MEMORY_PAGES = 2;
export const MAX_MEMORY_PAGES = 2 ** 15;
