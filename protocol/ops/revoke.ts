import { Capability, EXISTS, REVOKED } from '../cells.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { shortId } from '../wire.ts';

/** Ends a capability the actor granted. What was invoked by it goes on. */
export const revoke = defineOp({
  code: 0x0c,
  name: 'revoke',
  fields: [shortId('capability', 'capability')],
  run(machine, actor, id) {
    const { cells } = machine;
    if (!machine.isLocal(id)) return Status.wrong_shard;
    const capability = machine.capability(id);
    if (capability === NONE) return Status.unknown_capability;
    if (Capability.grantor.get(cells, capability) !== actor) return Status.not_grantor;
    if ((Capability.flags.get(cells, capability) & REVOKED) !== 0) return Status.capability_revoked;
    Capability.flags.set(cells, machine.edit(capability), EXISTS | REVOKED);
    return Status.ok;
  },
});
