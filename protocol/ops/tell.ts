import { Leg, MAX_LEGS, Workflow, WorkflowStatus } from '../cells.ts';
import { shardOf } from '../ids.ts';
import { NONE } from '../memory.ts';
import { canTell, verdict } from '../moves/escrow.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { byte, id } from '../wire.ts';

/** Tells one leg how its workflow was decided. By anybody; shards do it by themselves (a frame of its own). */
export const tell = defineOp({
  code: 0x19,
  name: 'tell',
  isBarrier: true,
  fields: [id('workflow', 'workflow'), byte('leg')],
  where: (_machine, _actor, workflow) => workflow,
  run(machine, _actor, id, leg) {
    const { cells } = machine;
    const workflow = machine.workflow(id);
    if (workflow === NONE) return Status.unknown_workflow;
    const status = Workflow.status.get(cells, workflow);
    const isOpen = status === WorkflowStatus.open;
    if (isOpen && machine.time <= Workflow.deadline.get(cells, workflow)) return Status.not_due;
    const told = Workflow.told.get(cells, workflow);
    const bit = leg < MAX_LEGS ? 1 << leg : 0;
    if ((Workflow.done.get(cells, workflow) & bit & ~told) === 0) return Status.nothing_to_tell;
    const escrow = Leg.escrow.get(cells, machine.leg(id, leg));
    const held = machine.isLocal(escrow) ? machine.escrow(escrow) : NONE;
    if (held === NONE ? !machine.reaches(shardOf(escrow)) : !canTell(machine, held)) return Status.congested;
    const cell = machine.edit(workflow);
    if (isOpen) Workflow.status.set(cells, cell, WorkflowStatus.aborted);
    Workflow.told.set(cells, cell, told | bit);
    const committed = status === WorkflowStatus.committed;
    if (machine.isLocal(escrow)) verdict(machine, escrow, committed);
    else machine.send(shardOf(escrow), 0, 0, { kind: 'verdict', escrow, release: committed ? 1 : 0 });
    return Status.ok;
  },
});
