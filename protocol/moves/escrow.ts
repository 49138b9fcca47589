/**
 * What several operations do with escrows (docs/protocol.md §4, "Shared moves"). Whoever calls has made all checks, room
 * for messages included ({@link canTell}), so these only write.
 */
import { ACTIVE, Agent, Capability, Escrow, EscrowStatus, Service } from '../cells.ts';
import { makeId, shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';
import { type Cell, NONE } from '../memory.ts';
import { Status } from '../status.ts';
import { join } from './workflow.ts';

/** Whether the escrow itself is on another shard: this is its payer's record of it. */
export const isOrder = (machine: Machine, escrow: Cell): boolean =>
  !machine.isLocal(Escrow.service.get(machine.cells, escrow));

/** Whether the payer's shard can be told what becomes of the escrow: it is this one, or there is room for messages to it. */
export const canTell = (machine: Machine, escrow: Cell, slots?: number): boolean =>
  machine.reaches(shardOf(Escrow.payer.get(machine.cells, escrow)), slots);

/** Why a service of this shard would not take such a call now. */
export function terms(machine: Machine, payer: number, service: number, amount: number, workflow: number): number {
  const { cells } = machine;
  const cell = machine.service(service);
  if (cell === NONE) return Status.unknown_service;
  if ((Service.flags.get(cells, cell) & ACTIVE) === 0) return Status.service_inactive;
  if (amount > Service.ceiling.get(cells, cell)) return Status.over_ceiling;
  if (workflow !== 0 && Service.arbiter.get(cells, cell) !== 0) return Status.arbitrated;
  if (Service.provider.get(cells, cell) === payer) return Status.self_dealing;
  return Status.ok;
}

/** Opens the escrow on the service's terms as they are now; or sends it to the service's shard. */
export function start(machine: Machine, escrow: Cell): void {
  const { cells } = machine;
  const cell = machine.edit(escrow);
  const service = Escrow.service.get(cells, cell);
  if (machine.isLocal(service)) {
    const pinned = machine.service(service);
    Escrow.payee.set(cells, cell, Service.provider.get(cells, pinned));
    Escrow.deadline.set(cells, cell, machine.time + Service.deadlineSeconds.get(cells, pinned));
    Escrow.arbiter.set(cells, cell, Service.arbiter.get(cells, pinned));
    Escrow.contestSeconds.set(cells, cell, Service.contestSeconds.get(cells, pinned));
    Escrow.status.set(cells, cell, EscrowStatus.open);
    Escrow.link.set(cells, cell, 0);
    return;
  }
  const payer = Escrow.payer.get(cells, cell);
  const amount = Escrow.amount.get(cells, cell);
  const number = machine.send(shardOf(service), payer, amount, {
    kind: 'invoke',
    order: idOf(machine, cell),
    payer,
    service,
    amount,
    workflow: Escrow.workflow.get(cells, cell),
    leg: legOf(machine, cell),
  });
  Escrow.status.set(cells, cell, EscrowStatus.sent);
  Escrow.link.set(cells, cell, number);
}

/** Pays `price` to the payee, the rest back. */
export function release(machine: Machine, escrow: Cell, price: number): void {
  const { cells } = machine;
  const payee = Escrow.payee.get(cells, escrow);
  machine.earn(payee, price, 1, price);
  end(machine, escrow, EscrowStatus.fulfilled, price, 0);
}

/** Gives everything back. */
export function refund(machine: Machine, escrow: Cell, status: number = EscrowStatus.refunded): void {
  end(machine, escrow, status, 0, 0);
}

/** Gives everything back, and counts a failure of the payee. */
export function refundFailed(machine: Machine, escrow: Cell): void {
  machine.addFailure(Escrow.payee.get(machine.cells, escrow));
  refund(machine, escrow);
}

/** As {@link refundFailed}, for an answer that never came: it costs the payee of its stake, too. */
export function refundExpired(machine: Machine, escrow: Cell): void {
  const { cells } = machine;
  const payee = Escrow.payee.get(cells, escrow);
  machine.addFailure(payee);
  const cell = machine.edit(machine.agent(payee));
  const stake = Agent.stake.get(cells, cell);
  const penalty = Math.min(stake, Escrow.amount.get(cells, escrow));
  Agent.stake.set(cells, cell, stake - penalty);
  // Half is burned, so that nobody takes a stake home early by failing an accomplice.
  const toPayer = Math.floor(penalty / 2);
  machine.burn(penalty - toPayer);
  end(machine, escrow, EscrowStatus.expired, 0, toPayer);
}

/** Keeps the answer's price until a workflow, or the time to contest, has decided. `slots`: see {@link canTell}. */
export function hold(machine: Machine, escrow: Cell, price: number): void {
  const { cells } = machine;
  const cell = machine.edit(escrow);
  Escrow.paid.set(cells, cell, price);
  Escrow.status.set(cells, cell, EscrowStatus.held);
  const workflow = Escrow.workflow.get(cells, cell);
  if (workflow === 0) Escrow.deadline.set(cells, cell, machine.time + Escrow.contestSeconds.get(cells, cell));
  else {
    const leg = legOf(machine, cell);
    const [id, payer, service] = [idOf(machine, cell), Escrow.payer.get(cells, cell), Escrow.service.get(cells, cell)];
    if (!machine.isLocal(workflow))
      machine.send(shardOf(workflow), 0, 0, { kind: 'leg', workflow, leg, escrow: id, payer, service });
    else if (join(machine, workflow, leg, id, payer, service) !== Status.ok) {
      refund(machine, cell);
      return;
    }
  }
  report(machine, cell, EscrowStatus.held, price, 0, 0);
}

/** A workflow's word on one of its legs. Returns the status; `congested` when the payer's shard can't be told. */
export function verdict(machine: Machine, id: number, committed: boolean): number {
  const { cells } = machine;
  const escrow = machine.escrow(id);
  if (escrow === NONE) return Status.unknown_escrow;
  if (Escrow.status.get(cells, escrow) !== EscrowStatus.held || Escrow.workflow.get(cells, escrow) === 0)
    return Status.escrow_not_held;
  if (!canTell(machine, escrow)) return Status.congested;
  if (committed) release(machine, escrow, Escrow.paid.get(cells, escrow));
  else refund(machine, escrow);
  return Status.ok;
}

/** Whether a record is an order that its escrow's shard has still something to say of. */
export function isSettleable(machine: Machine, record: Cell): boolean {
  const status = Escrow.status.get(machine.cells, record);
  return isOrder(machine, record) && (status === EscrowStatus.sent || status === EscrowStatus.held);
}

/** What the provider's shard said of an order. */
export function settleOrder(
  machine: Machine,
  order: Cell,
  said: { escrow: number; payee: number; status: number; paid: number; refund: number; penalty: number },
): void {
  const { cells } = machine;
  const cell = machine.edit(order);
  Escrow.payee.set(cells, cell, said.payee);
  Escrow.link.set(cells, cell, said.escrow);
  Escrow.paid.set(cells, cell, said.paid);
  Escrow.status.set(cells, cell, said.status);
  giveBack(machine, cell, said.refund, said.penalty);
}

/** Ends an escrow: the payer gets what was not paid, and `penalty` from the payee. */
function end(machine: Machine, escrow: Cell, status: number, paid: number, penalty: number): void {
  const { cells } = machine;
  const cell = machine.edit(escrow);
  Escrow.paid.set(cells, cell, paid);
  Escrow.status.set(cells, cell, status);
  const rest = Escrow.amount.get(cells, cell) - paid;
  if (machine.isLocal(Escrow.payer.get(cells, cell))) giveBack(machine, cell, rest, penalty);
  else report(machine, cell, status, paid, rest, penalty);
}

/** Pays the payer of a record on its own shard, and the capability it was charged to. */
function giveBack(machine: Machine, record: Cell, rest: number, penalty: number): void {
  const { cells } = machine;
  machine.credit(Escrow.payer.get(cells, record), rest + penalty);
  const id = Escrow.capability.get(cells, record);
  if (id === 0 || rest === 0) return;
  const capability = machine.edit(machine.capability(id));
  Capability.used.set(cells, capability, Math.max(Capability.used.get(cells, capability) - rest, 0));
}

/** Tells an order what became of its escrow; nothing for an escrow whose payer is here. */
function report(machine: Machine, escrow: Cell, status: number, paid: number, rest: number, penalty: number): void {
  const { cells } = machine;
  const payer = Escrow.payer.get(cells, escrow);
  if (machine.isLocal(payer)) return;
  machine.send(shardOf(payer), payer, rest + penalty, {
    kind: 'report',
    order: Escrow.link.get(cells, escrow),
    escrow: idOf(machine, escrow),
    payee: Escrow.payee.get(cells, escrow),
    status,
    paid,
    refund: rest,
    penalty,
  });
}

const idOf = (machine: Machine, escrow: Cell): number =>
  makeId(machine.shard, Escrow.serial.get(machine.cells, escrow));
const legOf = (machine: Machine, escrow: Cell): number => Escrow.flags.get(machine.cells, escrow) >>> 4;
