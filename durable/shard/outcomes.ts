/** What came of a frame, packed as status u8 ‖ value varint a step, so that the common step takes two bytes: in the log, and in receipts' records. */
import { writeUint } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';

/** Steps of the largest frame, and bytes of one in what a receipt signs. */
const MAX_STEPS = 257;
const STEP_BYTES = 9;
/** Written and copied, never kept. */
const scratch = new Uint8Array(MAX_STEPS * STEP_BYTES);

/** Packs what an engine left of a frame of so many steps. */
export function packOutcomes(statuses: Uint8Array, values: Float64Array, steps: number): Uint8Array {
  let at = 0;
  for (let i = 0; i < steps; i++) {
    scratch[at++] = statuses[i];
    let rest = values[i];
    for (; rest > 127; rest = Math.floor(rest / 128)) scratch[at++] = (rest % 128) | 128;
    scratch[at++] = rest;
  }
  return scratch.slice(0, at);
}

/** keccak over (status u8 ‖ value u64) of every step, as `outcomesHash` of protocol/receipt.ts has it. */
export function hashOutcomes(statuses: Uint8Array, values: Float64Array, steps: number): Uint8Array {
  for (let i = 0; i < steps; i++) {
    scratch[STEP_BYTES * i] = statuses[i];
    writeUint(scratch, STEP_BYTES * i + 1, 8, values[i]);
  }
  return keccak(scratch.subarray(0, STEP_BYTES * steps));
}
