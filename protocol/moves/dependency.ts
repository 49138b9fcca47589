/** What a call that waits for another waits for (docs/protocol.md §4, `after` and `back`). */
import { Escrow, EscrowStatus } from '../cells.ts';
import type { Machine } from '../machine.ts';
import { NONE } from '../memory.ts';

export const Dependency = { met: 0, pending: 1, failed: 2 } as const;

/** Where an escrow stands for one that comes after it; `workflow` is that one's: within it, an answer is enough. */
export function dependency(machine: Machine, id: number, workflow: number): number {
  const { cells } = machine;
  const escrow = machine.escrow(id);
  if (escrow === NONE) return Dependency.failed;
  switch (Escrow.status.get(cells, escrow)) {
    case EscrowStatus.fulfilled:
      return Dependency.met;
    case EscrowStatus.refunded:
    case EscrowStatus.expired:
      return Dependency.failed;
    case EscrowStatus.held:
      return workflow !== 0 && Escrow.workflow.get(cells, escrow) === workflow ? Dependency.met : Dependency.pending;
    default:
      return Dependency.pending;
  }
}
