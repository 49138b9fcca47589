/** `invoke`, in the page's six steps (docs/protocol.md §4). */
import { CAPABILITY, ESCROW, ESCROW_STATUS, blank } from './cells.ts';
import type { Values } from './frames.ts';
import { hasFailed, isMet, slotIsDone, start, terms } from './moves.ts';
import type { Payload } from './payloads.ts';
import { check } from './statuses.ts';
import type { Step } from './step.ts';
import { makeId, place, shardOf } from './world.ts';

/** What must hold at home before an invoke by a capability of another shard travels there. */
export function mayTravel(f: Values): void {
  check(f.after === undefined && f.back === undefined && f.workflow !== 0n, 'unsupported');
}

/** The capability's limits; its grantor pays. */
function payerByCapability(step: Step, actor: bigint, f: Values): bigint {
  const { grantor, grantee, service, limit, used, expiry, flags } = step.capability(f.capability);
  check((flags & 2n) === 0n, 'capability_revoked');
  check(grantee === actor, 'not_grantee');
  check(expiry >= step.time, 'expired');
  check(service === 0n || service === f.service, 'wrong_service');
  check(used + f.amount <= limit, 'over_limit');
  return grantor;
}

function workflowOf(step: Step, f: Values): bigint {
  if (f.workflow === undefined) return 0n;
  check(shardOf(f.workflow) < step.world.shards, 'wrong_shard');
  if (f.workflow !== 0n) return f.workflow;
  const newest = step.head.workflows;
  check(newest > 0n, 'unknown_workflow');
  return makeId(step.shard, newest);
}

/** The id of what the call waits for, 0 for nothing: and that only while it isn't met. */
function unmetDependency(step: Step, f: Values, serial: bigint, workflow: bigint): bigint {
  if (f.after === undefined && f.back === undefined) return 0n;
  check(f.after === undefined || step.isHere(f.after), 'wrong_shard');
  check(f.back === undefined || serial > f.back, 'unknown_escrow');
  const id = f.after ?? makeId(step.shard, serial - f.back);
  const dependency = step.escrow(id);
  check(!hasFailed(dependency), 'dependency_failed');
  return isMet(dependency, workflow) ? 0n : id;
}

export function invoke(step: Step, actor: bigint, f: Values): bigint {
  const { service, amount } = f;
  const serial = step.takeSerial('escrows');
  const id = makeId(step.shard, serial);
  const payer = f.capability === undefined ? actor : payerByCapability(step, actor, f);
  check(shardOf(service) < step.world.shards, 'wrong_shard');
  const workflow = workflowOf(step, f);
  if (step.isHere(service)) terms(step, { service, amount, payer, workflow });
  const link = unmetDependency(step, f, serial, workflow);
  check(step.agent(payer).balance >= amount, 'insufficient_balance');
  check(slotIsDone(step.world.read(place.escrow(id), ESCROW)), 'region_full');

  step.setAgent(payer, { balance: step.agent(payer).balance - amount });
  const capability = f.capability ?? 0n;
  if (capability !== 0n)
    step.world.update(place.capability(capability), CAPABILITY, { used: step.capability(capability).used + amount });
  const flags = (f.leg ?? 0n) << 4n;
  const status = ESCROW_STATUS.waiting;
  const cell = { ...blank(ESCROW), serial, payer, service, amount, workflow, capability, flags, status, link };
  step.world.write(place.escrow(id), ESCROW, cell);
  if (link === 0n) start(step, id, 0n);
  return id;
}

/** An order of another shard becomes an escrow here. */
export function invokeByOrder(step: Step, message: Payload<'invoke'>): bigint {
  const { order, service, amount, payer, workflow, leg } = message;
  const serial = step.takeSerial('escrows');
  const id = makeId(step.shard, serial);
  terms(step, { service, amount, payer, workflow });
  check(slotIsDone(step.world.read(place.escrow(id), ESCROW)), 'region_full');
  const cell = { ...blank(ESCROW), serial, payer, service, amount, workflow, flags: leg << 4n };
  step.world.write(place.escrow(id), ESCROW, cell);
  start(step, id, order);
  return id;
}
