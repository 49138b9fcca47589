import { Session, SessionStatus, get, set } from '../cells.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** A party leaves alone; newer halves may land until `exitAt`. Value: exitAt. */
export interface Exit {
  readonly session: number;
}

export const exit = defineOp<'exit', Exit>({
  code: 0x10,
  name: 'exit',
  encode: (w, f) => w.varint(f.session),
  decode: (r) => ({ op: 'exit', session: r.varint() }),
  run(machine, actor, f) {
    if (!machine.isLocal(f.session)) return fail('wrong_shard');
    if (!machine.sessionExists(f.session)) return fail('unknown_session');
    const session = machine.readSession(f.session);
    if (get(session, Session.status) !== SessionStatus.open) return fail('session_not_open');
    if (machine.partyOf(session, actor) === -1) return fail('not_party');
    const exitAt = machine.time + get(session, Session.exitDelay);
    const cell = machine.editSession(f.session);
    set(cell, Session.exitAt, exitAt);
    set(cell, Session.status, SessionStatus.exiting);
    return ok(exitAt);
  },
});
