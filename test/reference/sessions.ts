/** The operations on sessions, from their marks on (docs/protocol.md §4). */
import type { Half } from '../../protocol/half.ts';
import { type Fields, KEY, ROOTS, SESSION, SESSION_STATUS, be, blank } from './cells.ts';
import type { Values } from './frames.ts';
import { isParty, payOut, rate, slash } from './moves.ts';
import { check } from './statuses.ts';
import type { Step } from './step.ts';
import { makeId, place } from './world.ts';

export const MAX_SECONDS = 2n ** 25n;

/** An agent that acts, and where its machine key is found. */
export interface Actor {
  readonly id: bigint;
  readonly key: () => Fields<typeof KEY>;
}

const keyPlace = (session: bigint, party: 0 | 1): number => place.session(session) + 1 + party;
const rootsPlace = (session: bigint): number => place.session(session) + 3;

/** Slot of the party that pays in a direction: a in 0, b in 1. */
const partyOf = (dir: bigint): 0 | 1 => (dir === 0n ? 0 : 1);

export function open(step: Step, actor: Actor, f: Values): bigint {
  const { peer, deposit, exitDelay } = f;
  const serial = step.takeSerial('sessions');
  const id = makeId(step.shard, serial);
  step.agent(peer);
  const old = step.world.read(place.session(id), SESSION);
  check(old.status === 0n || old.status === SESSION_STATUS.closed, 'region_full');
  const status = SESSION_STATUS.open;
  const session = { ...blank(SESSION), a: actor.id, b: peer, depositA: deposit, exitDelay, serial, status };
  step.world.write(place.session(id), SESSION, session);
  step.world.write(keyPlace(id, 0), KEY, actor.key());
  step.world.write(keyPlace(id, 1), KEY, step.key(peer));
  step.world.write(rootsPlace(id), ROOTS, blank(ROOTS));
  return id;
}

export function fund(step: Step, actor: Actor, f: Values): bigint {
  const session = step.session(f.session);
  check(session.status === SESSION_STATUS.open, 'session_not_open');
  check(isParty(session, actor.id), 'not_party');
  if (actor.id === session.a) step.setSession(f.session, { depositA: session.depositA + f.amount });
  else step.setSession(f.session, { depositB: session.depositB + f.amount });
  return 0n;
}

interface SignedHalf {
  readonly seq: bigint;
  readonly calls: bigint;
  readonly paid: bigint;
  readonly root: bigint;
  readonly signature: bigint;
}

function isSigned(step: Step, id: bigint, dir: bigint, half: SignedHalf): boolean {
  const preimage = step.checks.signing.half({
    session: Number(id),
    dir: Number(dir) as Half['dir'],
    seq: Number(half.seq),
    calls: Number(half.calls),
    paid: Number(half.paid),
    root: be(32, half.root),
  });
  return step.signed(step.world.read(keyPlace(id, partyOf(dir)), KEY), preimage, be(64, half.signature));
}

export function settle(step: Step, _actor: Actor, f: Values): bigint {
  const session = step.session(f.session);
  check(session.status !== SESSION_STATUS.closed, 'session_closed');
  const half = { seq: f.seq, calls: f.calls, paid: f.paid, root: f.root, signature: f.signature };
  check(isSigned(step, f.session, f.dir, half), 'bad_signature');
  const roots = step.world.read(rootsPlace(f.session), ROOTS);
  const [paid, calls, root] =
    f.dir === 0n ? (['paidAB', 'callsAB', 'rootAB'] as const) : (['paidBA', 'callsBA', 'rootBA'] as const);
  const more = half.paid > session[paid];
  const longer = half.calls > session[calls] || (half.calls === session[calls] && half.root > roots[root]);
  check(more || longer, 'stale_half');
  if (more) step.setSession(f.session, { [paid]: half.paid });
  if (longer) {
    step.setSession(f.session, { [calls]: half.calls });
    step.world.update(rootsPlace(f.session), ROOTS, { [root]: half.root });
  }
  return 0n;
}

export function exit(step: Step, actor: Actor, f: Values): bigint {
  const session = step.session(f.session);
  check(session.status === SESSION_STATUS.open, 'session_not_open');
  check(isParty(session, actor.id), 'not_party');
  const exitAt = step.time + session.exitDelay;
  step.setSession(f.session, { status: SESSION_STATUS.exiting, exitAt });
  return exitAt;
}

export function finalize(step: Step, _actor: Actor, f: Values): bigint {
  const session = step.session(f.session);
  check(session.status === SESSION_STATUS.exiting, 'session_not_exiting');
  check(step.time >= session.exitAt, 'not_due');
  payOut(step, f.session);
  return 0n;
}

export function close(step: Step, actor: Actor, f: Values): bigint {
  const session = step.session(f.session);
  check(session.status !== SESSION_STATUS.closed, 'session_closed');
  check(isParty(session, actor.id), 'not_party');
  const { paidAB, paidBA, callsAB, callsBA, rootAB, rootBA } = f;
  const preimage = step.checks.signing.close({
    session: Number(f.session),
    paidAB: Number(paidAB),
    paidBA: Number(paidBA),
    callsAB: Number(callsAB),
    callsBA: Number(callsBA),
    rootAB: be(32, rootAB),
    rootBA: be(32, rootBA),
  });
  const other = actor.id === session.a ? 1 : 0;
  check(step.signed(step.world.read(keyPlace(f.session, other), KEY), preimage, be(64, f.signature)), 'bad_signature');
  step.setSession(f.session, { paidAB, paidBA, callsAB, callsBA });
  step.world.write(rootsPlace(f.session), ROOTS, { rootAB, rootBA });
  payOut(step, f.session);
  return 0n;
}

export function attestSession(step: Step, actor: Actor, f: Values): bigint {
  const session = step.session(f.id);
  check(isParty(session, actor.id), 'not_party');
  const byA = actor.id === session.a;
  const calls = byA ? session.callsAB : session.callsBA;
  check(session.status === SESSION_STATUS.closed && calls > 0n, 'not_settled');
  const flag = byA ? 1n : 2n;
  check((session.flags & flag) === 0n, 'already_attested');
  step.setSession(f.id, { flags: session.flags | flag });
  rate(step, byA ? session.b : session.a, f.score);
  return 0n;
}

export function slashOverSession(step: Step, actor: Actor, f: Values): bigint {
  const session = step.session(f.session);
  const flag = f.dir === 0n ? 4n : 8n;
  check((session.flags & flag) === 0n, 'already_slashed');
  const one = { seq: f.seq0, calls: f.calls0, paid: f.paid0, root: f.root0, signature: f.signature0 };
  const two = { seq: f.seq1, calls: f.calls1, paid: f.paid1, root: f.root1, signature: f.signature1 };
  const sameLog = one.calls === two.calls && one.root === two.root;
  const conflict =
    (one.seq === two.seq && !(sameLog && one.paid === two.paid)) || (one.calls === two.calls && one.root !== two.root);
  check(conflict, 'no_conflict');
  check(
    [one, two].every((half) => isSigned(step, f.session, f.dir, half)),
    'bad_signature',
  );
  step.setSession(f.session, { flags: session.flags | flag });
  slash(step, f.dir === 0n ? session.a : session.b, actor.id);
  return 0n;
}
