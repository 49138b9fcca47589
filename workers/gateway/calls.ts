/** Escrows, the orders that open them from other shards, and the messages in between. */
import type { EscrowsQuery, ShardRpc } from '../../durable/shard/api.ts';
import type { RecordJson } from '../../durable/shard/json.ts';
import { ESCROW_STATUS } from '../../protocol/cells.ts';
import { formatId, makeId, parseId, shardOf } from '../../protocol/ids.ts';
import { pageOf } from './agents.ts';
import { type Ctx, type Env, shardHolding, shardNumbered } from './env.ts';
import { countParam, idParam, idQuery, namesQuery, waitQuery } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const MAX_SHARD = 255;

/** The escrow that an order opened, after at most `waitMs`; null while there is none, and where none came of it. */
async function openedBy(env: Env, order: RecordJson, waitMs: number): Promise<RecordJson | null> {
  const [home, there] = [shardOf(parseId(String(order.id))), shardOf(parseId(String(order.service)))];
  if (order.link === null || order.status === 'waiting') return null;
  let escrow = parseId(String(order.link));
  if (order.status === 'sent') {
    // Until the escrow's shard has reported, the link is the number of the message that went there: an id in form only.
    const found = await shardNumbered(env, there).receivedMessage(home, escrow, waitMs);
    if (found?.status !== 'ok') return null;
    escrow = found.value;
  }
  return shardNumbered(env, there).escrow(escrow);
}

const isOrder = ({ id, service }: RecordJson): boolean =>
  shardOf(parseId(String(id))) !== shardOf(parseId(String(service)));

async function escrow(c: Ctx): Promise<Response> {
  const id = idParam(c);
  const shard = shardHolding(c.env, id);
  const read = async (): Promise<RecordJson> => {
    const found = await shard.escrow(id);
    if (!found) throw problem('unknown_escrow', `there is no escrow ${formatId(id)}, or its place was taken over`);
    return found;
  };
  let record = await read();
  if (!isOrder(record)) return c.json(record);
  const opened = await openedBy(c.env, record, waitQuery(c));
  // It may have come back while we waited.
  if (!opened && record.status === 'sent') record = await read();
  return c.json({ ...record, ...(opened ? { escrow: opened } : {}) });
}

/** Of a payer on its own shard, orders included; of a payee on its own, where the escrows stand. */
async function escrows(c: Ctx): Promise<Response> {
  const [payer, payee, workflow] = [idQuery(c, 'payer'), idQuery(c, 'payee'), idQuery(c, 'workflow')];
  const statuses = namesQuery(c, 'status', ESCROW_STATUS);
  const agent = payer ?? payee;
  const only = agent === undefined ? undefined : shardOf(agent);
  let upTo: string | undefined;
  const read = async (shard: ShardRpc, query: EscrowsQuery) => {
    const page = await shard.escrows({ ...query, payer, payee, workflow, statuses });
    if (only !== undefined) upTo = formatId(makeId(only, page.upTo));
    return page;
  };
  const { items, next } = await pageOf(c, read, only);
  return c.json({ escrows: items, next, upTo });
}

async function message(c: Ctx): Promise<Response> {
  const [from, to] = [countParam(c, 'from', MAX_SHARD), countParam(c, 'to', MAX_SHARD)];
  const number = countParam(c, 'number');
  const [sender, receiver] = [shardNumbered(c.env, from), shardNumbered(c.env, to)];
  const base = { from, to, number: String(number) };
  // Nobody waits for what was never sent.
  const kind = number === 0 ? null : await sender.sentMessage(to, number);
  const found = await receiver.receivedMessage(from, number, kind === null ? 0 : waitQuery(c));
  if (found) {
    const { seq, status, value } = found;
    return c.json({
      ...base,
      kind: found.kind,
      state: 'received',
      place: `${to}:${seq}`,
      status,
      value: String(value),
    });
  }
  if (kind === null) throw problem('not_found', `shard ${from} has sent no message ${number} to shard ${to}`);
  return c.json({ ...base, kind, state: 'sent' });
}

const WAIT = 'milliseconds, at most 10,000, that the answer may wait for it';

export const callRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/escrows',
    summary: 'Lists escrows and orders, oldest first; a page may be short of its limit and still have a next.',
    query: {
      after: 'id of the last escrow not wanted',
      limit: 'at most 100',
      payer: 'paid by this agent: those on its own shard, orders for other shards among them',
      payee: 'paid to this agent: those on its own shard, also those that wait to be started (without `payer`)',
      status: 'one of these, joined by commas',
      workflow: 'of this workflow',
    },
    answer: { description: '{escrows: [Escrow], next?, upTo?}; upTo, with payer or payee: the newest id looked at' },
    problems: ['malformed', 'wrong_shard'],
    handle: escrows,
  },
  {
    method: 'get',
    path: '/escrows/{id}',
    summary: 'One escrow, with the interactions that opened and ended it; or one order, with the escrow it opened.',
    query: { wait: `of an order that has opened none yet: ${WAIT}` },
    answer: {
      description:
        '{id, payer, payee, service, amount, paid, deadline, status, workflow, link, capability, arbiter, contestSeconds, flags, address, order?, escrow?, invoked?, responded?}',
    },
    problems: ['malformed', 'wrong_shard', 'unknown_escrow'],
    handle: escrow,
  },
  {
    method: 'get',
    path: '/messages/{from}/{to}/{number}',
    summary: 'One message between shards: whether it has been received, where, and what it came to.',
    query: { wait: `while it has not been received: ${WAIT}` },
    answer: { description: '{from, to, number, kind, state: sent|received, place?, status?, value?}' },
    problems: ['malformed', 'wrong_shard', 'not_found'],
    handle: message,
  },
];
