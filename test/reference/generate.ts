/** Seeded random traces over all shards, led by the reference's state so that most of what they do means something. */
import { Writer, concat, hex } from '../../protocol/bytes.ts';
import { ESCROW_STATUS, HEAD, KEY, PEER, be } from './cells.ts';
import { OPERATION_NAMES } from './frames.ts';
import { crowdRing, fillRings, jumpCounters, populate } from './genesis.ts';
import { Intents } from './intents.ts';
import { junk, mutated } from './mangle.ts';
import { Random } from './random.ts';
import { ACTS, Reference, type ReferenceOutcome } from './reference.ts';
import { checks, newKey, sign, signing } from './signatures.ts';
import { Step } from './step.ts';
import { survey } from './survey.ts';
import { begin, lapOutbox } from './underway.ts';
import { type Liking, anyName, dueTimes, wanted as wantedBy } from './wants.ts';
import { place, shardOf } from './world.ts';

export type Entry =
  | { readonly poke: number; readonly cell: Uint8Array }
  | { readonly shard: number; readonly seq: number; readonly frame: Uint8Array };

export interface TraceOptions {
  readonly seed: number;
  readonly shards?: number;
  readonly liking?: Liking;
  /** Only receives and acks whose time has come, and no jumps: what any interleaving has to agree on. */
  readonly orderly?: boolean;
  /** Told of everything that happens, in order. */
  readonly watch?: (entry: Entry, outcomes: readonly ReferenceOutcome[]) => void;
}

/** Where a trace goes: nowhere in particular, or what happens where a counter ends, a ring comes round or is crowded. */
export type Theme = 'plain' | 'ends' | 'crowds';
const THEMES: readonly (readonly [number, Theme])[] = [
  [12, 'plain'],
  [3, 'ends'],
  [6, 'crowds'],
];
const LIKINGS: readonly (readonly [number, Liking])[] = [
  [4, 'all'],
  [2, 'sessions'],
  [2, 'workflows'],
  [2, 'contests'],
];

const MAX = 2n ** 53n - 1n;

export class Trace {
  readonly reference: Reference;
  readonly random: Random;
  readonly shards: number;
  readonly orderly: boolean;
  readonly theme: Theme;
  readonly #liking: Liking;
  readonly #watch: NonNullable<TraceOptions['watch']>;
  readonly #intents: Intents;
  readonly #payloads = new Map<string, Uint8Array>();
  #mailRead = 0;
  /** What deposits have brought so far, and what L1 still lets in. */
  brought: bigint;

  constructor({ seed, shards, liking, orderly = false, watch = () => undefined }: TraceOptions) {
    this.random = new Random(seed);
    this.theme = this.random.weighted(THEMES);
    const any = this.theme === 'ends' && this.random.chance(0.4) ? 'serials' : this.random.weighted(LIKINGS);
    this.#liking = liking ?? any;
    const sizes: [number, number][] =
      this.theme === 'crowds'
        ? [
            [1, 2],
            [3, 3],
          ]
        : [
            [2, 1],
            [5, 2],
            [3, 3],
          ];
    this.shards = shards ?? this.random.weighted(sizes);
    this.orderly = orderly;
    this.reference = new Reference({ shards: this.shards, ...checks });
    this.#watch = watch;
    const { world } = this.reference;
    const poke = (at: number, cell: Uint8Array) => this.poke(at, cell);
    if (!this.random.chance(0.03)) {
      populate(world, this.random, poke);
      if (this.random.chance(0.6)) begin(world, this.random, poke);
    }
    if (this.theme === 'ends' && this.random.chance(0.3)) lapOutbox(world, poke, this.random.below(this.shards));
    if (this.theme === 'crowds') fillRings(world, poke);
    this.brought = this.reference.money();
    this.#intents = new Intents(world, this.random, survey(world));
  }

  /** Puts a cell in place, as a long history would have. */
  poke(at: number, cell: Uint8Array): void {
    this.reference.world.poke(at, cell);
    this.#watch({ poke: at, cell }, []);
  }

  seqOf(shard: number): number {
    return Number(this.reference.world.read(place.head(shard), HEAD).seq);
  }

  /** Gives the shard a frame, at its turn unless told otherwise. */
  give(shard: number, frame: Uint8Array, seq = this.seqOf(shard)): readonly ReferenceOutcome[] {
    const { mail } = this.reference.world;
    const money = frame[0] === 0x02 && shard === 0 && seq === this.seqOf(0) ? deposited(frame) : 0n;
    const outcomes = this.reference.execute(shard, seq, frame);
    this.brought += money;
    // A refused receive rolls back what it sent: the newest of a number is the one that counts.
    for (; this.#mailRead < mail.length; this.#mailRead++) {
      const { from, to, number, payload } = mail[this.#mailRead];
      this.#payloads.set(`${from}>${to} ${number}`, payload);
    }
    this.#watch({ shard, seq, frame }, outcomes);
    return outcomes;
  }

  /** So many steps; twice as many where it takes several shards' doing until there is anything to see. */
  run(frames: number): void {
    const all = this.theme === 'crowds' ? 2 * frames : frames;
    for (let i = 0; i < all; i++) this.#next(i > all / 2);
  }

  /** `late`: something has come together that an end of serials or a crowded ring can be in the way of. */
  #next(late: boolean): void {
    const { random } = this;
    const shard = random.below(this.shards);
    this.#intents.now = survey(this.reference.world);
    const kinds: [number, () => void][] = [
      [10, () => this.#tick(shard)],
      [50, () => this.#bundle(shard)],
      [8, () => this.#advance(shard)],
      [this.#liking === 'workflows' ? 3 : 7, () => this.#tell(shard)],
      [this.shards > 1 ? 30 : 1, () => this.#receive(shard, late)],
      [this.shards > 1 ? 6 : 1, () => this.#acknowledge(shard)],
      [this.theme === 'ends' ? 15 : 5, () => this.#inbox()],
    ];
    if (!this.orderly) {
      kinds.push(
        [1, () => this.give(shard, junk(random))],
        [
          0.7,
          () =>
            this.give(
              shard,
              Uint8Array.of(0x01, 0, 0, 9, random.below(256)),
              Math.abs(this.seqOf(shard) + random.pick([-1, 1, 7])),
            ),
        ],
        [this.theme === 'ends' && late ? 30 : 0.5, () => this.#jumped(shard)],
      );
      if (this.theme === 'crowds' && late) kinds.push([40, () => this.#crowded(shard, late)]);
    }
    random.weighted(kinds)();
  }

  /** Something that takes a serial, now that the next one is a rare one. */
  #jumped(shard: number): void {
    const { random } = this;
    const { workflows } = this.#intents.now;
    const untold = workflows.find(({ shard: at, record }) => at === shard && record.done !== record.told);
    // The slot of a workflow that time has decided, and nobody told its legs.
    if (untold && random.chance(0.5)) {
      const due = Number(untold.record.deadline) + random.between(0, 2);
      this.give(shard, new Writer().u8(1).u32(due).finish());
    } else if (random.chance(0.4)) this.#tick(shard);
    const poke = (at: number, cell: Uint8Array) => this.poke(at, cell);
    jumpCounters(this.reference.world, random, poke, shard, untold && random.chance(0.5) ? 'workflows' : undefined);
    this.#bundle(shard, 'serials', untold && random.chance(0.5) ? 'plan' : undefined);
  }

  /** Something that would send, now that there is hardly room. */
  #crowded(shard: number, late: boolean): void {
    const { random } = this;
    const poke = (at: number, cell: Uint8Array) => this.poke(at, cell);
    const others = Array.from({ length: this.shards }, (_, other) => other).filter((other) => other !== shard);
    // Room for an answer, but none to send on to a third shard, is rare by chance.
    const onward = others.find((from) => sendsOn(this.pending(from, shard).payload));
    const spared = onward !== undefined && random.chance(0.7) ? onward : undefined;
    for (const to of others)
      if (spared === undefined ? random.chance(0.6) : to !== spared)
        crowdRing(this.reference.world, random, poke, shard, to);
    if (spared !== undefined) {
      this.give(shard, Uint8Array.of(0x03, spared, ...this.pending(spared, shard).payload!));
      return;
    }
    random.weighted([
      [6, () => this.#receive(shard, late)],
      [3, () => this.#advance(shard)],
      [3, () => this.#tell(shard)],
      [2, () => this.#bundle(shard)],
      [shard === 0 ? 1 : 0, () => this.#inbox()],
    ])();
  }

  #tick(shard: number): void {
    const { random } = this;
    const now = Number(this.reference.world.read(place.head(shard), HEAD).time);
    const due = dueTimes(this.#intents.now, shard);
    const time = random.weighted([
      [6, now + random.between(1, 5)],
      [due.length > 0 ? 8 : 0, due.length > 0 ? random.pick(due) + random.between(-1, 1) : 0],
      [0.5, now],
      [0.5, now - 1],
      [0.4, now + 604_800],
      [0.4, now + 2 ** 20 + random.between(0, 1)],
      [0.1, 0xefffffff],
      [0.2, 0xf0000000],
    ]);
    const frame = new Writer().u8(1).u32(Math.min(2 ** 32 - 1, Math.max(0, time)));
    this.give(shard, random.chance(0.02) ? frame.u8(0).finish() : frame.finish());
  }

  #advance(shard: number): void {
    const { random } = this;
    const here = this.#intents.now.escrows.filter((found) => found.shard === shard || random.chance(0.05));
    const live = here.filter(({ record }) => record.status === ESCROW_STATUS.waiting || random.chance(0.4));
    this.#idFrame(0x05, shard, this.#intents.id(live.length > 0 ? live : here), []);
  }

  #tell(shard: number): void {
    const { random } = this;
    const here = this.#intents.now.workflows.filter((found) => found.shard === shard || random.chance(0.05));
    const decided = here.filter(({ record }) => record.done !== record.told);
    const list = decided.length > 0 && random.chance(0.9) ? decided : here;
    this.#idFrame(0x06, shard, this.#intents.id(list), [random.chance(0.95) ? random.below(3) : random.below(256)]);
  }

  #idFrame(type: number, shard: number, id: number, rest: readonly number[]): void {
    const { random } = this;
    const bytes = random.chance(0.01) ? random.bytes(7) : be(7, BigInt(id));
    const frame = Uint8Array.of(type, ...bytes, ...rest);
    this.give(shard, random.chance(0.02) ? frame.subarray(0, random.below(frame.length)) : frame);
  }

  /** Number of the message from a shard that the other waits for, and its payload when it has been sent. */
  pending(from: number, to: number): { readonly number: bigint; readonly payload: Uint8Array | undefined } {
    const { world } = this.reference;
    const number = world.read(place.peer(to, from), PEER).received + 1n;
    const { sent } = world.read(place.peer(from, to), PEER);
    return { number, payload: number <= sent ? this.#payloads.get(`${from}>${to} ${number}`) : undefined };
  }

  #receive(shard: number, late: boolean): void {
    const { random } = this;
    // Before rings are crowded, what may have to send on to a third shard is let wait until they are.
    const waits = (payload: Uint8Array): boolean => this.theme === 'crowds' && !late && sendsOn(payload);
    const others = Array.from({ length: this.shards }, (_, other) => other).filter((other) => other !== shard);
    const ready = others.filter((from) => {
      const { payload } = this.pending(from, shard);
      return payload !== undefined && !waits(payload);
    });
    if (this.orderly && ready.length === 0) return;
    const from = ready.length > 0 ? random.pick(ready) : random.below(this.shards + 1);
    let payload = this.pending(from, shard).payload ?? random.bytes(random.below(30));
    if (!this.orderly && random.chance(0.06)) {
      payload = payload.slice();
      payload[random.below(payload.length)] ^= 1;
    }
    if (!this.orderly && random.chance(0.02)) payload = [...this.#payloads.values()].at(-1) ?? payload;
    const frame = Uint8Array.of(0x03, from, ...payload);
    this.give(shard, !this.orderly && random.chance(0.01) ? frame.subarray(0, 1) : frame);
  }

  #acknowledge(shard: number): void {
    const { random } = this;
    const to = this.shards > 1 ? (shard + 1 + random.below(this.shards - 1)) % this.shards : 1;
    const { world } = this.reference;
    const { received } = world.read(place.peer(to, shard), PEER);
    const { acked, sent } = world.read(place.peer(shard, to), PEER);
    if (this.orderly && received === acked) return;
    const number = this.orderly
      ? received
      : random.weighted([
          [8, received],
          [1, acked],
          [1, received + 1n],
          [1, acked + 1n],
          [1, sent + 1n],
          [0.3, sent],
        ]);
    const frame = Uint8Array.of(0x04, random.chance(0.03) ? random.below(4) : to, ...be(6, number));
    if (this.orderly && frame[1] !== to) return;
    this.give(shard, !this.orderly && random.chance(0.02) ? frame.subarray(0, 7) : frame);
  }

  #inbox(): void {
    const { random } = this;
    if (random.chance(0.4)) {
      this.#act();
      return;
    }
    const { agents } = this.#intents.now;
    const shard = this.orderly || random.chance(0.95) ? 0 : random.below(this.shards);
    const agent = this.#intents.id(agents, 0.15);
    const record = agents.find(({ id }) => id === agent)?.record;
    const owner = record && random.chance(0.85) ? be(20, record.owner) : random.bytes(20);
    const left = MAX - this.brought;
    const wanted = random.weighted([
      [8, BigInt(random.below(500))],
      [0.5, 0n],
      [2, record?.balance ?? 1n],
      [2, 1n],
    ]);
    const amount = wanted < left ? wanted : left;
    const kind = random.weighted([
      [2, 1],
      [4, 2],
      [3, 3],
      [1, 4],
      [0.2, 0],
      [0.2, 6],
    ]);
    const item = new Writer().u8(kind);
    if (kind === 1) item.u8(random.below(this.shards + (random.chance(0.2) ? 2 : 0)));
    item.bytes(owner);
    if (kind > 1) item.u32(agent % 2 ** 32);
    if (kind === 1 || kind === 4) item.bytes(newKey(new Uint8Array(64).fill(random.below(256))));
    if (kind < 4)
      item.bytes(
        be(7, random.chance(0.04) ? MAX + BigInt(random.below(3)) * BigInt(kind === 3 ? 1 : 2 ** 54) : amount),
      );
    const frame = Uint8Array.of(0x02, ...item.finish());
    // A deposit that L1 would never let in is no test of anything.
    if (kind < 3 && this.brought + deposited(frame) > MAX) return;
    this.give(shard, random.chance(0.03) ? frame.subarray(0, random.below(frame.length)) : frame);
  }

  /** An interaction that an owner forces: mostly one that somebody waits for, now and then none at all. */
  #act(): void {
    const { random } = this;
    const intents = this.#intents;
    const { agents } = intents.now;
    const step = new Step(this.reference.world, checks, random.below(this.shards), 0n);
    let actor = intents.id(agents, 0.1);
    let raw: Uint8Array | undefined;
    for (let tries = 0; raw === undefined && tries < 8 && random.chance(0.9); tries++) {
      const wanted = wantedBy(intents, step, this.#liking);
      if (wanted && ACTS.includes(OPERATION_NAMES[wanted.raw[0] - 1])) ({ actor, raw } = wanted);
    }
    raw ??= intents.build(random.chance(0.9) ? random.pick(ACTS) : random.pick(OPERATION_NAMES), actor);
    raw ??= intents.write('unstake').finish();
    if (random.chance(0.05))
      raw = random.pick([
        () => random.bytes(random.below(9)),
        () => concat(raw!, random.bytes(1 + random.below(3))),
        () => random.bytes(random.between(511, 513)),
        () => (raw!.length > 1 ? mutated(random, raw!) : raw!),
      ])();
    const record = agents.find(({ id }) => id === actor)?.record;
    const owner = record && random.chance(0.93) ? be(20, record.owner) : random.bytes(20);
    const item = new Writer()
      .u8(5)
      .bytes(owner)
      .u32(actor % 2 ** 32);
    this.give(0, Uint8Array.of(0x02, ...item.bytes(raw).finish()));
  }

  #bundle(shard: number, liking = this.#liking, first?: string): void {
    const { random } = this;
    const intents = this.#intents;
    const step = new Step(this.reference.world, checks, shard, 0n);
    const wanted = random.chance(liking === 'serials' ? 0 : 0.65) ? wantedBy(intents, step, liking) : undefined;
    const agents = intents.now.agents.filter((agent) => agent.shard === shard);
    if (!wanted && agents.length === 0) return;
    const actor = wanted?.actor ?? random.pick(agents).id;
    const raws = wanted ? [wanted.raw] : [];
    const more = random.weighted([
      [4, wanted ? 0 : 1],
      [3, 1],
      [3, 2],
      [2, 4],
      [0.3, 8],
    ]);
    for (let i = 0; i < more; i++) {
      const raw = intents.build((i === 0 ? first : undefined) ?? anyName(random, liking), actor);
      if (raw) raws.splice(random.below(raws.length + 1), 0, raw);
    }
    if (raws.length === 0) return;
    const at = shardOf(BigInt(actor)) < this.shards ? shardOf(BigInt(actor)) : shard;
    this.give(!random.chance(0.01) ? at : shard, this.#sealed(actor, raws));
  }

  /** A bundle of these interactions, now and then wrong in one of the ways a bundle can be. */
  #sealed(actor: number, raws: readonly Uint8Array[]): Uint8Array {
    const { random } = this;
    const { world } = this.reference;
    const record = this.#intents.now.agents.find(({ id }) => id === actor)?.record;
    const time = Number(world.read(place.head(actor % 256), HEAD).time);
    const wrong = random.chance(0.08) ? random.below(9) : -1;
    const nonce = Number(record?.nonce ?? 0n) + (wrong === 0 ? random.pick([-1, 1, 2 ** 33]) : 0);
    const body = new Writer().u8(0x10).u8(raws.length - 1 + (wrong === 1 ? random.pick([1, 2, 200]) : 0));
    const flags = wrong === 2 ? 2 + random.below(200) : random.chance(0.1) ? 1 : 0;
    body
      .u8(flags)
      .varint(wrong === 3 ? this.#intents.id([]) : actor)
      .varint(Math.max(0, nonce));
    body.varint(
      wrong === 4 ? Math.max(0, time - random.below(2)) : random.chance(0.9) ? time + 1000 : Number.MAX_SAFE_INTEGER,
    );
    if (flags % 2 === 1) body.bytes(new Uint8Array(32));
    for (const raw of raws) body.bytes(raw);
    if (wrong === 5) body.u8(random.below(256));
    let bytes = body.finish();
    if (wrong === 6) bytes = mutated(random, bytes);
    const key = world.read(place.key(BigInt(actor)), KEY);
    const signature = sign(concat(be(32, key.x), be(32, key.y)), signing.bundle(bytes));
    if (wrong === 7) signature[random.below(8)] ^= 1 << random.below(8);
    const frame = concat(bytes, signature);
    return Uint8Array.from(wrong === 8 ? frame.subarray(0, random.below(frame.length)) : frame);
  }
}

/** Ops of calls that can make the shard they come to send to one that is neither that nor the caller's. */
const THIRD = new Set(['expire', 'rule', 'finalize', 'slash', 'tell'].map((name) => OPERATION_NAMES.indexOf(name) + 1));

const sendsOn = (payload: Uint8Array | undefined): boolean =>
  payload?.[0] === 1 ? THIRD.has(payload[12]) : payload?.[0] === 6 || payload?.[0] === 8;

/** What a well-formed register or deposit brings from L1. */
function deposited(frame: Uint8Array): bigint {
  const length = frame[1] === 1 ? 94 : frame[1] === 2 ? 33 : 0;
  if (frame.length !== length) return 0n;
  const amount = BigInt(hex(frame.subarray(length - 7)));
  return amount > MAX ? 0n : amount;
}
