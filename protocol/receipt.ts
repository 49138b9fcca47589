/** Receipts: the sequencer's signed promise of a frame's place and outcome (docs/protocol.md §5). */
import { type Hex, Writer, concat, hex, unhex } from './bytes.ts';
import type { Receipt, Signing } from './eip712.ts';
import { Agnt2Error } from './errors.ts';
import { keccak } from './hash.ts';
import { type MachineKey, verifyP256 } from './keys.ts';
import { type Outcome, STATUSES } from './status.ts';

/** keccak over (status u8 ‖ value u64) of every step. */
export function outcomesHash(outcomes: readonly Outcome[]): Uint8Array {
  const writer = new Writer();
  for (const { status, value } of outcomes) writer.u8(status).u64(value);
  return keccak(writer.finish());
}

/** running' = keccak(running ‖ keccak(frame)). */
export const extendRunning = (running: Uint8Array, frameHash: Uint8Array): Uint8Array =>
  keccak(concat(running, frameHash));

export interface SignedReceipt {
  readonly receipt: Receipt;
  readonly outcomes: readonly Outcome[];
  readonly signature: Uint8Array;
}

export async function signReceipt(
  key: MachineKey,
  signing: Signing,
  receipt: Receipt,
  outcomes: readonly Outcome[],
): Promise<SignedReceipt> {
  return { receipt, outcomes, signature: await key.sign(signing.receipt(receipt)) };
}

/** Whether the sequencer promised exactly this frame, with exactly these outcomes. */
export async function verifyReceipt(
  sequencerKey: Uint8Array,
  signing: Signing,
  signed: SignedReceipt,
  frame: Uint8Array,
): Promise<boolean> {
  const { receipt, outcomes, signature } = signed;
  return (
    hex(receipt.frameHash) === hex(keccak(frame)) &&
    hex(receipt.outcomesHash) === hex(outcomesHash(outcomes)) &&
    (await verifyP256(sequencerKey, signing.receipt(receipt), signature))
  );
}

/** A receipt as JSON has it: statuses by name, values as decimal strings, the opening's first. */
export interface ReceiptJson {
  shard: number;
  seq: string;
  frameHash: Hex;
  runningHash: Hex;
  outcomesHash: Hex;
  outcomes: { status: string; value: string }[];
  promisedBy: number;
  signature: Hex;
}

export const receiptToJson = ({ receipt, outcomes, signature }: SignedReceipt): ReceiptJson => ({
  shard: receipt.shard,
  seq: String(receipt.seq),
  frameHash: hex(receipt.frameHash),
  runningHash: hex(receipt.runningHash),
  outcomesHash: hex(receipt.outcomesHash),
  outcomes: outcomes.map(({ status, value }) => ({ status: STATUSES[status], value: String(value) })),
  promisedBy: receipt.promisedBy,
  signature: hex(signature),
});

/** Throws `malformed`. */
export function receiptFromJson(json: ReceiptJson): SignedReceipt {
  const outcomes = json.outcomes.map(({ status, value }) => ({
    status: (STATUSES as readonly string[]).indexOf(status),
    value: Number(value),
  }));
  if (outcomes.some(({ status, value }) => status < 0 || !Number.isSafeInteger(value)))
    throw new Agnt2Error('malformed', 'unknown outcome in a receipt');
  const receipt = {
    shard: json.shard,
    seq: Number(json.seq),
    frameHash: unhex(json.frameHash, 32),
    runningHash: unhex(json.runningHash, 32),
    outcomesHash: outcomesHash(outcomes),
    promisedBy: json.promisedBy,
  };
  return { receipt, outcomes, signature: unhex(json.signature, 64) };
}
