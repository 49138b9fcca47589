/** The moves that operations and messages share (docs/protocol.md §4, "Shared moves"). */
import {
  AGENT,
  CAPABILITY,
  ESCROW,
  ESCROW_STATUS,
  type Fields,
  HEAD,
  LEGS,
  SERVICE,
  SESSION,
  SESSION_STATUS,
  WORKFLOW,
  WORKFLOW_STATUS,
} from './cells.ts';
import { check } from './statuses.ts';
import { type Step, saturated } from './step.ts';
import { place, shardOf } from './world.ts';

type Escrow = Fields<typeof ESCROW>;

/** Tells the payer of an escrow what became of it: here, or its order by a report. */
function settlePayer(step: Step, id: bigint, refund: bigint, penalty: bigint): void {
  const escrow = step.escrow(id);
  if (!step.isHere(escrow.payer)) {
    const { link: order, payee, status, paid, payer } = escrow;
    const report = { order, escrow: id, payee, status, paid, refund, penalty };
    step.send(shardOf(order), 'report', report, payer, refund + penalty);
    return;
  }
  step.credit(escrow.payer, refund + penalty);
  giveBackBudget(step, escrow.capability, refund);
}

/** What comes back to the payer was not used of the capability either. */
export function giveBackBudget(step: Step, capability: bigint, refund: bigint): void {
  if (capability === 0n) return;
  const { used } = step.capability(capability);
  step.world.update(place.capability(capability), CAPABILITY, { used: used > refund ? used - refund : 0n });
}

export function grow(step: Step, id: bigint, balance: bigint, completed: bigint, volume: bigint): void {
  const agent = step.world.read(place.agent(id), AGENT);
  step.setAgent(id, {
    balance: agent.balance + balance,
    completed: saturated(4, agent.completed + completed),
    volume: saturated(6, agent.volume + volume),
  });
}

function countFailure(step: Step, id: bigint): void {
  step.setAgent(id, { failed: saturated(3, step.world.read(place.agent(id), AGENT).failed + 1n) });
}

export function release(step: Step, id: bigint, paid: bigint): void {
  const { payee, amount } = step.escrow(id);
  grow(step, payee, paid, 1n, paid);
  step.setEscrow(id, { status: ESCROW_STATUS.fulfilled, paid });
  settlePayer(step, id, amount - paid, 0n);
}

export function refund(
  step: Step,
  id: bigint,
  { failure, status = ESCROW_STATUS.refunded, penalty = 0n }: { failure: boolean; status?: bigint; penalty?: bigint },
): void {
  const { payee, amount } = step.escrow(id);
  if (failure) countFailure(step, payee);
  step.setEscrow(id, { status, paid: 0n });
  settlePayer(step, id, amount, penalty);
}

export function hold(step: Step, id: bigint, price: bigint): void {
  const escrow = step.escrow(id);
  step.setEscrow(id, { status: ESCROW_STATUS.held, paid: price });
  if (escrow.workflow === 0n) step.setEscrow(id, { deadline: step.time + escrow.contestSeconds });
  else {
    const { workflow, payer, service } = escrow;
    const leg = escrow.flags >> 4n;
    if (!step.isHere(workflow))
      step.send(shardOf(workflow), 'leg', { workflow, leg, escrow: id, payer, service }, 0n, 0n);
    else if (joinRefusal(step, workflow, leg, id, payer, service) !== undefined) {
      refund(step, id, { failure: false });
      return;
    }
  }
  if (!step.isHere(escrow.payer)) settlePayer(step, id, 0n, 0n);
}

/** A cell of four legs, and the names of one leg's fields in it. */
export function legOf(step: Step, workflow: bigint, leg: bigint) {
  const at = place.workflow(workflow) + 1 + Number(leg / 4n);
  const n = Number(leg % 4n) as 0 | 1 | 2 | 3;
  const cell = step.world.read(at, LEGS);
  return {
    at,
    name: `escrow${n}` as const,
    payer: cell[`payer${n}`],
    service: cell[`service${n}`],
    escrow: cell[`escrow${n}`],
  };
}

/** A leg joins its workflow, or why it can't. */
export function joinRefusal(
  step: Step,
  workflow: bigint,
  leg: bigint,
  escrow: bigint,
  payer: bigint,
  service: bigint,
): string | undefined {
  const record = step.world.read(place.workflow(workflow), WORKFLOW);
  if (workflow / 256n === 0n || record.serial !== workflow / 256n) return 'unknown_workflow';
  if (record.status !== WORKFLOW_STATUS.open || step.time > record.deadline) return 'workflow_closed';
  const slot = legOf(step, workflow, leg);
  if (slot.payer !== payer || slot.service !== service || slot.escrow !== 0n) return 'wrong_leg';
  step.world.update(slot.at, LEGS, { [slot.name]: escrow });
  const done = record.done | (1n << leg);
  const all = done === (1n << record.legs) - 1n;
  step.setWorkflow(workflow, { done, status: all ? WORKFLOW_STATUS.committed : WORKFLOW_STATUS.open });
  return undefined;
}

export function verdict(step: Step, id: bigint, released: boolean): void {
  const escrow = step.escrow(id);
  check(escrow.status === ESCROW_STATUS.held && escrow.workflow !== 0n, 'escrow_not_held');
  if (released) release(step, id, escrow.paid);
  else refund(step, id, { failure: false });
}

export function rate(step: Step, id: bigint, score: bigint): void {
  if (!step.isHere(id)) {
    step.send(shardOf(id), 'rating', { agent: id, score }, 0n, 0n);
    return;
  }
  const { ratings, ratingSum } = step.world.read(place.agent(id), AGENT);
  const fits = ratings + 1n < 2n ** 24n && ratingSum + score < 2n ** 24n;
  if (fits) step.setAgent(id, { ratings: ratings + 1n, ratingSum: ratingSum + score });
}

export function slash(step: Step, id: bigint, reporter: bigint): void {
  if (!step.isHere(id)) {
    step.send(shardOf(id), 'slash', { agent: id, reporter }, 0n, 0n);
    return;
  }
  const { stake } = step.world.read(place.agent(id), AGENT);
  countFailure(step, id);
  step.setAgent(id, { stake: 0n, unstakeAt: 0n });
  const reward = stake / 2n;
  burn(step, stake - reward);
  if (step.isHere(reporter)) step.credit(reporter, reward);
  else
    step.send(
      shardOf(reporter),
      'credit',
      { agent: reporter, amount: reward, calls: 0n, volume: 0n },
      reporter,
      reward,
    );
}

function burn(step: Step, amount: bigint): void {
  step.setHead({ burned: (step.head as Fields<typeof HEAD>).burned + amount });
}

export function payOut(step: Step, id: bigint): void {
  const { a, b, depositA, depositB, paidAB, paidBA, callsAB, callsBA } = step.session(id);
  const total = depositA + depositB;
  const owed = depositB + paidAB - paidBA;
  const outB = owed < 0n ? 0n : owed > total ? total : owed;
  step.setSession(id, { status: SESSION_STATUS.closed });
  payParty(step, a, total - outB, depositA, callsBA);
  payParty(step, b, outB, depositB, callsAB);
}

function payParty(step: Step, id: bigint, out: bigint, deposit: bigint, calls: bigint): void {
  const volume = out > deposit ? out - deposit : 0n;
  if (step.isHere(id)) grow(step, id, out, calls, volume);
  else if (out > 0n || calls > 0n || volume > 0n)
    step.send(shardOf(id), 'credit', { agent: id, amount: out, calls, volume }, id, out);
}

/** What a service asks of a call, whenever it starts. */
export function terms(
  step: Step,
  call: { service: bigint; amount: bigint; payer: bigint; workflow: bigint },
): Fields<typeof SERVICE> {
  const service = step.service(call.service);
  check((service.flags & 2n) !== 0n, 'service_inactive');
  check(call.amount <= service.ceiling, 'over_ceiling');
  check(service.arbiter === 0n || call.workflow === 0n, 'arbitrated');
  check(call.payer !== service.provider, 'self_dealing');
  return service;
}

/** An escrow or order whose cell is there begins: open here, or on its way. */
export function start(step: Step, id: bigint, link: bigint): void {
  const escrow: Escrow = step.escrow(id);
  const { service, payer, amount, workflow } = escrow;
  if (step.isHere(service)) {
    const { provider: payee, deadlineSeconds, arbiter, contestSeconds } = step.service(service);
    const deadline = step.time + deadlineSeconds;
    step.setEscrow(id, { payee, deadline, arbiter, contestSeconds, status: ESCROW_STATUS.open, link });
    return;
  }
  const message = { order: id, payer, service, amount, workflow, leg: escrow.flags >> 4n };
  const number = step.send(shardOf(service), 'invoke', message, payer, amount);
  step.setEscrow(id, { status: ESCROW_STATUS.sent, link: number });
}

/** Whether a record in the ring of escrows may be taken over. */
export function slotIsDone(escrow: Escrow): boolean {
  const { fulfilled, refunded, expired } = ESCROW_STATUS;
  return [0n, fulfilled, refunded, expired].includes(escrow.status);
}

/** Whether what a call waits for has come: fulfilled, or held in the same workflow. */
export const isMet = (dependency: Escrow, workflow: bigint): boolean =>
  dependency.status === ESCROW_STATUS.fulfilled ||
  (dependency.status === ESCROW_STATUS.held && workflow !== 0n && dependency.workflow === workflow);

export const hasFailed = (dependency: Escrow): boolean =>
  dependency.status === ESCROW_STATUS.refunded || dependency.status === ESCROW_STATUS.expired;

export function expire(step: Step, id: bigint): void {
  const escrow = step.escrow(id);
  const { time } = step;
  const late = time > escrow.deadline;
  switch (escrow.status) {
    case ESCROW_STATUS.open: {
      check(late, 'not_due');
      const { stake } = step.agent(escrow.payee);
      const penalty = stake < escrow.amount ? stake : escrow.amount;
      step.setAgent(escrow.payee, { stake: stake - penalty });
      burn(step, penalty - penalty / 2n);
      refund(step, id, { failure: true, status: ESCROW_STATUS.expired, penalty: penalty / 2n });
      return;
    }
    case ESCROW_STATUS.held:
      check(late && escrow.workflow === 0n && step.isHere(escrow.service), 'not_due');
      release(step, id, escrow.paid);
      return;
    case ESCROW_STATUS.contested:
      check(late, 'not_due');
      refund(step, id, { failure: false });
      return;
    case ESCROW_STATUS.waiting:
      startWaiting(step, id, escrow);
      return;
    default:
      check(false, 'escrow_not_open');
  }
}

function startWaiting(step: Step, id: bigint, escrow: Escrow): void {
  const dependency = step.world.read(place.escrow(escrow.link), ESCROW);
  const gone = dependency.serial !== escrow.link / 256n;
  if (!gone && !hasFailed(dependency)) {
    check(isMet(dependency, escrow.workflow), 'not_due');
    if (!step.isHere(escrow.service) || termsHold(step, escrow)) {
      start(step, id, 0n);
      return;
    }
  }
  refund(step, id, { failure: false, status: ESCROW_STATUS.expired });
}

function termsHold(step: Step, escrow: Escrow): boolean {
  return step.passes(() => terms(step, escrow));
}

export const isParty = (session: Fields<typeof SESSION>, actor: bigint): boolean =>
  actor === session.a || actor === session.b;
