import { Session, SessionStatus } from '../cells.ts';
import { id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { canPayOut, payOut } from '../moves/session.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Anyone, once an exit's delay is over: pays both parties. */
export const finalize = defineOp({
  code: 0x11,
  name: 'finalize',
  fields: [id('session', 'session')],
  where: (_machine, _actor, session) => session,
  run(machine, _actor, id) {
    const { cells } = machine;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    if (Session.status.get(cells, session) !== SessionStatus.exiting) return Status.session_not_exiting;
    if (machine.time < Session.exitAt.get(cells, session)) return Status.not_due;
    const [paidAB, paidBA] = [Session.paidAB.get(cells, session), Session.paidBA.get(cells, session)];
    if (!canPayOut(machine, session, paidAB, paidBA, Session.callsBA.get(cells, session))) return Status.congested;
    payOut(machine, session);
    return Status.ok;
  },
});
