/** Lists of records, a page at a time, in the order of their serials. */
import {
  Agent,
  Capability,
  Escrow,
  EscrowStatus,
  Head,
  Region,
  Service,
  Session,
  SessionStatus,
  get,
  getBytes,
} from '../../protocol/cells.ts';
import { QUADS, REGION_SLOTS } from '../../protocol/cells.ts';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import { makeId, serialOf } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { Cell } from '../../protocol/memory.ts';
import { isOrder } from '../../protocol/moves/escrow.ts';
import type { Page, PageQuery, Supply } from './api.ts';
import type { RecordJson } from './json.ts';
import { capabilityJson } from './records.ts';
import { agentJson, serviceJson, sessionJson } from './views.ts';

export const MAX_PAGE = 100;
/** Capabilities looked through for a page: anybody may ask for those of nobody. */
const CAPABILITIES_LOOKED_AT = 2 ** 16;

/** Page of what `view` shows of serials above `after`, up to `last`; `wanted` decides on the id. */
function page(
  machine: Machine,
  query: PageQuery,
  last: number,
  wanted: (id: number) => boolean,
  view: (id: number) => RecordJson | null,
): Page<RecordJson> {
  const limit = Math.min(query.limit ?? 20, MAX_PAGE);
  const items: RecordJson[] = [];
  for (let serial = (query.after ?? 0) + 1; serial <= last; serial++) {
    const id = makeId(machine.shard, serial);
    if (!wanted(id)) continue;
    if (items.length === limit) return { items, next: serial - 1 };
    const item = view(id);
    if (item) items.push(item);
  }
  return { items };
}

export class Lists {
  readonly #machine: Machine;
  /** By serial: the agent's epoch when its key was last hashed, and keccak(x ‖ y) then. */
  readonly #keys: { epoch: number; hash: Hex }[] = [];

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  #count(field: (typeof Head)[keyof typeof Head]): number {
    return get(this.#machine.head(), field);
  }

  /** keccak(x ‖ y) of an agent's key; hashed again only when its epoch has changed. */
  #keyHash(id: number): Hex {
    const epoch = get(this.#machine.readAgent(id), Agent.epoch);
    const known = this.#keys[serialOf(id)];
    if (known?.epoch === epoch) return known.hash;
    const hash = hex(keccak(this.#machine.keyOf(id)));
    this.#keys[serialOf(id)] = { epoch, hash };
    return hash;
  }

  agents(query: PageQuery & { owner?: Hex; key?: Hex }): Page<RecordJson> {
    const machine = this.#machine;
    const owner = query.owner?.toLowerCase();
    const key = query.key?.toLowerCase();
    const wanted = (id: number): boolean =>
      (!key || this.#keyHash(id) === key) && (!owner || hex(getBytes(machine.readAgent(id), Agent.owner)) === owner);
    return page(machine, query, this.#count(Head.agents), wanted, (id) => agentJson(machine, id));
  }

  services(query: PageQuery & { provider?: number }): Page<RecordJson> {
    const machine = this.#machine;
    const wanted = (id: number): boolean =>
      query.provider === undefined || get(machine.readService(id), Service.provider) === query.provider;
    return page(machine, query, this.#count(Head.services), wanted, (id) => serviceJson(machine, id));
  }

  sessions(query: PageQuery & { agent?: number }): Page<RecordJson> {
    const machine = this.#machine;
    const last = this.#count(Head.sessions);
    const after = Math.max(query.after ?? 0, last - QUADS);
    const wanted = (id: number): boolean =>
      query.agent === undefined || machine.partyOf(machine.readSession(id), query.agent) !== -1;
    return page(machine, { ...query, after }, last, wanted, (id) => sessionJson(machine, id));
  }

  capabilities(query: PageQuery & { grantor?: number; grantee?: number }): Page<RecordJson> {
    const machine = this.#machine;
    const { grantor, grantee, after = 0 } = query;
    const wanted = (id: number): boolean => {
      const cell = machine.trie.read(Region.capability, serialOf(id));
      return (
        (grantor === undefined || get(cell, Capability.grantor) === grantor) &&
        (grantee === undefined || get(cell, Capability.grantee) === grantee)
      );
    };
    const end = this.#count(Head.capabilities);
    const last = Math.min(end, after + CAPABILITIES_LOOKED_AT);
    const found = page(machine, query, last, wanted, (id) => capabilityJson(machine, id));
    return found.next === undefined && last < end ? { ...found, next: last } : found;
  }

  balances(): number {
    let sum = 0;
    for (let serial = 1; serial <= this.#count(Head.agents); serial++)
      sum += this.#machine.balance(makeId(this.#machine.shard, serial));
    return sum;
  }

  /** What an escrow holds: an order only while it waits, as its money then leaves with it. */
  #heldBy(escrow: Cell): number {
    const { cells } = this.#machine;
    const status = Escrow.status.get(cells, escrow);
    const { open, held, contested, waiting } = EscrowStatus;
    const isHere = status === open || status === held || status === contested;
    const holds = status === waiting || (isHere && !isOrder(this.#machine, escrow));
    return holds ? Escrow.amount.get(cells, escrow) : 0;
  }

  supply(withdrawals: number): Supply {
    const machine = this.#machine;
    let [stakes, escrows, sessions] = [0, 0, 0];
    for (let serial = 1; serial <= this.#count(Head.agents); serial++) {
      stakes += get(machine.readAgent(makeId(machine.shard, serial)), Agent.stake);
    }
    const lastEscrow = this.#count(Head.escrows);
    for (let serial = Math.max(1, lastEscrow - REGION_SLOTS + 1); serial <= lastEscrow; serial++) {
      escrows += this.#heldBy(machine.escrow(makeId(machine.shard, serial)));
    }
    const lastSession = this.#count(Head.sessions);
    for (let serial = Math.max(1, lastSession - QUADS + 1); serial <= lastSession; serial++) {
      const cell = machine.readSession(makeId(machine.shard, serial));
      const status = get(cell, Session.status);
      if (status === SessionStatus.open || status === SessionStatus.exiting)
        sessions += get(cell, Session.depositA) + get(cell, Session.depositB);
    }
    return { balances: this.balances(), stakes, escrows, sessions, withdrawals };
  }
}
