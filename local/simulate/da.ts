/** Data availability simulated: real frames of the mixed workload in the real encodings, posted as far as L1's blocks, or a poster's uplink, have room. */
import { encodeBlobs } from '../../protocol/da/blobs.ts';
import { encodeColumns } from '../../protocol/da/columns.ts';
import { encodeData } from '../../protocol/da/layout.ts';
import type { ChunkRecord } from '../../protocol/trace.ts';
import { BUNDLE, workload } from '../../test/bench/workload.ts';
import { firstPart } from '../../workers/settlement/parts.ts';
import { type CostInputs, L1_RULES, type Mode } from './cost.ts';

const INTERACTIONS = 2 ** 17;
const AGENTS = 2 ** 17;
const BLOCKS = 100;

/** Interactions a second of each mode. */
export function batchesOf(seed: number, { committee, uplink }: CostInputs): Readonly<Record<Mode, number>> {
  const frames = workload(INTERACTIONS, AGENTS, null, seed);
  const records: ChunkRecord[] = [{ shard: 0, firstSeq: 0, frames }];
  const { blockGas, blockSeconds, blobTarget, calldataFloorGas, transactionGas } = L1_RULES;
  // Parts as the poster cuts them, as many whole ones to a block as its gas has room for.
  const part = firstPart(records)!;
  // None of it counted as zeros, which would be cheaper: the workload's hashes are, but no real ones.
  const gas = transactionGas + calldataFloorGas * part.data.length;
  const seconds = BLOCKS * blockSeconds;
  const posted = BLOCKS * Math.floor(blockGas / gas) * part.frames * BUNDLE;
  const { data } = encodeData(records);
  const blobs = encodeBlobs(data).length;
  const columns = encodeColumns(data, committee).reduce((sum, { length }) => sum + length, 0);
  return {
    calldata: posted / seconds,
    blob: (blobTarget / blockSeconds / blobs) * INTERACTIONS,
    committee: (uplink / columns) * INTERACTIONS,
  };
}
