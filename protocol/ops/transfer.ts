import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

export interface Transfer {
  readonly to: number;
  readonly amount: number;
}

export const transfer = defineOp<'transfer', Transfer>({
  code: 0x03,
  name: 'transfer',
  encode: (w, f) => w.varint(f.to).varint(f.amount),
  decode: (r) => ({ op: 'transfer', to: r.varint(), amount: r.varint() }),
  run(machine, actor, { to, amount }) {
    if (!machine.isLocal(to)) return fail('wrong_shard');
    if (!machine.agentExists(to)) return fail('unknown_agent');
    if (machine.balance(actor) < amount) return fail('insufficient_balance');
    machine.debit(actor, amount);
    machine.credit(to, amount);
    return ok();
  },
});
