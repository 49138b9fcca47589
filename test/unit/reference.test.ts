/**
 * The engine against the reference in `test/reference`, on random traces of all shards at once, and what the page promises of
 * any trace. TRACES sets how many; only of the 50,000 that CI runs is it asked that they have seen everything.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { expect, it } from 'vitest';
import '../../protocol/keccak/install.ts';
import { STATUSES } from '../../protocol/status.ts';
import { ESCROW_STATUS, WORKFLOW_STATUS } from '../reference/cells.ts';
import { REACHABLE, isReachable } from '../reference/coverage.ts';
import { Deployment } from '../reference/deployment.ts';
import { Differential, type Seen, addSeen } from '../reference/differential.ts';
import { legOf } from '../reference/moves.ts';
import { inAnyOrder, inTraceOrder, recordRun } from '../reference/orders.ts';
import { Random } from '../reference/random.ts';
import type { Reference } from '../reference/reference.ts';
import { settle } from '../reference/settle.ts';
import { checks } from '../reference/signatures.ts';
import { STATUS_NAMES } from '../reference/statuses.ts';
import { Step } from '../reference/step.ts';
import { survey } from '../reference/survey.ts';
import type { Share } from '../reference/worker.ts';

const TRACES = Number(process.env.TRACES ?? (process.env.CI ? 50_000 : 5_000));
const MINUTES = 60_000;

const seen: Seen = new Map();

it('knows the same statuses', () => {
  expect(STATUSES).toEqual(STATUS_NAMES);
});

/** Runs every so manieth trace on a thread of its own. */
const share = (workerData: Share): Promise<Seen> =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('../reference/worker.ts', import.meta.url), { workerData });
    worker.on('message', resolve);
    worker.on('error', reject);
  });

it(
  'comes to what the page says, and loses no money on the way',
  async () => {
    const step = Math.min(availableParallelism(), 4);
    const shares = Array.from({ length: step }, (_, first) => share({ first, step, end: TRACES }));
    for (const found of await Promise.all(shares)) addSeen(seen, found);
  },
  20 * MINUTES,
);

it(
  'comes to rest with every leg of a workflow paid, or every one refunded',
  () => {
    const differential = new Differential();
    let [committed, aborted] = [0, 0];
    for (let seed = TRACES; seed < TRACES * 1.05; seed++) {
      let rests = false;
      const { reference } = differential.run({ seed, liking: 'workflows' }, (trace) => {
        trace.run(30 + (seed % 31));
        rests = settle(trace);
      });
      if (!rests) continue;
      const { workflows, escrows } = survey(reference.world);
      for (const { id, record } of workflows) {
        const fates = escrows
          .filter((escrow) => legsOf(reference, id).includes(escrow.id))
          .map(({ record }) => record.status);
        const fate = record.status === WORKFLOW_STATUS.committed ? ESCROW_STATUS.fulfilled : ESCROW_STATUS.refunded;
        expect(fates, `workflow ${id} of seed ${seed}`).toEqual(fates.map(() => fate));
        if (fates.length > 1 && fate === ESCROW_STATUS.fulfilled) committed += 1;
        if (fates.length > 0 && fate === ESCROW_STATUS.refunded) aborted += 1;
      }
    }
    expect([committed > TRACES / 2000, aborted > TRACES / 2000]).toEqual([true, true]);
  },
  10 * MINUTES,
);

it(
  'comes to the same in every order that respects what depends on what',
  () => {
    const deployments = [new Deployment(2), new Deployment(3)];
    for (let seed = 0; seed < TRACES / 50; seed++) {
      const run = recordRun({ seed, shards: 2 + (seed % 2) }, (trace) => trace.run(60));
      const random = new Random(seed);
      const deployment = deployments[seed % 2];
      expect(inTraceOrder(run, deployment), `seed ${seed}`).toBeUndefined();
      for (let i = 0; i < 3; i++) expect(inAnyOrder(run, deployment, random), `seed ${seed}`).toBeUndefined();
    }
  },
  10 * MINUTES,
);

it('touches at most eight cells in a step, nine if it is a tell that was forced', () => {
  const wide = [...seen].filter(([step, { cells }]) => cells > (step === 'act tell ok' ? 9 : 8));
  expect(wide).toEqual([]);
});

it.runIf(TRACES >= 50_000)('has seen every status of every operation', () => {
  expect(REACHABLE.filter((step) => !seen.has(step))).toEqual([]);
  expect([...seen.keys()].filter((step) => !isReachable(step))).toEqual([]);
});

/** The escrows that have joined a workflow. */
function legsOf(reference: Reference, workflow: number): number[] {
  const step = new Step(reference.world, checks, workflow % 256, 0n);
  return Array.from({ length: 12 }, (_, leg) => Number(legOf(step, BigInt(workflow), BigInt(leg)).escrow));
}
