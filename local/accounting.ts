/**
 * The books, to the unit: what Root holds against what the trace says everybody has. Three sources that know nothing of each other: L1's
 * logs and balances, the trace executed again from nothing, and what the gateway shows.
 */
import { type Address } from 'viem';
import { rootAbi } from '../contracts/abi.ts';
import { equal, hex, unhex } from '../protocol/bytes.ts';
import { Head, Inbox, META_INBOX, OUTBOX_WITHDRAWAL, Outbox, Region, get, slotOf } from '../protocol/cells.ts';
import { makeId, parseId } from '../protocol/ids.ts';
import { decodeInboxItem } from '../protocol/inbox.ts';
import type { Agent } from './agents.ts';
import { NOBODY, type AgentBooks, Penalties, type Placed, book } from './books.ts';
import type { Gateway, StatusJson } from './gateway.ts';
import type { L1 } from './l1.ts';
import { type TraceReplay, replayTrace } from './replay.ts';

export interface Check {
  readonly what: string;
  readonly left: string;
  readonly right: string;
  readonly ok: boolean;
}

/** What really happened, counted where it happened. */
export interface Counts {
  readonly agents: number;
  /** Calls through Core that were paid. */
  readonly coreCalls: number;
  /** Calls in the logs that sessions were settled with. */
  readonly sessionCalls: number;
  readonly sessions: number;
  /** Workflows decided, one way and the other. */
  readonly committed: number;
  readonly aborted: number;
  /** Messages between shards that arrived. */
  readonly messages: number;
  /** Batches standing on L1. */
  readonly batches: number;
  /** Withdrawals L1 has paid. */
  readonly withdrawals: number;
  readonly frames: number;
}

export interface Books {
  readonly agents: readonly AgentBooks[];
  readonly owners: readonly { readonly name: string; readonly minted: bigint; readonly token: bigint }[];
  readonly supply: Placed & { readonly unpaid: number; readonly waiting: number };
  readonly rootToken: bigint;
  readonly unit: bigint;
  readonly checks: readonly Check[];
  readonly reconciled: boolean;
  readonly counts: Counts;
}

const check = (what: string, left: unknown, right: unknown): Check => ({
  what,
  left: String(left),
  right: String(right),
  ok: String(left) === String(right),
});

/** Draws up the books. Nothing should be happening meanwhile. `actors` are those whose owners' tokens we know the origin of. */
export async function drawUpBooks(gateway: Gateway, l1: L1, actors: readonly Agent[]): Promise<Books> {
  const { trace, penalties, status } = await settled(gateway, { chainId: l1.chainId, root: l1.root });
  const shown = await gateway.agents();
  const names = new Map(actors.map(({ id, name }) => [id, name]));
  const books = new Map<number, AgentBooks>();
  for (const agent of shown) {
    const name = names.get(agent.id) ?? agent.name ?? '';
    books.set(parseId(agent.id), { ...NOBODY, id: agent.id, name, balance: Number(agent.balance) });
  }
  const of = (agent: number): AgentBooks => books.get(agent) ?? { ...NOBODY };
  const happened = book(trace, penalties, of);
  const { placed, refunds } = happened;

  // --- L1's side ---
  const at = { address: l1.root as Address, abi: rootAbi } as const;
  const [held, rootToken, items, paid, batches] = await Promise.all([
    l1.client.readContract({ ...at, functionName: 'held' }),
    l1.tokenBalance(l1.root),
    l1.client.getContractEvents({ ...at, eventName: 'InboxItem', fromBlock: 0n, strict: true }),
    l1.client.getContractEvents({ ...at, eventName: 'Withdrawn', fromBlock: 0n, strict: true }),
    l1.client.readContract({ ...at, functionName: 'head' }),
  ]);
  const cursor = get(trace.shards[0].engine.trie.read(Region.meta, META_INBOX), Inbox.cursor);
  let waiting = 0;
  let depositedAtL1 = 0;
  for (const { args } of items) {
    const item = decodeInboxItem(unhex(args.item));
    if (item.kind !== 'register' && item.kind !== 'deposit') continue;
    depositedAtL1 += item.amount;
    if (Number(args.index) >= cursor) waiting += item.amount;
  }

  let unpaid = 0;
  let paidUnits = 0;
  let requested = 0;
  const paidIds = new Set(paid.map(({ args }) => makeId(args.shard, Number(args.serial))));
  for (const { engine } of trace.shards) {
    for (let serial = 1; serial <= get(engine.machine.head(), Head.outbox); serial++) {
      const cell = engine.trie.read(Region.outbox, slotOf(Region.outbox, serial));
      if (get(cell, Outbox.kind) !== OUTBOX_WITHDRAWAL) continue;
      const [id, amount] = [makeId(engine.shard, serial), get(cell, Outbox.amount)];
      requested += amount;
      if (!paidIds.has(id)) unpaid += amount;
      // A refused deposit comes back without ever having been anybody's balance.
      if (!refunds.has(id)) of(get(cell, Outbox.agent)).withdrawn += amount;
    }
  }
  for (const { args } of paid) paidUnits += Number(args.amount);

  const supply = { ...placed, unpaid, waiting };
  const total = Object.values(supply).reduce((sum, units) => sum + units, 0);
  const agents = trace.shards.reduce((sum, { engine }) => sum + get(engine.machine.head(), Head.agents), 0);

  const owners = [];
  const checks = [
    check('the trace, executed again, gives the state root the gateway shows', hex(trace.stateRoot), status.stateRoot),
    check('tokens of Root = units held × unit', rootToken, BigInt(held) * l1.unit),
    check('units held = deposits − withdrawals paid', held, depositedAtL1 - paidUnits),
    check(
      'batches whose frames are in an order of the trace and give their state',
      trace.batches - trace.wrong.length,
      trace.batches,
    ),
    check(
      'units held = balances, stakes, escrows, sessions, travelling, burned, unpaid withdrawals and inbox',
      held,
      total,
    ),
    check('withdrawals requested = paid + unpaid', requested, paidUnits + unpaid),
    check('agents the gateway shows = agents in the trace', shown.length, agents),
  ];
  for (const b of books.values()) {
    checks.push(
      check(
        `${b.name || b.id}: deposited + given + earned − spent − locked − staked − withdrawn = balance`,
        b.deposited + b.given + b.earned - b.spent - b.locked - b.staked - b.withdrawn,
        b.balance,
      ),
    );
  }
  for (const { name, owner, minted } of actors) {
    const token = await l1.tokenBalance(owner.address);
    owners.push({ name, minted, token });
    const mine = unhex(owner.address, 20);
    const gone = items
      .map(({ args }) => decodeInboxItem(unhex(args.item)))
      .reduce((sum, item) => {
        const from = item.kind === 'register' ? item.owner : item.kind === 'deposit' ? item.from : null;
        return from && equal(from, mine) && 'amount' in item ? sum + item.amount : sum;
      }, 0);
    const back = paid
      .filter(({ args }) => equal(unhex(args.recipient, 20), mine))
      .reduce((sum, { args }) => sum + Number(args.amount), 0);
    checks.push(
      check(`${name}'s owner: minted − deposited + paid out = tokens`, minted - BigInt(gone - back) * l1.unit, token),
    );
  }

  return {
    agents: [...books.values()],
    owners,
    supply,
    rootToken,
    unit: l1.unit,
    checks,
    reconciled: checks.every(({ ok }) => ok),
    counts: {
      agents: shown.length,
      coreCalls: happened.coreCalls,
      sessionCalls: happened.sessionCalls,
      sessions: happened.sessions,
      committed: happened.committed,
      aborted: happened.aborted,
      messages: happened.messages,
      batches: Number(batches),
      withdrawals: paid.length,
      frames: happened.frames,
    },
  };
}

/** The trace as it stands when the gateway shows the same state: a tick or an acknowledgement may come in between. */
async function settled(
  gateway: Gateway,
  domain: { chainId: number; root: `0x${string}` },
): Promise<{ trace: TraceReplay; penalties: Penalties; status: StatusJson }> {
  for (let attempt = 1; ; attempt++) {
    const penalties = new Penalties();
    const trace = await replayTrace(gateway, domain, penalties.watch);
    const status = await gateway.status();
    if (attempt === 10 || hex(trace.stateRoot) === status.stateRoot) return { trace, penalties, status };
  }
}

const number = (value: number | bigint): string => value.toLocaleString('en-US');

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i].length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return [line(header), widths.map((w) => '─'.repeat(w)).join('  '), ...rows.map(line)].join('\n');
}

/** The books as people read them. */
export function printBooks({ agents, owners, supply, rootToken, unit, checks, reconciled }: Books): string {
  const rows = agents.map((b) => [
    `${b.name} (${b.id})`,
    ...[b.deposited, b.given, b.earned, -b.spent, -b.locked, -b.staked, -b.withdrawn, b.balance].map(number),
  ]);
  const sum = Object.entries(supply).map(([what, units]) => [
    what === 'unpaid' ? 'withdrawals not yet paid' : what === 'waiting' ? 'inbox not yet taken in' : what,
    number(units),
  ]);
  const total = Object.values(supply).reduce((a, b) => a + b, 0);
  return [
    table(['agent', 'deposited', 'given', 'earned', 'spent', 'locked', 'staked', 'withdrawn', 'balance'], rows),
    '',
    table(['on the rollup', 'units'], [...sum, ['sum', number(total)]]),
    `held by Root at L1: ${number(rootToken)} token wei, ${unit} to the unit`,
    '',
    table(
      ['owner', 'minted', 'tokens now'],
      owners.map(({ name, minted, token }) => [name, number(minted), number(token)]),
    ),
    '',
    ...checks.map(({ what, left, right, ok }) => (ok ? `✓ ${what}` : `✗ ${what}: ${left} ≠ ${right}`)),
    '',
    reconciled ? 'All money reconciles.' : 'THE BOOKS DO NOT BALANCE.',
  ].join('\n');
}
