import { Reader } from '../bytes.ts';
import { Leg, MAX_DURATION, MAX_LEGS, Workflow, WorkflowStatus } from '../cells.ts';
import { serialOf } from '../ids.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { duration, list, shortId } from '../wire.ts';

/** Plans a workflow: who pays for which service, each leg. All are paid, or none. Value: the workflow's id. */
export const plan = defineOp({
  code: 0x13,
  name: 'plan',
  takes: 'workflow',
  fields: [duration('deadlineSeconds'), list('legs', MAX_LEGS, [shortId('payer'), shortId('service')])],
  run(machine, actor, deadlineSeconds, legs, at) {
    const { cells } = machine;
    const id = machine.takeWorkflowId();
    if (id === 0) return Status.region_full;
    if (deadlineSeconds === 0 || deadlineSeconds > MAX_DURATION) return Status.bad_duration;
    if (!machine.hasWorkflowSlot(id)) return Status.region_full;
    const cell = machine.clearWorkflow(id);
    Workflow.serial.set(cells, cell, serialOf(id));
    Workflow.planner.set(cells, cell, actor);
    Workflow.legs.set(cells, cell, legs);
    Workflow.status.set(cells, cell, WorkflowStatus.open);
    Workflow.deadline.set(cells, cell, machine.time + deadlineSeconds);
    const reader = new Reader(machine.frame, at);
    for (let leg = 0; leg < legs; leg++) {
      const planned = machine.editLeg(id, leg);
      Leg.payer.set(cells, planned, reader.varint());
      Leg.service.set(cells, planned, reader.varint());
    }
    return machine.ok(id);
  },
});
