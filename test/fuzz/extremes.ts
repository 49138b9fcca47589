/**
 * Situations made by hand, where random traces hardly come: fields at the ends of what they can hold, counters that stop, frames of
 * no form, shards that do not exist, keys and signatures that are almost right.
 */
import { secp256k1 } from '@noble/curves/secp256k1.js';
import { Writer, concat, hex, word } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import { OP_NAMES, opOf } from '../../protocol/ops/index.ts';
import { type Slot, Wire } from '../../protocol/wire.ts';
import {
  AGENT,
  ESCROW,
  ESCROW_STATUS,
  HEAD,
  KEY,
  type Layout,
  PEER,
  SERVICE,
  SESSION,
  SESSION_STATUS,
  be,
  blank,
  encode,
} from '../reference/cells.ts';
import type { Trace } from '../reference/generate.ts';
import { OWNERS, newKey, sign, signAsOwner, signing } from '../reference/signatures.ts';
import { survey } from '../reference/survey.ts';
import { makeId, place, shardOf } from '../reference/world.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const LAST_TIME = 0xefffffff;

export interface Situation {
  readonly name: string;
  /** How often, with other seeds. */
  readonly times: number;
  readonly shards?: number;
  readonly drive: (trace: Trace) => void;
}

/** A cell with these fields, the others zero. */
const cellOf = (layout: Layout, fields: Readonly<Record<string, bigint>>): Uint8Array =>
  encode(layout, { ...blank(layout), ...fields }, 64);

/** Changes fields of a record. */
function change(trace: Trace, at: number, layout: Layout, fields: Readonly<Record<string, bigint>>): void {
  trace.poke(at, encode(layout, { ...trace.reference.world.read(at, layout), ...fields }, 64));
}

/** A bundle of an agent, right in all but what is asked to be wrong. */
function seal(
  trace: Trace,
  actor: number,
  raws: readonly Uint8Array[],
  wrong: { nonce?: number; expiry?: number; flags?: number } = {},
): Uint8Array {
  const { world } = trace.reference;
  const nonce = wrong.nonce ?? Number(world.read(place.agent(BigInt(actor)), AGENT).nonce);
  const body = new Writer()
    .u8(0x10)
    .u8(raws.length - 1)
    .u8(wrong.flags ?? 0)
    .varint(actor)
    .varint(nonce)
    .varint(wrong.expiry ?? MAX);
  if (wrong.flags === 1) body.bytes(new Uint8Array(32));
  for (const raw of raws) body.bytes(raw);
  const bytes = body.finish();
  const { x, y } = world.read(place.key(BigInt(actor)), KEY);
  return concat(bytes, sign(concat(be(32, x), be(32, y)), signing.bundle(bytes)));
}

/** Gives one of the agents' bundles to its shard. */
function act(trace: Trace, actor: number, ...raws: readonly Uint8Array[]): void {
  trace.give(shardOf(BigInt(actor)), seal(trace, actor, raws));
}

const agentsOf = (trace: Trace): number[] => survey(trace.reference.world).agents.map(({ id }) => id);

/** Ids of everything there is, and of much that is not. */
function ids(trace: Trace): number[] {
  const { random } = trace;
  const shard = random.below(trace.shards + 1);
  const known = Object.values(survey(trace.reference.world)).flatMap((list: readonly { readonly id: number }[]) =>
    list.map(({ id }) => id),
  );
  const strange = [
    0,
    shard,
    255,
    256 + shard,
    256 + 255,
    2 ** 28 - 256 + shard,
    2 ** 28 + shard,
    2 ** 32 - 1,
    2 ** 32,
    2 ** 52 - 256 + shard,
    2 ** 52 + shard,
    2 ** 52 + 256 + shard,
    MAX,
  ];
  return [...known, ...known, ...strange];
}

const amounts = [0, 1, 2, 100, 2 ** 25, 2 ** 25 + 1, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1, 2 ** 48, 2 ** 52, MAX - 1, MAX];

/** An interaction whose every field is at an end of what it can be, or names something; malformed now and then. */
function wild(trace: Trace, code: number): Uint8Array {
  const writer = new Writer().u8(code);
  writeSlots(trace, writer, opOf(code)!.slots);
  return writer.finish();
}

function writeSlots(trace: Trace, writer: Writer, slots: readonly Slot[]): void {
  const { random } = trace;
  const isBad = (): boolean => random.chance(0.004);
  for (const { wire, size, least, parts, exclusive, names } of slots) {
    const within = (values: readonly number[]): number => {
      const fitting = isBad() ? values : values.filter((value) => value >= least && value < size);
      return fitting.length > 0 ? random.pick(fitting) : least;
    };
    if (wire === Wire.varint)
      writer.varint(
        within(names || size === 2 ** 32 || random.chance(0.3) ? ids(trace) : [...amounts, random.below(200)]),
      );
    else if (wire === Wire.byte) writer.u8(within([least, least + 1, size - 1, 0, 1, 2, 11, 255]));
    else if (wire === Wire.bytes)
      writer.bytes(random.pick([new Uint8Array(size), new Uint8Array(size).fill(255), random.bytes(size)]));
    else if (wire === Wire.options) {
      let bits = random.below(isBad() ? 256 : size);
      if ((bits & exclusive) === exclusive && !isBad()) bits &= ~1;
      writer.u8(bits);
      for (const [i, part] of parts.entries()) if (bits & (1 << i)) writeSlots(trace, writer, part);
    } else {
      const count = isBad() ? random.pick([0, size + 1]) : random.pick([1, 2, size]);
      writer.u8(count);
      for (let i = 0; i < count; i++) writeSlots(trace, writer, parts[0]);
    }
  }
}

/** Of all operations. */
export const CODES: readonly number[] = Array.from({ length: OP_NAMES.length }, (_, i) => i + 1);

function wildBundles(trace: Trace, count: number): void {
  const { random } = trace;
  for (let i = 0; i < count; i++) {
    const agents = agentsOf(trace);
    if (agents.length === 0) return;
    const raws = Array.from({ length: random.between(1, 4) }, () => wild(trace, random.pick(CODES)));
    act(trace, random.pick(agents), ...raws);
    if (random.chance(0.2)) carryMail(trace);
  }
}

/** Every shard receives what it was sent, and says so. */
function carryMail(trace: Trace): void {
  for (let from = 0; from < trace.shards; from++)
    for (let to = 0; to < trace.shards; to++) {
      for (let left = 4; left > 0 && from !== to; left--) {
        const { payload } = trace.pending(from, to);
        if (!payload) break;
        trace.give(to, Uint8Array.of(0x03, from, ...payload));
      }
      const { received } = trace.reference.world.read(place.peer(to, from), PEER);
      if (from !== to) trace.give(from, Uint8Array.of(0x04, to, ...be(6, received)));
    }
}

/** Frames of every first byte and of many lengths, of nothing in particular. */
function garbage(trace: Trace): void {
  const { random } = trace;
  for (const first of [0, 1, 2, 3, 4, 5, 6, 7, 0x0f, 0x10, 0x11, 0x7f, 0xff])
    for (const length of [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 33, 65, 95, 98, 130, 541, 1000, 4095]) {
      const rest = random.pick([new Uint8Array(length), new Uint8Array(length).fill(255), random.bytes(length)]);
      // So many steps of nothing say no more than a few.
      if (first === 0x10 && length > 0) rest[0] = random.below(3);
      trace.give(random.below(trace.shards), Uint8Array.of(first, ...rest));
    }
  for (const item of [1, 2, 3, 4, 5, 6, 255])
    for (const length of [0, 3, 24, 25, 31, 32, 33, 88, 91, 92, 93, 536, 537, 538]) {
      const amount = random.pick([new Uint8Array(7), new Uint8Array(7).fill(255), Uint8Array.of(0, 32, 0, 0, 0, 0, 0)]);
      const bytes = concat(random.bytes(Math.max(0, length - 7)), amount).slice(0, length);
      // What brings money must be such that L1 would have let it in.
      if ((item === 1 && length === 92) || (item === 2 && length === 31)) bytes.set(new Uint8Array(7), length - 7);
      trace.give(0, Uint8Array.of(0x02, item, ...bytes));
    }
  trace.give(0, new Uint8Array(0));
}

/** Bundles that are almost well formed: every field of the header at its ends, varints that are too long or too large, a count that is wrong. */
function headers(trace: Trace): void {
  const { random } = trace;
  const [actor] = agentsOf(trace);
  if (actor === undefined) return;
  const shard = shardOf(BigInt(actor));
  const stake = new Writer().u8(0x17).varint(1).finish();
  for (const nonce of [0, 1, 2 ** 32 - 1, 2 ** 32, MAX]) trace.give(shard, seal(trace, actor, [stake], { nonce }));
  const { time } = trace.reference.world.read(place.head(shard), HEAD);
  for (const expiry of [0, Number(time) - 1, Number(time), MAX])
    trace.give(shard, seal(trace, actor, [stake], { expiry }));
  for (const flags of [1, 2, 3, 255]) trace.give(shard, seal(trace, actor, [stake], { flags }));
  const long = (...bytes: number[]): Uint8Array => Uint8Array.of(0x17, ...bytes);
  const varints = [
    long(0x80),
    long(0x80, 0),
    long(0x81, 0),
    long(...Array<number>(7).fill(255), 0x0f),
    long(...Array<number>(7).fill(255), 0x10),
    long(...Array<number>(7).fill(255), 0x7f),
    long(...Array<number>(8).fill(255), 1),
    long(...Array<number>(7).fill(0x80), 1),
    long(...Array<number>(7).fill(0x80), 0),
  ];
  for (const raw of varints) trace.give(shard, seal(trace, actor, [raw]));
  for (const id of ids(trace)) trace.give(random.below(trace.shards), seal(trace, id, [stake], { nonce: 0 }));
  // A full bundle: as many interactions, and as many bytes, as there may be.
  trace.give(
    shard,
    seal(
      trace,
      actor,
      Array.from({ length: 256 }, () => stake),
    ),
  );
  const plan = concat(
    Uint8Array.of(0x13, 9, 12),
    ...Array.from({ length: 12 }, () => Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 0x0f)),
  );
  trace.give(
    shard,
    seal(
      trace,
      actor,
      Array.from({ length: 32 }, () => plan),
    ),
  );
  for (const cut of [1, 63, 64, 65]) {
    const frame = seal(trace, actor, [stake]);
    trace.give(shard, frame.subarray(0, frame.length - cut));
  }
}

/** Counters that have stopped, serials that have run out, clocks at their end. */
function ends(trace: Trace): void {
  const { random } = trace;
  const { world } = trace.reference;
  for (const id of agentsOf(trace))
    change(trace, place.agent(BigInt(id)), AGENT, {
      completed: 2n ** 32n - 1n - BigInt(random.below(2)),
      failed: 2n ** 24n - 1n - BigInt(random.below(2)),
      volume: 2n ** 48n - 1n - BigInt(random.below(60)),
      ratings: 2n ** 24n - 1n - BigInt(random.below(2)),
      ratingSum: 2n ** 24n - 1n - BigInt(random.below(6)),
      epoch: 65_535n - BigInt(random.below(2)),
    });
  for (let shard = 0; shard < trace.shards; shard++) {
    const last = (bits: number): bigint => 2n ** BigInt(bits) - 1n - BigInt(random.below(3));
    const counters = random.pick<Readonly<Record<string, bigint>>>([
      { agents: last(20), services: last(20), capabilities: last(20) },
      { sessions: last(44), escrows: last(44), workflows: last(44) },
      { outbox: last(44) },
      { sessions: 2n ** 18n - 1n, escrows: 2n ** 20n - 1n, workflows: 2n ** 18n - 1n, outbox: 2n ** 20n - 1n },
      { sessions: 2n ** 18n, escrows: 2n ** 20n, workflows: 2n ** 18n, outbox: 2n ** 20n },
    ]);
    change(trace, place.head(shard), HEAD, counters);
    if (random.chance(0.5)) trace.give(shard, new Writer().u8(1).u32(LAST_TIME).finish());
  }
  for (const { id } of survey(world).escrows)
    if (random.chance(0.3)) change(trace, place.escrow(BigInt(id)), ESCROW, { deadline: 2n ** 32n - 1n });
  trace.run(15);
  wildBundles(trace, 15);
}

/** Messages to other shards with room for none, one or two. */
function crowded(trace: Trace): void {
  const { random } = trace;
  const near = [2046, 2047, 2048, 3070, 3071, 3072, 4094, 4095, 4096];
  for (let from = 0; from < trace.shards; from++)
    for (let to = 0; to < trace.shards; to++)
      if (from !== to) {
        const sent = 2 ** 47;
        trace.poke(
          place.peer(from, to),
          cellOf(PEER, { sent: BigInt(sent), acked: BigInt(sent - random.pick(near)), received: BigInt(sent) }),
        );
      }
  trace.run(20);
  wildBundles(trace, 20);
  carryMail(trace);
}

/** Time comes for everything at once. */
function overdue(trace: Trace): void {
  trace.run(20);
  for (let shard = 0; shard < trace.shards; shard++)
    trace.give(
      shard,
      new Writer()
        .u8(1)
        .u32(LAST_TIME - trace.random.below(2))
        .finish(),
    );
  for (let round = 0; round < 2; round++) {
    for (const [type, list] of [
      [0x05, survey(trace.reference.world).escrows],
      [0x06, survey(trace.reference.world).workflows],
    ] as const)
      for (const { id, shard } of list)
        for (const leg of type === 0x06 ? [0, 1, 2, 11, 12, 255] : [-1])
          trace.give(shard, Uint8Array.of(type, ...be(7, BigInt(id)), ...(leg < 0 ? [] : [leg])));
    carryMail(trace);
  }
  wildBundles(trace, 10);
}

/** Advances and tells of everything that is not there. */
function unknown(trace: Trace): void {
  for (let shard = 0; shard < trace.shards; shard++)
    for (const id of [...ids(trace), ...ids(trace).map((known) => known - (known % 256) + shard)]) {
      trace.give(shard, Uint8Array.of(0x05, ...be(7, BigInt(id))));
      trace.give(shard, Uint8Array.of(0x06, ...be(7, BigInt(id)), 0));
      trace.give(shard, Uint8Array.of(0x04, id % 256, ...be(6, BigInt(id % 2 ** 48))));
    }
  // Ids of no width that a number of ours has.
  for (const bytes of [
    new Uint8Array(7).fill(255),
    Uint8Array.of(0x20, 0, 0, 0, 0, 1, 0),
    Uint8Array.of(0x1f, 255, 255, 255, 255, 255, 0),
  ]) {
    trace.give(0, Uint8Array.of(0x05, ...bytes));
    trace.give(0, Uint8Array.of(0x06, ...bytes, 0));
  }
}

const SECP_ORDER = secp256k1.Point.CURVE().n;

/** Rotations by signatures that are almost the owner's. */
function owners(trace: Trace): void {
  const { random } = trace;
  const [actor] = agentsOf(trace);
  if (actor === undefined) return;
  const rotate = (agent: number, key: Uint8Array, signature: Uint8Array): Uint8Array =>
    new Writer().u8(0x02).varint(agent).bytes(key).bytes(signature).finish();
  const at = place.agent(BigInt(actor));
  for (const owner of [OWNERS[0], 0n]) {
    change(trace, at, AGENT, { owner, epoch: 0n });
    for (let how = 0; how < 11; how++) {
      const epoch = Number(trace.reference.world.read(at, AGENT).epoch);
      const key = newKey(new Uint8Array(64).fill(random.below(256)));
      const right = signAsOwner(owner, signing.rotate({ agent: actor, epoch, key }));
      const [r, s, v] = [right.subarray(0, 32), right.subarray(32, 64), right[64]];
      const [zero, other] = [new Uint8Array(32), Uint8Array.of(v === 27 ? 28 : 27)];
      const signature = [
        concat(r, word(SECP_ORDER - BigInt(hex(s))), other),
        concat(r, word(SECP_ORDER - BigInt(hex(s))), Uint8Array.of(v)),
        concat(r, s, other),
        concat(r, s, Uint8Array.of(v - 27)),
        concat(r, s, Uint8Array.of(29)),
        concat(zero, s, Uint8Array.of(v)),
        concat(r, zero, Uint8Array.of(v)),
        concat(word(SECP_ORDER), s, Uint8Array.of(v)),
        concat(word(2n ** 256n - 1n), s, Uint8Array.of(v)),
        new Uint8Array(65),
        right,
      ][how];
      act(trace, actor, rotate(actor, key, signature));
    }
    // The key that its owner brought may be on no curve, and nothing more can be signed by it; until the owner brings another.
    change(trace, place.key(BigInt(actor)), KEY, {
      x: BigInt(hex(newKey(Uint8Array.of(1)).subarray(0, 32))),
      y: BigInt(hex(newKey(Uint8Array.of(1)).subarray(32, 64))),
    });
  }
}

/** Halves of one session: old ones, equal ones, ones that only half improve it, in both directions, and a lie. */
function halves(trace: Trace): void {
  const { random } = trace;
  const agents = agentsOf(trace);
  if (agents.length < 2) return;
  const [a, b] = random.shuffle(agents).map(BigInt);
  const shard = shardOf(b);
  const id = makeId(shard, 9n);
  const { world } = trace.reference;
  const status = random.pick([SESSION_STATUS.open, SESSION_STATUS.exiting]);
  trace.poke(
    place.session(id),
    cellOf(SESSION, { a, b, serial: 9n, status, exitDelay: 5n, paidAB: 50n, callsAB: 5n, callsBA: 2n ** 48n - 1n }),
  );
  for (const [i, party] of [a, b].entries())
    trace.poke(place.session(id) + 1 + i, encode(KEY, world.read(place.key(party), KEY), 64));
  const key = (dir: number): Uint8Array => {
    const { x, y } = world.read(place.key(dir === 0 ? a : b), KEY);
    return concat(be(32, x), be(32, y));
  };
  const half = (dir: 0 | 1) => {
    const fields = {
      session: Number(id),
      dir,
      seq: random.pick([0, 1, MAX]),
      calls: random.pick([0, 4, 5, 6, 2 ** 48 - 1]),
      paid: random.pick([0, 49, 50, 51, MAX]),
      root: random.pick([new Uint8Array(32), keccak(Uint8Array.of(7)), new Uint8Array(32).fill(255)]),
    };
    const { seq, calls, paid, root } = fields;
    return new Writer()
      .varint(seq)
      .varint(calls)
      .varint(paid)
      .bytes(root)
      .bytes(sign(key(dir), signing.half(fields)))
      .finish();
  };
  const actor = Number(random.pick([a, b]));
  for (let i = 0; i < 20; i++) {
    const dir = random.below(2) as 0 | 1;
    act(trace, actor, concat(new Writer().u8(0x0f).varint(Number(id)).u8(dir).finish(), half(dir)));
    if (i % 3 === 0)
      act(trace, actor, concat(new Writer().u8(0x16).varint(Number(id)).u8(dir).finish(), half(dir), half(dir)));
    if (i % 5 === 0) carryMail(trace);
  }
  act(trace, actor, new Writer().u8(0x11).varint(Number(id)).finish());
}

/** A lie over a session that is on one shard, told by an agent of another, shown by one of a third, whose shard can't be told of its reward yet. */
function onward(trace: Trace): void {
  const { world } = trace.reference;
  const agents = agentsOf(trace).map(BigInt);
  const [b, a, reporter] = [0, 1, 2].map((shard) => agents.find((id) => shardOf(id) === shard) ?? 0n);
  if (a === 0n || b === 0n || reporter === 0n) return;
  const key = newKey(Uint8Array.of(1));
  const keyCell = cellOf(KEY, { x: BigInt(hex(key.subarray(0, 32))), y: BigInt(hex(key.subarray(32))) });
  for (const id of [a, reporter]) trace.poke(place.key(id), keyCell);
  const id = makeId(0, 9n);
  trace.poke(place.session(id), cellOf(SESSION, { a, b, serial: 9n, status: SESSION_STATUS.open, exitDelay: 5n }));
  trace.poke(place.session(id) + 1, keyCell);
  const lie = (paid: number): Uint8Array => {
    const half = { session: Number(id), dir: 0 as const, seq: 1, calls: 1, paid, root: new Uint8Array(32) };
    const fields = new Writer().varint(half.seq).varint(half.calls).varint(paid).bytes(half.root).finish();
    // One signature in sixty is spoiled on purpose; of some amounts it is not.
    return concat(fields, sign(key, signing.half(half)));
  };
  const receive = (to: number, from: number): void => {
    const { payload } = trace.pending(from, to);
    if (payload) trace.give(to, Uint8Array.of(0x03, from, ...payload));
  };
  const paid = trace.random.below(100);
  act(
    trace,
    Number(reporter),
    concat(new Writer().u8(0x16).varint(Number(id)).u8(0).finish(), lie(paid), lie(paid + 1)),
  );
  receive(0, 2);
  const ring = world.read(place.peer(1, 2), PEER);
  change(trace, place.peer(1, 2), PEER, { sent: ring.sent + 4095n });
  receive(1, 0);
  change(trace, place.peer(1, 2), PEER, ring);
  receive(1, 0);
}

/** Everything that money can do where there is as much of it as there may be. */
function rich(trace: Trace): void {
  const agents = agentsOf(trace);
  if (agents.length === 0) return;
  for (const id of agents) change(trace, place.agent(BigInt(id)), AGENT, { balance: 0n, stake: 0n });
  const left = BigInt(MAX) - trace.reference.money();
  if (left <= 0n) return;
  change(trace, place.agent(BigInt(agents[0])), AGENT, { balance: left });
  for (const { id } of survey(trace.reference.world).services)
    change(trace, place.service(BigInt(id)), SERVICE, { ceiling: BigInt(MAX) });
  for (let i = 0; i < 15; i++) {
    const raws = [0x03, 0x06, 0x0d, 0x0e, 0x17, 0x04].map((code) => wild(trace, code));
    act(trace, agents[0], ...trace.random.shuffle(raws).slice(0, 3));
    if (i % 4 === 0) carryMail(trace);
  }
  overdue(trace);
}

/** Escrows and sessions of every status, and what any operation does to them. */
function statuses(trace: Trace): void {
  const { random } = trace;
  const { world } = trace.reference;
  trace.run(10);
  for (const { id, record } of survey(world).escrows)
    // Only such as hold as much money as before.
    if (
      record.status === ESCROW_STATUS.fulfilled ||
      record.status === ESCROW_STATUS.refunded ||
      record.status === ESCROW_STATUS.expired
    )
      change(trace, place.escrow(BigInt(id)), ESCROW, {
        status: random.pick([3n, 4n, 5n]),
        flags: BigInt(random.below(2)),
      });
  wildBundles(trace, 25);
}

export const SITUATIONS: readonly Situation[] = [
  { name: 'garbage', times: 6, drive: garbage },
  { name: 'headers', times: 4, drive: headers },
  { name: 'wild fields', times: 40, drive: (trace) => wildBundles(trace, 40) },
  { name: 'ends', times: 40, drive: ends },
  { name: 'crowded', times: 20, shards: 3, drive: crowded },
  { name: 'onward', times: 8, shards: 3, drive: onward },
  { name: 'overdue', times: 15, drive: overdue },
  { name: 'unknown', times: 3, drive: unknown },
  { name: 'owners', times: 3, drive: owners },
  { name: 'halves', times: 20, drive: halves },
  { name: 'rich', times: 10, drive: rich },
  { name: 'statuses', times: 15, drive: statuses },
];
