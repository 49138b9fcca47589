/**
 * What a bundle costs the shard: time, and what lasts. Time is estimated in microseconds, in proportion to what was measured in workerd; a
 * {@link Meter} finds out what they are worth on the machine at hand. What lasts is counted in tokens, by kind: places in rings and
 * regions that others then can't have, and work that one signature of a bundle buys much of.
 */
import type { Bundle } from '../../protocol/bundle.ts';
import { Capability, Service } from '../../protocol/cells.ts';
import type { Machine } from '../../protocol/machine.ts';
import { MAX_NUMBERS } from '../../protocol/ops/index.ts';
import type { Bucket } from './buckets.ts';
import type { Orders } from './orders.ts';

/** Operation codes of docs/protocol.md §4. */
const Code = {
  register: 0x01,
  rotate: 0x02,
  transfer: 0x03,
  withdraw: 0x04,
  publish: 0x05,
  invoke: 0x06,
  expire: 0x08,
  contest: 0x09,
  rule: 0x0a,
  grant: 0x0b,
  open: 0x0d,
  fund: 0x0e,
  settle: 0x0f,
  exit: 0x10,
  finalize: 0x11,
  close: 0x12,
  plan: 0x13,
  abort: 0x14,
  slash: 0x16,
  tell: 0x19,
} as const;

/** Decoding, logging, and the receipt's signature. */
export const BUNDLE_WORK = 80;
export const INTERACTION_WORK = 2;
/** A P-256 check by WebCrypto. */
const SIGNATURE_WORK = 90;
/** An owner's secp256k1 key recovered in JavaScript, in the middle of execution. */
const ROTATE_WORK = 6000;

const Kind = {
  rotate: 0,
  signature: 1,
  agent: 2,
  record: 3,
  withdrawal: 4,
  session: 5,
  workflow: 6,
  call: 7,
  message: 8,
} as const;

/** In the order of {@link Kind}. Each is more than an honest agent needs, and little of what there is. */
export const BUCKETS: readonly Bucket[] = [
  // 48 ms of a shard at once. Keys are changed once in months.
  { name: 'rotations', burst: 8, perSecond: 0.1 },
  // 0.4 s at once, then 2 % of a shard. A session needs one or two in its life.
  { name: 'signatures to check', burst: 4096, perSecond: 256 },
  // 2^20 agents a shard, forever. An operator may bring a fleet.
  { name: 'registrations', burst: 1024, perSecond: 1 },
  // 2^20 services and as many capabilities a shard, forever.
  { name: 'services and grants', burst: 1024, perSecond: 1 },
  // The outbox keeps 2^20 records for twelve days: one a second, for everybody together.
  { name: 'withdrawals', burst: 256, perSecond: 0.1 },
  // 2^18 sessions, each open until its parties close it.
  { name: 'sessions', burst: 4096, perSecond: 64 },
  // 2^18 workflows, each open until its deadline.
  { name: 'workflows', burst: 8192, perSecond: 512 },
  // 2^20 escrows, each open until it is answered or its deadline has passed: a call counts once, one that may stay long counts for more.
  { name: 'calls', burst: 65_536, perSecond: 8192 },
  // Half of 4096 messages may be on their way from one shard to another at a time, for everybody; they leave in well under a second.
  { name: 'operations on other shards', burst: 8192, perSecond: 2048 },
];

/** A call that can stay open this long counts once more, up to {@link LONG_CALL}: so that nobody fills the ring with calls that end next year. */
const SHORT_SECONDS = 3600;
const LONG_CALL = 4096;
/**
 * How long a call to another shard can stay open is known there only; known here is how many of a payer's have not ended. Beyond so many
 * of them the next ones cost more, by the fourth power, up to {@link LONG_CALL}: who waits for answers never notices.
 */
const MANY_ORDERS = 8192;

/** Operations whose first number names the record that they are about, wherever it is: elsewhere, they travel. */
const CROSSING: ReadonlySet<number> = new Set([
  Code.transfer,
  Code.invoke,
  Code.expire,
  Code.contest,
  Code.rule,
  Code.open,
  Code.fund,
  Code.settle,
  Code.exit,
  Code.finalize,
  Code.close,
  Code.abort,
  Code.slash,
  Code.tell,
]);
/** Which of an invoke's numbers is its capability. */
const INVOKE_CAPABILITY = 6;

export interface Price {
  /** Estimated microseconds. */
  readonly work: number;
  /** By kind, as {@link BUCKETS} has them. */
  readonly tokens: Float64Array;
}

const SIGNED: ReadonlySet<number> = new Set([Code.settle, Code.close, Code.slash]);

/** Whether interactions bring P-256 signatures of their own. */
export function isSigned({ codes, count }: Bundle): boolean {
  for (let i = 0; i < count; i++) if (SIGNED.has(codes[i])) return true;
  return false;
}

/** Tokens of calling a service: by how long its escrow can stay open. */
function callTokens(machine: Machine, payer: number, service: number, orders: Orders): number {
  if (!machine.isLocal(service)) return Math.min(1 + Math.floor((orders.of(payer) / MANY_ORDERS) ** 4), LONG_CALL);
  const seconds = Service.deadlineSeconds.get(machine.cells, machine.service(service));
  return Math.min(1 + Math.floor(seconds / SHORT_SECONDS), LONG_CALL);
}

/** Who pays for an invoke: the actor, or who granted the capability that it names. */
function payerOf(machine: Machine, actor: number, numbers: Float64Array, at: number): number {
  const capability = numbers[at + INVOKE_CAPABILITY];
  if (capability === 0 || !machine.isLocal(capability)) return actor;
  return Capability.grantor.get(machine.cells, machine.capability(capability));
}

/** As things stand now. */
export function priceOf(machine: Machine, { actor, codes, count, numbers }: Bundle, orders: Orders): Price {
  const tokens = new Float64Array(BUCKETS.length);
  let work = BUNDLE_WORK + count * INTERACTION_WORK;
  for (let i = 0; i < count; i++) {
    const first = numbers[i * MAX_NUMBERS];
    switch (codes[i]) {
      case Code.rotate:
        work += ROTATE_WORK;
        tokens[Kind.rotate] += 1;
        break;
      case Code.slash:
        work += 2 * SIGNATURE_WORK;
        tokens[Kind.signature] += 2;
        break;
      case Code.settle:
      case Code.close:
        work += SIGNATURE_WORK;
        tokens[Kind.signature] += 1;
        break;
      case Code.register:
        tokens[Kind.agent] += 1;
        break;
      case Code.publish:
        // A service that there is already takes no place.
        if (first === 0) tokens[Kind.record] += 1;
        break;
      case Code.grant:
        tokens[Kind.record] += 1;
        break;
      case Code.withdraw:
        tokens[Kind.withdrawal] += 1;
        break;
      case Code.open:
        tokens[Kind.session] += 1;
        break;
      case Code.plan:
        tokens[Kind.workflow] += 1;
        break;
      case Code.invoke:
        tokens[Kind.call] += callTokens(machine, payerOf(machine, actor, numbers, i * MAX_NUMBERS), first, orders);
        break;
    }
    if (CROSSING.has(codes[i]) && !machine.isLocal(first)) tokens[Kind.message] += 1;
  }
  return { work, tokens };
}

/** How many of a bundle's interactions open a session. */
export function opensIn({ codes, count }: Bundle): number {
  let opens = 0;
  for (let i = 0; i < count; i++) if (codes[i] === Code.open) opens += 1;
  return opens;
}
