import { ACTIVE, Service, get } from '../cells.ts';
import { malformed } from '../errors.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Debits the payer and opens an escrow for one call of a service. Value: the escrow's id. */
export interface Invoke {
  readonly service: number;
  /** Most the payer will pay, base units. */
  readonly amount: number;
  /** An escrow that must be fulfilled first. */
  readonly after?: number;
  readonly workflow?: number;
  readonly capability?: number;
}

const OPTIONS = ['after', 'workflow', 'capability'] as const;

export const invoke = defineOp<'invoke', Invoke>({
  code: 0x06,
  name: 'invoke',
  encode: (w, f) => {
    w.varint(f.service).varint(f.amount);
    w.u8(OPTIONS.reduce((bits, name, i) => (f[name] === undefined ? bits : bits | (1 << i)), 0));
    for (const name of OPTIONS) if (f[name] !== undefined) w.varint(f[name]);
  },
  decode: (r) => {
    const service = r.varint();
    const amount = r.varint();
    const bits = r.u8();
    if (bits === 0) return { op: 'invoke', service, amount };
    if (bits >= 1 << OPTIONS.length) throw malformed('unknown invoke option');
    const options: { -readonly [K in (typeof OPTIONS)[number]]?: number } = {};
    for (const [i, name] of OPTIONS.entries()) if (bits & (1 << i)) options[name] = r.varint();
    return { op: 'invoke', service, amount, ...options };
  },
  run(machine, actor, f) {
    if (f.after !== undefined || f.workflow !== undefined || f.capability !== undefined) return fail('unsupported');
    if (!machine.isLocal(f.service)) return fail('wrong_shard');
    if (!machine.serviceExists(f.service)) return fail('unknown_service');
    const service = machine.readService(f.service);
    const payee = get(service, Service.provider);
    if ((get(service, Service.flags) & ACTIVE) === 0) return fail('service_inactive');
    if (f.amount > get(service, Service.ceiling)) return fail('over_ceiling');
    if (payee === actor) return fail('self_dealing');
    if (machine.balance(actor) < f.amount) return fail('insufficient_balance');
    if (!machine.hasEscrowRoom()) return fail('region_full');
    machine.debit(actor, f.amount);
    return ok(machine.openEscrow({ payer: actor, payee, service: f.service, amount: f.amount }));
  },
});
