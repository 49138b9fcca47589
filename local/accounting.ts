/**
 * The books, to the unit: what Root holds against what the trace says everybody has. Three sources that know nothing of each other: L1's
 * logs and balances, the trace executed again from nothing, and what the gateway shows.
 */
import { type Address } from 'viem';
import { rootAbi } from '../contracts/abi.ts';
import { decodeBundle } from '../protocol/bundle.ts';
import { equal, hex, unhex } from '../protocol/bytes.ts';
import {
  Agent as AgentCell,
  Escrow,
  EscrowStatus,
  Head,
  Inbox,
  META_INBOX,
  OUTBOX_WITHDRAWAL,
  Outbox,
  Region,
  Session,
  SessionStatus,
  get,
  slotOf,
} from '../protocol/cells.ts';
import { FrameKind } from '../protocol/engine.ts';
import { payOut } from '../protocol/half.ts';
import { makeId, serialOf } from '../protocol/ids.ts';
import { decodeInboxItem } from '../protocol/inbox.ts';
import type { Agent } from './agents.ts';
import type { Gateway } from './gateway.ts';
import type { L1 } from './l1.ts';
import { type Replay, replay } from './replay.ts';

/** Base units of one agent. */
export interface AgentBooks {
  readonly id: string;
  readonly name: string;
  deposited: number;
  /** Given by a sponsor, less given as one, and transfers. */
  given: number;
  earned: number;
  spent: number;
  /** In open escrows and sessions. */
  locked: number;
  withdrawn: number;
  /** As the gateway shows it. */
  balance: number;
}

export interface Check {
  readonly what: string;
  readonly left: string;
  readonly right: string;
  readonly ok: boolean;
}

/** What really happened, counted where it happened. */
export interface Counts {
  readonly agents: number;
  /** Escrows fulfilled. */
  readonly coreCalls: number;
  /** Calls in the logs that sessions were settled with. */
  readonly sessionCalls: number;
  readonly sessions: number;
  /** Batches standing on L1. */
  readonly batches: number;
  /** Withdrawals L1 has paid. */
  readonly withdrawals: number;
  readonly frames: number;
}

export interface Books {
  readonly agents: readonly AgentBooks[];
  readonly owners: readonly { readonly name: string; readonly minted: bigint; readonly token: bigint }[];
  readonly supply: {
    readonly balances: number;
    readonly stakes: number;
    readonly escrows: number;
    readonly sessions: number;
    readonly unpaid: number;
    readonly waiting: number;
  };
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
  const domain = { chainId: l1.chainId, root: l1.root };
  let trace = await replay(gateway, domain);
  let status = await gateway.status();
  // A tick may have come in between.
  for (let i = 0; i < 10 && Number(status.shards[0].seq) !== trace.engine.seq; i++) {
    trace = await replay(gateway, domain);
    status = await gateway.status();
  }
  const { engine } = trace;
  const { machine, trie } = engine;
  const head = machine.head();

  const shown = await gateway.agents();
  const names = new Map(actors.map(({ id, name }) => [id, name]));
  const books = new Map<number, AgentBooks>();
  for (const agent of shown) {
    const serial = Number(agent.id.split(':')[1]);
    books.set(makeId(0, serial), {
      id: agent.id,
      name: names.get(agent.id) ?? agent.name ?? '',
      deposited: 0,
      given: 0,
      earned: 0,
      spent: 0,
      locked: 0,
      withdrawn: 0,
      balance: Number(agent.balance),
    });
  }
  const of = (agent: number): AgentBooks => books.get(agent) ?? { ...NOBODY };

  const moved = bookGifts(trace, of);
  const escrows = bookEscrows(trace, of);
  const sessions = bookSessions(trace, of);

  // --- L1's side ---
  const at = { address: l1.root as Address, abi: rootAbi } as const;
  const [held, rootToken, items, paid, batches] = await Promise.all([
    l1.client.readContract({ ...at, functionName: 'held' }),
    l1.tokenBalance(l1.root),
    l1.client.getContractEvents({ ...at, eventName: 'InboxItem', fromBlock: 0n, strict: true }),
    l1.client.getContractEvents({ ...at, eventName: 'Withdrawn', fromBlock: 0n, strict: true }),
    l1.client.readContract({ ...at, functionName: 'head' }),
  ]);
  const cursor = get(trie.read(Region.meta, META_INBOX), Inbox.cursor);
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
  const paidSerials = new Set(paid.map(({ args }) => Number(args.serial)));
  for (let serial = 1; serial <= get(head, Head.outbox); serial++) {
    const cell = trie.read(Region.outbox, slotOf(Region.outbox, serial));
    if (get(cell, Outbox.kind) !== OUTBOX_WITHDRAWAL) continue;
    const amount = get(cell, Outbox.amount);
    requested += amount;
    if (!paidSerials.has(serial)) unpaid += amount;
    const agent = get(cell, Outbox.agent);
    // A refused deposit comes back without ever having been anybody's balance.
    if (!moved.refunds.has(serial)) of(agent).withdrawn += amount;
  }
  for (const { args } of paid) paidUnits += Number(args.amount);

  let [balances, stakes] = [0, 0];
  for (let serial = 1; serial <= get(head, Head.agents); serial++) {
    balances += get(trie.read(Region.agent, serial), AgentCell.balance);
    stakes += get(trie.read(Region.agent, serial), AgentCell.stake);
  }
  const supply = { balances, stakes, escrows: escrows.open, sessions: sessions.open, unpaid, waiting };
  const total = balances + stakes + escrows.open + sessions.open + unpaid + waiting;

  const owners = [];
  const checks = [
    check('the trace, executed again, gives the state root the gateway shows', hex(trace.stateRoot), status.stateRoot),
    check('tokens of Root = units held × unit', rootToken, BigInt(held) * l1.unit),
    check('units held = deposits − withdrawals paid', held, depositedAtL1 - paidUnits),
    check('units held = balances + stakes + escrows + sessions + unpaid withdrawals + inbox', held, total),
    check('withdrawals requested = paid + unpaid', requested, paidUnits + unpaid),
    check('agents the gateway shows = agents in the trace', shown.length, get(head, Head.agents)),
  ];
  for (const b of books.values()) {
    checks.push(
      check(
        `${b.name || b.id}: deposited + given + earned − spent − locked − withdrawn = balance`,
        b.deposited + b.given + b.earned - b.spent - b.locked - b.withdrawn,
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
      coreCalls: escrows.fulfilled,
      sessionCalls: sessions.calls,
      sessions: sessions.closed,
      batches: Number(batches),
      withdrawals: paid.length,
      frames: engine.seq,
    },
  };
}

const NOBODY: AgentBooks = {
  id: '',
  name: '',
  deposited: 0,
  given: 0,
  earned: 0,
  spent: 0,
  locked: 0,
  withdrawn: 0,
  balance: 0,
};

/** Deposits, sponsoring and transfers, from the frames. Returns the serials of refunds of deposits that found no agent. */
function bookGifts({ executed }: Replay, of: (agent: number) => AgentBooks): { refunds: Set<number> } {
  const refunds = new Set<number>();
  for (const { frame, outcomes } of executed) {
    if (frame[0] === FrameKind.inbox) {
      const [{ status, value }] = outcomes;
      const item = decodeInboxItem(frame.subarray(1));
      if (status === 0 && item.kind === 'register') of(value).deposited += item.amount;
      else if (status === 0 && item.kind === 'deposit') of(item.agent).deposited += item.amount;
      else if (value !== 0 && (item.kind === 'register' || item.kind === 'deposit')) refunds.add(serialOf(value));
    } else if (frame[0] === FrameKind.bundle && outcomes[0].status === 0) {
      const { actor, interactions } = decodeBundle(frame);
      for (const [i, interaction] of interactions.entries()) {
        const { status, value } = outcomes[i + 1];
        if (status !== 0 || (interaction.op !== 'register' && interaction.op !== 'transfer')) continue;
        of(actor).given -= interaction.amount;
        of(interaction.op === 'register' ? value : interaction.to).given += interaction.amount;
      }
    }
  }
  return { refunds };
}

function bookEscrows({ engine }: Replay, of: (agent: number) => AgentBooks): { open: number; fulfilled: number } {
  let [open, fulfilled] = [0, 0];
  for (let serial = 1; serial <= get(engine.machine.head(), Head.escrows); serial++) {
    const cell = engine.machine.readEscrow(makeId(engine.shard, serial));
    const [status, amount, paid] = [get(cell, Escrow.status), get(cell, Escrow.amount), get(cell, Escrow.paid)];
    if (status === EscrowStatus.open || status === EscrowStatus.held) {
      open += amount;
      of(get(cell, Escrow.payer)).locked += amount;
    } else if (status === EscrowStatus.fulfilled) {
      fulfilled += 1;
      of(get(cell, Escrow.payer)).spent += paid;
      of(get(cell, Escrow.payee)).earned += paid;
    }
  }
  return { open, fulfilled };
}

function bookSessions(
  { engine }: Replay,
  of: (agent: number) => AgentBooks,
): { open: number; closed: number; calls: number } {
  let [open, closed, calls] = [0, 0, 0];
  for (let serial = 1; serial <= get(engine.machine.head(), Head.sessions); serial++) {
    const cell = engine.machine.readSession(makeId(engine.shard, serial));
    const [a, b] = [of(get(cell, Session.a)), of(get(cell, Session.b))];
    const [depositA, depositB] = [get(cell, Session.depositA), get(cell, Session.depositB)];
    calls += get(cell, Session.callsAB) + get(cell, Session.callsBA);
    if (get(cell, Session.status) !== SessionStatus.closed) {
      open += depositA + depositB;
      a.locked += depositA;
      b.locked += depositB;
      continue;
    }
    closed += 1;
    const { outA, outB } = payOut(depositA, depositB, get(cell, Session.paidAB), get(cell, Session.paidBA));
    for (const [books, gain] of [
      [a, outA - depositA],
      [b, outB - depositB],
    ] as const) {
      if (gain > 0) books.earned += gain;
      else books.spent -= gain;
    }
  }
  return { open, closed, calls };
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
    ...[b.deposited, b.given, b.earned, -b.spent, -b.locked, -b.withdrawn, b.balance].map(number),
  ]);
  const sum = Object.entries(supply).map(([what, units]) => [
    what === 'unpaid' ? 'withdrawals not yet paid' : what === 'waiting' ? 'inbox not yet taken in' : what,
    number(units),
  ]);
  const total = Object.values(supply).reduce((a, b) => a + b, 0);
  return [
    table(['agent', 'deposited', 'given', 'earned', 'spent', 'locked', 'withdrawn', 'balance'], rows),
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
