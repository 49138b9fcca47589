/**
 * Access lists (docs/protocol.md §4b): the cells each interaction of a stretch of one shard's trace may read or write, known
 * before any of it runs. From the fields that name a record (`Names` in wire.ts) come its cell and those it points to;
 * records that the stretch itself makes by position are followed too.
 *
 * Several cells of one record go by one of them ({@link standIn}), and all that is counted in the head by the head.
 */
import {
  Capability,
  Escrow,
  EscrowStatus,
  Head,
  META_HEAD,
  META_PEERS,
  QUADS,
  Region,
  REGION_SLOTS,
  Service,
  Session,
  slotOf,
} from './cells.ts';
import { LARGE_SERIALS, SMALL_SERIALS, makeId, serialOf, shardOf } from './ids.ts';
import type { Machine } from './machine.ts';
import { type Cell, NONE } from './memory.ts';
import { opOf } from './ops/index.ts';
import { type Names, type Slot, Wire } from './wire.ts';

/** `region << 20 | slot`: a cell of one shard. */
export type Place = number;
const placeAt = (region: number, slot: number): Place => region * REGION_SLOTS + slot;

/** The head, for all it counts except rings and frames: whoever moves it, or looks for what is not there yet, has it. */
export const HEAD: Place = placeAt(Region.meta, META_HEAD);

const AGENTS = placeAt(Region.agent, 0);
const SERVICES = placeAt(Region.service, 0);
const CAPABILITIES = placeAt(Region.capability, 0);
const ESCROWS = placeAt(Region.escrow, 0);
const escrowPlace = (serial: number): Place => ESCROWS + (serial & (REGION_SLOTS - 1));
const workflowPlace = (serial: number): Place => placeAt(Region.workflow, slotOf(Region.workflow, serial));

/** The cell that stands for another in access lists: an agent for its key, a quad's first, a peer for its messages, the head for the outbox. */
export function standIn(place: Place): Place {
  const [region, slot] = [Math.floor(place / REGION_SLOTS), place % REGION_SLOTS];
  if (region === Region.key) return placeAt(Region.agent, slot);
  if (region === Region.session || region === Region.workflow) return place - (slot % 4);
  if (region === Region.message) return placeAt(Region.meta, META_PEERS + Math.floor(slot / 4096));
  return region === Region.outbox ? HEAD : place;
}

/** A session that is this much older than the newest may lose its place within a stretch. */
const OLD_SESSION = QUADS - 2 ** 16;

/** What is named, as a number: a switch over these is a jump. */
const Named = {
  agent: 0,
  terms: 1,
  escrow: 2,
  'own service': 3,
  advanced: 4,
  capability: 5,
  session: 6,
  rated: 7,
  dependency: 8,
  back: 9,
  workflow: 10,
  joined: 11,
} as const satisfies Record<Names, number>;

interface Part {
  readonly number: number;
  readonly names: Names;
  readonly named: number;
  /** Number that has a bit for whether it is there, and the bit; 0 for what is always there. */
  readonly given: number;
  readonly bit: number;
}

interface Form {
  /** Those always there; and those of options, with the number that has their bits. */
  readonly always: readonly Part[];
  readonly optional: readonly Part[];
  readonly bits: number;
  readonly takes: 'escrow' | 'workflow' | undefined;
  readonly makes: boolean;
  readonly movesHead: boolean;
  readonly isBarrier: boolean;
  // Of what takes an escrow, in which number is what.
  readonly terms: number;
  readonly capability: Part | undefined;
  readonly joined: Part | undefined;
  readonly after: Part | undefined;
  readonly back: Part | undefined;
}

/** The number of an option; −1 where it was left out. */
function given(part: Part | undefined, n: Float64Array, at: number): number {
  return part !== undefined && (n[at + part.given] & part.bit) !== 0 ? n[at + part.number] : -1;
}

/** Which number of an operation names what, into `list` (esbuild would read `i, out)` after a `<<` as type parameters). */
function partsOf(slots: readonly Slot[], from: number, given: number, bit: number, list: Part[]): number {
  let at = from;
  for (const { names, wire, parts, numbers } of slots) {
    if (names !== undefined) list.push({ number: at, names, named: Named[names], given, bit });
    // What a list has is only noted down.
    if (wire === Wire.options) parts!.reduce((next, part, i) => partsOf(part, next, at, 1 << i, list), at + 1);
    at += numbers;
  }
  return at;
}

const forms: readonly (Form | undefined)[] = Array.from({ length: 256 }, (_, code) => {
  const entry = opOf(code);
  if (!entry) return undefined;
  const parts: Part[] = [];
  partsOf(entry.slots, 0, 0, 0, parts);
  const { takes, makes = false, movesHead = false, isBarrier = false } = entry.op;
  const partOf = (names: Names): Part | undefined => parts.find((part) => part.names === names);
  const optional = parts.filter(({ bit }) => bit !== 0);
  return {
    always: parts.filter(({ bit }) => bit === 0),
    optional,
    bits: optional[0]?.given ?? -1,
    takes,
    makes,
    movesHead,
    isBarrier,
    terms: partOf('terms')?.number ?? 0,
    capability: partOf('capability'),
    joined: partOf('joined'),
    after: partOf('dependency'),
    back: partOf('back'),
  };
});

/** Numbers kept of an escrow that the stretch makes: payer, payee, service, capability, workflow, what it waits for. */
const KEPT = 6;
/** Of a payer. */
const UNKNOWN = -1;

/**
 * Lists what interactions touch, one after the other in the order of the trace. The machine's state is that before the
 * stretch, and may change meanwhile by the interactions listed so far.
 */
export class AccessLists {
  /** What the last one touches, each once or more: `place << 1`, and 1 if it may be written, 0 if it is only read. */
  readonly entries: Int32Array = new Int32Array(64);
  count = 0;
  /** Whether what the last one touches can't be told: it comes after all before it, and before all after it. */
  isBarrier = false;
  /** Whether what the last one touches is all of this shard: it sends no message. */
  isLocal = true;
  /** Serials given so far. */
  escrows = 0;
  workflows = 0;
  readonly #machine: Machine;
  #firstEscrow = 0;
  #made: Float64Array = new Float64Array(KEPT * 4096);
  /** The same of old escrows whose place the stretch takes; and of one that is looked at. */
  readonly #old = new Map<number, Float64Array>();
  readonly #one = new Float64Array(KEPT);
  /** Whose bundle is open, and how many places that is. */
  #actor = 0;
  /** Who provides the service that was last asked for: bundles ask for one many times. */
  #lastService = 0;
  #lastProvider = 0;
  #opened = 0;
  #agents = 0;
  #services = 0;
  #capabilities = 0;
  #sessions = 0;
  /** Whether records may have been made that are not in the state looked at. */
  #isAhead = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.restart();
  }

  /** A new stretch starts, with the state as it is now. */
  restart(): void {
    const { cells, trie } = this.#machine;
    const head = trie.cell(Region.meta, META_HEAD);
    this.#agents = Head.agents.get(cells, head);
    this.#services = Head.services.get(cells, head);
    this.#capabilities = Head.capabilities.get(cells, head);
    this.#sessions = Head.sessions.get(cells, head);
    this.#isAhead = false;
    this.#lastService = 0;
    this.#old.clear();
    this.startAt(Head.escrows.get(cells, head), Head.workflows.get(cells, head));
  }

  /** Says which serials were given before the stretch, where the state is a later one. */
  startAt(escrows: number, workflows: number): void {
    this.escrows = escrows;
    this.workflows = workflows;
    this.#firstEscrow = escrows + 1;
  }

  /** Something ran that may have made any record. */
  passUnknown(): void {
    this.#isAhead = true;
  }

  /** An escrow took its serial, of which no more is known. */
  takeUnknown(): void {
    this.#made[this.#nextEscrow()] = UNKNOWN;
  }

  /** What the opening of a bundle touches: its actor. */
  listOpening(actor: number): void {
    this.#clear(0);
    this.#actor = 0;
    this.#agent(actor);
    this.#actor = actor;
    this.#opened = this.count;
  }

  /** What an interaction of the bundle last opened touches, the actor first; it counts as run from now on. */
  list(code: number, n: Float64Array, at: number): void {
    this.#clear(this.#opened);
    const form = forms[code]!;
    const { always, optional, bits, takes, makes, movesHead, isBarrier } = form;
    this.isBarrier = isBarrier;
    if (movesHead) this.#writes(HEAD);
    if (takes === 'escrow') this.#takeEscrow(form, n, at);
    else if (takes === 'workflow' && this.workflows + 1 < LARGE_SERIALS) {
      this.workflows += 1;
      this.#writes(workflowPlace(this.workflows));
    }
    for (let i = 0; i < always.length; i++) this.#named(always[i].named, n[at + always[i].number]);
    if (bits >= 0 && n[at + bits] !== 0)
      for (let i = 0; i < optional.length; i++)
        if ((n[at + bits] & optional[i].bit) !== 0) this.#named(optional[i].named, n[at + optional[i].number]);
    if (makes) this.#make();
  }

  #clear(count: number): void {
    this.count = count;
    this.isBarrier = false;
    this.isLocal = true;
  }

  #writes(place: Place): void {
    this.entries[this.count++] = 2 * place + 1;
  }
  #reads(place: Place): void {
    this.entries[this.count++] = 2 * place;
  }

  #make(): void {
    this.#writes(HEAD);
    this.#isAhead = true;
  }

  /** Whether an id is of this shard; what is of another is reached by message. */
  #isHere(id: number): boolean {
    const shard = shardOf(id);
    if (shard === this.#machine.shard) return true;
    this.#writes(META_PEERS + shard);
    this.isLocal = false;
    return false;
  }

  #named(named: number, id: number): void {
    switch (named) {
      case Named.agent:
        return this.#agent(id);
      case Named.terms:
        return this.#service(id, false);
      case Named.escrow:
        return this.#escrow(id, false);
      case Named['own service']:
        if (id === 0) this.#make();
        else this.#service(id, true);
        return;
      case Named.advanced:
        return this.#escrow(id, true);
      case Named.capability:
        return this.#capability(id);
      case Named.session:
        return this.#session(id);
      case Named.rated:
        this.#escrow(id, false);
        return this.#session(id);
      case Named.dependency:
        return this.#dependency(id);
      case Named.back:
        return this.#dependency(makeId(this.#machine.shard, Math.max(this.escrows - id, 0)));
      case Named.workflow:
        return this.#workflow(id);
      default:
      // Noted down only.
    }
  }

  #agent(id: number): void {
    if (id === this.#actor) return;
    const serial = serialOf(id);
    if (!this.#isHere(id) || serial === 0 || serial >= SMALL_SERIALS) return;
    this.#writes(AGENTS + serial);
    // Who looks for what is not there yet looks at the counter.
    if (serial > this.#agents) this.#reads(HEAD);
  }

  #service(id: number, isWritten: boolean): void {
    const serial = serialOf(id);
    if (!this.#isHere(id) || serial === 0 || serial >= SMALL_SERIALS) return;
    if (isWritten) this.#writes(SERVICES + serial);
    else this.#reads(SERVICES + serial);
    if (serial > this.#services) this.#reads(HEAD);
  }

  #capability(id: number): void {
    const serial = serialOf(id);
    if (!this.#isHere(id) || serial === 0 || serial >= SMALL_SERIALS) return;
    this.#writes(CAPABILITIES + serial);
    const { cells } = this.#machine;
    const cell = this.#machine.capability(id);
    if (cell !== NONE) this.#agent(Capability.grantor.get(cells, cell));
    else if (this.#isAhead) this.isBarrier = true;
    if (serial > this.#capabilities) this.#reads(HEAD);
  }

  #session(id: number): void {
    const serial = serialOf(id);
    if (!this.#isHere(id) || serial === 0) return;
    this.#writes(placeAt(Region.session, slotOf(Region.session, serial)));
    const { cells } = this.#machine;
    const cell = this.#machine.session(id);
    if (cell !== NONE) {
      this.#agent(Session.a.get(cells, cell));
      this.#agent(Session.b.get(cells, cell));
    } else if (this.#isAhead) this.isBarrier = true;
    if (serial > this.#sessions || serial + OLD_SESSION <= this.#sessions) this.#reads(HEAD);
  }

  /** An escrow, and what it points to; what it may `start` by, too. */
  #escrow(id: number, starts: boolean): void {
    const serial = serialOf(id);
    if (!this.#isHere(id) || serial === 0) return;
    this.#writes(escrowPlace(serial));
    if (serial >= this.#firstEscrow && serial <= this.escrows) {
      const [made, at] = [this.#made, (serial - this.#firstEscrow) * KEPT];
      const cell = made[at] === UNKNOWN ? this.#machine.escrow(id) : NONE;
      if (cell !== NONE) this.#pointersOf(cell, starts);
      else this.#pointers(made, at, starts);
      return;
    }
    const old = this.#old.size === 0 ? undefined : this.#old.get(serial);
    const cell = this.#machine.escrow(id);
    if (old) this.#pointers(old, 0, starts);
    else if (cell !== NONE) this.#pointersOf(cell, starts);
    else if (this.#isAhead) this.isBarrier = true;
  }

  #pointersOf(cell: Cell, starts: boolean): void {
    this.#keep(cell, this.#one, 0);
    this.#pointers(this.#one, 0, starts);
  }

  /** Keeps what an escrow of the state points to. */
  #keep(escrow: Cell, to: Float64Array, at: number): void {
    const { cells } = this.#machine;
    to[at] = Escrow.payer.get(cells, escrow);
    to[at + 1] = Escrow.payee.get(cells, escrow);
    to[at + 2] = Escrow.service.get(cells, escrow);
    to[at + 3] = Escrow.capability.get(cells, escrow);
    to[at + 4] = Escrow.workflow.get(cells, escrow);
    const isWaiting = Escrow.status.get(cells, escrow) === EscrowStatus.waiting;
    to[at + 5] = isWaiting ? Escrow.link.get(cells, escrow) : 0;
  }

  /** What is kept of an escrow. Of one that has no payee yet, that is its service's provider. */
  #pointers(kept: Float64Array, at: number, starts: boolean): void {
    if (kept[at] === UNKNOWN) this.isBarrier = true;
    else this.#agent(kept[at]);
    const service = kept[at + 2];
    if (kept[at + 1] !== 0) this.#agent(kept[at + 1]);
    else if (this.#isHere(service)) {
      const provider = this.#provider(service);
      if (provider !== 0) this.#agent(provider);
      else if (this.#isAhead) this.isBarrier = true;
    }
    if (kept[at + 3] !== 0) this.#writes(CAPABILITIES + serialOf(kept[at + 3]));
    if (kept[at + 4] !== 0) this.#workflow(kept[at + 4]);
    if (!starts) return;
    this.#service(service, false);
    if (kept[at + 5] !== 0) this.#dependency(kept[at + 5]);
  }

  /** 0 where there is no such service yet. */
  #provider(service: number): number {
    if (service === this.#lastService) return this.#lastProvider;
    const cell = this.#machine.service(service);
    this.#lastService = service;
    this.#lastProvider = cell === NONE ? 0 : Service.provider.get(this.#machine.cells, cell);
    return this.#lastProvider;
  }

  #workflow(id: number): void {
    if (this.#isHere(id)) this.#writes(workflowPlace(serialOf(id)));
  }

  /** What is waited for is looked at only. */
  #dependency(id: number): void {
    if (shardOf(id) === this.#machine.shard) this.#reads(escrowPlace(serialOf(id)));
  }

  /** By a capability of another shard it is taken there. */
  #takeEscrow(form: Form, n: Float64Array, at: number): void {
    const { shard } = this.#machine;
    const capability = given(form.capability, n, at);
    if ((capability > 0 && shardOf(capability) !== shard) || this.escrows + 1 >= LARGE_SERIALS) return;
    const to = this.#nextEscrow();
    const made = this.#made;
    this.#writes(escrowPlace(this.escrows));
    // Before the ring comes round, there is nothing.
    if (this.escrows >= REGION_SLOTS) this.#keepOld(this.escrows);
    const service = n[at + form.terms];
    made[to] = this.#actor;
    made[to + 1] = shardOf(service) === shard ? this.#provider(service) : 0;
    made[to + 2] = service;
    made[to + 3] = 0;
    made[to + 4] = 0;
    made[to + 5] = 0;
    if (n[at + form.bits] === 0) return;
    const workflow = given(form.joined, n, at);
    const after = given(form.after, n, at);
    const back = given(form.back, n, at);
    if (capability > 0) made[to] = this.#grantor(capability);
    made[to + 3] = Math.max(capability, 0);
    made[to + 4] = workflow === 0 && this.workflows > 0 ? makeId(shard, this.workflows) : Math.max(workflow, 0);
    made[to + 5] = after > 0 ? after : back > 0 ? makeId(shard, Math.max(this.escrows - back, 0)) : 0;
  }

  /** Where what is kept of the next escrow goes. */
  #nextEscrow(): number {
    const made = (this.escrows + 1 - this.#firstEscrow) * KEPT;
    if (made >= this.#made.length) {
      const old = this.#made;
      this.#made = new Float64Array(2 * old.length);
      this.#made.set(old);
    }
    this.escrows += 1;
    return made;
  }

  #grantor(id: number): number {
    const cell = this.#machine.capability(id);
    return cell === NONE ? UNKNOWN : Capability.grantor.get(this.#machine.cells, cell);
  }

  /** Keeps what the escrow points to that stands where a new one goes: it is not to be read any more once this one is made. */
  #keepOld(serial: number): void {
    const { cells, trie } = this.#machine;
    const cell = trie.cell(Region.escrow, slotOf(Region.escrow, serial));
    const old = Escrow.serial.get(cells, cell);
    if (old === 0 || old >= serial) return;
    const kept = new Float64Array(KEPT);
    this.#keep(cell, kept, 0);
    this.#old.set(old, kept);
  }
}
