import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** A new agent, sponsored by the actor, who moves `amount` to it. Value: the new agent's id. */
export interface Register {
  /** L1 address, 20 bytes. */
  readonly owner: Uint8Array;
  /** x ‖ y. */
  readonly key: Uint8Array;
  readonly amount: number;
}

export const register = defineOp<'register', Register>({
  code: 0x01,
  name: 'register',
  encode: (w, f) => w.bytes(f.owner).bytes(f.key).varint(f.amount),
  decode: (r) => ({ op: 'register', owner: r.bytes(20), key: r.bytes(64), amount: r.varint() }),
  run(machine, actor, { owner, key, amount }) {
    if (machine.balance(actor) < amount) return fail('insufficient_balance');
    if (!machine.hasAgentRoom()) return fail('region_full');
    machine.debit(actor, amount);
    return ok(machine.createAgent(owner, key, amount));
  },
});
