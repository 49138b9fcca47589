import { Agent } from '../cells.ts';
import { bytes, shortId } from '../wire.ts';
import { verifyOwner } from '../keys.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Replaces an agent's machine key; its owner signed, anyone may bring it. Value: the new epoch. */
export const rotate = defineOp({
  code: 0x02,
  name: 'rotate',
  fields: [
    shortId('agent', 'agent'),
    // x ‖ y.
    bytes('key', 64),
    // r ‖ s ‖ v over `Rotate`, by the owner.
    bytes('ownerSignature', 65),
  ],
  run(machine, _actor, agent, key, ownerSignature) {
    const { cells } = machine;
    if (!machine.isLocal(agent)) return Status.wrong_shard;
    const cell = machine.agent(agent);
    if (cell === NONE) return Status.unknown_agent;
    if (machine.epochExhausted(agent)) return Status.epoch_exhausted;
    const newKey = machine.bytes(key, 64);
    const preimage = machine.signing.rotate({ agent, epoch: Agent.epoch.get(cells, cell), key: newKey });
    const owner = Agent.owner.get(cells, cell);
    if (!verifyOwner(owner, preimage, machine.bytes(ownerSignature, 65))) return Status.bad_signature;
    return machine.ok(machine.rotateKey(agent, newKey));
  },
});
