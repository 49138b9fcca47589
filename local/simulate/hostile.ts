/**
 * Who lies, and what it gets: an old half in an exit, members that keep nothing, a sequencer whose batch says something else. The state transition, the
 * codec of columns and the replay of a trace are the product's own; only times and numbers of liars are the simulation's.
 */
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { concat, equal, hex } from '../../protocol/bytes.ts';
import { type Code, columnRoot, decodeColumns, encodeColumns } from '../../protocol/da/columns.ts';
import { encodeData } from '../../protocol/da/layout.ts';
import { segmentEnds } from '../../protocol/dispute.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, commitment, inboxFrame, tickFrame } from '../../protocol/engine.ts';
import { SIGNATURE_BYTES } from '../../protocol/half.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { Trace, isCanonical, replayBatch, runsOf } from '../../protocol/replay.ts';
import type { Range } from '../../protocol/schedule.ts';
import { Status } from '../../protocol/status.ts';
import type { ChunkRecord } from '../../protocol/trace.ts';
import { type CoreRun, DOMAIN } from './core/setup.ts';
import { L1_RULES } from './cost.ts';
import { Draws } from './random.ts';

// --- old halves ---

export interface OldHalves {
  readonly trials: number;
  /** Trials in which who is paid was there in time, by itself or by its watchtower. */
  readonly watched: number;
  /** Base units that its payer kept from a payee: in those trials, and in the others. */
  readonly takenWatched: number;
  readonly takenUnwatched: number;
  /** Base units of everybody, before and after: equal. */
  readonly before: number;
  readonly after: number;
}

const EPOCH = 2_000_000_000;
const FUNDS = 1_000_000_000;
const DEPOSIT = 100_000;
const EXIT_DELAY = 3600;

/**
 * A payer exits with an old half; whoever watches settles the newest one. How long that takes is drawn; `lateMean` seconds about, of the hour that an
 * exit is delayed.
 */
export function oldHalves(seed: number, trials: number, lateMean: number): OldHalves {
  const draws = Draws.of(seed, 'old halves');
  const engine = new Engine(0, new Signing(DOMAIN), { verify: () => true });
  const { machine } = engine;
  const run = (frame: Uint8Array) => engine.execute(engine.seq, frame);
  let time = EPOCH;
  run(tickFrame(time));
  const [payer, payee] = [0, 1].map(() => {
    const item = {
      kind: 'register',
      shard: 0,
      owner: new Uint8Array(20).fill(7),
      key: draws.bytes(64),
      amount: FUNDS,
    } as const;
    return run(inboxFrame(encodeInboxItem(item)))[0].value;
  });
  const nonces = new Map<number, number>();
  const submit = (actor: number, interaction: Interaction): { status: number; value: number } => {
    const nonce = nonces.get(actor) ?? 0;
    nonces.set(actor, nonce + 1);
    const body = encodeBundleBody({ actor, nonce, expiry: 0xe0000000 }, [interaction]);
    return run(concat(body, new Uint8Array(SIGNATURE_BYTES)))[1];
  };
  const money = (): number => machine.balance(payer) + machine.balance(payee);
  const before = money();
  let [watched, takenWatched, takenUnwatched] = [0, 0, 0];
  for (let trial = 0; trial < trials; trial++) {
    const session = submit(payer, { op: 'open', peer: payee, deposit: DEPOSIT, exitDelay: EXIT_DELAY }).value;
    const newest = draws.between(2, 1000);
    const old = draws.between(1, newest - 1);
    const half = (calls: number) => ({
      session,
      dir: 0 as const,
      seq: calls,
      calls,
      paid: calls * 50,
      root: draws.bytes(32),
    });
    const settle = (calls: number): Interaction => ({
      op: 'settle',
      half: half(calls),
      signature: new Uint8Array(SIGNATURE_BYTES),
    });
    const had = machine.balance(payee);
    submit(payer, settle(old));
    submit(payer, { op: 'exit', session });
    const late = draws.exponential(lateMean);
    const isWatched = late < EXIT_DELAY;
    if (isWatched) {
      time += Math.floor(late);
      run(tickFrame(time + 1));
      watched += 1;
      const { status } = submit(payee, settle(newest));
      if (status !== Status.ok) throw new Error(`a newer half was refused: status ${status}`);
      // An old one that comes after it changes nothing.
      if (submit(payer, settle(old)).status !== Status.stale_half) throw new Error('an old half was taken');
    }
    time += EXIT_DELAY + 2;
    run(tickFrame(time));
    if (submit(payer, { op: 'finalize', session }).status !== Status.ok) throw new Error('an exit was not paid out');
    const kept = newest * 50 - (machine.balance(payee) - had);
    if (isWatched) takenWatched += kept;
    else takenUnwatched += kept;
  }
  return { trials, watched, takenWatched, takenUnwatched, before, after: money() };
}

// --- a committee whose members keep nothing ---

export interface Withheld {
  /** Members that are gone, or that sign and keep nothing. */
  readonly dead: number;
  readonly lying: number;
  /** Which mode takes the batch; whether its data comes back from what is kept. */
  readonly mode: 'committee' | 'blob';
  readonly restored: boolean;
}

/** Every number of dead and of lying members, on the data of a batch: with q signatures there is a certificate, from k columns there is the data. */
export function withheld(records: readonly ChunkRecord[], code: Code, quorum: number, seed: number): Withheld[] {
  const { data } = encodeData(records);
  const columns = encodeColumns(data, code);
  const roots = columns.map(columnRoot);
  const draws = Draws.of(seed, 'withheld');
  const out: Withheld[] = [];
  for (let dead = 0; dead <= code.n; dead++) {
    for (let lying = 0; lying <= code.n - dead; lying++) {
      const members = draws.shuffle(Array.from({ length: code.n }, (_, i) => i));
      const mode = code.n - dead >= quorum ? 'committee' : 'blob';
      const kept = members.slice(dead + lying);
      // Whoever reads checks each column against the root that was signed.
      const have = new Map(
        kept.filter((c) => equal(columnRoot(columns[c]), roots[c])).map((c) => [c, columns[c]] as const),
      );
      const restored = have.size >= code.k && equal(decodeColumns(have, data.length, code), data);
      out.push({ dead, lying, mode, restored });
    }
  }
  return out;
}

// --- a sequencer that lies ---

export interface Lie {
  readonly batch: number;
  readonly what: 'state' | 'order' | 'none';
  readonly caught: boolean;
  readonly steps: number;
  /** Reveals until one step is left, and the moves of both sides with the opening. */
  readonly rounds: number;
  readonly moves: number;
  /** Seconds on L1 from the batch until it is void: execution, then a block for each move. */
  readonly seconds: number;
}

/** Reveals that bring a stretch of so many steps down to one. */
export function roundsOf(steps: number): number {
  let rounds = 0;
  for (let length = steps; length > 1; rounds++) {
    const ends = segmentEnds(length);
    length = Math.max(...ends.map((end, i) => end - (ends[i - 1] ?? 0)));
  }
  return rounds;
}

/**
 * A verifier executes what was posted, from L1's data alone; in each batch the sequencer may have said another state, or put frames in another order.
 * @param stepRate steps a second that a verifier executes
 */
export async function lies(run: CoreRun, stepRate: number, seed: number): Promise<Lie[]> {
  const out: Lie[] = [];
  const draws = Draws.of(seed, 'lies');
  const trace = new Trace({ ...DOMAIN, shards: run.shards.length, verify: () => true });
  for (const { record, records } of run.batches) {
    const { steps, number } = record.header;
    const rounds = roundsOf(steps);
    // The opening; for each reveal one of the challenger's picks, the last of which brings the step along.
    const moves = 1 + 2 * rounds;
    const common = {
      batch: number,
      steps,
      rounds,
      moves,
      seconds: steps / stepRate + (1 + moves) * L1_RULES.blockSeconds,
    };
    const before = trace.traffic;
    const { stateRoot, stretches } = await replayBatch(trace, records);
    const says = (root: Uint8Array): string => hex(commitment(root));
    const isCaught = (post: string, runs: readonly Range[]): boolean =>
      says(stateRoot) !== post || !isCanonical(runs, stretches, before);
    const honest = runsOf(records);
    out.push({ ...common, what: 'none', caught: isCaught(record.header.post, honest) });
    const lied = stateRoot.slice();
    lied[draws.below(lied.length)] ^= 1 << draws.below(8);
    out.push({ ...common, what: 'state', caught: isCaught(says(lied), honest) });
    // All of the first shard's frames behind all others: an order of each shard's log, but not that of the trace.
    const [{ shard }] = honest;
    const moved = runsOf([
      ...records.filter((one) => one.shard !== shard),
      ...records.filter((one) => one.shard === shard),
    ]);
    if (moved.length === honest.length && moved.every((one, i) => one.shard === honest[i].shard)) continue;
    out.push({ ...common, what: 'order', caught: isCaught(record.header.post, moved) });
  }
  return out;
}
