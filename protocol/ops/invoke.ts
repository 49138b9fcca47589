import { Capability, Escrow, EscrowStatus, MAX_LEGS, REVOKED } from '../cells.ts';
import { makeId, serialOf, shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';
import { NONE } from '../memory.ts';
import { Dependency, dependency } from '../moves/dependency.ts';
import { start, terms } from '../moves/escrow.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, byte, id, options, shortId, varint } from '../wire.ts';

/** Bits of the options. */
const AFTER = 1;
const WORKFLOW = 2;
const CAPABILITY = 4;
const BACK = 8;

/** One call of a service, paid on fulfilment: by the actor, or by who granted it a capability. Value: the id of the escrow, or of the order for one elsewhere. */
export const invoke = defineOp({
  code: 0x06,
  name: 'invoke',
  takes: 'escrow',
  fields: [
    shortId('service', 'terms'),
    // Most the payer will pay.
    amount('amount'),
    options(
      [
        // An escrow or order of this shard that must be fulfilled first …
        [varint('after', 2 ** 53, 1, 'dependency')],
        // A workflow (0: the one planned last), and which of its legs this is.
        [id('workflow', 'joined'), byte('leg', MAX_LEGS)],
        [varint('capability', 2 ** 32, 1, 'capability')],
        // … or how many serials before this one it was given.
        [byte('back', 256, 1, 'back')],
      ],
      AFTER | BACK,
    ),
  ],
  where: (_machine, actor, _service, _amount, given, _after, _workflow, _leg, capability) =>
    (given & CAPABILITY) !== 0 ? capability : actor,
  home(machine, _actor, _service, _amount, given, _after, workflow, _leg, capability) {
    if ((given & CAPABILITY) === 0 || machine.isLocal(capability)) return Status.ok;
    // Where it goes on, these would mean something else.
    const isRelative = (given & (AFTER | BACK)) !== 0 || ((given & WORKFLOW) !== 0 && workflow === 0);
    return isRelative ? Status.unsupported : Status.ok;
  },
  run(machine, actor, service, amount, given, after, workflow, leg, capability, back) {
    const { cells } = machine;
    const id = machine.takeEscrowId();
    if (id === 0) return Status.region_full;
    let payer = actor;
    if (capability !== 0) {
      const refused = budget(machine, actor, capability, service, amount);
      if (refused !== Status.ok) return refused;
      payer = Capability.grantor.get(cells, machine.capability(capability));
    }
    const isHere = machine.isLocal(service);
    if (shardOf(service) >= machine.shards || shardOf(workflow) >= machine.shards) return Status.wrong_shard;
    let joins = workflow;
    if ((given & WORKFLOW) !== 0 && workflow === 0) {
      joins = machine.newestWorkflow();
      if (joins === 0) return Status.unknown_workflow;
    }
    if (isHere) {
      const refused = terms(machine, payer, service, amount, joins);
      if (refused !== Status.ok) return refused;
    }
    let waitsFor = 0;
    if ((given & (AFTER | BACK)) !== 0) {
      const first = (given & AFTER) !== 0 ? after : makeId(machine.shard, Math.max(serialOf(id) - back, 0));
      if (!machine.isLocal(first)) return Status.wrong_shard;
      if (machine.escrow(first) === NONE) return Status.unknown_escrow;
      const state = dependency(machine, first, joins);
      if (state === Dependency.failed) return Status.dependency_failed;
      if (state === Dependency.pending) waitsFor = first;
    }
    if (machine.balance(payer) < amount) return Status.insufficient_balance;
    if (!machine.hasEscrowSlot(id)) return Status.region_full;
    if (!isHere && waitsFor === 0 && !machine.reaches(shardOf(service))) return Status.congested;
    machine.debit(payer, amount);
    const cell = machine.createEscrow(id, payer, service, amount, joins, leg);
    if (capability !== 0) {
      Escrow.capability.set(cells, cell, capability);
      const charged = machine.edit(machine.capability(capability));
      Capability.used.set(cells, charged, Capability.used.get(cells, charged) + amount);
    }
    if (waitsFor === 0) start(machine, cell);
    else {
      Escrow.status.set(cells, cell, EscrowStatus.waiting);
      Escrow.link.set(cells, cell, waitsFor);
    }
    return machine.ok(id);
  },
});

/** Why a capability would not pay for a call. */
function budget(machine: Machine, actor: number, id: number, service: number, amount: number): number {
  const { cells } = machine;
  const capability = machine.capability(id);
  if (capability === NONE) return Status.unknown_capability;
  if ((Capability.flags.get(cells, capability) & REVOKED) !== 0) return Status.capability_revoked;
  if (Capability.grantee.get(cells, capability) !== actor) return Status.not_grantee;
  if (Capability.expiry.get(cells, capability) < machine.time) return Status.expired;
  const only = Capability.service.get(cells, capability);
  if (only !== 0 && only !== service) return Status.wrong_service;
  const used = Capability.used.get(cells, capability);
  return used + amount > Capability.limit.get(cells, capability) ? Status.over_limit : Status.ok;
}
