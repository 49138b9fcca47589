import { ACTIVE, Service } from '../cells.ts';
import { amount, id, options } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Debits the payer and opens an escrow for one call of a service. Value: the escrow's id. */
export const invoke = defineOp({
  code: 0x06,
  name: 'invoke',
  fields: [
    id('service'),
    // Most the payer will pay.
    amount('amount'),
    // An escrow that must be fulfilled first; a workflow and a capability to act under.
    options('after', 'workflow', 'capability'),
  ],
  run(machine, actor, service, amount, given) {
    const { cells } = machine;
    if (given !== 0) return Status.unsupported;
    if (!machine.isLocal(service)) return Status.wrong_shard;
    const terms = machine.service(service);
    if (terms === NONE) return Status.unknown_service;
    const payee = Service.provider.get(cells, terms);
    if ((Service.flags.get(cells, terms) & ACTIVE) === 0) return Status.service_inactive;
    if (amount > Service.ceiling.get(cells, terms)) return Status.over_ceiling;
    if (payee === actor) return Status.self_dealing;
    if (machine.balance(actor) < amount) return Status.insufficient_balance;
    if (!machine.hasEscrowRoom()) return Status.region_full;
    machine.debit(actor, amount);
    return machine.ok(machine.openEscrow(actor, payee, service, amount));
  },
});
