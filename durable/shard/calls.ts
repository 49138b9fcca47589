/** Lists of escrows, orders and workflows. Anybody may ask for those of nobody, so a page looks through so many and no more. */
import {
  ESCROW_STATUS,
  Escrow,
  EscrowStatus,
  Head,
  QUADS,
  REGION_SLOTS,
  Region,
  Service,
  Workflow,
  get,
  slotOf,
} from '../../protocol/cells.ts';
import { makeId } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import { NONE } from '../../protocol/memory.ts';
import type { EscrowsQuery, LookedPage, PageQuery } from './api.ts';
import type { RecordJson, WorkflowJson } from './json.ts';
import { MAX_PAGE } from './lists.ts';
import { workflowJson } from './records.ts';
import { escrowJson } from './views.ts';

/** Records looked through for a page. */
const LOOKED_AT = 2 ** 16;

/** The records above `after` that `read` answers, of a ring of so many whose newest serial is `newest`. */
function look<T>(query: PageQuery, newest: number, ring: number, read: (serial: number) => T | null): LookedPage<T> {
  const limit = Math.min(query.limit ?? 20, MAX_PAGE);
  const first = Math.max(query.after ?? 0, newest - ring) + 1;
  const last = Math.min(newest, first + LOOKED_AT - 1);
  const items: T[] = [];
  for (let serial = first; serial <= last; serial++) {
    const item = read(serial);
    if (item === null) continue;
    if (items.length === limit) return { items, next: serial - 1, upTo: serial - 1 };
    items.push(item);
  }
  const upTo = Math.max(last, query.after ?? 0);
  return last < newest ? { items, next: last, upTo } : { items, upTo };
}

/** Escrows and orders of a shard, oldest first. A payee has those, too, that wait to be started for a service of its own here. */
export function listEscrows(machine: Machine, query: EscrowsQuery): LookedPage<RecordJson> {
  const { cells, trie } = machine;
  const { payer, payee, workflow } = query;
  const statuses = query.statuses && new Set(query.statuses.map((name) => ESCROW_STATUS.indexOf(name)));
  const payeeOf = (cell: ReturnType<Machine['escrow']>): number => {
    if (Escrow.status.get(cells, cell) !== EscrowStatus.waiting) return Escrow.payee.get(cells, cell);
    const service = Escrow.service.get(cells, cell);
    const found = machine.isLocal(service) ? machine.service(service) : NONE;
    return found === NONE ? 0 : Service.provider.get(cells, found);
  };
  return look(query, get(machine.head(), Head.escrows), REGION_SLOTS, (serial) => {
    const cell = trie.cell(Region.escrow, slotOf(Region.escrow, serial));
    if (Escrow.serial.get(cells, cell) !== serial) return null;
    if (statuses && !statuses.has(Escrow.status.get(cells, cell))) return null;
    if (payer !== undefined && Escrow.payer.get(cells, cell) !== payer) return null;
    if (workflow !== undefined && Escrow.workflow.get(cells, cell) !== workflow) return null;
    if (payee !== undefined && payeeOf(cell) !== payee) return null;
    return escrowJson(machine, makeId(machine.shard, serial));
  });
}

export function listWorkflows(machine: Machine, query: PageQuery & { planner?: number }): LookedPage<WorkflowJson> {
  const { cells } = machine;
  return look(query, get(machine.head(), Head.workflows), QUADS, (serial) => {
    const id = makeId(machine.shard, serial);
    const cell = machine.workflow(id);
    const wanted = query.planner === undefined || query.planner === Workflow.planner.get(cells, cell);
    return cell !== NONE && wanted ? workflowJson(machine, id) : null;
  });
}
