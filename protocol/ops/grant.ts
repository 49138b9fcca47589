import { Capability, EXISTS } from '../cells.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, shortId, varint } from '../wire.ts';

/** Lets another agent invoke a service (0: any) on the actor's budget, up to a limit. Value: the capability's id. */
export const grant = defineOp({
  code: 0x0b,
  name: 'grant',
  makes: true,
  fields: [shortId('grantee'), shortId('service'), amount('limit'), varint('expiry', 2 ** 32)],
  run(machine, actor, grantee, service, limit, expiry) {
    const { cells } = machine;
    if (expiry < machine.time) return Status.expired;
    if (grantee === actor) return Status.self_dealing;
    if (!machine.hasCapabilityRoom()) return Status.region_full;
    const id = machine.createCapability();
    const cell = machine.edit(machine.capability(id));
    Capability.grantor.set(cells, cell, actor);
    Capability.grantee.set(cells, cell, grantee);
    Capability.service.set(cells, cell, service);
    Capability.limit.set(cells, cell, limit);
    Capability.expiry.set(cells, cell, expiry);
    Capability.flags.set(cells, cell, EXISTS);
    return machine.ok(id);
  },
});
