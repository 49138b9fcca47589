import { amount, bytes } from '../wire.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** A new agent, sponsored by the actor, who moves `amount` to it. Value: the new agent's id. */
export const register = defineOp({
  code: 0x01,
  name: 'register',
  makes: true,
  fields: [
    // L1 address.
    bytes('owner', 20),
    // x ‖ y.
    bytes('key', 64),
    amount('amount'),
  ],
  run(machine, actor, owner, key, amount) {
    if (machine.balance(actor) < amount) return Status.insufficient_balance;
    if (!machine.hasAgentRoom()) return Status.region_full;
    machine.debit(actor, amount);
    return machine.ok(machine.createAgent(machine.bytes(owner, 20), machine.bytes(key, 64), amount));
  },
});
