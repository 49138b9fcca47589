/**
 * Answers to the signatures of one bundle or frame at a time. Execution asks synchronously whether a signature is valid, WebCrypto answers
 * asynchronously and many times faster than JavaScript, so the answers are fetched before: of a bundle's own signature by the gateway, of
 * those inside it here. They wait with their bundle and go with it: there is no store of them that anybody could flush.
 */
import type { Bundle } from '../../protocol/bundle.ts';
import { equal } from '../../protocol/bytes.ts';
import { Head, get } from '../../protocol/cells.ts';
import { serialOf } from '../../protocol/ids.ts';
import { verifyP256, verifyP256Sync } from '../../protocol/keys.ts';
import type { Machine, VerifyP256 } from '../../protocol/machine.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type Outcome, Status } from '../../protocol/status.ts';
import { isSigned } from './prices.ts';

interface Question {
  readonly key: Uint8Array;
  readonly preimage: Uint8Array;
  readonly signature: Uint8Array;
}
interface Answer extends Question {
  readonly valid: boolean;
}

/** What is known of the signatures inside a bundle. */
export interface Answers {
  readonly answers: readonly Answer[];
  /** Sessions of this shard that were not there when it was asked: once they are, there is more to ask. */
  readonly missing: readonly number[];
}
export const NO_ANSWERS: Answers = { answers: [], missing: [] };

/** The session whose pinned keys an interaction is signed by; null for one without signatures of that kind. */
function sessionOf(interaction: Interaction): number | null {
  if (interaction.op === 'settle') return interaction.half.session;
  if (interaction.op === 'close') return interaction.close.session;
  return interaction.op === 'slash' ? interaction.session : null;
}

/** What execution will ask about an interaction's signatures, over a session that is there. */
function questionsOf(machine: Machine, actor: number, interaction: Interaction): Question[] {
  const { signing } = machine;
  if (interaction.op === 'settle') {
    const { half, signature } = interaction;
    return [{ key: machine.readSession(half.session, 1 + half.dir), preimage: signing.half(half), signature }];
  }
  if (interaction.op === 'close') {
    const { close, signature } = interaction;
    const isA = machine.partyOf(machine.readSession(close.session), actor) === 0;
    return [{ key: machine.readSession(close.session, isA ? 2 : 1), preimage: signing.close(close), signature }];
  }
  if (interaction.op !== 'slash') return [];
  const { session, dir, first, second } = interaction;
  const key = machine.readSession(session, 1 + dir);
  return [first, second].map(({ signature, ...half }) => ({
    key,
    preimage: signing.half({ session, dir, ...half }),
    signature,
  }));
}

const isSame = (a: Question, b: Question): boolean =>
  equal(a.signature, b.signature) && equal(a.key, b.key) && equal(a.preimage, b.preimage);

/** Asks for what a bundle's execution may want to know. A session pins its keys, so what is answered for one that is there stays so. */
export async function askFor(
  machine: Machine,
  { actor, interactions }: Pick<Bundle, 'actor' | 'interactions'>,
): Promise<Answers> {
  const questions: Question[] = [];
  const missing: number[] = [];
  for (const interaction of interactions) {
    const session = sessionOf(interaction);
    if (session === null || !machine.isLocal(session)) continue;
    if (!machine.sessionExists(session)) missing.push(session);
    else
      for (const question of questionsOf(machine, actor, interaction))
        if (!questions.some((known) => isSame(known, question))) questions.push(question);
  }
  const answers = await Promise.all(
    questions.map(async (question) => ({
      ...question,
      valid: await verifyP256(question.key, question.preimage, question.signature),
    })),
  );
  return { answers, missing };
}

/** Whether a session has come since that a bundle is signed over. */
export const isOutdated = (machine: Machine, { missing }: Answers): boolean =>
  missing.some((session) => machine.sessionExists(session));

/** Whether one of the next `opens` sessions is one that was missing: a bundle with so many opens would have it checked while it runs. */
export function opensMissing(machine: Machine, { missing }: Answers, opens: number): boolean {
  if (opens === 0 || missing.length === 0) return false;
  const last = get(machine.head(), Head.sessions);
  return missing.some((session) => serialOf(session) > last && serialOf(session) <= last + opens);
}

/** What {@link Verdicts} knows while a frame runs. */
interface Known {
  readonly bundle: Bundle | null;
  /** The key under which the bundle's own signature was found valid. */
  readonly key: Uint8Array | null;
  readonly answers: readonly Answer[];
}
const NOTHING: Known = { bundle: null, key: null, answers: [] };

export class Verdicts {
  #known = NOTHING;
  /** In a replay: what was answered then, in the order in which it was asked. */
  #logged: boolean[] | null = null;
  #own = true;
  /** Signatures checked in the middle of execution, the slow way: none, unless something was forgotten. */
  computed = 0;

  /** For an engine: what is known, else computed in place. */
  readonly verify: VerifyP256 = (key, preimage, signature, body) => {
    if (body) {
      if (this.#logged) return this.#own;
      const { bundle, key: found } = this.#known;
      if (bundle && found && bundle.frame.buffer === body.buffer && bundle.frame.byteOffset === body.byteOffset)
        if (body.length === bundle.body.length && equal(found, key)) return true;
    } else {
      const logged = this.#logged?.shift();
      if (logged !== undefined) return logged;
      const asked = this.#known.answers.length > 0 ? { key, preimage: preimage(), signature } : null;
      const answer = asked && this.#known.answers.find((each) => isSame(each, asked));
      if (answer) return answer.valid;
    }
    this.computed += 1;
    return verifyP256Sync(key, preimage(), signature);
  };

  /** Runs `work` on a bundle that was found valid under `key`. */
  during<T>(bundle: Bundle, key: Uint8Array, { answers }: Answers, work: () => T): T {
    this.#known = { bundle, key, answers };
    try {
      return work();
    } finally {
      this.#known = NOTHING;
    }
  }

  /** Runs `work` on a message in which there may be signatures. */
  duringMessage<T>({ answers }: Answers, work: () => T): T {
    this.#known = { bundle: null, key: null, answers };
    try {
      return work();
    } finally {
      this.#known = NOTHING;
    }
  }

  /** Runs `work` again on a message of the log: what was found then is in its status. */
  againMessage<T>(machine: Machine, interaction: Interaction | undefined, status: number, work: () => T): T {
    this.#logged = interaction ? answersIn(machine, interaction, status) : [];
    try {
      return work();
    } finally {
      this.#logged = null;
    }
  }

  /** Runs `work` again on a bundle of the log: what was found then is in its outcomes. */
  again<T>(machine: Machine, bundle: Bundle, outcomes: readonly Outcome[], work: () => T): T {
    this.#own = outcomes[0].status !== Status.bad_signature;
    this.#logged = isSigned(bundle)
      ? bundle.interactions.flatMap((interaction, i) => answersIn(machine, interaction, outcomes[i + 1].status))
      : [];
    try {
      return work();
    } finally {
      this.#logged = null;
    }
  }
}

/** What an interaction's status says of the signatures in it: nothing where nobody looked at them. */
function answersIn(machine: Machine, interaction: Interaction, status: number): boolean[] {
  const session = sessionOf(interaction);
  if (session === null || !machine.isLocal(session)) return [];
  if (status === Status.bad_signature) return [false];
  const { ok, stale_half, congested } = Status;
  if (status !== ok && status !== stale_half && status !== congested) return [];
  return interaction.op === 'slash' ? [true, true] : [true];
}
