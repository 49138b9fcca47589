/**
 * What a million interactions cost at L1, by the mode their data is posted in: bytes, gas, dollars. Pure formulas over prices a user sets; docs/cost.md has
 * them. What L1 charges comes from the EIPs, what our contracts take from the gas snapshots of their tests, sizes from the codecs.
 */
import batches from '../../contracts/snapshots/Batches.json' with { type: 'json' };
import blobs from '../../contracts/snapshots/Blobs.json' with { type: 'json' };
import withdrawals from '../../contracts/snapshots/Withdrawals.json' with { type: 'json' };
import { encodeFunctionData } from 'viem';
import { rootAbi } from '../../contracts/abi.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { hex } from '../../protocol/bytes.ts';
import { BLOB_CAPACITY, BLOB_ELEMENTS, MAX_BLOBS } from '../../protocol/da/blobs.ts';
import { MAX_MEMBERS, columnBytes } from '../../protocol/da/columns.ts';
import { entryAt } from '../../protocol/da/layout.ts';
import { SIGNATURE_BYTES } from '../../protocol/half.ts';
import { MAX_FRAME_BYTES, MAX_INTERACTIONS } from '../../protocol/limits.ts';
import { encodeChunkRecord } from '../../protocol/trace.ts';
import { MAX_PART_BYTES } from '../../workers/settlement/parts.ts';

/** What L1 charges. */
export const L1_RULES = {
  transactionGas: 21_000,
  /** A calldata byte that is not zero (EIP-2028), and the least a transaction pays for one (EIP-7623). */
  calldataGas: 16,
  calldataFloorGas: 40,
  /** EIP-4844: a blob pays a unit of blob gas for each of its bytes. */
  blobGas: BLOB_ELEMENTS * 32,
  blockSeconds: 12,
  /** Of the blocks of 2026: gas limit, and the target of blobs (BPO2). */
  blockGas: 60_000_000,
  blobTarget: 14,
  /** EIP-7918: blob gas is never cheaper than a sixteenth of gas. */
  blobPriceFloor: 1 / 16,
} as const;

/** Of who posts to a committee, bytes a second: 1 Gbit/s. */
export const UPLINK = 125_000_000;

export const MODES = ['calldata', 'blob', 'committee'] as const;
export type Mode = (typeof MODES)[number];

export interface Committee {
  /** Members, columns that restore the data, signatures of a certificate. */
  readonly n: number;
  readonly k: number;
  readonly q: number;
}

export interface CostInputs {
  /** Gwei for a unit of gas, and of blob gas. */
  readonly gasGwei: number;
  readonly blobGwei: number;
  readonly ethUsd: number;
  /** Bytes of an interaction in bundles of {@link MEASURED_BUNDLE}, signature and header included. */
  readonly bytesPerInteraction: number;
  /** Interactions in a bundle, 1 … 256. */
  readonly bundle: number;
  readonly interactionsPerSecond: number;
  readonly batchSeconds: number;
  readonly committee: Committee;
  /** Gas of a certificate with {@link MEASURED_QUORUM} of {@link MAX_MEMBERS} signatures, calldata included. */
  readonly certificateGas: number;
  /** What a member pays to keep a gigabyte (10^9 bytes) for a month, and how many days it does. */
  readonly storageUsd: number;
  readonly retentionDays: number;
  /** Bytes a second that whoever posts to a committee can send. */
  readonly uplink: number;
}

/** What `npm run bench -- da` measures: interactions to a bundle, and the certificate's quorum. */
export const MEASURED_BUNDLE = 64;
export const MEASURED_QUORUM = 11;

export interface ModeCost {
  /** Of a million interactions: bytes of data at L1, bytes that members keep. */
  readonly l1Bytes: number;
  readonly memberBytes: number;
  readonly gas: number;
  readonly blobGas: number;
  readonly usd: number;
  /** Of those, for storage at members. */
  readonly storageUsd: number;
  /** L1 transactions of one batch. */
  readonly transactions: number;
  /** Interactions a second if the mode had all that L1, or the uplink, has. */
  readonly interactionsPerSecond: number;
}

/** A bundle's header and signature: of an agent with a full-sized id and years of use. */
const HEADER = { actor: 0xffffff, nonce: 100_000, expiry: 2_000_000_000 } as const;
const bundleOverhead = ((): number => {
  const of = (count: number): number =>
    encodeBundleBody(
      HEADER,
      Array.from({ length: count }, () => ({ op: 'withdraw', amount: 1 }) as const),
    ).length;
  return of(1) - (of(2) - of(1)) + SIGNATURE_BYTES;
})();

/** What a frame in a record, and the record, take beside the frames' bytes. */
const recordOf = (frames: number): number =>
  encodeChunkRecord({ shard: 0, firstSeq: 0, frames: Array.from({ length: frames }, () => new Uint8Array(1)) }).length;
const FRAME_BYTES = recordOf(2) - recordOf(1) - 1;
const RECORD_BYTES = recordOf(1) - FRAME_BYTES - 1;

/** Frames, and bytes, of the two parts whose gas tells what a frame takes: `Gas.t.sol` fills 120 KiB. */
const PART = 120 * 1024;
const framesOf = (size: number): number => Math.floor((PART - RECORD_BYTES) / (size + FRAME_BYTES));
const execution = (gas: number, bytes: number): number => gas - L1_RULES.transactionGas - L1_RULES.calldataGas * bytes;
const FRAME_GAS = ((): number => {
  const ticks = framesOf(5);
  return execution(Number(batches['postData: 120 KB of ticks']), RECORD_BYTES + ticks * (5 + FRAME_BYTES)) / ticks;
})();

/** Calldata of `postBatch` without the data: the header as ABI words. */
const POST_BYTES = ((): number => {
  const zero = hex(new Uint8Array(32));
  const header = {
    number: 1n,
    prev: zero,
    pre: zero,
    post: zero,
    steps: 1n,
    timeFrom: 1n,
    timeTo: 1n,
    inboxCursor: 1n,
    dataRoot: zero,
    da: 0,
  };
  return (encodeFunctionData({ abi: rootAbi, functionName: 'postBatch', args: [header, '0x'] }).length - 2) / 2;
})();

/** What a batch costs whatever its data: posted by itself, and made final. */
const BATCH_GAS = Number(batches['postBatch: one tick']) + Number(withdrawals.finalize);
const BLOB_BATCH_GAS =
  Number(blobs['postBatch: two blobs, calldata aside']) +
  L1_RULES.transactionGas +
  L1_RULES.calldataGas * POST_BYTES +
  Number(withdrawals.finalize);

/** Gas of a transaction with so much calldata, none of it zero, and so much execution. */
const transaction = (bytes: number, executed: number): number =>
  L1_RULES.transactionGas + Math.max(L1_RULES.calldataFloorGas * bytes, L1_RULES.calldataGas * bytes + executed);

/** Bytes of a certificate (docs/protocol.md §12). */
const certificateBytes = ({ n, q }: Committee): number => 18 + 20 * (n - q) + SIGNATURE_BYTES * q;

/** Gas of a certificate: what the measured one takes to execute, by its signatures, and the calldata of this one. */
export function certificateGas(committee: Committee, measured: number): number {
  const calldata = (of: Committee): number => L1_RULES.calldataGas * certificateBytes(of);
  const executed = measured - calldata({ n: MAX_MEMBERS, k: 1, q: MEASURED_QUORUM });
  return (executed * committee.q) / MEASURED_QUORUM + calldata(committee);
}

/** Bytes of an interaction in bundles of `bundle`. */
export const bytesInBundles = (bytesPerInteraction: number, bundle: number): number =>
  bytesPerInteraction - bundleOverhead / MEASURED_BUNDLE + bundleOverhead / bundle;

interface Batch {
  readonly interactions: number;
  readonly frames: number;
  /** Of all frames. */
  readonly bytes: number;
}

/** What a mode takes of one batch. */
interface BatchCost {
  readonly l1Bytes: number;
  readonly memberBytes: number;
  readonly gas: number;
  readonly blobGas: number;
  readonly transactions: number;
}

const OF_BATCH: Readonly<Record<Mode, (batch: Batch, inputs: CostInputs) => BatchCost>> = {
  calldata: ({ frames, bytes }) => {
    const data = bytes + FRAME_BYTES * frames;
    const parts = Math.ceil(data / (MAX_PART_BYTES - RECORD_BYTES));
    const l1Bytes = data + RECORD_BYTES * parts;
    const part = transaction(l1Bytes / parts, (FRAME_GAS * frames) / parts);
    return { l1Bytes, memberBytes: 0, gas: BATCH_GAS + parts * part, blobGas: 0, transactions: parts + 1 };
  },
  blob: ({ frames, bytes }) => {
    const data = entryAt(frames + 1) + bytes;
    const count = Math.ceil(data / BLOB_CAPACITY);
    const transactions = Math.ceil(count / MAX_BLOBS);
    const gas = BLOB_BATCH_GAS + (transactions - 1) * (BLOB_BATCH_GAS - Number(withdrawals.finalize));
    return { l1Bytes: count * L1_RULES.blobGas, memberBytes: 0, gas, blobGas: count * L1_RULES.blobGas, transactions };
  },
  committee: ({ frames, bytes }, { committee, certificateGas: measured }) => {
    const memberBytes = committee.n * columnBytes(entryAt(frames + 1) + bytes, committee.k);
    const gas = BLOB_BATCH_GAS + certificateGas(committee, measured);
    return { l1Bytes: POST_BYTES + certificateBytes(committee), memberBytes, gas, blobGas: 0, transactions: 1 };
  },
};

/** Interactions a second if nobody else used L1 (calldata, blobs), or at what the uplink takes. */
function capacity(mode: Mode, perInteraction: BatchCost, { uplink }: CostInputs): number {
  const { blockSeconds, blockGas, blobTarget, blobGas } = L1_RULES;
  if (mode === 'calldata') return blockGas / blockSeconds / perInteraction.gas;
  if (mode === 'blob') return (blobTarget * blobGas) / blockSeconds / perInteraction.blobGas;
  return uplink / perInteraction.memberBytes;
}

/** What is wrong with inputs, in words; null when nothing is. */
export function fault({ bundle, bytesPerInteraction, committee, ...rest }: CostInputs): string | null {
  const { n, k, q } = committee;
  const numbers = { ...rest, bytesPerInteraction } as Record<string, number>;
  const bad = Object.entries(numbers).find(([, value]) => !Number.isFinite(value) || value < 0);
  if (bad) return `${bad[0]} must be a number of at least 0`;
  if (rest.interactionsPerSecond <= 0 || rest.batchSeconds <= 0 || rest.uplink <= 0)
    return 'rate, batch and uplink must be above 0';
  if (!Number.isInteger(bundle) || bundle < 1 || bundle > MAX_INTERACTIONS)
    return `a bundle has 1 to ${MAX_INTERACTIONS} interactions`;
  const least = bundleOverhead / MEASURED_BUNDLE;
  if (bytesPerInteraction <= least)
    return `an interaction takes more than ${least.toFixed(2)} bytes: header and signature alone do`;
  if (bytesInBundles(bytesPerInteraction, bundle) * bundle > MAX_FRAME_BYTES)
    return `a bundle has at most ${MAX_FRAME_BYTES} bytes`;
  if (![n, k, q].every(Number.isInteger) || k < 1 || k > q || q > n || n > MAX_MEMBERS)
    return `a committee has 1 ≤ k ≤ q ≤ n ≤ ${MAX_MEMBERS}`;
  return null;
}

const MILLION = 1_000_000;
const MONTH_DAYS = 30;

/** Of a million interactions in every mode. Throws a `RangeError` for inputs with a {@link fault}. */
export function costs(inputs: CostInputs): Readonly<Record<Mode, ModeCost>> {
  const wrong = fault(inputs);
  if (wrong !== null) throw new RangeError(wrong);
  const interactions = inputs.interactionsPerSecond * inputs.batchSeconds;
  const bytes = interactions * bytesInBundles(inputs.bytesPerInteraction, inputs.bundle);
  const batch = { interactions, frames: Math.ceil(interactions / inputs.bundle), bytes };
  return Object.fromEntries(
    MODES.map((mode) => {
      const one = OF_BATCH[mode](batch, inputs);
      const per = (value: number, count: number): number => (value * count) / interactions;
      const gas = per(one.gas, MILLION);
      const blobGas = per(one.blobGas, MILLION);
      const memberBytes = per(one.memberBytes, MILLION);
      const storageUsd = ((memberBytes / 1e9) * inputs.storageUsd * inputs.retentionDays) / MONTH_DAYS;
      const eth = (gas * inputs.gasGwei + blobGas * inputs.blobGwei) / 1e9;
      const each = {
        ...one,
        gas: per(one.gas, 1),
        blobGas: per(one.blobGas, 1),
        memberBytes: per(one.memberBytes, 1),
      };
      return [
        mode,
        {
          l1Bytes: per(one.l1Bytes, MILLION),
          memberBytes,
          gas,
          blobGas,
          usd: eth * inputs.ethUsd + storageUsd,
          storageUsd,
          transactions: one.transactions,
          interactionsPerSecond: capacity(mode, each, inputs),
        },
      ];
    }),
  ) as unknown as Record<Mode, ModeCost>;
}

/** Prices to start from: no market's, but of an order that L1 has had since blobs came. `certificateGas` and bytes are what was measured. */
export const defaults = ({
  bytesPerInteraction,
  certificateGas: gas,
}: {
  readonly bytesPerInteraction: number;
  readonly certificateGas: number;
}): CostInputs => ({
  gasGwei: 1,
  blobGwei: L1_RULES.blobPriceFloor,
  ethUsd: 3000,
  bundle: MEASURED_BUNDLE,
  interactionsPerSecond: 1000,
  batchSeconds: 60,
  committee: { n: 16, k: 6, q: MEASURED_QUORUM },
  storageUsd: 0.015,
  retentionDays: 18,
  uplink: UPLINK,
  bytesPerInteraction,
  certificateGas: gas,
});
