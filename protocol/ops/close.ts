import { Session, SessionRoots, SessionStatus } from '../cells.ts';
import { amount, bytes, calls, group, id } from '../wire.ts';
import { SIGNATURE_BYTES } from '../half.ts';
import { NONE } from '../memory.ts';
import { canPayOut, payOut } from '../moves/session.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Both parties agree how the session ended: paid out at once. */
export const close = defineOp({
  code: 0x12,
  name: 'close',
  fields: [
    group('close', [
      id('session', 'session'),
      amount('paidAB'),
      amount('paidBA'),
      calls('callsAB'),
      calls('callsBA'),
      bytes('rootAB', 32),
      bytes('rootBA', 32),
    ]),
    // By the other party's pinned key.
    bytes('signature', SIGNATURE_BYTES),
  ],
  where: (_machine, _actor, session) => session,
  run(machine, actor, id, paidAB, paidBA, callsAB, callsBA, rootAB, rootBA, signature) {
    const { cells } = machine;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    if (Session.status.get(cells, session) === SessionStatus.closed) return Status.session_closed;
    const party = machine.party(session, actor);
    if (party === -1) return Status.not_party;
    const agreed = { session: id, paidAB, paidBA, callsAB, callsBA };
    const preimage = (): Uint8Array =>
      machine.signing.close({ ...agreed, rootAB: machine.bytes(rootAB, 32), rootBA: machine.bytes(rootBA, 32) });
    const otherKey = machine.sessionPart(id, party === 0 ? 2 : 1);
    if (!machine.isSigned(otherKey, preimage, signature)) return Status.bad_signature;
    if (!canPayOut(machine, session, paidAB, paidBA, callsBA)) return Status.congested;
    const cell = machine.edit(session);
    Session.paidAB.set(cells, cell, paidAB);
    Session.paidBA.set(cells, cell, paidBA);
    Session.callsAB.set(cells, cell, callsAB);
    Session.callsBA.set(cells, cell, callsBA);
    const roots = machine.edit(machine.sessionPart(id, 3));
    SessionRoots.rootAB.set(cells, roots, machine.frame, rootAB);
    SessionRoots.rootBA.set(cells, roots, machine.frame, rootBA);
    payOut(machine, session);
    return Status.ok;
  },
});
