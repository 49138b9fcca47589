import { Session, SessionRoots, SessionStatus } from '../cells.ts';
import { amount, bytes, calls, choice, group, id, varint } from '../wire.ts';
import { type Direction, type DirectionState, SIGNATURE_BYTES, join } from '../half.ts';
import { NONE } from '../memory.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Brings a half on chain: by anyone, at any time, in any order. */
export const settle = defineOp({
  code: 0x0f,
  name: 'settle',
  fields: [
    group('half', [
      id('session', 'session'),
      choice('dir', 0, 1),
      varint('seq'),
      calls('calls'),
      amount('paid'),
      bytes('root', 32),
    ]),
    // By the payer's pinned key.
    bytes('signature', SIGNATURE_BYTES),
  ],
  where: (_machine, _actor, session) => session,
  run(machine, _actor, id, dir, seq, calls, paid, root, signature) {
    const { cells } = machine;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    if (Session.status.get(cells, session) === SessionStatus.closed) return Status.session_closed;
    const half = { session: id, dir: dir as Direction, seq, calls, paid, root: machine.bytes(root, 32) };
    const payerKey = machine.sessionPart(id, 1 + dir);
    if (!machine.isSigned(payerKey, () => machine.signing.half(half), signature)) return Status.bad_signature;
    const [paidField, callsField, rootField] =
      dir === 0
        ? [Session.paidAB, Session.callsAB, SessionRoots.rootAB]
        : [Session.paidBA, Session.callsBA, SessionRoots.rootBA];
    const roots = machine.sessionPart(id, 3);
    const state: DirectionState = {
      paid: paidField.get(cells, session),
      calls: callsField.get(cells, session),
      root: rootField.get(cells, roots),
    };
    if (!join(state, half)) return Status.stale_half;
    const cell = machine.edit(session);
    paidField.set(cells, cell, state.paid);
    callsField.set(cells, cell, state.calls);
    rootField.set(cells, machine.edit(roots), state.root);
    return Status.ok;
  },
});
