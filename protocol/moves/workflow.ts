/** Workflows: a quad with the plan and what has joined it (docs/protocol.md §4). */
import { Leg, Workflow, WorkflowStatus } from '../cells.ts';
import type { Machine } from '../machine.ts';
import { NONE } from '../memory.ts';
import { Status } from '../status.ts';

/** An answered leg joins its workflow, and commits it when it is the last. Returns why it may not. */
export function join(
  machine: Machine,
  id: number,
  leg: number,
  escrow: number,
  payer: number,
  service: number,
): number {
  const { cells } = machine;
  const workflow = machine.workflow(id);
  if (workflow === NONE) return Status.unknown_workflow;
  const isOpen = Workflow.status.get(cells, workflow) === WorkflowStatus.open;
  if (!isOpen || machine.time > Workflow.deadline.get(cells, workflow)) return Status.workflow_closed;
  const legs = Workflow.legs.get(cells, workflow);
  if (leg >= legs) return Status.wrong_leg;
  const planned = machine.leg(id, leg);
  const isPlanned = Leg.payer.get(cells, planned) === payer && Leg.service.get(cells, planned) === service;
  if (!isPlanned || Leg.escrow.get(cells, planned) !== 0) return Status.wrong_leg;
  Leg.escrow.set(cells, machine.editLeg(id, leg), escrow);
  const cell = machine.edit(workflow);
  const done = Workflow.done.get(cells, cell) | (1 << leg);
  Workflow.done.set(cells, cell, done);
  if (done === (1 << legs) - 1) Workflow.status.set(cells, cell, WorkflowStatus.committed);
  return Status.ok;
}
