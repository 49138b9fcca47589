import { Agent, get, getBytes } from '../cells.ts';
import { verifyOwner } from '../keys.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Replaces an agent's machine key; its owner signed, anyone may bring it. Value: the new epoch. */
export interface RotateKey {
  readonly agent: number;
  /** x ‖ y. */
  readonly key: Uint8Array;
  /** r ‖ s ‖ v over `Rotate`, by the owner. */
  readonly ownerSignature: Uint8Array;
}

export const rotate = defineOp<'rotate', RotateKey>({
  code: 0x02,
  name: 'rotate',
  encode: (w, f) => w.varint(f.agent).bytes(f.key).bytes(f.ownerSignature),
  decode: (r) => ({ op: 'rotate', agent: r.varint(), key: r.bytes(64), ownerSignature: r.bytes(65) }),
  run(machine, _actor, { agent, key, ownerSignature }) {
    if (!machine.isLocal(agent)) return fail('wrong_shard');
    if (!machine.agentExists(agent)) return fail('unknown_agent');
    if (machine.epochExhausted(agent)) return fail('epoch_exhausted');
    const cell = machine.readAgent(agent);
    const preimage = machine.signing.rotate({ agent, epoch: get(cell, Agent.epoch), key });
    if (!verifyOwner(getBytes(cell, Agent.owner), preimage, ownerSignature)) return fail('bad_signature');
    return ok(machine.rotateKey(agent, key));
  },
});
