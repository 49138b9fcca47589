/** Where the keccak module's memory holds what: round constants first, then the input, the room its padding needs, and the output. */
export const KECCAK_INPUT = 1024;
export const KECCAK_INPUT_BYTES = 65_536;
export const KECCAK_OUTPUT: number = KECCAK_INPUT + KECCAK_INPUT_BYTES + 136;
/** Pages of 64 KiB. */
export const KECCAK_MEMORY_PAGES = 2;
