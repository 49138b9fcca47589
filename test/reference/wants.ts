/** What somebody waits for in a state, and when something falls due: what makes traces get anywhere. */
import { ESCROW_STATUS, SESSION_STATUS, WORKFLOW_STATUS } from './cells.ts';
import { OPERATION_NAMES } from './frames.ts';
import type { Intent, Intents } from './intents.ts';
import { legOf } from './moves.ts';
import type { Random } from './random.ts';
import type { Step } from './step.ts';
import type { Survey } from './survey.ts';
import { shardOf } from './world.ts';

const { open, held, contested, waiting }: Readonly<Record<string, bigint>> = ESCROW_STATUS;
const DONE: readonly bigint[] = [ESCROW_STATUS.fulfilled, ESCROW_STATUS.refunded, ESCROW_STATUS.expired];

/** A trace with a liking has little else in it. */
export type Liking = 'all' | 'sessions' | 'workflows' | 'contests' | 'serials';
type Choice = () => Intent | undefined;

const LIKED_NAMES = {
  sessions: ['open', 'open', 'fund', 'settle', 'exit', 'finalize', 'close', 'attest', 'slash', 'stake'],
  workflows: ['plan', 'plan', 'invoke', 'respond', 'tell', 'abort', 'publish', 'grant'],
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
      return by(arbiter, () => intents.write('rule').varint(id).varint(award).finish());
    }
    if (status === waiting) return [() => intents.by(Number(payer), 'expire')];
    if (!DONE.includes(status) || (flags & 1n) === 1n) return [];
    return by(payer, () => intents.write('attest').u8(0).varint(id).u8(4).finish());
  });
}

function ofWorkflows(intents: Intents, step: Step): Choice[] {
  const { random, now } = intents;
  const choices: Choice[] = [];
  for (const { id, record } of now.workflows) {
    const { done, told } = record;
    for (let leg = 0; leg < Number(record.legs); leg++)
      if (((done & ~told) >> BigInt(leg)) & 1n)
        choices.push(() => ({
          actor: random.pick(now.agents).id,
          raw: intents.write('tell').varint(id).u8(leg).finish(),
        }));
    if (record.status !== WORKFLOW_STATUS.open) continue;
    for (let leg = 0n; leg < record.legs; leg++) {
      const { payer, service, escrow } = legOf(step, BigInt(id), leg);
      if (escrow !== 0n || payer === 0n) continue;
      const options = { workflow: id, leg: Number(leg) };
      const call = (actor: bigint, more: object): Choice => {
        const raw = () => intents.invoke(Number(service), random.below(20), { ...options, ...more });
        return () => ({ actor: Number(actor), raw: raw() });
      };
      choices.push(call(payer, {}));
      const capability = now.capabilities.find(({ record }) => record.grantor === payer);
      if (capability) choices.push(call(capability.record.grantee, { capability: capability.id }));
    }
  }
  return choices;
}

function ofSessions(intents: Intents): Choice[] {
  const { random, now } = intents;
  return now.sessions.map(({ record }) => {
    const anybody = BigInt(random.pick(now.agents).id);
    const party = random.pick([record.a, record.a, record.b, anybody]);
    const closed = record.status === SESSION_STATUS.closed;
    const name = random.pick(
      closed
        ? ['attest', 'attest', 'slash', 'close']
        : ['settle', 'exit', 'finalize', 'finalize', 'close', 'slash', 'fund'],
    );
    return () => intents.by(Number(party), name);
  });
}

/** Something that somebody waits for. */
export function wanted(intents: Intents, step: Step, liking: Liking): Intent | undefined {
  const { random, now } = intents;
  const sessions = ofSessions(intents);
  if (liking === 'sessions' && sessions.length > 0) return random.pick(sessions)();
  const workflows = ofWorkflows(intents, step);
  if (liking === 'serials') return undefined;
  if (liking === 'workflows' && workflows.length > 0 && random.chance(0.5)) return random.pick(workflows)();
  const choices = [...ofEscrows(intents), ...workflows, ...sessions];
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
