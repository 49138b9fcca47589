/** Receipts: the sequencer's signed promise of a frame's place and outcome (docs/protocol.md §5). */
import { type Hex, Reader, Writer, concat, hex, readUint, unhex, writeUint } from './bytes.ts';
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

/** Calls `step` for each of a frame's packed outcomes (status u8 ‖ value varint), in order. Throws `malformed`. */
export function eachOutcome(packed: Uint8Array, step: (status: number, value: number) => void): void {
  for (const reader = new Reader(packed); reader.left > 0;) step(reader.u8(), reader.varint());
}

export function unpackOutcomes(packed: Uint8Array): Outcome[] {
  const out: Outcome[] = [];
  eachOutcome(packed, (status, value) => out.push({ status, value }));
  return out;
}

/** Where the fields of a receipt's record start, and the packed outcomes after them. */
const AT = { shard: 0, seq: 1, frameHash: 9, runningHash: 41, outcomesHash: 73, promisedBy: 105, signature: 113 };
const OUTCOMES = 177;

/**
 * A receipt in as few bytes as say it: 1 shard ‖ 8 seq ‖ 32 frameHash ‖ 32 runningHash ‖ 32 outcomesHash ‖ 8 promisedBy ‖ 64 signature, then
 * `outcomes`, the frame's, packed.
 */
export function encodeReceipt(receipt: Receipt, outcomes: Uint8Array, signature: Uint8Array): Uint8Array {
  const out = new Uint8Array(OUTCOMES + outcomes.length);
  out[AT.shard] = receipt.shard;
  writeUint(out, AT.seq, 8, receipt.seq);
  out.set(receipt.frameHash, AT.frameHash);
  out.set(receipt.runningHash, AT.runningHash);
  out.set(receipt.outcomesHash, AT.outcomesHash);
  writeUint(out, AT.promisedBy, 8, receipt.promisedBy);
  out.set(signature, AT.signature);
  out.set(outcomes, OUTCOMES);
  return out;
}

/** What {@link encodeReceipt} made. Throws `malformed`. */
export function decodeReceipt(record: Uint8Array): SignedReceipt {
  const reader = new Reader(record);
  const receipt = {
    shard: reader.u8(),
    seq: reader.u64(),
    frameHash: reader.bytes(32),
    runningHash: reader.bytes(32),
    outcomesHash: reader.bytes(32),
    promisedBy: reader.u64(),
  };
  const signature = reader.bytes(64);
  const outcomes = unpackOutcomes(record.subarray(OUTCOMES));
  if (outcomes.some(({ status }) => status >= STATUSES.length))
    throw new Agnt2Error('malformed', 'unknown outcome in a receipt');
  return { receipt, outcomes, signature };
}

const STATUS_TEXTS = STATUSES.map((name) => `{"status":"${name}","value":"`);

/** The JSON of a receipt's record, as {@link receiptToJson} has it: written at once, because there are thousands a second. */
export function receiptText(record: Uint8Array): string {
  const bytes = (at: number, length = 32): Hex => hex(record.subarray(at, at + length));
  let steps = '';
  eachOutcome(record.subarray(OUTCOMES), (status, value) => {
    steps += `${steps === '' ? '' : ','}${STATUS_TEXTS[status]}${value}"}`;
  });
  return (
    `{"shard":${record[AT.shard]},"seq":"${readUint(record, AT.seq + 1, 7)}","frameHash":"${bytes(AT.frameHash)}",` +
    `"runningHash":"${bytes(AT.runningHash)}","outcomesHash":"${bytes(AT.outcomesHash)}","outcomes":[${steps}],` +
    `"promisedBy":${readUint(record, AT.promisedBy + 1, 7)},"signature":"${bytes(AT.signature, 64)}"}`
  );
}
