import { Session, SessionRoots, SessionStatus, get, getBytes, set, setBytes } from '../cells.ts';
import { type Half, type Direction, type DirectionState, SIGNATURE_BYTES, join } from '../half.ts';
import { malformed } from '../errors.ts';
import { fail, ok } from '../machine.ts';
import { defineOp } from '../op.ts';

/** Brings a half on chain: by anyone, at any time, in any order. */
export interface Settle {
  readonly half: Half;
  /** By the payer's pinned key. */
  readonly signature: Uint8Array;
}

export const settle = defineOp<'settle', Settle>({
  code: 0x0f,
  name: 'settle',
  encode: (w, { half, signature }) =>
    w
      .varint(half.session)
      .u8(half.dir)
      .varint(half.seq)
      .varint(half.calls)
      .varint(half.paid)
      .bytes(half.root)
      .bytes(signature),
  decode: (r) => {
    const session = r.varint();
    const dir = r.u8();
    if (dir > 1) throw malformed('dir is 0 or 1');
    const half = {
      session,
      dir: dir as Direction,
      seq: r.varint(),
      calls: r.varint(),
      paid: r.varint(),
      root: r.bytes(32),
    };
    if (half.calls >= 2 ** 48) throw malformed('more than 2^48-1 calls');
    return { op: 'settle', half, signature: r.bytes(SIGNATURE_BYTES) };
  },
  run(machine, _actor, { half, signature }) {
    if (!machine.isLocal(half.session)) return fail('wrong_shard');
    if (!machine.sessionExists(half.session)) return fail('unknown_session');
    const session = machine.readSession(half.session);
    if (get(session, Session.status) === SessionStatus.closed) return fail('session_closed');
    const payerKey = machine.readSession(half.session, 1 + half.dir);
    if (!machine.verify(payerKey, () => machine.signing.half(half), signature)) return fail('bad_signature');
    const [paid, calls, root] =
      half.dir === 0
        ? [Session.paidAB, Session.callsAB, SessionRoots.rootAB]
        : [Session.paidBA, Session.callsBA, SessionRoots.rootBA];
    const roots = machine.readSession(half.session, 3);
    const state: DirectionState = { paid: get(session, paid), calls: get(session, calls), root: getBytes(roots, root) };
    if (!join(state, half)) return fail('stale_half');
    const cell = machine.editSession(half.session);
    set(cell, paid, state.paid);
    set(cell, calls, state.calls);
    setBytes(machine.editSession(half.session, 3), root, state.root);
    return ok();
  },
});
