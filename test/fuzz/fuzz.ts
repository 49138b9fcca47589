/** Random traces on the slow reference, step by step on the engine, and every step on L1: who says otherwise is written down. */
import { hex } from '../../protocol/bytes.ts';
import { type Context, stepsOf } from '../../protocol/engine.ts';
import { STATUSES, Status } from '../../protocol/status.ts';
import { bundleIn } from '../../protocol/step.ts';
import { type Seen, addSeen, stateDifference } from '../reference/differential.ts';
import { type Entry, Trace, type TraceOptions } from '../reference/generate.ts';
import { Random } from '../reference/random.ts';
import type { ReferenceOutcome } from '../reference/reference.ts';
import { type Answer, type Evm, WITNESS_ERRORS, difference } from './evm.ts';
import type { Situation } from './extremes.ts';
import { type FuzzStep, Stepper, boundsBroken } from './stepper.ts';
import type { Strange } from './strangers.ts';

export interface Mismatch {
  /** How to see it again: a seed, or the name of a situation. */
  readonly where: string;
  readonly what: string;
  readonly step?: { readonly shard: number; readonly seq: number; readonly index: number; readonly frame: string };
}

/** Steps asked at once: their witnesses have to fit the memory of one call. */
const BATCH = 64;
const IN_FLIGHT = 3;
const NOTED = 3;
/** How many steps are also asked with a witness that is no good, of a thousand. */
const TAMPERED = 10;

export class Fuzz {
  readonly #evm: Evm | null;
  readonly mismatches: Mismatch[] = [];
  readonly seen: Seen = new Map();
  /** Steps that L1 executed as the engine did. */
  steps = 0;
  /** Witnesses that L1 refused as it should. */
  refused = 0;
  longest = 0;
  /** Steppers to use again, by shards; odd numbers of traces have noise beside their cells. */
  readonly #idle = new Map<string, Stepper>();
  readonly #queues = new Map<number, { step: FuzzStep; where: string; tampered: boolean }[]>();
  readonly #flying = new Set<Promise<void>>();

  /** Without an EVM, traces only show what is in them. */
  constructor(evm: Evm | null) {
    this.#evm = evm;
  }

  /** Of each trace the first few: what follows from a difference says no more. */
  note(where: string, what: string, step?: FuzzStep): void {
    if (this.mismatches.filter((known) => known.where === where).length >= NOTED) return;
    const at = step && { shard: step.shard, seq: step.seq, index: step.index, frame: hex(step.frame) };
    this.mismatches.push({ where, what, step: at });
  }

  /** Has L1 execute a step, if there is one. */
  async check(shards: number, step: FuzzStep, where: string, random: Random): Promise<void> {
    if (!this.#evm) return;
    const broken = boundsBroken(step);
    if (broken) this.note(where, broken, step);
    this.longest = Math.max(this.longest, step.witness.length);
    const queue = this.#queues.get(shards) ?? [];
    this.#queues.set(shards, queue);
    queue.push({ step, where, tampered: false });
    if (random.below(1000) < TAMPERED) queue.push({ step: tamper(step, random), where, tampered: true });
    if (queue.length >= BATCH) await this.#send(shards);
  }

  async #send(shards: number): Promise<void> {
    const batch = this.#queues.get(shards)!.splice(0);
    const sent = this.#evm!.ask(
      shards,
      batch.map(({ step }) => step),
    ).then((answers) => {
      for (const [i, { step, where, tampered }] of batch.entries())
        if (tampered) this.#judgeTampered(step, answers[i], where);
        else {
          const what = difference(step, answers[i]);
          if (what) this.note(where, `${STATUSES[step.status]}: ${what}`, step);
          else this.steps += 1;
        }
    });
    const flying = sent.finally(() => this.#flying.delete(flying));
    this.#flying.add(flying);
    while (this.#flying.size >= IN_FLIGHT) await Promise.race(this.#flying);
  }

  /** It must not open what it does not open. What no step looks at may be missing, as long as all comes to the same. */
  #judgeTampered(step: FuzzStep, answer: Answer, where: string): void {
    if (answer.error === undefined) {
      const what = difference(step, answer);
      if (what) this.note(where, `with a witness that is no good: ${what}`, step);
    } else if (WITNESS_ERRORS.includes(answer.error)) this.refused += 1;
    else this.note(where, `a witness that is no good: ${answer.error}`, step);
  }

  /** Waits for all answers. */
  async finish(): Promise<void> {
    for (const shards of this.#queues.keys()) await this.#send(shards);
    await Promise.all(this.#flying);
  }

  /** One random trace. Answers with what was in it. */
  trace(seed: number): Promise<Seen> {
    return this.#drive(`seed ${seed}`, { seed }, (trace) => trace.run(framesOf(seed)));
  }

  /** A situation made by hand, on a random state. */
  situation({ name, shards, drive }: Situation, seed: number): Promise<Seen> {
    return this.#drive(`${name}, seed ${seed}`, { seed, shards }, drive);
  }

  /** Steps that the reference knows nothing of. */
  async strange({ name, shards, drive }: Strange, seed: number): Promise<void> {
    const random = new Random(seed);
    for (const step of drive(new Stepper(shards), random))
      await this.check(shards, step, `${name}, seed ${seed}`, random);
  }

  async #drive(where: string, options: Omit<TraceOptions, 'watch'>, drive: (trace: Trace) => void): Promise<Seen> {
    const { seed } = options;
    const events: [Entry, readonly ReferenceOutcome[]][] = [];
    const trace = new Trace({ ...options, watch: (entry, outcomes) => events.push([entry, outcomes]) });
    drive(trace);
    const { reference, shards } = trace;
    if (!this.#evm) {
      this.steps += events.reduce((sum, [, outcomes]) => sum + outcomes.length, 0);
      addSeen(this.seen, reference.seen);
      return reference.seen;
    }
    const kind = `${shards} ${seed % 2}`;
    const stepper = this.#idle.get(kind) ?? new Stepper(shards, seed % 2 === 1);
    this.#idle.delete(kind);
    const random = new Random(seed);
    for (const [entry, outcomes] of events) {
      if ('poke' in entry) {
        stepper.write(entry.poke, entry.cell);
        continue;
      }
      const { shard, seq, frame } = entry;
      const steps = stepper.frame(shard, seq, frame);
      for (const [i, step] of steps.entries()) {
        const { status, value } = outcomes[i];
        if (step.status !== status || BigInt(step.value) !== value)
          this.note(
            where,
            `the reference comes to ${STATUSES[status]} ${value}, the engine to ${STATUSES[step.status]}`,
            step,
          );
        await this.check(shards, step, where, random);
      }
      if (random.chance(0.02) && steps.length > 1) await this.#outOfContext(stepper, shards, steps, where, random);
    }
    const apart = stateDifference(reference, stepper);
    if (apart) this.note(where, apart);
    stepper.clear(reference.world.places());
    this.#idle.set(kind, stepper);
    addSeen(this.seen, reference.seen);
    return reference.seen;
  }

  /** Interactions where the trace stands elsewhere: between frames, or in a refused bundle. */
  async #outOfContext(
    stepper: Stepper,
    shards: number,
    steps: readonly FuzzStep[],
    where: string,
    random: Random,
  ): Promise<void> {
    const { shard, seq, frame } = steps[0];
    const isBundle = bundleIn(frame) !== null;
    for (const context of [0, 2, ...(isBundle ? [] : [1])] as Context[]) {
      const index = 1 + random.below(stepsOf(frame) - 1);
      const step = stepper.step(shard, seq, frame, index, context);
      if (step.status !== Status.bundle_refused)
        this.note(where, `an interaction in context ${context} is not refused`, step);
      await this.check(shards, step, where, random);
    }
  }
}

/** How long a trace is: as in the test of the reference, now and then a long one. */
const framesOf = (seed: number): number => (seed % 1000 === 0 ? 300 : 10 + (seed % 31));

/** The same step with one bit of its witness changed, a byte too few or too many, or another commitment before it. */
function tamper(step: FuzzStep, random: Random): FuzzStep {
  const { witness, pre } = step;
  const flip = (bytes: Uint8Array): Uint8Array => {
    const other = bytes.slice();
    other[random.below(bytes.length)] ^= 1 << random.below(8);
    return other;
  };
  return random.weighted<() => FuzzStep>([
    [6, () => ({ ...step, witness: flip(witness) })],
    [1, () => ({ ...step, witness: witness.subarray(0, random.below(witness.length)) })],
    [1, () => ({ ...step, witness: Uint8Array.of(...witness, random.below(256)) })],
    [1, () => ({ ...step, pre: flip(pre) })],
  ])();
}
