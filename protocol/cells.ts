/**
 * Cells: the fixed 64-byte records the whole state is made of, their regions and layouts (docs/protocol.md §2).
 * A layout is a list of named widths; offsets follow, and both codecs and the state transition read through it.
 */
import { type Hex, hex, readUint, unhex, writeUint } from './bytes.ts';
import { Agnt2Error, malformed } from './errors.ts';
import { type BytesField, type Field, type UintField, fieldAt } from './field.ts';
import { formatId, parseId } from './ids.ts';

export type { Field } from './field.ts';

export const CELL_BYTES = 64;

export const REGIONS = [
  'meta',
  'agent',
  'key',
  'service',
  'capability',
  'session',
  'escrow',
  'outbox',
  'workflow',
  'message',
] as const;
export type RegionName = (typeof REGIONS)[number];
export const Region = Object.fromEntries(REGIONS.map((name, i) => [name, i])) as { readonly [K in RegionName]: number };

export const REGION_SLOTS = 2 ** 20;
/** Sessions, and workflows, a shard has room for: each is a quad of cells. */
export const QUADS = 2 ** 18;
/** Seconds an outbox record is safe from its ring. */
export const OUTBOX_RETENTION = 2 ** 20;
/** Outbox slots that only L1's own items may take: forced withdrawals and refunds. */
export const OUTBOX_RESERVE = 2 ** 16;
/** Messages that may be on their way from one shard to one other. */
export const RING_SLOTS = 2 ** 12;
/** Legs of a workflow. */
export const MAX_LEGS = 12;
/** Seconds between announcing that a stake is taken back and taking it. */
export const UNSTAKE_SECONDS = 604_800;
/** Longest deadline, contest window or exit delay, in seconds. */
export const MAX_DURATION = 2 ** 25;

export const addressOf = (shard: number, region: number, slot: number): number =>
  shard * 2 ** 24 + region * REGION_SLOTS + slot;
export const placeOf = (address: number): { shard: number; region: number; slot: number } => ({
  shard: Math.floor(address / 2 ** 24),
  region: Math.floor(address / REGION_SLOTS) % 16,
  slot: address % REGION_SLOTS,
});

/** Slot of a serial within its region. Sessions and workflows take quads: this is the first of four. */
export const slotOf = (region: number, serial: number): number =>
  region === Region.session || region === Region.workflow ? 4 * (serial & (QUADS - 1)) : serial & (REGION_SLOTS - 1);
/** Slot of a message to shard `to`. */
export const messageSlot = (to: number, number: number): number => to * RING_SLOTS + (number % RING_SLOTS);

type Kind = 'uint' | 'amount' | 'id' | 'bytes' | 'gap';
type Spec = Record<string, readonly [kind: Kind, width: number]>;
type FieldOf<S> = S extends readonly ['bytes', number] ? BytesField : UintField;
type AnyLayout = Readonly<Record<string, Field>>;
type Layout<S extends Spec> = {
  readonly [K in keyof S as S[K] extends readonly ['gap', number] ? never : K]: FieldOf<S[K]>;
};

function layout<const S extends Spec>(spec: S): Layout<S> {
  let at = 0;
  const fields: Record<string, Field> = {};
  for (const [name, [kind, width]] of Object.entries(spec)) {
    if (kind !== 'gap') fields[name] = fieldAt(at, width, kind);
    at += width;
  }
  if (at > CELL_BYTES) throw new RangeError(`a layout of ${at} bytes`);
  return fields as unknown as Layout<S>;
}

const uint = <const W extends number>(width: W) => ['uint', width] as const;
const amount = ['amount', 7] as const;
const id4 = ['id', 4] as const;
const id7 = ['id', 7] as const;
const bytes = (width: number) => ['bytes', width] as const;
const gap = (width: number) => ['gap', width] as const;

export const Head = layout({
  time: uint(4),
  agents: uint(4),
  services: uint(4),
  capabilities: uint(4),
  sessions: uint(6),
  escrows: uint(6),
  outbox: uint(6),
  workflows: uint(6),
  seq: uint(6),
  burned: amount,
});
export const Inbox = layout({ accumulator: bytes(32), cursor: uint(6) });
export const Peer = layout({ sent: uint(6), acked: uint(6), received: uint(6) });
export const Agent = layout({
  owner: bytes(20),
  balance: amount,
  stake: amount,
  nonce: uint(4),
  epoch: uint(2),
  completed: uint(4),
  failed: uint(3),
  volume: ['amount', 6],
  ratings: uint(3),
  ratingSum: uint(3),
  unstakeAt: uint(4),
  flags: uint(1),
});
export const Key = layout({ x: bytes(32), y: bytes(32) });
export const Service = layout({
  provider: id4,
  flags: uint(1),
  ceiling: amount,
  deadlineSeconds: uint(4),
  arbiter: id4,
  contestSeconds: uint(4),
  metadataHash: bytes(32),
  version: uint(4),
});
export const Capability = layout({
  grantor: id4,
  grantee: id4,
  service: id4,
  limit: amount,
  used: amount,
  expiry: uint(4),
  flags: uint(1),
});
export const Session = layout({
  a: id4,
  b: id4,
  depositA: amount,
  depositB: amount,
  paidAB: amount,
  paidBA: amount,
  callsAB: uint(6),
  callsBA: uint(6),
  exitAt: uint(4),
  exitDelay: uint(4),
  serial: uint(6),
  status: uint(1),
  flags: uint(1),
});
export const SessionRoots = layout({ rootAB: bytes(32), rootBA: bytes(32) });
export const Escrow = layout({
  serial: uint(6),
  payer: id4,
  payee: id4,
  service: id4,
  amount: amount,
  paid: amount,
  deadline: uint(4),
  status: uint(1),
  workflow: id7,
  link: id7,
  capability: id4,
  arbiter: id4,
  contestSeconds: uint(4),
  flags: uint(1),
});
export const Outbox = layout({
  kind: uint(1),
  _: gap(1),
  serial: uint(6),
  time: uint(4),
  agent: id4,
  recipient: bytes(20),
  amount: amount,
});

export const Workflow = layout({
  serial: uint(6),
  planner: id4,
  legs: uint(1),
  status: uint(1),
  deadline: uint(4),
  done: uint(2),
  told: uint(2),
});
/** One leg: four to a cell, behind their workflow's. */
export const Leg = layout({ payer: id4, service: id4, escrow: id7 });
export const LEG_BYTES = 16;
export const LEGS_A_CELL = CELL_BYTES / LEG_BYTES;
const WorkflowLegs = layout({
  payer0: id4,
  service0: id4,
  escrow0: id7,
  _0: gap(1),
  payer1: id4,
  service1: id4,
  escrow1: id7,
  _1: gap(1),
  payer2: id4,
  service2: id4,
  escrow2: id7,
  _2: gap(1),
  payer3: id4,
  service3: id4,
  escrow3: id7,
});
export const MessageCell = layout({
  number: uint(6),
  to: uint(1),
  kind: uint(1),
  time: uint(4),
  agent: id4,
  amount: amount,
  hash: bytes(32),
});

/** Flags. */
export const EXISTS = 1;
export const ACTIVE = 2;
export const REVOKED = 2;
export const ATTESTED = 1;
/** Of a session: party 0 (a) or 1 (b) has attested, was slashed over it. */
export const attestedBy = (party: number): number => 1 << party;
export const slashedOf = (party: number): number => 4 << party;
export const OUTBOX_WITHDRAWAL = 1;
export const META_HEAD = 0;
export const META_INBOX = 1;
export const META_PEERS = 256;

export const SESSION_STATUS = ['empty', 'open', 'exiting', 'closed'] as const;
export const ESCROW_STATUS = [
  'empty',
  'open',
  'held',
  'fulfilled',
  'refunded',
  'expired',
  'contested',
  'waiting',
  'sent',
] as const;
export const WORKFLOW_STATUS = ['empty', 'open', 'committed', 'aborted'] as const;
export const SessionStatus = { empty: 0, open: 1, exiting: 2, closed: 3 } as const;
export const EscrowStatus = {
  empty: 0,
  open: 1,
  held: 2,
  fulfilled: 3,
  refunded: 4,
  expired: 5,
  contested: 6,
  waiting: 7,
  sent: 8,
} as const;
export const WorkflowStatus = { empty: 0, open: 1, committed: 2, aborted: 3 } as const;

// A cell as bytes of its own, outside a shard's memory: for tools, views and tests.

export const get = (cell: Uint8Array, field: Field): number => readUint(cell, field.at, field.width);
export const set = (cell: Uint8Array, field: Field, value: number): void =>
  writeUint(cell, field.at, field.width, value);
/** A view of a bytes field. */
export const getBytes = (cell: Uint8Array, field: Field): Uint8Array => cell.subarray(field.at, field.at + field.width);
export const setBytes = (cell: Uint8Array, field: Field, value: Uint8Array): void => cell.set(value, field.at);

const metaLayout = (slot: number): [string, AnyLayout] | null =>
  slot === META_HEAD
    ? ['head', Head]
    : slot === META_INBOX
      ? ['inbox', Inbox]
      : slot >= META_PEERS && slot < META_PEERS + 256
        ? ['peer', Peer]
        : null;
const SESSION_QUAD: readonly [string, AnyLayout][] = [
  ['session', Session],
  ['sessionKeyA', Key],
  ['sessionKeyB', Key],
  ['sessionRoots', SessionRoots],
];

/** Name and layout of the record at a place; null where nothing is laid out. */
export function layoutAt(region: number, slot: number): { kind: string; fields: AnyLayout } | null {
  const byRegion: (() => [string, AnyLayout] | null)[] = [
    () => metaLayout(slot),
    () => ['agent', Agent],
    () => ['key', Key],
    () => ['service', Service],
    () => ['capability', Capability],
    () => SESSION_QUAD[slot % 4],
    () => ['escrow', Escrow],
    () => ['outbox', Outbox],
    () => (slot % 4 === 0 ? ['workflow', Workflow] : ['workflowLegs', WorkflowLegs]),
    () => ['message', MessageCell],
  ];
  const found = byRegion[region]?.() ?? null;
  return found && { kind: found[0], fields: found[1] };
}

/** All layouts by record kind, for tools and vectors. */
export const LAYOUTS: Readonly<Record<string, AnyLayout>> = {
  head: Head,
  inbox: Inbox,
  peer: Peer,
  agent: Agent,
  key: Key,
  service: Service,
  capability: Capability,
  session: Session,
  sessionRoots: SessionRoots,
  escrow: Escrow,
  outbox: Outbox,
  workflow: Workflow,
  workflowLegs: WorkflowLegs,
  message: MessageCell,
};

/** A record as JSON has it: numbers for small integers, decimal strings for amounts and wide ones, `shard:serial` (or null) for ids, hex for bytes. */
export type CellJson = Record<string, number | string | Hex | null>;

export function cellToJson(fields: AnyLayout, cell: Uint8Array): CellJson {
  const out: CellJson = {};
  for (const [name, field] of Object.entries(fields)) {
    if (field.kind === 'bytes') out[name] = hex(getBytes(cell, field));
    else {
      const value = get(cell, field);
      if (field.kind === 'id') out[name] = value === 0 ? null : formatId(value);
      else out[name] = field.kind === 'amount' || field.width > 4 ? String(value) : value;
    }
  }
  return out;
}

/** Inverse of {@link cellToJson}; missing fields are zero. Throws `malformed`. */
export function cellFromJson(fields: AnyLayout, json: CellJson): Uint8Array {
  const cell = new Uint8Array(CELL_BYTES);
  for (const [name, value] of Object.entries(json)) {
    const field = fields[name];
    if (!field) throw new Agnt2Error('malformed', `no field ${name}`);
    if (value === null) continue;
    if (field.kind === 'bytes') setBytes(cell, field, unhex(String(value), field.width));
    else {
      const n = field.kind === 'id' ? parseId(String(value)) : Number(value);
      if (!Number.isSafeInteger(n) || n < 0 || n >= 256 ** field.width) throw malformed(`${name} out of range`);
      set(cell, field, n);
    }
  }
  return cell;
}
