/** Where random traces begin: small states in which everything collides, and jumps to what only long histories reach. */
import { concat } from '../../protocol/bytes.ts';
import { AGENT, CAPABILITY, HEAD, KEY, type Layout, PEER, SERVICE, be, big, blank, encode } from './cells.ts';
import type { Random } from './random.ts';
import { OWNERS, newKey } from './signatures.ts';
import { survey } from './survey.ts';
import { type World, makeId, place, serialOf } from './world.ts';

export type Poke = (at: number, cell: Uint8Array) => void;

const START = 1000n;
const MAX = 2n ** 53n - 1n;

type Change = Readonly<Record<string, bigint>>;

function put(poke: Poke, at: number, layout: Layout, fields: Change): void {
  poke(at, encode(layout, { ...blank(layout), ...fields }, 64));
}

/** Agents, services and capabilities on every shard, as registers, publishes and grants would have made them. */
export function populate(world: World, random: Random, poke: Poke): void {
  const ids = Array.from({ length: world.shards }, (_, shard) =>
    Array.from({ length: random.between(2, 3) }, (_, i) => makeId(shard, BigInt(i + 1))),
  );
  const all = ids.flat();
  const arbitrated = random.pick([0, 0.3, 0.9]);
  const rich = random.chance(0.1) ? random.pick(all) : 0n;
  for (const [shard, agents] of ids.entries()) {
    for (const id of agents) {
      const balance =
        id === rich
          ? MAX - 100_000n
          : BigInt(
              random.weighted([
                [1, 0],
                [6, 500],
                [3, 3000],
              ]),
            );
      const stake = random.chance(0.4) ? BigInt(random.below(60)) : 0n;
      put(poke, place.agent(id), AGENT, { owner: random.pick(OWNERS), balance, stake, flags: 1n, ...extremes(random) });
      put(poke, place.key(id), KEY, keyFields(random));
    }
    const services = random.between(1, 3);
    for (let i = 1; i <= services; i++)
      put(poke, place.service(makeId(shard, BigInt(i))), SERVICE, {
        provider: random.pick(agents),
        flags: random.chance(0.9) ? 3n : 1n,
        ceiling: random.chance(0.8) ? 100n : MAX,
        deadlineSeconds: BigInt(random.pick([1, 10, 100, 2 ** 25])),
        arbiter: random.chance(arbitrated) ? random.pick(all) : 0n,
        contestSeconds: BigInt(random.pick([0, 5, 50, 500, 500])),
        metadataHash: 7n,
        version: 1n,
      });
    const capabilities = random.between(0, 2);
    for (let i = 1; i <= capabilities; i++)
      put(poke, place.capability(makeId(shard, BigInt(i))), CAPABILITY, {
        grantor: random.pick(agents),
        grantee: random.pick(all),
        service: random.chance(0.5) ? 0n : makeId(random.below(world.shards), 1n),
        limit: BigInt(random.pick([0, 50, 1000])),
        expiry: START + BigInt(random.pick([1, 30, 2 ** 26])),
        flags: 1n,
      });
    put(poke, place.head(shard), HEAD, {
      time: START,
      agents: BigInt(agents.length),
      services: BigInt(services),
      capabilities: BigInt(capabilities),
    });
  }
}

function keyFields(random: Random) {
  const bytes = (): Uint8Array => be(32, BigInt(random.below(2 ** 32)) << 224n);
  const key = newKey(concat(bytes(), bytes()));
  return { x: big(key.subarray(0, 32)), y: big(key.subarray(32)) };
}

/** Now and then a counter of an agent that is about to stop, or has. */
function extremes(random: Random): Change {
  if (!random.chance(0.15)) return {};
  const near = (width: number) => 2n ** BigInt(8 * width) - 1n - BigInt(random.below(8));
  return random.pick<Change>([
    { nonce: 2n ** 32n - 1n - BigInt(random.below(2)) },
    { epoch: 65_535n - BigInt(random.below(2)) },
    { completed: near(4), volume: near(6) },
    { failed: near(3) },
    { ratings: near(3), ratingSum: near(3) },
  ]);
}

type Ring = 'sessions' | 'escrows' | 'outbox' | 'workflows';

/** Changes a shard's head to what it would be after a lap of a ring, or at the end of the serials. */
export function jumpCounters(world: World, random: Random, poke: Poke, shard: number, only?: 'workflows'): void {
  const head = world.read(place.head(shard), HEAD);
  const now = survey(world);
  // Counters only grow: no serial is given out twice.
  const atLeast = (ring: Ring, serial: bigint): Change => ({ [ring]: head[ring] < serial ? serial : head[ring] });
  // After a lap, the next serial is for the slot of some record.
  const lap = (ring: Exclude<Ring, 'outbox'>, size: bigint): Change => {
    const all = now[ring].filter((found) => found.shard === shard);
    // Of workflows, rather one with a leg to tell.
    const untold = all.filter(({ record }) => 'told' in record && record.done !== record.told);
    const here = untold.length > 0 && random.chance(0.7) ? untold : all;
    const at = here.length > 0 ? serialOf(BigInt(random.pick(here).id)) % size : BigInt(random.below(4));
    const serial = size + (at === 0n ? size : at) - 1n;
    return atLeast(ring, serial);
  };
  const end = (region: 'agents' | 'services' | 'capabilities'): Change => {
    const serial = 2n ** 20n - BigInt(random.between(1, 2));
    return { [region]: head[region] < serial ? serial : head[region] };
  };
  const any = random.weighted<Change>([
    [5, lap('sessions', 2n ** 18n)],
    [6, lap('escrows', 2n ** 20n)],
    [6, lap('workflows', 2n ** 18n)],
    [6, atLeast('outbox', 2n ** 20n)],
    [2, atLeast('outbox', 2n ** 20n - 2n ** 16n)],
    [0.3, atLeast('sessions', 2n ** 44n - 2n)],
    [0.3, atLeast('escrows', 2n ** 44n - 2n)],
    [0.3, atLeast('workflows', 2n ** 44n - 2n)],
    [0.3, atLeast('outbox', 2n ** 44n - 2n)],
    [6, end('agents')],
    [3, end('services')],
    [3, end('capabilities')],
  ]);
  const change = only ? lap(only, 2n ** 18n) : any;
  poke(place.head(shard), encode(HEAD, { ...head, ...change }, 64));
}

/** How far a ring of messages is when bundles, answers to calls, and everything are about to stop. */
const CROWDED = [2046, 2047, 3070, 3071, 4093, 4094, 4094, 4095, 4095, 4095, 4096, 4096, 4096, 4096];

/** Messages that have come and gone before a trace begins: so many that any ring could be full of them. */
const GONE = 5000n;

/** Starts the rings of messages between all shards after some that were received and acknowledged. */
export function fillRings(world: World, poke: Poke): void {
  for (let from = 0; from < world.shards; from++)
    for (let to = 0; to < world.shards; to++)
      if (from !== to) put(poke, place.peer(from, to), PEER, { sent: GONE, acked: GONE, received: GONE });
}

/** Makes a ring of messages crowded, as if none of many received ones had been acknowledged. */
export function crowdRing(world: World, random: Random, poke: Poke, from: number, to: number): void {
  const peer = world.read(place.peer(from, to), PEER);
  if (peer.sent < GONE) return;
  const { received } = world.read(place.peer(to, from), PEER);
  const acked = peer.sent - BigInt(random.pick(CROWDED));
  poke(place.peer(from, to), encode(PEER, { ...peer, acked: acked < received ? acked : received }, 64));
}

/** 32 bytes that stand for a root of a call log. */
export const rootBytes = (n: number): Uint8Array => be(32, BigInt(n) << 240n);
