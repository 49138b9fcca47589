import { Session, SessionStatus, get } from '../cells.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Anyone, once an exit's delay is over: pays both parties. */
export interface Finalize {
  readonly session: number;
}

export const finalize = defineOp<'finalize', Finalize>({
  code: 0x11,
  name: 'finalize',
  encode: (w, f) => w.varint(f.session),
  decode: (r) => ({ op: 'finalize', session: r.varint() }),
  run(machine, _actor, f) {
    if (!machine.isLocal(f.session)) return fail('wrong_shard');
    if (!machine.sessionExists(f.session)) return fail('unknown_session');
    const session = machine.readSession(f.session);
    if (get(session, Session.status) !== SessionStatus.exiting) return fail('session_not_exiting');
    if (machine.time < get(session, Session.exitAt)) return fail('not_due');
    machine.payOutSession(f.session);
    return ok();
  },
});
