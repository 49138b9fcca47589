import { ATTESTED, Escrow, EscrowStatus, Session, SessionStatus, attestedBy } from '../cells.ts';
import { shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';
import { NONE } from '../memory.ts';
import { rate } from '../moves/agent.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';
import { byte, choice, id } from '../wire.ts';

/** What each kind of record is called on the wire. */
const KIND = { escrow: 0, session: 1 } as const;

/** Feedback on who was paid, once for each escrow and each side of a session that is settled. */
export const attest = defineOp({
  code: 0x15,
  name: 'attest',
  fields: [choice('kind', 'escrow', 'session'), id('id', 'rated'), byte('score', 6, 1)],
  // A payer's record of an escrow is at home.
  where: (_machine, actor, kind, id) => (kind === KIND.session ? id : actor),
  run: (machine, actor, kind, id, score) =>
    kind === KIND.escrow ? rateEscrow(machine, actor, id, score) : rateSession(machine, actor, id, score),
});

function rateEscrow(machine: Machine, actor: number, id: number, score: number): number {
  const { cells } = machine;
  if (!machine.isLocal(id)) return Status.wrong_shard;
  const escrow = machine.escrow(id);
  if (escrow === NONE) return Status.unknown_escrow;
  if (Escrow.payer.get(cells, escrow) !== actor) return Status.not_payer;
  const status = Escrow.status.get(cells, escrow);
  const isSettled =
    status === EscrowStatus.fulfilled || status === EscrowStatus.refunded || status === EscrowStatus.expired;
  const payee = Escrow.payee.get(cells, escrow);
  if (!isSettled || payee === 0) return Status.not_settled;
  const flags = Escrow.flags.get(cells, escrow);
  if ((flags & ATTESTED) !== 0) return Status.already_attested;
  if (!machine.reaches(shardOf(payee))) return Status.congested;
  Escrow.flags.set(cells, machine.edit(escrow), flags | ATTESTED);
  rate(machine, payee, score);
  return Status.ok;
}

function rateSession(machine: Machine, actor: number, id: number, score: number): number {
  const { cells } = machine;
  const session = machine.session(id);
  if (session === NONE) return Status.unknown_session;
  const party = machine.party(session, actor);
  if (party === -1) return Status.not_party;
  const bought = (party === 0 ? Session.callsAB : Session.callsBA).get(cells, session);
  if (Session.status.get(cells, session) !== SessionStatus.closed || bought === 0) return Status.not_settled;
  const flags = Session.flags.get(cells, session);
  const bit = attestedBy(party);
  if ((flags & bit) !== 0) return Status.already_attested;
  const other = (party === 0 ? Session.b : Session.a).get(cells, session);
  if (!machine.reaches(shardOf(other))) return Status.congested;
  Session.flags.set(cells, machine.edit(session), flags | bit);
  rate(machine, other, score);
  return Status.ok;
}
