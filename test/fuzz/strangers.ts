/** What no honest state leads to, and no reference speaks of, but has an outcome all the same: engine and L1 must agree on it. */
import { concat } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import { AGENT, HEAD, KEY, MESSAGE, type Layout, PEER, be, big, blank, encode } from '../reference/cells.ts';
import type { Random } from '../reference/random.ts';
import { newKey, sign, signing } from '../reference/signatures.ts';
import { makeId, place } from '../reference/world.ts';
import { CODES } from './extremes.ts';
import type { FuzzStep, Stepper } from './stepper.ts';

export interface Strange {
  readonly name: string;
  readonly shards: number;
  readonly times: number;
  readonly drive: (stepper: Stepper, random: Random) => FuzzStep[];
}

const cellOf = (layout: Layout, fields: Readonly<Record<string, bigint>>): Uint8Array =>
  encode(layout, { ...blank(layout), ...fields }, 64);

/** Frames posted for shards that the deployment does not have: they run there, where nobody is. */
function beyond(stepper: Stepper, random: Random): FuzzStep[] {
  const { count } = stepper.shards;
  const steps: FuzzStep[] = [];
  for (const shard of [count, count + 1, 127, 255].filter((shard) => shard >= count && shard < 256)) {
    const give = (frame: Uint8Array, seq = stepper.shards.engine(shard).seq): void => {
      steps.push(...stepper.frame(shard, seq, frame));
    };
    const id = be(7, BigInt(256 + shard));
    give(Uint8Array.of(1, 0, 0, 0, 9));
    give(Uint8Array.of(1, 0, 0, 0, 9));
    give(Uint8Array.of(1, 0, 0, 0, 10), 0);
    give(Uint8Array.of(2, 2, ...new Uint8Array(31)));
    for (const other of [0, count - 1, shard, 255]) {
      give(Uint8Array.of(3, other, ...random.bytes(9)));
      give(Uint8Array.of(4, other, ...be(6, 1n)));
    }
    give(Uint8Array.of(5, ...id));
    give(Uint8Array.of(6, ...id, 0));
    give(Uint8Array.of(0x10, 0, 0, 0x80 | (shard & 127), 2 | (shard >> 7), 0, 9, 0x18, ...new Uint8Array(64)));
    give(random.bytes(20));
    give(new Uint8Array());
  }
  return steps;
}

/** Where agents 1 and 2 of every shard are, with keys and some money. */
function settle(stepper: Stepper): void {
  for (let shard = 0; shard < stepper.shards.count; shard++) {
    for (const serial of [1n, 2n]) {
      const id = makeId(shard, serial);
      stepper.write(place.agent(id), cellOf(AGENT, { flags: 1n, balance: 1000n, stake: 10n }));
      const key = newKey(Uint8Array.of(Number(serial)));
      stepper.write(place.key(id), cellOf(KEY, { x: big(key.subarray(0, 32)), y: big(key.subarray(32)) }));
    }
    stepper.write(place.head(shard), cellOf(HEAD, { time: 1000n, agents: 2n }));
  }
}

/** Messages with payloads that no shard writes, in the cells of the sender all the same. */
function forged(stepper: Stepper, random: Random): FuzzStep[] {
  settle(stepper);
  const steps: FuzzStep[] = [];
  const lengths = [0, 13, 32, 39, 25, 21, 9, 6, 9, 12];
  const number = (shard: number): bigint => big(stepper.read(place.peer(shard, 1 - shard)).subarray(12, 18)) + 1n;
  for (let i = 0; i < 60; i++) {
    const kind = random.pick([0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]);
    // Of no kind's length, or with a number of a call that no double holds.
    let payload = concat(Uint8Array.of(kind), random.bytes(random.below(40)));
    if (kind > 1 && kind < 9 && payload.length === lengths[kind]) continue;
    if (kind === 1) {
      const rest = random.pick([
        random.bytes(random.below(60)),
        Uint8Array.of(random.pick(CODES)),
        Uint8Array.of(0x17, 1),
        Uint8Array.of(0x18),
      ]);
      const value = random.pick([be(7, 2n ** 53n), be(7, 5n), new Uint8Array(7), new Uint8Array(7).fill(255)]);
      payload = concat(Uint8Array.of(1), be(4, random.pick([256n, 257n, 0n, 2n ** 32n - 1n])), value, rest);
    }
    const to = random.below(2);
    const message = { number: number(to), to: BigInt(to), kind: BigInt(kind), hash: big(keccak(payload)) };
    stepper.write(place.message(1 - to, to, number(to)), cellOf(MESSAGE, message));
    const { seq } = stepper.shards.engine(to);
    steps.push(...stepper.frame(to, seq, Uint8Array.of(3, 1 - to, ...payload)));
  }
  return steps;
}

/** Interactions in every context, of bundles that were accepted, were not, or are none. */
function contexts(stepper: Stepper, random: Random): FuzzStep[] {
  settle(stepper);
  const steps: FuzzStep[] = [];
  const key = newKey(Uint8Array.of(1));
  for (let i = 0; i < 30; i++) {
    const raws = Array.from({ length: random.between(1, 5) }, () => Uint8Array.of(0x17, random.between(1, 100)));
    const nonce = random.below(3);
    const body = Uint8Array.of(0x10, raws.length - 1, 0, 0x80, 2, nonce, 0xff, 0x7f, ...concat(...raws));
    const whole = concat(body, sign(key, signing.bundle(body)));
    const frame = random.chance(0.8)
      ? whole
      : random.chance(0.5)
        ? whole.subarray(0, whole.length - 1)
        : concat(whole, Uint8Array.of(0));
    const { seq } = stepper.shards.engine(0);
    for (let j = 0; j < 4; j++) {
      const index = random.below(raws.length + 1);
      steps.push(stepper.step(0, random.pick([seq, 0, seq + 1]), frame, index, random.pick([0, 1, 2])));
    }
  }
  return steps;
}

/** All that was ever sent, received and acknowledged, where numbers are as large as they get. */
function farOn(stepper: Stepper, random: Random): FuzzStep[] {
  settle(stepper);
  const sent = 2n ** 48n - 2n;
  const steps: FuzzStep[] = [];
  for (const shard of [0, 1])
    stepper.write(place.peer(shard, 1 - shard), cellOf(PEER, { sent, acked: sent - 1n, received: sent }));
  for (const number of [0n, sent - 2n, sent - 1n, sent, sent + 1n, 2n ** 48n - 1n])
    for (const shard of [0, 1])
      steps.push(
        ...stepper.frame(
          shard,
          stepper.shards.engine(shard).seq,
          Uint8Array.of(4, 1 - shard, ...be(6, number), ...random.bytes(random.chance(0.1) ? 1 : 0)),
        ),
      );
  return steps;
}

export const STRANGE: readonly Strange[] = [
  { name: 'beyond the last shard', shards: 2, times: 2, drive: beyond },
  { name: 'beyond the only shard', shards: 1, times: 1, drive: beyond },
  { name: 'all shards', shards: 256, times: 1, drive: beyondAll },
  { name: 'forged', shards: 2, times: 20, drive: forged },
  { name: 'contexts', shards: 1, times: 10, drive: contexts },
  { name: 'far on', shards: 2, times: 3, drive: farOn },
];

/** The last of as many shards as there may be, and what the first sends it. */
function beyondAll(stepper: Stepper, random: Random): FuzzStep[] {
  const steps: FuzzStep[] = [];
  const key = newKey(Uint8Array.of(3));
  const give = (shard: number, frame: Uint8Array): void => {
    steps.push(...stepper.frame(shard, stepper.shards.engine(shard).seq, frame));
  };
  const item = Uint8Array.of(1, 255, ...random.bytes(20), ...key, ...be(7, 77n));
  give(0, Uint8Array.of(2, ...item));
  give(255, Uint8Array.of(3, 0, 9, ...item));
  give(0, Uint8Array.of(4, 255, ...be(6, 1n)));
  const body = Uint8Array.of(0x10, 1, 0, 0xff, 3, 0, 9, 0x17, 7, 0x03, 0x80, 2, 5);
  give(255, concat(body, sign(key, signing.bundle(body))));
  return steps;
}
