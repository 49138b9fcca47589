import { Session, SessionRoots, SessionStatus, get, set, setBytes } from '../cells.ts';
import type { Close } from '../eip712.ts';
import { SIGNATURE_BYTES } from '../half.ts';
import { malformed } from '../errors.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Both parties agree how the session ended: paid out at once. */
export interface CloseSession {
  readonly close: Close;
  /** By the other party's pinned key. */
  readonly signature: Uint8Array;
}

export const close = defineOp<'close', CloseSession>({
  code: 0x12,
  name: 'close',
  encode: (w, { close: c, signature }) =>
    w
      .varint(c.session)
      .varint(c.paidAB)
      .varint(c.paidBA)
      .varint(c.callsAB)
      .varint(c.callsBA)
      .bytes(c.rootAB)
      .bytes(c.rootBA)
      .bytes(signature),
  decode: (r) => {
    const [session, paidAB, paidBA, callsAB, callsBA] = [r.varint(), r.varint(), r.varint(), r.varint(), r.varint()];
    if (callsAB >= 2 ** 48 || callsBA >= 2 ** 48) throw malformed('more than 2^48-1 calls');
    const close = { session, paidAB, paidBA, callsAB, callsBA, rootAB: r.bytes(32), rootBA: r.bytes(32) };
    return { op: 'close', close, signature: r.bytes(SIGNATURE_BYTES) };
  },
  run(machine, actor, { close: c, signature }) {
    if (!machine.isLocal(c.session)) return fail('wrong_shard');
    if (!machine.sessionExists(c.session)) return fail('unknown_session');
    const session = machine.readSession(c.session);
    if (get(session, Session.status) === SessionStatus.closed) return fail('session_closed');
    const party = machine.partyOf(session, actor);
    if (party === -1) return fail('not_party');
    const otherKey = machine.readSession(c.session, party === 0 ? 2 : 1);
    if (!machine.verify(otherKey, () => machine.signing.close(c), signature)) return fail('bad_signature');
    const cell = machine.editSession(c.session);
    set(cell, Session.paidAB, c.paidAB);
    set(cell, Session.paidBA, c.paidBA);
    set(cell, Session.callsAB, c.callsAB);
    set(cell, Session.callsBA, c.callsBA);
    const roots = machine.editSession(c.session, 3);
    setBytes(roots, SessionRoots.rootAB, c.rootAB);
    setBytes(roots, SessionRoots.rootBA, c.rootBA);
    machine.payOutSession(c.session);
    return ok();
  },
});
