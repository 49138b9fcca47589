/** Cells and frames as the API shows them: from bytes to the shapes of json.ts. */
import { type Bundle, decodeBundle } from '../../protocol/bundle.ts';
import { type Hex, Reader, hex, readUint } from '../../protocol/bytes.ts';
import {
  ACTIVE,
  Agent,
  ESCROW_STATUS,
  Escrow,
  type Field,
  Head,
  REGIONS,
  Region,
  SESSION_STATUS,
  Service,
  Session,
  SessionRoots,
  addressOf,
  cellToJson,
  get,
  layoutAt,
  placeOf,
  slotOf,
} from '../../protocol/cells.ts';
import { FrameKind } from '../../protocol/engine.ts';
import { codeOf } from '../../protocol/errors.ts';
import { formatId, serialOf } from '../../protocol/ids.ts';
import { type InboxItem, decodeInboxItem } from '../../protocol/inbox.ts';
import type { Machine } from '../../protocol/machine.ts';
import { CALL_REST, SystemFrame, decodeMessage } from '../../protocol/messages.ts';
import { type Interaction, MAX_NUMBERS, decodeInteraction, decodeOp, interactionAt } from '../../protocol/ops/index.ts';
import { type Outcome, STATUSES } from '../../protocol/status.ts';
import type { SessionFacts } from './api.ts';
import type { BundleJson, CellJson, FrameJson, KeyJson, RecordJson } from './json.ts';

const record = (
  fields: Readonly<Record<string, Field>>,
  cell: Uint8Array,
  omit: readonly string[] = [],
): RecordJson => {
  const json: RecordJson = { ...cellToJson(fields, cell) };
  for (const name of omit) delete json[name];
  return json;
};

export function agentJson(machine: Machine, id: number): RecordJson | null {
  return machine.agentExists(id) ? { id: formatId(id), ...record(Agent, machine.readAgent(id), ['flags']) } : null;
}

export function serviceJson(machine: Machine, id: number): RecordJson | null {
  if (!machine.serviceExists(id)) return null;
  const cell = machine.readService(id);
  return { id: formatId(id), active: (get(cell, Service.flags) & ACTIVE) !== 0, ...record(Service, cell, ['flags']) };
}

export const keyJson = (key: Uint8Array): KeyJson => ({ x: hex(key.subarray(0, 32)), y: hex(key.subarray(32)) });

export function sessionJson(machine: Machine, id: number): RecordJson | null {
  if (!machine.sessionExists(id)) return null;
  const cell = machine.readSession(id);
  return {
    id: formatId(id),
    ...record(Session, cell, ['serial']),
    status: SESSION_STATUS[get(cell, Session.status)],
    ...record(SessionRoots, machine.readSession(id, 3)),
    keyA: keyJson(machine.readSession(id, 1)),
    keyB: keyJson(machine.readSession(id, 2)),
    address: addressOf(machine.shard, Region.session, slotOf(Region.session, serialOf(id))),
  };
}

export function sessionFacts(machine: Machine, id: number): SessionFacts | null {
  if (!machine.sessionExists(id)) return null;
  const cell = machine.readSession(id);
  const roots = machine.readSession(id, 3).slice();
  return {
    id,
    a: get(cell, Session.a),
    b: get(cell, Session.b),
    keyA: machine.readSession(id, 1).slice(),
    keyB: machine.readSession(id, 2).slice(),
    depositA: get(cell, Session.depositA),
    depositB: get(cell, Session.depositB),
    paidAB: get(cell, Session.paidAB),
    paidBA: get(cell, Session.paidBA),
    callsAB: get(cell, Session.callsAB),
    callsBA: get(cell, Session.callsBA),
    rootAB: roots.slice(0, 32),
    rootBA: roots.slice(32),
    exitAt: get(cell, Session.exitAt),
    exitDelay: get(cell, Session.exitDelay),
    status: get(cell, Session.status),
  };
}

export function escrowJson(machine: Machine, id: number): RecordJson | null {
  if (!machine.escrowExists(id)) return null;
  const cell = machine.readEscrow(id);
  return {
    id: formatId(id),
    ...record(Escrow, cell, ['serial']),
    status: ESCROW_STATUS[get(cell, Escrow.status)],
    // Opened for a payer of another shard.
    ...(machine.isLocal(get(cell, Escrow.payer)) ? {} : { order: formatId(get(cell, Escrow.link)) }),
    address: addressOf(machine.shard, Region.escrow, slotOf(Region.escrow, serialOf(id))),
  };
}

/** Without what proves it. */
export function cellJson(machine: Machine, address: number): Omit<CellJson, 'siblings' | 'shardRoot'> {
  const { region, slot } = placeOf(address);
  const cell = machine.trie.read(region, slot);
  const layout = layoutAt(region, slot);
  return {
    address,
    region: REGIONS[region] ?? 'reserved',
    cell: hex(cell),
    kind: layout?.kind ?? null,
    fields: layout && record(layout.fields, cell),
    seq: String(get(machine.head(), Head.seq)),
  };
}

// --- frames ---

const IDS = new Set([
  'to',
  'agent',
  'service',
  'arbiter',
  'escrow',
  'session',
  'peer',
  'after',
  'workflow',
  'capability',
  'grantor',
  'grantee',
  'id',
  'actor',
  'payer',
  'payee',
  'order',
  'reporter',
]);
const SMALL = new Set([
  'dir',
  'deadlineSeconds',
  'contestSeconds',
  'exitDelay',
  'shard',
  'leg',
  'back',
  'score',
  'status',
  'release',
]);

/** Fields under the names of docs/protocol.md §4: keys as keyX and keyY, nested records flat. */
function fieldsJson(fields: object): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(fields) as [string, unknown][]) {
    // An item's kind stands beside its fields; what an attest is about is one of them.
    if (name === 'op' || (name === 'kind' && !('score' in fields))) continue;
    if (name === 'half' || name === 'close') Object.assign(out, fieldsJson(value as object));
    else if (name === 'key' && value instanceof Uint8Array) {
      out.keyX = hex(value.subarray(0, 32));
      out.keyY = hex(value.subarray(32));
    } else if (value instanceof Uint8Array) out[name === 'ownerSignature' ? 'ownerSig' : name] = hex(value);
    else if (typeof value === 'number')
      out[name] = IDS.has(name) ? (value === 0 ? null : formatId(value)) : SMALL.has(name) ? value : String(value);
    else if (Array.isArray(value)) out[name] = value.map((part: object) => fieldsJson(part));
    else out[name] = value;
  }
  return out;
}

const interactionJson = (interaction: Interaction): BundleJson['interactions'][number] => ({
  op: interaction.op,
  fields: fieldsJson(interaction),
});

export const bundleJson = (bundle: Bundle): BundleJson => ({
  actor: formatId(bundle.actor),
  nonce: bundle.nonce,
  expiry: bundle.expiry,
  ...(bundle.payloadRoot ? { payloadRoot: hex(bundle.payloadRoot) } : {}),
  signature: hex(bundle.signature),
  interactions: bundle.interactions.map(interactionJson),
});

export const stepsJson = (outcomes: readonly Outcome[]): FrameJson['steps'] =>
  outcomes.map(({ status, value }) => ({ status: STATUSES[status], value: String(value) }));

type Content = Omit<FrameJson, 'shard' | 'seq' | 'bytes' | 'steps' | 'chunk' | 'batch' | 'receipt'>;

/** An item as `{kind, …fields}`; an act with its operation and that one's fields, where its bytes are one. */
function itemJson(item: InboxItem): Record<string, unknown> {
  const json = { kind: item.kind, ...fieldsJson(item) };
  if (item.kind !== 'act') return json;
  try {
    return { ...json, ...interactionJson(decodeInteraction(item.interaction)) };
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return json;
  }
}

/** A message as `{kind, …fields}`; of a call also what is called for, of an item the item. */
function messageJson(payload: Uint8Array): Record<string, unknown> {
  const message = decodeMessage(payload);
  const { rest: _, ...fields } = { rest: null, ...fieldsJson(message) };
  if (message.kind === 'call') {
    const numbers = new Float64Array(MAX_NUMBERS);
    const code = decodeOp(new Reader(payload, CALL_REST), numbers, 0);
    return { kind: message.kind, ...fields, ...interactionJson(interactionAt(code, payload, numbers, 0)) };
  }
  if (message.kind === 'item') {
    return { kind: message.kind, item: itemJson(decodeInboxItem(message.rest)) };
  }
  return { kind: message.kind, ...fields };
}

/** Frames that shards put in by themselves (docs/protocol.md §3); throws `malformed`. */
function systemJson(frame: Uint8Array): Content | null {
  const reader = new Reader(frame, 1);
  switch (frame[0]) {
    case SystemFrame.inbox: {
      return { kind: 'inbox', item: itemJson(decodeInboxItem(frame.subarray(1))) };
    }
    case SystemFrame.receive:
      return { kind: 'receive', from: reader.u8(), message: messageJson(frame.subarray(2)) };
    case SystemFrame.ack:
      return { kind: 'ack', to: reader.u8(), number: String(reader.uint(6)) };
    case SystemFrame.advance:
      return { kind: 'advance', escrow: formatId(reader.uint(7)) };
    case SystemFrame.tell:
      return { kind: 'tell', workflow: formatId(reader.uint(7)), leg: reader.u8() };
    default:
      return null;
  }
}

const SYSTEM_NAMES = new Map<number, Content['kind']>(
  Object.entries(SystemFrame).map(([name, code]) => [code, name as Content['kind']]),
);

function contentJson(frame: Uint8Array): Content {
  try {
    if (frame[0] === FrameKind.tick && frame.length === 5) return { kind: 'tick', time: readUint(frame, 1, 4) };
    if (frame[0] === FrameKind.bundle) return { kind: 'bundle', bundle: bundleJson(decodeBundle(frame)) };
    const system = systemJson(frame);
    if (system) return system;
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    // What it was meant to be is known all the same.
    if (frame[0] !== FrameKind.tick && SYSTEM_NAMES.has(frame[0])) return { kind: SYSTEM_NAMES.get(frame[0])! };
  }
  return { kind: 'malformed' };
}

export const frameJson = (
  place: { shard: number; seq: number; chunk: number; batch?: number },
  frame: Uint8Array,
  outcomes: readonly Outcome[],
): FrameJson => ({
  shard: place.shard,
  seq: String(place.seq),
  ...contentJson(frame),
  bytes: hex(frame) as Hex,
  steps: stepsJson(outcomes),
  chunk: place.chunk,
  ...(place.batch === undefined ? {} : { batch: place.batch }),
});
