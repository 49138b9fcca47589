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
} from '../../protocol/cells.ts';
import { QUADS, REGION_SLOTS } from '../../protocol/cells.ts';
import { makeId, serialOf } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { Cell } from '../../protocol/memory.ts';
import { isOrder } from '../../protocol/moves/escrow.ts';
import type { Page, PageQuery, Supply } from './api.ts';
import type { RecordJson } from './json.ts';
import { capabilityJson } from './records.ts';
import { agentJson, serviceJson, sessionJson } from './views.ts';

export const MAX_PAGE = 100;
/** Records looked through for a page: anybody may ask for those of nobody. */
const LOOKED_AT_A_PAGE = 2 ** 16;

/** Records looked through before memory is tidied. */
const LOOKED_AT = 2 ** 14;

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

/** As {@link page}, of so many records at most: it may be short and still have a next. */
function look(
  machine: Machine,
  query: PageQuery,
  end: number,
  wanted: (id: number) => boolean,
  view: (id: number) => RecordJson | null,
): Page<RecordJson> {
  const last = Math.min(end, (query.after ?? 0) + LOOKED_AT_A_PAGE);
  const found = page(machine, query, last, wanted, view);
  return found.next === undefined && last < end ? { ...found, next: last } : found;
}

export class Lists {
  readonly #machine: Machine;
  readonly #rest: () => void;

  /** `rest` lets go of pages that there is no room for: whoever looks through a whole region calls it now and then, while no cell is in use. */
  constructor(machine: Machine, rest: () => void = () => {}) {
    this.#machine = machine;
    this.#rest = rest;
  }

  /** Serials `first` to `last`. */
  *#serials(first: number, last: number): Generator<number> {
    for (let serial = first; serial <= last; serial++) {
      yield serial;
      if (serial % LOOKED_AT === 0) this.#rest();
    }
  }

  #count(field: (typeof Head)[keyof typeof Head]): number {
    return get(this.#machine.head(), field);
  }

  agents(query: PageQuery): Page<RecordJson> {
    const machine = this.#machine;
    return page(
      machine,
      query,
      this.#count(Head.agents),
      () => true,
      (id) => agentJson(machine, id),
    );
  }

  services(query: PageQuery & { provider?: number }): Page<RecordJson> {
    const machine = this.#machine;
    const wanted = (id: number): boolean =>
      query.provider === undefined || get(machine.readService(id), Service.provider) === query.provider;
    return look(machine, query, this.#count(Head.services), wanted, (id) => serviceJson(machine, id));
  }

  sessions(query: PageQuery & { agent?: number }): Page<RecordJson> {
    const machine = this.#machine;
    const last = this.#count(Head.sessions);
    const after = Math.max(query.after ?? 0, last - QUADS);
    const wanted = (id: number): boolean =>
      query.agent === undefined || machine.partyOf(machine.readSession(id), query.agent) !== -1;
    return look(machine, { ...query, after }, last, wanted, (id) => sessionJson(machine, id));
  }

  capabilities(query: PageQuery & { grantor?: number; grantee?: number }): Page<RecordJson> {
    const machine = this.#machine;
    const { grantor, grantee } = query;
    const wanted = (id: number): boolean => {
      const cell = machine.trie.read(Region.capability, serialOf(id));
      return (
        (grantor === undefined || get(cell, Capability.grantor) === grantor) &&
        (grantee === undefined || get(cell, Capability.grantee) === grantee)
      );
    };
    return look(machine, query, this.#count(Head.capabilities), wanted, (id) => capabilityJson(machine, id));
  }

  balances(): number {
    let sum = 0;
    for (const serial of this.#serials(1, this.#count(Head.agents)))
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
    for (const serial of this.#serials(1, this.#count(Head.agents))) {
      stakes += get(machine.readAgent(makeId(machine.shard, serial)), Agent.stake);
    }
    const lastEscrow = this.#count(Head.escrows);
    for (const serial of this.#serials(Math.max(1, lastEscrow - REGION_SLOTS + 1), lastEscrow)) {
      escrows += this.#heldBy(machine.escrow(makeId(machine.shard, serial)));
    }
    const lastSession = this.#count(Head.sessions);
    for (const serial of this.#serials(Math.max(1, lastSession - QUADS + 1), lastSession)) {
      const cell = machine.readSession(makeId(machine.shard, serial));
      const status = get(cell, Session.status);
      if (status === SessionStatus.open || status === SessionStatus.exiting)
        sessions += get(cell, Session.depositA) + get(cell, Session.depositB);
    }
    return { balances: this.balances(), stakes, escrows, sessions, withdrawals };
  }
}
