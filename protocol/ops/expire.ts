import { Escrow, EscrowStatus } from '../cells.ts';
import { shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';
import { type Cell, NONE } from '../memory.ts';
import { Dependency, dependency } from '../moves/dependency.ts';
import { canTell, isOrder, refund, refundExpired, release, start, terms } from '../moves/escrow.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { id } from '../wire.ts';

/** Brings about what time, or another record, has decided of an escrow. By anybody; shards do it by themselves (a frame of its own). */
export const expire = defineOp({
  code: 0x08,
  name: 'expire',
  movesHead: true,
  fields: [id('escrow', 'advanced')],
  where: (_machine, _actor, escrow) => escrow,
  run(machine, _actor, id) {
    const { cells } = machine;
    const escrow = machine.escrow(id);
    if (escrow === NONE) return Status.unknown_escrow;
    const isDue = machine.time > Escrow.deadline.get(cells, escrow);
    switch (Escrow.status.get(cells, escrow)) {
      case EscrowStatus.open:
        if (!isDue) return Status.not_due;
        if (!canTell(machine, escrow)) return Status.congested;
        refundExpired(machine, escrow);
        return Status.ok;
      case EscrowStatus.held:
        if (!isDue || Escrow.workflow.get(cells, escrow) !== 0 || isOrder(machine, escrow)) return Status.not_due;
        if (!canTell(machine, escrow)) return Status.congested;
        release(machine, escrow, Escrow.paid.get(cells, escrow));
        return Status.ok;
      case EscrowStatus.contested:
        if (!isDue) return Status.not_due;
        if (!canTell(machine, escrow)) return Status.congested;
        // The provider chose an arbiter who stays silent.
        refund(machine, escrow);
        return Status.ok;
      case EscrowStatus.waiting:
        return advance(machine, escrow);
      default:
        return Status.escrow_not_open;
    }
  },
});

/** Starts a call that waited, or gives up on it, once its dependency is decided. */
function advance(machine: Machine, escrow: Cell): number {
  const { cells } = machine;
  const workflow = Escrow.workflow.get(cells, escrow);
  const state = dependency(machine, Escrow.link.get(cells, escrow), workflow);
  if (state === Dependency.pending) return Status.not_due;
  const service = Escrow.service.get(cells, escrow);
  const isRefused = (): boolean =>
    machine.isLocal(service) &&
    terms(machine, Escrow.payer.get(cells, escrow), service, Escrow.amount.get(cells, escrow), workflow) !== Status.ok;
  if (state === Dependency.failed || isRefused()) {
    refund(machine, escrow, EscrowStatus.expired);
    return Status.ok;
  }
  if (!machine.reaches(shardOf(service))) return Status.congested;
  start(machine, escrow);
  return Status.ok;
}
