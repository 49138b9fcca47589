/** Things already under way where a trace begins: what takes several shards and many right steps would else hardly ever be seen. */
import {
  ESCROW,
  ESCROW_STATUS,
  HEAD,
  KEY,
  LEGS,
  OUTBOX,
  SESSION,
  SESSION_STATUS,
  WORKFLOW,
  WORKFLOW_STATUS,
  blank,
  encode,
} from './cells.ts';
import type { Poke } from './genesis.ts';
import type { Random } from './random.ts';
import { survey } from './survey.ts';
import { type World, makeId, place, shardOf } from './world.ts';

type Ring = 'sessions' | 'escrows' | 'workflows';

/** Seconds from a shard's time to the deadlines of what is under way. */
const SOON = [0n, 1n, 4n, 30n];

class Underway {
  readonly world: World;
  readonly random: Random;
  readonly poke: Poke;
  readonly agents: readonly bigint[];
  readonly services: readonly { readonly id: bigint; readonly provider: bigint }[];

  constructor(world: World, random: Random, poke: Poke) {
    this.world = world;
    this.random = random;
    this.poke = poke;
    const { agents, services } = survey(world);
    this.agents = agents.map(({ id }) => BigInt(id));
    this.services = services.map(({ id, record }) => ({ id: BigInt(id), provider: record.provider }));
  }

  #next(shard: number, ring: Ring): { readonly serial: bigint; readonly id: bigint } {
    const head = this.world.read(place.head(shard), HEAD);
    const serial = head[ring] + 1n;
    this.poke(place.head(shard), encode(HEAD, { ...head, [ring]: serial }, 64));
    return { serial, id: makeId(shard, serial) };
  }

  #due(shard: number): bigint {
    return this.world.read(place.head(shard), HEAD).time + this.random.pick(SOON);
  }

  session(): void {
    const { random, world } = this;
    const [a, b] = random.shuffle(this.agents);
    const { serial, id } = this.#next(shardOf(b), 'sessions');
    const { open, exiting, closed } = SESSION_STATUS;
    const status = random.pick([open, exiting, exiting, closed]);
    const session = {
      ...blank(SESSION),
      a,
      b,
      serial,
      status,
      exitDelay: 5n,
      exitAt: status === open ? 0n : this.#due(shardOf(b)),
      depositA: BigInt(random.below(50)),
      depositB: BigInt(random.below(50)),
      paidAB: BigInt(random.below(60)),
      callsAB: BigInt(random.below(3)),
      callsBA: BigInt(random.below(3)),
    };
    this.poke(place.session(id), encode(SESSION, session, 64));
    for (const [i, party] of [a, b].entries())
      this.poke(place.session(id) + 1 + i, encode(KEY, world.read(place.key(party), KEY), 64));
  }

  /** An escrow with an answer, and its order when the payer is elsewhere. */
  #answered(
    { id: service, provider }: Underway['services'][number],
    payer: bigint,
    status: bigint,
    more: { readonly workflow?: bigint; readonly flags?: bigint; readonly arbiter?: bigint },
  ): bigint {
    const shard = shardOf(service);
    const { serial, id } = this.#next(shard, 'escrows');
    const amount = BigInt(this.random.between(2, 30));
    const paid = BigInt(this.random.below(Number(amount) + 1));
    const common = { payer, payee: provider, service, amount, paid, workflow: 0n, flags: 0n, ...more };
    let link = 0n;
    if (shardOf(payer) !== shard) {
      const order = this.#next(shardOf(payer), 'escrows');
      link = order.id;
      const status = ESCROW_STATUS.held;
      const cell = { ...blank(ESCROW), ...common, arbiter: 0n, serial: order.serial, status, link: id };
      this.poke(place.escrow(order.id), encode(ESCROW, cell, 64));
    }
    const cell = { ...blank(ESCROW), ...common, serial, status, link, deadline: this.#due(shard), contestSeconds: 5n };
    this.poke(place.escrow(id), encode(ESCROW, cell, 64));
    return id;
  }

  contest(): void {
    const { random } = this;
    const service = random.pick(this.services);
    const payer = random.pick(this.agents.filter((agent) => agent !== service.provider));
    const status = random.pick([ESCROW_STATUS.held, ESCROW_STATUS.contested, ESCROW_STATUS.contested]);
    this.#answered(service, payer, status, { arbiter: random.pick(this.agents) });
  }

  /** A workflow of two legs, the first of them done: decided, or open still. */
  workflow(): void {
    const { random } = this;
    const planner = random.pick(this.agents);
    const shard = shardOf(planner);
    const { serial, id } = this.#next(shard, 'workflows');
    const [one, two] = [random.pick(this.services), random.pick(this.services)];
    const payers = [one, two].map(({ provider }) => random.pick(this.agents.filter((agent) => agent !== provider)));
    const escrow = this.#answered(one, payers[0], ESCROW_STATUS.held, { workflow: id });
    const { open, committed, aborted } = WORKFLOW_STATUS;
    const status = random.pick([open, open, committed, aborted]);
    const legs = { ...blank(LEGS), payer0: payers[0], service0: one.id, escrow0: escrow };
    if (status !== committed) Object.assign(legs, { payer1: payers[1], service1: two.id });
    const fields = { serial, planner, status, done: 1n, told: 0n, deadline: this.#due(shard) };
    this.poke(place.workflow(id), encode(WORKFLOW, { ...fields, legs: status === committed ? 1n : 2n }, 64));
    this.poke(place.workflow(id) + 1, encode(LEGS, legs, 64));
  }
}

/** An outbox that has come round to records that are too young to go. */
export function lapOutbox(world: World, poke: Poke, shard: number): void {
  const head = world.read(place.head(shard), HEAD);
  for (let serial = 1n; serial <= 3n; serial++) {
    const record = { ...blank(OUTBOX), kind: 1n, serial, time: head.time, agent: makeId(shard, 1n), amount: serial };
    poke(place.outbox(shard, serial), encode(OUTBOX, record, 64));
  }
  poke(place.head(shard), encode(HEAD, { ...head, outbox: 2n ** 20n }, 64));
}

/** Sessions, contests and workflows, a few of each. */
export function begin(world: World, random: Random, poke: Poke): void {
  const underway = new Underway(world, random, poke);
  for (let i = random.below(5); i > 0; i--)
    random.pick([() => underway.session(), () => underway.contest(), () => underway.workflow()])();
}
