/** The parallel executor comes to what the engine comes to: on random traces, and where everybody wants the same cells. */
import fc from 'fast-check';
import { afterAll, expect, it } from 'vitest';
import '../../protocol/keccak/install.ts';
import { ParallelExecutor } from '../../local/parallel/executor.ts';
import { FROZEN_CELLS, PHASES, Word } from '../../local/parallel/shared.ts';
import { replayFrames } from '../../local/replay.ts';
import { BUNDLE, encodeBundleBody } from '../../protocol/bundle.ts';
import { concat } from '../../protocol/bytes.ts';
import {
  ACTIVE,
  Agent,
  CELL_BYTES,
  EXISTS,
  Escrow,
  EscrowStatus,
  REGION_SLOTS,
  Region,
  Service,
  addressOf,
} from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, tickFrame } from '../../protocol/engine.ts';
import { type Foreign, advanceFrame } from '../../protocol/messages.ts';
import { start } from '../../protocol/moves/escrow.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type Outcome, Status } from '../../protocol/status.ts';
import { PAGE_CELLS, type ShardTrie } from '../../protocol/trie.ts';
import { signing as referenceSigning } from '../reference/signatures.ts';
import { engineAt, options, record, write } from '../support/recording.ts';
import { type Actor, DOMAIN, World } from '../support/world.ts';

const open: ParallelExecutor[] = [];
afterAll(() => Promise.all(open.map((executor) => executor.close())));
const opened = (executor: ParallelExecutor): ParallelExecutor => {
  open.push(executor);
  return executor;
};

const EMPTY = new Uint8Array(CELL_BYTES);

/** Takes the root after every so many frames, each while the next run; tells what the frames came to, and the roots. */
function pipelined(
  executor: ParallelExecutor,
  frames: readonly Uint8Array[],
  every: number,
): { readonly outcomes: Outcome[][]; readonly roots: Uint8Array[] } {
  const outcomes: Outcome[][] = [];
  const roots: Uint8Array[] = [];
  for (let first = 0; first < frames.length; first += every) {
    outcomes.push(...executor.execute(frames.slice(first, first + every)));
    if (first > 0) roots.push(executor.endRoot());
    executor.beginRoot();
  }
  return { outcomes, roots: [...roots, executor.endRoot()] };
}
/** The same by the engine, one after the other. */
function serial(engine: Engine, frames: readonly Uint8Array[], every: number): ReturnType<typeof pipelined> {
  const roots: Uint8Array[] = [];
  const outcomes = frames.map((frame, i) => {
    if (i > 0 && i % every === 0) roots.push(engine.trie.root());
    return engine.execute(engine.seq, frame);
  });
  return { outcomes, roots: [...roots, engine.trie.root()] };
}

it.each([
  [1, false],
  [2, false],
  [2, true],
  [3, true],
])('runs random traces as the engine does, on %i threads, side by side: %s', (threads, sideBySide) => {
  let recording = record(0, 2, 0);
  const { verify } = options(recording);
  const foreign: Foreign = {
    holds: (from, number, hash) => recording.foreign.holds(from, number, hash),
    received: () => true,
  };
  const executor = opened(
    new ParallelExecutor(0, referenceSigning, { verify, foreign, shards: 2, threads, sideBySide }),
  );
  for (let seed = threads * 1000; seed < threads * 1000 + 50; seed++) {
    recording = record(seed, 2, 100);
    // Without most of what stands between, there is more to run side by side.
    const keepsAll = seed % 4 === 0;
    const frames = recording.frames.filter((frame, i) => keepsAll || frame[0] === BUNDLE || i % 5 === 0);
    const { trie } = executor.engine;
    for (const { at, cell } of recording.start) write(trie, at, cell);
    const every = 1 + (seed % 40);
    expect(pipelined(executor, frames, every), `seed ${seed}`).toEqual(serial(engineAt(recording), frames, every));
    for (const { region, page, cells } of executor.pages())
      if (cells.some((byte) => byte !== 0))
        for (let i = 0; i < PAGE_CELLS; i++) write(trie, addressOf(0, region, page * PAGE_CELLS + i), EMPTY);
  }
});

// --- few agents, and all of them want the same ---

const AGENTS = 5;
const OLD = 2000;
const SIGNATURE = new Uint8Array(64).fill(1);
const settings = {
  signing: new Signing({ chainId: 1, root: `0x${'00'.repeat(20)}` }),
  // One in 256 is not valid.
  verify: (_key: Uint8Array, _preimage: () => Uint8Array, signature: Uint8Array): boolean => signature[0] !== 0,
};

function populate(engine: Engine): void {
  const { machine } = engine;
  const { cells } = machine;
  engine.execute(0, tickFrame(1000));
  for (let i = 0; i < AGENTS; i++) {
    const id = machine.createAgent(new Uint8Array(20), new Uint8Array(64).fill(1), 2000);
    Agent.stake.set(cells, machine.edit(machine.agent(id)), 30);
    const service = machine.edit(machine.service(machine.createService()));
    Service.provider.set(cells, service, id);
    Service.flags.set(cells, service, EXISTS | ACTIVE);
    Service.ceiling.set(cells, service, 100);
    Service.deadlineSeconds.set(cells, service, 9);
  }
  // The ring comes round, and finds records of its first lap, most of them done.
  for (let serial = 1; serial <= OLD; serial++) {
    const [payer, service] = [1 + (serial % AGENTS), 1 + ((serial + 1) % AGENTS)];
    const escrow = machine.createEscrow(serial * 256, payer * 256, service * 256, 20, 0, 0);
    start(machine, escrow);
    if (serial % 5 !== 0) Escrow.status.set(cells, escrow, EscrowStatus.fulfilled);
  }
  machine.escrows = REGION_SLOTS - 50;
}

const local = (most: number) => fc.integer({ min: 1, max: most }).map((serial) => serial * 256);
const agent = local(AGENTS + 1);
const small = fc.integer({ min: 0, max: 60 });
/** How long ago, in escrows: made into an id when it is known how many there are. */
const recent = fc.integer({ min: -2, max: 12 });
const ago = fc.oneof({ weight: 8, arbitrary: recent }, { weight: 1, arbitrary: recent.map((n) => n + REGION_SLOTS) });
type Wish = { readonly op: string; readonly ago?: number } & Record<string, unknown>;
const wish = (op: string, fields: Record<string, fc.Arbitrary<unknown>>): fc.Arbitrary<Wish> =>
  fc.record({ op: fc.constant(op), ...fields }) as fc.Arbitrary<Wish>;

const wishes = fc.oneof(
  { weight: 4, arbitrary: wish('transfer', { to: agent, amount: fc.integer({ min: 0, max: 900 }) }) },
  { weight: 2, arbitrary: wish('withdraw', { amount: fc.integer({ min: 0, max: 40 }) }) },
  {
    weight: 2,
    arbitrary: wish('publish', {
      service: fc.integer({ min: 1, max: AGENTS }).map((n) => n * 256),
      active: fc.integer({ min: 0, max: 9 }).map((n) => n > 0),
      ceiling: fc.constant(100),
      deadlineSeconds: fc.integer({ min: 0, max: 12 }),
      arbiter: fc.constantFrom(0, 512),
      contestSeconds: fc.constant(4),
      metadataHash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    }),
  },
  { weight: 10, arbitrary: wish('invoke', { service: agent, amount: small }) },
  { weight: 3, arbitrary: wish('invoke', { service: agent, amount: small, back: fc.integer({ min: 1, max: 5 }) }) },
  {
    weight: 2,
    arbitrary: wish('invoke', {
      service: agent,
      amount: small,
      workflow: fc.constant(0),
      leg: fc.integer({ min: 0, max: 2 }),
    }),
  },
  { weight: 2, arbitrary: wish('invoke', { service: agent, amount: small, capability: local(3) }) },
  {
    weight: 14,
    arbitrary: wish('respond', {
      ago,
      price: fc.integer({ min: 0, max: 30 }),
      result: fc.constantFrom('fulfilled', 'fulfilled', 'failed', 'declined'),
    }),
  },
  { weight: 4, arbitrary: wish('expire', { ago }) },
  { weight: 4, arbitrary: wish('contest', { ago }) },
  { weight: 3, arbitrary: wish('rule', { ago, amount: fc.integer({ min: 0, max: 9 }) }) },
  { weight: 1, arbitrary: wish('stake', { amount: small }) },
  { weight: 1, arbitrary: wish('unstake', {}) },
  {
    weight: 1,
    arbitrary: wish('plan', {
      deadlineSeconds: fc.integer({ min: 0, max: 40 }),
      legs: fc.array(fc.record({ payer: agent, service: agent }), { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: wish('abort', { workflow: local(6) }) },
);
/** What has to run alone. */
const rare = fc.oneof(
  wish('grant', { grantee: agent, service: fc.constant(0), limit: small, expiry: fc.constant(5000) }),
  wish('register', {
    owner: fc.uint8Array({ minLength: 20, maxLength: 20 }),
    key: fc.uint8Array({ minLength: 64, maxLength: 64 }),
    amount: small,
  }),
  wish('open', { peer: agent, deposit: small, exitDelay: fc.constant(10) }),
  wish('tell', { workflow: local(6), leg: fc.integer({ min: 0, max: 2 }) }),
  wish('transfer', { to: fc.constant(256 + 1), amount: small }),
);

const bundles = fc.record({
  actor: fc.integer({ min: 1, max: AGENTS }),
  // Mostly the right one.
  nonce: fc.integer({ min: 0, max: 20 }).map((n) => (n === 0 ? 1 : 0)),
  expiry: fc.integer({ min: 0, max: 20 }).map((n) => (n === 0 ? 1 : 9999)),
  signature: fc.integer({ min: 0, max: 20 }),
  wishes: fc.array(wishes, { minLength: 1, maxLength: 24 }),
});
const givens = fc.oneof(
  { weight: 60, arbitrary: bundles },
  { weight: 5, arbitrary: fc.record({ tick: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ advance: ago }) },
  { weight: 1, arbitrary: fc.record({ junk: fc.uint8Array({ maxLength: 80 }) }) },
  {
    weight: 3,
    arbitrary: bundles.chain((bundle) => rare.map((one) => ({ ...bundle, wishes: [...bundle.wishes, one] }))),
  },
);

/** The frame, where so many escrows were made. */
function frameOf(engine: Engine, given: typeof givens extends fc.Arbitrary<infer T> ? T : never): Uint8Array {
  const { machine } = engine;
  const escrowAgo = (n: number): number => Math.max(machine.escrows + 2 - n, 0) * 256;
  if ('tick' in given) return tickFrame(machine.time + given.tick);
  if ('advance' in given) return advanceFrame(escrowAgo(given.advance));
  if ('junk' in given) return given.junk;
  const actor = given.actor * 256;
  const nonce = Agent.nonce.get(machine.cells, machine.agent(actor)) + given.nonce;
  const interactions = given.wishes.map(({ ago: n, ...rest }): Interaction => {
    const one = n === undefined ? rest : { ...rest, escrow: escrowAgo(n) };
    return one as unknown as Interaction;
  });
  const signature = SIGNATURE.slice();
  if (given.signature === 0) signature[0] = 0;
  return concat(encodeBundleBody({ actor, nonce, expiry: given.expiry }, interactions), signature);
}

it('runs what conflicts everywhere as the engine does', () => {
  // One state that goes on: its rings and counters, and both executors, get older with every run.
  const engine = new Engine(0, settings.signing, { verify: settings.verify, shards: 2 });
  const two = opened(
    new ParallelExecutor(0, settings.signing, { verify: settings.verify, shards: 2, threads: 2, sideBySide: true }),
  );
  const four = opened(
    new ParallelExecutor(0, settings.signing, { verify: settings.verify, shards: 2, threads: 4, sideBySide: true }),
  );
  const plain = opened(new ParallelExecutor(0, settings.signing, { verify: settings.verify, shards: 2, threads: 2 }));
  const executors = [two, four, plain];
  for (const each of [engine, ...executors.map((executor) => executor.engine)]) populate(each);
  const accepted = new Set<string>();
  fc.assert(
    fc.property(fc.array(givens, { minLength: 8, maxLength: 60 }), fc.integer({ min: 1, max: 60 }), (all, every) => {
      for (const { machine } of [engine, ...executors.map((executor) => executor.engine)])
        for (let i = 1; i <= AGENTS; i++) machine.credit(i * 256, 200);
      const frames: Uint8Array[] = [];
      const roots: Uint8Array[] = [];
      const outcomes = all.map((given, n) => {
        if (n > 0 && n % every === 0) roots.push(engine.trie.root());
        const frame = frameOf(engine, given);
        frames.push(frame);
        const came = engine.execute(engine.seq, frame);
        if ('wishes' in given)
          for (const [i, { op }] of given.wishes.entries()) if (came[1 + i].status === Status.ok) accepted.add(op);
        return came;
      });
      roots.push(engine.trie.root());
      for (const executor of executors) expect(pipelined(executor, frames, every)).toEqual({ outcomes, roots });
    }),
    { numRuns: 80, endOnFailure: true },
  );
  const reached = ['transfer', 'withdraw', 'publish', 'invoke', 'respond', 'expire', 'stake', 'unstake'];
  const alone = ['plan', 'abort', 'grant', 'register', 'open'];
  expect([...reached, ...alone].filter((op) => !accepted.has(op))).toEqual([]);
});

it('checks signatures, and the keys they are by, as one thread does', async () => {
  const world = new World();
  const frames: Uint8Array[] = [];
  const { execute } = world;
  world.execute = (frame) => {
    frames.push(frame);
    return execute.call(world, frame);
  };
  world.tick(1_900_000_000);
  const [ann, bob, eve] = [await world.agent(10_000), await world.agent(5_000), await world.agent(100)];
  const give = async (actor: Actor, interactions: readonly Interaction[]): Promise<void> => {
    world.execute(await world.sign(actor, interactions));
    actor.nonce += 1;
  };
  const metadataHash = new Uint8Array(32).fill(7);
  const terms = { active: true, ceiling: 500, deadlineSeconds: 60, arbiter: 0, contestSeconds: 0, metadataHash };
  await give(bob, [{ op: 'publish', service: 0, ...terms }]);
  const laps = Array.from({ length: 6 }, (_, lap) => lap);
  for (const lap of laps) {
    await give(ann, [{ op: 'invoke', service: 256, amount: 100 + lap }]);
    await give(bob, [{ op: 'respond', escrow: 256 * (lap + 1), price: 90, result: 'fulfilled' }]);
    await give(eve, [{ op: 'transfer', to: ann.id, amount: 1 }]);
    // By the key of somebody else.
    world.execute(await world.sign({ ...ann, key: eve.key }, [{ op: 'withdraw', amount: 1 }]));
  }
  const one = await replayFrames(DOMAIN, frames);
  const two = await replayFrames(DOMAIN, frames, 2);
  expect(two.executed).toEqual(one.executed);
  expect(two.stateRoot).toEqual(one.stateRoot);
  expect(one.executed.filter(({ outcomes }) => outcomes[0].status === Status.bad_signature)).toHaveLength(laps.length);
  expect(two.engine.trie.root()).toEqual(world.engine.trie.root());
});

it('goes on from pages and gives them back', () => {
  const engine = new Engine(0, settings.signing, { verify: settings.verify });
  populate(engine);
  const executor = opened(new ParallelExecutor(0, settings.signing, { verify: settings.verify, threads: 2 }));
  executor.load(engine.trie.takeChanged());
  expect(executor.root()).toEqual(engine.trie.root());
  const images = executor.pages();
  expect(images.length).toBeGreaterThan(0);
  expect(images.every(({ cells }) => cells.length === 1024 * CELL_BYTES)).toBe(true);
  expect(addressOf(0, images[0].region, 0)).toBeLessThan(2 ** 24);
});

// --- where the threads end ---

const transfers = (count: number, nonce: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) =>
    concat(
      encodeBundleBody({ actor: 256, nonce: nonce + i, expiry: 9999 }, [{ op: 'transfer', to: 512, amount: 1 }]),
      SIGNATURE,
    ),
  );

it('leaves what is hashed as it was, whatever is written meanwhile, and hashes more than it has room for', () => {
  const engine = new Engine(0, settings.signing, { verify: settings.verify });
  const executor = opened(new ParallelExecutor(0, settings.signing, { verify: settings.verify, threads: 2 }));
  // More cells than are copied at once, in pages of one cell and in whole ones.
  const places = Array.from({ length: FROZEN_CELLS / PAGE_CELLS + 40 }, (_, page) =>
    Array.from({ length: page % 7 === 0 ? 1 : PAGE_CELLS }, (_c, i) =>
      addressOf(0, Region.escrow, page * PAGE_CELLS + i),
    ),
  ).flat();
  const cellOf = (n: number, lap: number): Uint8Array => Uint8Array.from({ length: CELL_BYTES }, (_, i) => n + i * lap);
  const fill = (trie: ShardTrie, lap: number): void => {
    for (let n = 0; n < places.length; n += lap) write(trie, places[n], cellOf(n, lap));
  };
  for (const [lap, next] of [
    [1, 31],
    [37, 41],
    [43, 29],
  ]) {
    fill(engine.trie, lap);
    fill(executor.engine.trie, lap);
    executor.beginRoot();
    fill(executor.engine.trie, next);
    expect(executor.endRoot()).toEqual(engine.trie.root());
    fill(engine.trie, next);
  }
  expect(executor.root()).toEqual(engine.trie.root());
});

it('asks for one root at a time, and goes on where its caller has stopped it', () => {
  const engine = new Engine(0, settings.signing, { verify: settings.verify });
  const executor = opened(new ParallelExecutor(0, settings.signing, { verify: settings.verify, threads: 2 }));
  for (const each of [engine, executor.engine]) populate(each);
  expect(() => executor.endRoot()).toThrow('no root was asked for');
  executor.beginRoot();
  expect(() => executor.beginRoot()).toThrow('the last root was not fetched');
  expect(executor.endRoot()).toEqual(engine.trie.root());
  executor.beginRoot();
  const frames = transfers(40, 0);
  expect(() =>
    executor.run(frames, (frame) => {
      if (frame === 17) throw new Error('seen enough');
    }),
  ).toThrow('seen enough');
  expect(executor.endRoot()).toEqual(engine.trie.root());
  const done = executor.engine.seq - engine.seq;
  expect(done).toBeGreaterThan(17);
  for (const frame of frames.slice(0, done)) engine.execute(engine.seq, frame);
  expect(executor.root()).toEqual(engine.trie.root());
  expect(executor.execute(frames.slice(done))).toEqual(
    frames.slice(done).map((frame) => engine.execute(engine.seq, frame)),
  );
  expect(executor.root()).toEqual(engine.trie.root());
});

it('ends in the middle of everything, and says so to who goes on', async () => {
  for (const threads of [1, 2, 3]) {
    const executor = new ParallelExecutor(0, settings.signing, { verify: settings.verify, threads });
    populate(executor.engine);
    executor.beginRoot();
    executor.run(transfers(8, 0));
    await executor.close();
    expect(() => executor.endRoot()).toThrow('it was closed');
  }
});

it.each([2, 3])('tells what one of %i threads has failed with', async (threads) => {
  const executor = new ParallelExecutor(0, settings.signing, { verify: settings.verify, threads });
  populate(executor.engine);
  const root = executor.root();
  const { control } = executor.shared;
  // A phase that nobody knows.
  Atomics.store(control, Word.done, 0);
  Atomics.store(control, Word.phase, PHASES - 1);
  Atomics.notify(control, Word.phase);
  // What this thread does for itself goes on.
  expect(executor.execute(transfers(4, 0))).toHaveLength(4);
  expect(() => executor.root()).toThrow(`a thread has failed: Error: there is no phase ${PHASES - 1}`);
  expect(root).toHaveLength(32);
  await expect(executor.close()).rejects.toThrow('a thread has failed');
});

it('stops where the question for a signature fails, and the others with it', async () => {
  const verify = (_key: Uint8Array, _preimage: () => Uint8Array, signature: Uint8Array): boolean => {
    if (signature[0] === 2) throw new Error('no answer');
    return true;
  };
  const executor = new ParallelExecutor(0, settings.signing, { verify, threads: 3, sideBySide: true });
  populate(executor.engine);
  const frames = transfers(20, 0);
  const last = frames.at(-1)!;
  last[last.length - 64] = 2;
  expect(() => executor.run(frames)).toThrow('no answer');
  expect(() => executor.root()).toThrow('a thread has failed: Error: no answer');
  await expect(executor.close()).rejects.toThrow('no answer');
});
