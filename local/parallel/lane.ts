/** What one thread does of a parallel run: decodes frames, executes those it takes, hashes cells. */
import { Agent, Head, META_HEAD, Region } from '../../protocol/cells.ts';
import { MAX_INTERACTIONS, decodeHeader } from '../../protocol/bundle.ts';
import { Reader } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { codeOf } from '../../protocol/errors.ts';
import type { UintField } from '../../protocol/field.ts';
import { SIGNATURE_BYTES } from '../../protocol/half.ts';
import { LARGE_SERIALS, makeId } from '../../protocol/ids.ts';
import { Machine } from '../../protocol/machine.ts';
import { decodeOp, opOf, runOp } from '../../protocol/ops/index.ts';
import { Status } from '../../protocol/status.ts';
import { numbersOf } from '../../protocol/wire.ts';
import { Kind, NOWHERE, NUMBERS, POSITIONS, SPINS, type Shared, Word, isPlanned, nap, wordOf } from './shared.ts';
import { SharedTrie } from './state.ts';

/** Frames a thread decodes at a time. */
const DECODED = 16;
/** Bits of a step's number that are 0 when its thread tells the others where it is: telling takes time. */
const TELLS = 3;
/** Numbers each operation's fields decode to. */
const COUNTS = Uint8Array.from({ length: 256 }, (_, code) => numbersOf(opOf(code)?.slots ?? []));
/**
 * Operations that run where nothing runs beside them: those that make records under serials given on success, reach what
 * can't be told before, or ask for more signatures than the bundle's own.
 */
const ALONE = Uint8Array.from({ length: 256 }, (_, code) => {
  const entry = opOf(code);
  if (!entry) return 1;
  const { op, slots } = entry;
  return op.makes || op.isBarrier || slots.some(({ name }) => /signature$/i.test(name)) ? 1 : 0;
});
/** First number of an operation that makes a record if it is 0; −1 for none. */
const MAKES_IF_ZERO = Int8Array.from({ length: 256 }, (_, code) =>
  (opOf(code)?.slots ?? []).findIndex(({ names }) => names === 'own service'),
);

const unexpected = (): never => {
  throw new Error('ran beside others what has to run alone');
};

/** A machine whose rings count by position, and whose other counters wait until all has run. */
class LaneMachine extends Machine {
  /** Serials given before the interaction that runs. */
  givenEscrows = 0;
  givenWorkflows = 0;
  burned = 0;
  readonly #now: number;

  constructor(trie: SharedTrie, shared: Shared, now: number) {
    super(shared.shard, trie, new Signing({ chainId: 0, root: `0x${'00'.repeat(20)}` }), unexpected, shared.shards);
    this.#now = now;
  }

  override get time(): number {
    return this.#now;
  }
  override takeEscrowId(): number {
    if (this.givenEscrows + 1 >= LARGE_SERIALS) return 0;
    this.givenEscrows += 1;
    return makeId(this.shard, this.givenEscrows);
  }
  override takeWorkflowId(): number {
    if (this.givenWorkflows + 1 >= LARGE_SERIALS) return 0;
    this.givenWorkflows += 1;
    return makeId(this.shard, this.givenWorkflows);
  }
  override newestWorkflow(): number {
    return this.givenWorkflows === 0 ? 0 : makeId(this.shard, this.givenWorkflows);
  }
  /** There is: whoever planned this has seen to it. */
  override hasOutboxRoom(): boolean {
    return true;
  }
  /** It is put there once it is known which one it is. */
  override sendToOwner(): number {
    return 0;
  }
  override burn(amount: number): void {
    this.burned += amount;
  }
  override nextSerial(_counter: UintField): number {
    return unexpected();
  }
  override takeSessionId(): number {
    return unexpected();
  }
  override send(): number {
    return unexpected();
  }
}

export class Lane {
  readonly trie: SharedTrie;
  readonly #shared: Shared;
  readonly #lane: number;
  readonly #word: number;
  /** Outcomes of the frame that runs; its opening's are those of what is accepted. */
  readonly #statuses = new Uint8Array(1 + MAX_INTERACTIONS);
  readonly #values = new Float64Array(1 + MAX_INTERACTIONS);
  /** First of its numbers that is free. */
  #free = 0;

  constructor(shared: Shared, lane: number) {
    this.trie = new SharedTrie(shared, lane);
    this.#shared = shared;
    this.#lane = lane;
    this.#word = wordOf(lane);
  }

  // --- decoding ---

  /** Decodes frames that nobody else has taken. */
  decode(frames: number): void {
    const { control } = this.#shared;
    this.#free = 0;
    for (;;) {
      const first = Atomics.add(control, Word.claim, DECODED);
      if (first >= frames) return;
      for (let f = first; f < Math.min(first + DECODED, frames); f++) this.#decodeFrame(f);
    }
  }

  /** As `Bundle.decode`, straight to where all threads find it. */
  #decodeFrame(f: number): void {
    const { bytes, byteAt, stepAt, kinds, actors, nonces, expiries, codes, numbersAt, numbers } = this.#shared;
    const own = numbers[this.#lane];
    const offset = this.#lane * NUMBERS;
    kinds[f] = Kind.serial;
    try {
      const reader = new Reader(bytes, byteAt[f], Math.max(byteAt[f + 1] - SIGNATURE_BYTES, byteAt[f]));
      const header = decodeHeader(reader);
      actors[f] = header.actor;
      nonces[f] = header.nonce;
      expiries[f] = header.expiry;
      let alone = 0;
      for (let step = stepAt[f] + 1; step < stepAt[f + 1]; step++) {
        const code = decodeOp(reader, own, this.#free);
        codes[step] = code;
        numbersAt[step] = this.#free + offset;
        alone |= ALONE[code];
        if (MAKES_IF_ZERO[code] >= 0 && own[this.#free + MAKES_IF_ZERO[code]] === 0) alone = 1;
        this.#free += COUNTS[code];
      }
      reader.end();
      if (alone === 0) kinds[f] = Kind.parallel;
    } catch (error) {
      if (codeOf(error) !== 'malformed') throw error;
    }
  }

  // --- executing ---

  /** Executes frames that nobody else has taken, in their order, as they are planned. */
  execute(): void {
    const { bytes, control, burned } = this.#shared;
    const now = Head.time.get(this.trie.memory, this.trie.cell(Region.meta, META_HEAD));
    const machine = new LaneMachine(this.trie, this.#shared, now);
    // Where fields of bytes are is counted in all frames.
    machine.frame = bytes;
    for (;;) {
      // Until it is known which one this is: no earlier one than the next.
      Atomics.store(control, this.#word, Atomics.load(control, Word.claim) * POSITIONS);
      const f = Atomics.add(control, Word.claim, 1);
      Atomics.store(control, this.#word, f * POSITIONS);
      if (!isPlanned(this.#shared, f)) break;
      this.#runFrame(machine, f);
    }
    Atomics.store(control, this.#word, NOWHERE);
    burned[this.#lane] = machine.burned;
  }

  #runFrame(machine: LaneMachine, f: number): void {
    const { control, stepAt, actors, openings, escrows, workflows } = this.#shared;
    const { codes, numbersAt, numbers, waits, statuses, values } = this.#shared;
    const [first, end, actor] = [stepAt[f], stepAt[f + 1], actors[f]];
    if (openings[f] !== Status.ok) {
      statuses.fill(Status.bundle_refused, first, end);
      statuses[first] = openings[f];
      values.fill(0, first, end);
      return;
    }
    // Kept apart until the end: the next frame's outcomes are in the same cache lines, and another thread's.
    const [came, made] = [this.#statuses, this.#values];
    machine.givenEscrows = escrows[f];
    machine.givenWorkflows = workflows[f];
    this.#await(waits[first], f * POSITIONS);
    const agent = machine.edit(machine.agent(actor));
    Agent.nonce.set(machine.cells, agent, Agent.nonce.get(machine.cells, agent) + 1);
    // All numbers of a frame are with one thread.
    const owner = Math.floor(numbersAt[first + 1] / NUMBERS);
    const own = numbers[owner];
    const offset = owner * NUMBERS;
    let position = f * POSITIONS + 1;
    for (let step = first + 1; step < end; step++, position++) {
      if ((step & TELLS) === 0) Atomics.store(control, this.#word, position);
      if (waits[step] !== 0) this.#await(waits[step], position);
      machine.value = 0;
      came[step - first] = runOp(machine, actor, codes[step], own, numbersAt[step] - offset, 0, 0);
      made[step - first] = machine.value;
    }
    Atomics.store(control, this.#word, position);
    for (let step = first; step < end; step++) {
      statuses[step] = came[step - first];
      values[step] = made[step - first];
    }
  }

  /** Waits until all others have reached a position; `own` is where this thread is. */
  #await(position: number, own: number): void {
    const { control, lanes } = this.#shared;
    let isTold = false;
    for (let lane = 0; lane < lanes; lane++) {
      if (lane === this.#lane) continue;
      const word = wordOf(lane);
      for (let spins = 0; ; spins++) {
        const at = Atomics.load(control, word);
        if (at >= position) break;
        // Who waits for this one while it waits has to know all it has done.
        if (!isTold) Atomics.store(control, this.#word, own);
        isTold = true;
        if (spins > SPINS) nap(this.#shared, word, at);
      }
    }
  }
}
