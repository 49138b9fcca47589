import { Session, slashedOf } from '../cells.ts';
import { type Direction, type Half, SIGNATURE_BYTES, contradicts } from '../half.ts';
import { NONE } from '../memory.ts';
import { slash as slashAgent, slashReaches } from '../moves/agent.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { amount, bytes, calls, choice, group, id, varint } from '../wire.ts';

const signedHalf = <const Name extends string>(name: Name) =>
  group(name, [
    varint('seq'),
    calls('calls'),
    amount('paid'),
    bytes('root', 32),
    bytes('signature', SIGNATURE_BYTES),
  ] as const);

/** Shows that a machine key signed two halves that can't both be true: its agent loses its stake, half of it to the actor. */
export const slash = defineOp({
  code: 0x16,
  name: 'slash',
  movesHead: true,
  fields: [id('session', 'session'), choice('dir', 0, 1), signedHalf('first'), signedHalf('second')],
  where: (_machine, _actor, session) => session,
  run(machine, actor, id, dir, seqA, callsA, paidA, rootA, signatureA, seqB, callsB, paidB, rootB, signatureB) {
    const { cells } = machine;
    const session = machine.session(id);
    if (session === NONE) return Status.unknown_session;
    const flags = Session.flags.get(cells, session);
    const bit = slashedOf(dir);
    if ((flags & bit) !== 0) return Status.already_slashed;
    const halfOf = (seq: number, calls: number, paid: number, root: number): Half => ({
      session: id,
      dir: dir as Direction,
      seq,
      calls,
      paid,
      root: machine.bytes(root, 32),
    });
    const [first, second] = [halfOf(seqA, callsA, paidA, rootA), halfOf(seqB, callsB, paidB, rootB)];
    if (!contradicts(first, second)) return Status.no_conflict;
    const isSigned = (half: Half, signature: number): boolean =>
      machine.isSigned(machine.sessionPart(id, 1 + dir), () => machine.signing.half(half), signature);
    if (!isSigned(first, signatureA) || !isSigned(second, signatureB)) return Status.bad_signature;
    const signer = (dir === 0 ? Session.a : Session.b).get(cells, session);
    if (!slashReaches(machine, signer, actor)) return Status.congested;
    Session.flags.set(cells, machine.edit(session), flags | bit);
    slashAgent(machine, signer, actor);
    return Status.ok;
  },
});
