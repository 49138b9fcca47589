import { Session, SessionStatus } from '../cells.ts';
import { id } from '../wire.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** A party leaves alone; newer halves may land until `exitAt`. Value: exitAt. */
export const exit = defineOp({
  code: 0x10,
  name: 'exit',
  fields: [id('session', 'session')],
  where: (_machine, _actor, session) => session,
  run(machine, actor, id) {
    const { cells } = machine;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    if (Session.status.get(cells, session) !== SessionStatus.open) return Status.session_not_open;
    if (machine.party(session, actor) === -1) return Status.not_party;
    const exitAt = machine.time + Session.exitDelay.get(cells, session);
    const cell = machine.edit(session);
    Session.exitAt.set(cells, cell, exitAt);
    Session.status.set(cells, cell, SessionStatus.exiting);
    return machine.ok(exitAt);
  },
});
