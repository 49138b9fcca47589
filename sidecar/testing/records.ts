/** The test gateway's routes for what stands on shards: escrows and orders, sessions, workflows, messages. */
import type { Context, Hono } from 'hono';
import {
  ESCROW_STATUS,
  Escrow,
  Head,
  Leg,
  SESSION_STATUS,
  Service,
  Session,
  WORKFLOW_STATUS,
  Workflow,
  cellToJson,
  get,
} from '../../protocol/cells.ts';
import { formatId, makeId, parseId, shardOf } from '../../protocol/ids.ts';
import { NONE } from '../../protocol/memory.ts';
import { STATUSES } from '../../protocol/status.ts';
import type { TestShards } from './shards.ts';

type Json = Record<string, unknown>;

const LOOK_MS = 5;
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again until it has an answer or `wait` milliseconds, as the request has it, have passed. */
async function patiently<T>(c: Context, ask: () => T | null): Promise<T | null> {
  const end = Date.now() + Number(c.req.query('wait') ?? 0);
  for (;;) {
    const answer = ask();
    if (answer !== null || Date.now() >= end) return answer;
    await sleep(LOOK_MS);
  }
}

function escrowJson(shards: TestShards, id: number): Json | null {
  const machine = shards.holding(id);
  if (!machine.escrowExists(id)) return null;
  const cell = machine.readEscrow(id);
  return {
    id: formatId(id),
    ...cellToJson(Escrow, cell),
    status: ESCROW_STATUS[get(cell, Escrow.status)],
    ...(shardOf(get(cell, Escrow.payer)) === machine.shard ? {} : { order: formatId(get(cell, Escrow.link)) }),
  };
}

/** The escrow that an order opened; null while it may still open one, undefined where it never will. */
function escrowOf(shards: TestShards, order: number): Json | null | undefined {
  const cell = shards.holding(order).readEscrow(order);
  const there = shardOf(get(cell, Escrow.service));
  const link = get(cell, Escrow.link);
  if (there === shardOf(order)) return undefined;
  if (get(cell, Escrow.status) !== ESCROW_STATUS.indexOf('sent'))
    return (link > 0 && escrowJson(shards, link)) || undefined;
  const received = shards.message(shardOf(order), there, link);
  return received === null || received === 'sent' ? null : escrowJson(shards, received.signed.outcomes[0].value);
}

function sessionJson(shards: TestShards, id: number): Json | null {
  const machine = shards.holding(id);
  if (!machine.sessionExists(id)) return null;
  const cell = machine.readSession(id);
  return { id: formatId(id), ...cellToJson(Session, cell), status: SESSION_STATUS[get(cell, Session.status)] };
}

function workflowJson(shards: TestShards, id: number): Json | null {
  const machine = shards.holding(id);
  const cell = machine.workflow(id);
  if (cell === NONE) return null;
  const { cells } = machine;
  const done = Workflow.done.get(cells, cell);
  return {
    id: formatId(id),
    planner: formatId(Workflow.planner.get(cells, cell)),
    deadline: Workflow.deadline.get(cells, cell),
    status: WORKFLOW_STATUS[Workflow.status.get(cells, cell)],
    legs: Array.from({ length: Workflow.legs.get(cells, cell) }, (_, leg) => ({
      payer: formatId(Leg.payer.get(cells, machine.leg(id, leg))),
      service: formatId(Leg.service.get(cells, machine.leg(id, leg))),
      done: ((done >> leg) & 1) === 1,
    })),
  };
}

/** Ids of a kind of record on a shard, by the counter in its head. */
const idsOf = (shards: TestShards, shard: number, counter: (typeof Head)['escrows']): number[] =>
  Array.from({ length: get(shards.machine(shard).head(), counter) }, (_, i) => makeId(shard, i + 1));

export function addRecordRoutes(app: Hono, shards: TestShards): void {
  const unknown = (c: Context, code: string) => c.json({ code, detail: code }, 404);
  app.get('/escrows', (c) => {
    const query = (name: string): number | undefined => {
      const text = c.req.query(name);
      return text === undefined ? undefined : parseId(text);
    };
    const [payer, payee, after] = [query('payer'), query('payee'), query('after')];
    const statuses = c.req.query('status')?.split(',');
    const all = idsOf(shards, shardOf(payer ?? payee ?? 0), Head.escrows).filter((id) => id > (after ?? 0));
    const providerOf = (id: number): number => get(shards.holding(id).readService(id), Service.provider);
    const escrows = all.flatMap((id) => {
      const json = escrowJson(shards, id);
      if (json === null || statuses?.includes(String(json.status)) === false) return [];
      const cell = shards.holding(id).readEscrow(id);
      const [service, known] = [get(cell, Escrow.service), get(cell, Escrow.payee)];
      const to = known !== 0 || shardOf(service) !== shardOf(id) ? known : providerOf(service);
      const wanted = (payer ?? get(cell, Escrow.payer)) === get(cell, Escrow.payer) && (payee ?? to) === to;
      return wanted ? [json] : [];
    });
    return c.json({ escrows, upTo: formatId(all.at(-1) ?? after ?? 0) });
  });
  app.get('/escrows/:id', async (c) => {
    const id = parseId(c.req.param('id'));
    if (escrowJson(shards, id) === null) return unknown(c, 'unknown_escrow');
    const escrow = await patiently(c, () => escrowOf(shards, id));
    return c.json({ ...escrowJson(shards, id), ...(escrow ? { escrow } : {}) });
  });
  app.get('/sessions', (c) => {
    const agent = c.req.query('agent');
    const all = Array.from({ length: shards.count }, (_, shard) => idsOf(shards, shard, Head.sessions)).flat();
    const sessions = all.map((id) => sessionJson(shards, id)).filter((json) => json !== null);
    return c.json({ sessions: sessions.filter(({ a, b }) => a === agent || b === agent) });
  });
  app.get('/sessions/:id', (c) => {
    const json = sessionJson(shards, parseId(c.req.param('id')));
    return json === null ? unknown(c, 'unknown_session') : c.json(json);
  });
  app.get('/workflows/:id', (c) => {
    const json = workflowJson(shards, parseId(c.req.param('id')));
    return json === null ? unknown(c, 'unknown_workflow') : c.json(json);
  });
  app.get('/messages/:from/:to/:number', async (c) => {
    const [from, to, number] = ['from', 'to', 'number'].map((name) => Number(c.req.param(name)));
    const known =
      (await patiently(c, () => {
        const found = shards.message(from, to, number);
        return found === 'sent' ? null : found;
      })) ?? shards.message(from, to, number);
    if (known === null) return unknown(c, 'not_found');
    const base = { from, to, number: String(number), kind: shards.kindOf(from, to, number) };
    if (known === 'sent') return c.json({ ...base, state: 'sent' });
    const [{ status, value }] = known.signed.outcomes;
    const place = `${to}:${known.signed.receipt.seq}`;
    return c.json({ ...base, state: 'received', place, status: STATUSES[status], value: String(value) });
  });
}
