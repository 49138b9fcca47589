/** The table of operations (docs/protocol.md §4), row by row. */
import { concat } from '../../protocol/bytes.ts';
import { AGENT, CAPABILITY, ESCROW_STATUS, KEY, LEGS, SERVICE, WORKFLOW, WORKFLOW_STATUS, be, blank } from './cells.ts';
import type { Interaction, Values } from './frames.ts';
import { invoke, mayTravel } from './invoke.ts';
import { expire, hold, legOf, rate, refund, release, verdict } from './moves.ts';
import { encodeCall } from './payloads.ts';
import {
  type Actor,
  MAX_SECONDS,
  attestSession,
  close,
  exit,
  finalize,
  fund,
  open,
  settle,
  slashOverSession,
} from './sessions.ts';
import { check } from './statuses.ts';
import type { Step } from './step.ts';
import { makeId, place, shardOf } from './world.ts';

const UNSTAKE_SECONDS = 604_800n;

interface Operation {
  /** What stands after the mark; none when the operation runs at home alone. */
  readonly mark?: (f: Values) => bigint | undefined;
  /** What the actor pays when the operation is past its mark. */
  readonly value?: (f: Values) => bigint;
  /** The checks before the mark. */
  readonly home?: (step: Step, actor: bigint, f: Values, travels: boolean) => void;
  /** The rest, on the shard it runs on; the value of the step. */
  readonly there: (step: Step, actor: Actor, f: Values) => bigint;
}

const keyOf = (f: Values) => ({ x: f.keyX, y: f.keyY });

/** Takes an amount from the actor, who must have it. */
function pay(step: Step, actor: bigint, amount: bigint): void {
  const { balance } = step.agent(actor);
  check(balance >= amount, 'insufficient_balance');
  step.setAgent(actor, { balance: balance - amount });
}

function publish(step: Step, { id: actor }: Actor, f: Values): bigint {
  const { service, ceiling, deadlineSeconds, arbiter, contestSeconds, metadataHash } = f;
  const deadlineFits = deadlineSeconds > 0n && deadlineSeconds <= MAX_SECONDS;
  check(deadlineFits && contestSeconds <= MAX_SECONDS, 'bad_duration');
  check(service === 0n || step.isHere(service), 'wrong_shard');
  const old = service === 0n ? blank(SERVICE) : step.service(service);
  check(service === 0n || old.provider === actor, 'not_provider');
  const id = service === 0n ? step.giveSerial('services') : service;
  step.world.write(place.service(id), SERVICE, {
    provider: actor,
    flags: 1n + 2n * f.active,
    ceiling,
    deadlineSeconds,
    arbiter,
    contestSeconds,
    metadataHash,
    version: old.version + 1n,
  });
  return id;
}

function respond(step: Step, { id: actor }: Actor, f: Values): bigint {
  check(step.isHere(f.escrow), 'wrong_shard');
  const { payee, status, deadline, amount, arbiter, workflow } = step.escrow(f.escrow);
  check(actor === payee, 'not_payee');
  check(status === ESCROW_STATUS.open, 'escrow_not_open');
  check(step.time <= deadline, 'deadline_passed');
  check(f.price <= amount && (f.result === 0n || f.price === 0n), 'over_price');
  if (f.result !== 0n) refund(step, f.escrow, { failure: f.result === 1n });
  else if (arbiter !== 0n || workflow !== 0n) hold(step, f.escrow, f.price);
  else release(step, f.escrow, f.price);
  return 0n;
}

function contest(step: Step, { id: actor }: Actor, f: Values): bigint {
  const { payer, status, workflow, service, deadline, contestSeconds } = step.escrow(f.escrow);
  check(actor === payer, 'not_payer');
  check(status === ESCROW_STATUS.held && workflow === 0n && step.isHere(service), 'escrow_not_held');
  check(step.time <= deadline, 'deadline_passed');
  step.setEscrow(f.escrow, { status: ESCROW_STATUS.contested, deadline: step.time + contestSeconds });
  return 0n;
}

function rule(step: Step, { id: actor }: Actor, f: Values): bigint {
  const { arbiter, status, deadline, paid } = step.escrow(f.escrow);
  check(actor === arbiter, 'not_arbiter');
  check(status === ESCROW_STATUS.contested, 'escrow_not_contested');
  check(step.time <= deadline, 'deadline_passed');
  check(f.amount <= paid, 'over_price');
  if (f.amount > 0n) release(step, f.escrow, f.amount);
  else refund(step, f.escrow, { failure: true });
  return 0n;
}

function grant(step: Step, { id: grantor }: Actor, f: Values): bigint {
  const { grantee, service, limit, expiry } = f;
  check(expiry >= step.time, 'expired');
  check(grantee !== grantor, 'self_dealing');
  const id = step.giveSerial('capabilities');
  const capability = { grantor, grantee, service, limit, used: 0n, expiry, flags: 1n };
  step.world.write(place.capability(id), CAPABILITY, capability);
  return id;
}

function revoke(step: Step, { id: actor }: Actor, f: Values): bigint {
  check(step.isHere(f.capability), 'wrong_shard');
  const { grantor, flags } = step.capability(f.capability);
  check(grantor === actor, 'not_grantor');
  check((flags & 2n) === 0n, 'capability_revoked');
  step.world.update(place.capability(f.capability), CAPABILITY, { flags: flags | 2n });
  return 0n;
}

function plan(step: Step, { id: planner }: Actor, f: Values): bigint {
  const serial = step.takeSerial('workflows');
  const id = makeId(step.shard, serial);
  check(f.deadlineSeconds > 0n && f.deadlineSeconds <= MAX_SECONDS, 'bad_duration');
  const at = place.workflow(id);
  const old = step.world.read(at, WORKFLOW);
  const closed = old.status !== WORKFLOW_STATUS.open || (step.time > old.deadline && old.done === 0n);
  check(closed && old.done === old.told, 'region_full');
  const { open } = WORKFLOW_STATUS;
  const deadline = step.time + f.deadlineSeconds;
  step.world.write(at, WORKFLOW, { serial, planner, legs: f.legs, status: open, deadline, done: 0n, told: 0n });
  for (let cell = 0; cell < 3; cell++) {
    const legs: Record<string, bigint> = {};
    for (let i = 0; i < 4; i++) {
      legs[`payer${i}`] = f[`payer${4 * cell + i}`] ?? 0n;
      legs[`service${i}`] = f[`service${4 * cell + i}`] ?? 0n;
    }
    step.world.write(at + 1 + cell, LEGS, { ...blank(LEGS), ...legs });
  }
  return id;
}

function abort(step: Step, { id: actor }: Actor, f: Values): bigint {
  const { status, planner, deadline } = step.workflow(f.workflow);
  check(status === WORKFLOW_STATUS.open, 'workflow_closed');
  check(actor === planner || step.time > deadline, 'not_planner');
  step.setWorkflow(f.workflow, { status: WORKFLOW_STATUS.aborted });
  return 0n;
}

/** `tell`, by whoever. */
export function tell(step: Step, id: bigint, leg: bigint): void {
  const { status, deadline, done, told } = step.workflow(id);
  const decided = status !== WORKFLOW_STATUS.open;
  check(decided || step.time > deadline, 'not_due');
  check(leg < 12n && (((done & ~told) >> leg) & 1n) === 1n, 'nothing_to_tell');
  const { escrow } = legOf(step, id, leg);
  step.setWorkflow(id, { told: told | (1n << leg), status: decided ? status : WORKFLOW_STATUS.aborted });
  const released = status === WORKFLOW_STATUS.committed;
  if (step.isHere(escrow)) verdict(step, escrow, released);
  else step.send(shardOf(escrow), 'verdict', { escrow, release: released ? 1n : 0n }, 0n, 0n);
}

function attest(step: Step, actor: Actor, f: Values): bigint {
  if (f.kind === 1n) return attestSession(step, actor, f);
  check(step.isHere(f.id), 'wrong_shard');
  const { payer, payee, status, flags } = step.escrow(f.id);
  check(actor.id === payer, 'not_payer');
  const { fulfilled, refunded, expired } = ESCROW_STATUS;
  check([fulfilled, refunded, expired].some((done) => done === status) && payee !== 0n, 'not_settled');
  check((flags & 1n) === 0n, 'already_attested');
  step.setEscrow(f.id, { flags: flags | 1n });
  rate(step, payee, f.score);
  return 0n;
}

function unstake(step: Step, { id: actor }: Actor): bigint {
  const { balance, stake, unstakeAt } = step.agent(actor);
  check(stake > 0n, 'no_stake');
  if (unstakeAt === 0n) {
    const due = step.time + UNSTAKE_SECONDS;
    step.setAgent(actor, { unstakeAt: due });
    return due;
  }
  check(step.time >= unstakeAt, 'not_due');
  step.setAgent(actor, { balance: balance + stake, stake: 0n, unstakeAt: 0n });
  return stake;
}

/** An operation without a mark and without a value of its own but 0. */
const nothing = (act: () => void): bigint => {
  act();
  return 0n;
};

const OPERATIONS: Readonly<Record<string, Operation>> = {
  register: {
    there: (step, actor, f) => {
      pay(step, actor.id, f.amount);
      return step.newAgent(f.owner, keyOf(f), f.amount);
    },
  },
  rotate: {
    there: (step, _actor, f) => {
      check(step.isHere(f.agent), 'wrong_shard');
      const { owner, epoch } = step.agent(f.agent);
      check(epoch < 65_535n, 'epoch_exhausted');
      const key = concat(be(32, f.keyX), be(32, f.keyY));
      const preimage = step.checks.signing.rotate({ agent: Number(f.agent), epoch: Number(epoch), key });
      check(step.checks.owns(be(20, owner), preimage, be(65, f.ownerSig)), 'bad_signature');
      return replaceKey(step, f.agent, keyOf(f));
    },
  },
  transfer: {
    mark: (f) => f.to,
    value: (f) => f.amount,
    home: (step, actor, f) => check(step.agent(actor).balance >= f.amount, 'insufficient_balance'),
    there: (step, _actor, f) =>
      nothing(() => {
        step.agent(f.to);
        step.credit(f.to, f.amount);
      }),
  },
  withdraw: { there: (step, actor, f) => withdraw(step, actor.id, f.amount, true) },
  publish: { there: publish },
  invoke: {
    mark: (f) => f.capability,
    home: (_step, _actor, f, travels) => (travels ? mayTravel(f) : undefined),
    there: (step, actor, f) => invoke(step, actor.id, f),
  },
  respond: { there: respond },
  expire: { mark: (f) => f.escrow, there: (step, _actor, f) => nothing(() => expire(step, f.escrow)) },
  contest: { mark: (f) => f.escrow, there: contest },
  rule: { mark: (f) => f.escrow, there: rule },
  grant: { there: grant },
  revoke: { there: revoke },
  open: {
    mark: (f) => f.peer,
    value: (f) => f.deposit,
    home: (step, actor, f) => {
      check(f.peer !== actor, 'self_dealing');
      check(f.deposit > 0n, 'zero_amount');
      check(f.exitDelay > 0n && f.exitDelay <= MAX_SECONDS, 'bad_duration');
      check(step.agent(actor).balance >= f.deposit, 'insufficient_balance');
    },
    there: open,
  },
  fund: {
    mark: (f) => f.session,
    value: (f) => f.amount,
    home: (step, actor, f) => {
      check(f.amount > 0n, 'zero_amount');
      check(step.agent(actor).balance >= f.amount, 'insufficient_balance');
    },
    there: fund,
  },
  settle: { mark: (f) => f.session, there: settle },
  exit: { mark: (f) => f.session, there: exit },
  finalize: { mark: (f) => f.session, there: finalize },
  close: { mark: (f) => f.session, there: close },
  plan: { there: plan },
  abort: { mark: (f) => f.workflow, there: abort },
  attest: { mark: (f) => (f.kind === 1n ? f.id : undefined), there: attest },
  slash: { mark: (f) => f.session, there: slashOverSession },
  stake: {
    there: (step, actor, f) =>
      nothing(() => {
        check(f.amount > 0n, 'zero_amount');
        pay(step, actor.id, f.amount);
        step.setAgent(actor.id, { stake: step.agent(actor.id).stake + f.amount, unstakeAt: 0n });
      }),
  },
  unstake: { there: unstake },
  tell: { mark: (f) => f.workflow, there: (step, _actor, f) => nothing(() => tell(step, f.workflow, f.leg)) },
};

/** A new key and the next epoch, which it returns. */
export function replaceKey(step: Step, agent: bigint, key: { x: bigint; y: bigint }): bigint {
  const epoch = step.world.read(place.agent(agent), AGENT).epoch + 1n;
  step.setAgent(agent, { epoch });
  step.world.write(place.key(agent), KEY, key);
  return epoch;
}

export function withdraw(step: Step, agent: bigint, amount: bigint, reserved: boolean): bigint {
  check(amount > 0n, 'zero_amount');
  pay(step, agent, amount);
  return step.newWithdrawal(agent, step.agent(agent).owner, amount, reserved);
}

/** An interaction of an accepted bundle on its actor's shard. */
export function interact(step: Step, actor: bigint, { name, fields, raw }: Interaction): bigint {
  const operation = OPERATIONS[name];
  const key = () => step.key(actor);
  const marked = operation.mark?.(fields);
  const shard = marked === undefined ? step.shard : shardOf(marked);
  check(shard < step.world.shards, 'wrong_shard');
  const travels = shard !== step.shard;
  operation.home?.(step, actor, fields, travels);
  const value = operation.value?.(fields) ?? 0n;
  if (!travels) {
    const result = operation.there(step, { id: actor, key }, fields);
    if (value > 0n) pay(step, actor, value);
    return result;
  }
  step.needRoom(shard);
  if (value > 0n) pay(step, actor, value);
  const pinned = name === 'open' ? concat(be(32, key().x), be(32, key().y)) : new Uint8Array();
  const owner = name === 'transfer' ? fields.to : actor;
  return step.sendBytes(shard, encodeCall(actor, value, raw, pinned), owner, value);
}

/** An interaction that came from another shard, from its mark on. */
export const interactThere = (step: Step, actor: Actor, { name, fields }: Interaction): bigint =>
  OPERATIONS[name].there(step, actor, fields);
