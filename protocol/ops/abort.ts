import { Workflow, WorkflowStatus } from '../cells.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { id } from '../wire.ts';

/** Gives a workflow up: by its planner at any time, by anybody after its deadline. */
export const abort = defineOp({
  code: 0x14,
  name: 'abort',
  fields: [id('workflow', 'workflow')],
  where: (_machine, _actor, workflow) => workflow,
  run(machine, actor, id) {
    const { cells } = machine;
    const workflow = machine.workflow(id);
    if (workflow === NONE) return Status.unknown_workflow;
    if (Workflow.status.get(cells, workflow) !== WorkflowStatus.open) return Status.workflow_closed;
    const isOver = machine.time > Workflow.deadline.get(cells, workflow);
    if (!isOver && Workflow.planner.get(cells, workflow) !== actor) return Status.not_planner;
    Workflow.status.set(cells, machine.edit(workflow), WorkflowStatus.aborted);
    return Status.ok;
  },
});
