/** Where a shard's memory holds what its module and TypeScript tell each other of a bundle. */
import { REGION_SLOTS } from '../cells.ts';
import { KECCAK_END } from '../keccak/layout.ts';
import { MAX_FRAME_BYTES, MAX_INTERACTIONS, MAX_NUMBERS } from '../limits.ts';

export const PAGE_CELLS = 1024;
export const REGIONS = 16;
/** Pages a region has. */
export const PAGES: number = REGION_SLOTS / PAGE_CELLS;
/** Most cells that one interaction changes here, besides its actor's and the head. */
export const MAX_EDITS = 2;

/** By region and page, a word: the page's place, in units of 64 KiB. */
export const TABLE: number = KECCAK_END;
/** The frame, with room for a number to be read whole at its end. */
export const FRAME: number = TABLE + 4 * REGIONS * PAGES;
/** By interaction: what its fields decode to, numbers of 64 bits. */
export const NUMBERS: number = FRAME + MAX_FRAME_BYTES + 64;
export const NUMBERS_STRIDE: number = 8 * MAX_NUMBERS;
/** What it made, a double. */
export const VALUES: number = NUMBERS + NUMBERS_STRIDE * MAX_INTERACTIONS;
/** Where in the frame it starts, a word; one more for where the last ends. */
export const STARTS: number = VALUES + 8 * MAX_INTERACTIONS;
/** Handles of the cells that were changed, and how many there are. */
export const EDITS: number = STARTS + 4 * (MAX_INTERACTIONS + 16);
export const EDIT_COUNT: number = EDITS + 4 * MAX_EDITS * MAX_INTERACTIONS;
/** What follows is free. */
export const PLAIN_END: number = EDIT_COUNT + 64;
