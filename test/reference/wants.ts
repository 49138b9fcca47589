/** What somebody waits for in a state, and when something falls due: what makes traces get anywhere. */
import { ESCROW_STATUS, HEAD, SESSION_STATUS, WORKFLOW_STATUS } from './cells.ts';
import { OPERATION_NAMES } from './frames.ts';
import type { Intent, Intents } from './intents.ts';
import { legOf } from './moves.ts';
import type { Random } from './random.ts';
import type { Step } from './step.ts';
import type { Survey } from './survey.ts';
import { place, shardOf } from './world.ts';

const { open, held, contested, waiting }: Readonly<Record<string, bigint>> = ESCROW_STATUS;
const DONE: readonly bigint[] = [ESCROW_STATUS.fulfilled, ESCROW_STATUS.refunded, ESCROW_STATUS.expired];

/** A trace with a liking has little else in it. */
export type Liking = 'all' | 'sessions' | 'workflows' | 'contests' | 'serials';
type Choice = () => Intent | undefined;

const LIKED_NAMES = {
  sessions: ['open', 'open', 'fund', 'settle', 'exit', 'finalize', 'close', 'attest', 'slash', 'stake'],
  workflows: ['plan', 'invoke', 'respond', 'tell', 'transfer', 'publish', 'abort', 'grant'],
  contests: ['invoke', 'invoke', 'respond', 'contest', 'rule', 'expire', 'attest'],
  serials: ['register', 'register', 'publish', 'grant', 'withdraw', 'open', 'plan', 'invoke'],
};
const LIKED: Readonly<Record<string, number>> = {
  invoke: 6,
  respond: 3,
  transfer: 2,
  plan: 2,
  open: 2,
  settle: 2,
  slash: 0.7,
  register: 0.5,
};
const WEIGHTS = OPERATION_NAMES.map((name): [number, string] => [LIKED[name] ?? 1, name]);

/** Any operation at all. */
export const anyName = (random: Random, liking: Liking): string =>
  liking === 'all' ? random.weighted(WEIGHTS) : random.pick(LIKED_NAMES[liking]);

/** What time has decided: anybody may say so, and from anywhere. */
function ofTime(intents: Intents): Choice[] {
  const { world, random, now } = intents;
  const times = Array.from({ length: world.shards }, (_, shard) => world.read(place.head(shard), HEAD).time);
  const overdue = now.escrows.filter(
    ({ record, shard }) => [open, held, contested].includes(record.status) && times[shard] > record.deadline,
  );
  const leaving = now.sessions.filter(
    ({ record, shard }) => record.status === SESSION_STATUS.exiting && times[shard] >= record.exitAt,
  );
  const act = (name: string, id: number): Choice => {
    const actor = random.pick(now.agents).id;
    return () => ({ actor, raw: intents.write(name).varint(id).finish() });
  };
  return [
    ...overdue.map(({ id }) => act('expire', id)),
    ...leaving.flatMap(({ id }) => [act('finalize', id), act('finalize', id)]),
  ];
}

function ofEscrows(intents: Intents): Choice[] {
  const { random, now } = intents;
  return now.escrows.flatMap(({ id, record, shard }): Choice[] => {
    const { status, payee, payer, arbiter, workflow, service, amount, paid, flags } = record;
    const by = (actor: bigint, raw: () => Uint8Array): Choice[] => [() => ({ actor: Number(actor), raw: raw() })];
    if (status === open) {
      const price = random.below(Number(amount) + 1);
      const answer = by(payee, () => intents.write('respond').varint(id).varint(price).u8(0).finish());
      return workflow === 0n ? answer : [...answer, ...answer];
    }
    if (status === held && workflow === 0n && shardOf(service) === shard)
      return by(payer, () => intents.write('contest').varint(id).finish());
    if (status === contested) {
      const award = random.pick([0, Number(paid), Number(paid) + 1]);
      const ruling = by(arbiter, () => intents.write('rule').varint(id).varint(award).finish());
      return [...ruling, ...ruling, ...ruling];
    }
    if (status === waiting) return [() => intents.by(Number(payer), 'expire')];
    if (!DONE.includes(status) || (flags & 1n) === 1n) return [];
    return by(payer, () => intents.write('attest').u8(0).varint(id).u8(4).finish());
  });
}

/** What brings a leg of an open workflow on: a call, or its answer. */
function ofLeg(intents: Intents, step: Step, workflow: number, leg: number): Choice[] {
  const { random, now } = intents;
  const { payer, service, escrow } = legOf(step, BigInt(workflow), BigInt(leg));
  if (escrow !== 0n || payer === 0n) return [];
  const calls = now.escrows.filter(
    ({ record }) => record.workflow === BigInt(workflow) && record.flags >> 4n === BigInt(leg),
  );
  const answers = calls
    .filter(({ record }) => record.status === open)
    .map(({ id, record }): Choice => {
      const price = random.below(Number(record.amount) + 1);
      return () => ({
        actor: Number(record.payee),
        raw: intents.write('respond').varint(id).varint(price).u8(0).finish(),
      });
    });
  const isUnderWay = calls.some(({ record }) => !DONE.includes(record.status));
  if (answers.length > 0 || (isUnderWay && random.chance(0.9))) return answers;
  const call = (actor: bigint, more: object): Choice => {
    const raw = () => intents.invoke(Number(service), random.below(20), { workflow, leg, ...more });
    return () => ({ actor: Number(actor), raw: raw() });
  };
  const capability = now.capabilities.find(({ record }) => record.grantor === payer);
  if (!capability) return [call(payer, {})];
  return [call(payer, {}), call(capability.record.grantee, { capability: capability.id })];
}

function ofWorkflows(intents: Intents, step: Step): Choice[] {
  const { random, now, world } = intents;
  return now.workflows.flatMap(({ id, shard, record }) => {
    const { done, told, deadline, status } = record;
    const legs = Array.from({ length: Number(record.legs) }, (_, leg) => leg);
    const isOpen = status === WORKFLOW_STATUS.open && world.read(place.head(shard), HEAD).time <= deadline;
    return [
      ...legs
        .filter((leg) => ((done & ~told) >> BigInt(leg)) & 1n)
        .map((leg): Choice => {
          const raw = () => intents.write('tell').varint(id).u8(leg).finish();
          return () => ({ actor: random.pick(now.agents).id, raw: raw() });
        }),
      ...(isOpen ? legs.flatMap((leg) => ofLeg(intents, step, id, leg)) : []),
    ];
  });
}

const SESSION_WANTS: ReadonlyMap<bigint, readonly string[]> = new Map([
  [SESSION_STATUS.open, ['settle', 'exit', 'exit', 'close', 'slash', 'fund', 'finalize']],
  [SESSION_STATUS.exiting, ['finalize', 'finalize', 'finalize', 'settle', 'close', 'slash', 'fund', 'exit']],
  [SESSION_STATUS.closed, ['attest', 'attest', 'slash', 'close']],
] as const);

function ofSessions(intents: Intents): Choice[] {
  const { random, now } = intents;
  return now.sessions.map(({ record }) => {
    const anybody = BigInt(random.pick(now.agents).id);
    const party = random.pick([record.a, record.a, record.b, anybody, anybody]);
    const name = random.pick(SESSION_WANTS.get(record.status)!);
    return () => intents.by(Number(party), name);
  });
}

/** Something that somebody waits for. */
export function wanted(intents: Intents, step: Step, liking: Liking): Intent | undefined {
  const { random, now } = intents;
  const sessions = ofSessions(intents);
  const late = ofTime(intents);
  if (liking === 'sessions' && sessions.length > 0) return random.pick([...sessions, ...late])();
  const workflows = ofWorkflows(intents, step);
  if (liking === 'workflows' && workflows.length > 0 && random.chance(0.8)) return random.pick(workflows)();
  const choices = [...ofEscrows(intents), ...late, ...workflows, ...sessions];
  for (const { record } of now.capabilities) choices.push(() => intents.by(Number(record.grantee), 'invoke'));
  for (const { record, id } of now.agents) if (record.unstakeAt !== 0n) choices.push(() => intents.by(id, 'unstake'));
  return choices.length > 0 ? random.pick(choices)() : undefined;
}

/** Times at which something falls due on a shard. */
export function dueTimes(now: Survey, shard: number): number[] {
  const times = [
    ...now.escrows.map(({ shard, record }) => ({
      shard,
      time: [open, held, contested].includes(record.status) ? record.deadline : 0n,
    })),
    ...now.workflows.map(({ shard, record }) => ({
      shard,
      time: record.status === WORKFLOW_STATUS.open ? record.deadline : 0n,
    })),
    ...now.sessions.map(({ shard, record }) => ({
      shard,
      time: record.status === SESSION_STATUS.exiting ? record.exitAt : 0n,
    })),
    ...now.agents.map(({ shard, record }) => ({ shard, time: record.unstakeAt })),
    ...now.capabilities.map(({ shard, record }) => ({ shard, time: record.expiry })),
  ];
  return times.filter((due) => due.shard === shard && due.time > 0n).map(({ time }) => Number(time));
}
