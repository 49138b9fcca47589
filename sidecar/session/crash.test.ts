/**
 * Random schedules of calls, lost sockets, crashes between any two lines that touch the store, and lost stores: what a
 * side was not paid for what it served stays within its credit a crash, and nobody pays for what it did not ask for.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Direction } from '../../protocol/half.ts';
import type { SessionEndpoint } from './endpoint.ts';
import { type DirectionSnapshot, MemoryStore, type SessionStore } from './store.ts';
import { type Party, Pipe, bytesOf, collect, endpoint, parties, request, until } from './testing.ts';
import type { Role, SessionFacts } from './types.ts';

const CREDIT = 12;
const PRICE = 2;

/** A process's hold on its store: gone when it dies. Dies by itself after some writes, before what would follow them. */
class MortalStore implements SessionStore {
  readonly disk: MemoryStore;
  fuse = Infinity;
  dead = false;
  onDeath: () => void = () => {};

  constructor(disk: MemoryStore) {
    this.disk = disk;
  }
  #write(run: () => void): void {
    if (this.dead) return;
    run();
    if ((this.fuse -= 1) <= 0) this.die();
  }
  die(): void {
    this.dead = true;
    this.onDeath();
  }
  load(dir: Direction) {
    return this.disk.load(dir);
  }
  save(dir: Direction, snapshot: DirectionSnapshot) {
    this.#write(() => this.disk.save(dir, snapshot));
  }
  append(dir: Direction, from: number, records: readonly Uint8Array[]) {
    this.#write(() => this.disk.append(dir, from, records));
  }
  records(dir: Direction, from: number, to: number) {
    return this.disk.records(dir, from, to);
  }
  count(dir: Direction) {
    return this.disk.count(dir);
  }
  transaction(run: () => void) {
    run();
  }
}

class Side {
  readonly role: Role;
  readonly party: Party;
  readonly facts: SessionFacts;
  readonly pipe: Pipe;
  store = new MortalStore(new MemoryStore());
  endpoint!: SessionEndpoint;
  asked = 0;
  served = 0;
  crashes = 0;
  errors: string[] = [];

  constructor(role: Role, party: Party, facts: SessionFacts, pipe: Pipe) {
    this.role = role;
    this.party = party;
    this.facts = facts;
    this.pipe = pipe;
    this.start();
  }

  start(): void {
    this.store.onDeath = () => {
      this.crashes += 1;
      this.pipe.kill(this.role);
    };
    this.endpoint = endpoint(this.role, { ...this.party, store: this.store }, this.facts, {
      credit: CREDIT,
      peerWaitMs: 300,
      windowMs: 2,
      quote: () => PRICE,
      onError: (error) => this.errors.push(error.code),
      handler: async (req) => {
        await collect(req.body);
        return {
          status: 200,
          headers: [],
          body: this.#goods(req.target.endsWith('slow')),
        };
      },
    });
    void this.endpoint.attach(this.pipe.socket(this.role));
  }

  async *#goods(slow: boolean): AsyncGenerator<Uint8Array> {
    // The head has left: from here on the peer has something of us.
    this.served += PRICE;
    yield bytesOf('answer');
    if (slow) await new Promise((r) => setTimeout(r, 1));
    yield bytesOf('more');
  }

  /** After a crash: the same disk, or none. */
  restart(lost = false): void {
    // Its memory goes: calls it had in flight end for their callers, and nothing is written or sent.
    this.endpoint.close();
    this.store = new MortalStore(lost ? new MemoryStore() : this.store.disk);
    this.start();
  }

  call(slow: boolean): Promise<void> {
    this.asked += PRICE;
    return this.endpoint
      .call(request('POST', slow ? '/slow' : '/fast', 'question'), { maxPrice: PRICE })
      .then(async ({ response }) => void (await collect(response.body)))
      .catch(() => {});
  }
}

/** Whoever dies on the way there begins again. */
const ready = (...sides: Side[]): Promise<void> =>
  until(() => {
    for (const side of sides) if (side.store.dead) side.restart();
    return sides.every(({ endpoint: { state } }) => state === 'ready' || state === 'stopped');
  });

const role = fc.constantFrom<Role>('a', 'b');
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('calls' as const),
      role,
      n: fc.integer({ min: 1, max: 8 }),
      slow: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('turns' as const), n: fc.integer({ min: 0, max: 6 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), role }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('fuse' as const), role, writes: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lose' as const), role }) },
);

test('no honest side loses more than its credit a crash, and none pays for what it did not ask', async () => {
  const identities = await parties();
  let clean = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 24 }), async (steps) => {
      const pipe = new Pipe();
      const a = new Side('a', identities.a, identities.facts, pipe);
      const b = new Side('b', identities.b, identities.facts, pipe);
      const side = { a, b };
      const calls: Promise<void>[] = [];
      for (const s of steps) {
        if (s.kind === 'calls') for (let i = 0; i < s.n; i++) calls.push(side[s.role].call(s.slow));
        else if (s.kind === 'turns') for (let i = 0; i < s.n; i++) await new Promise((r) => setImmediate(r));
        else if (s.kind === 'cut') {
          pipe.cut(s.role);
          void side[s.role].endpoint.attach(pipe.socket(s.role));
        } else if (s.kind === 'fuse') side[s.role].store.fuse = s.writes;
        else {
          // Only one side at a time: what both have lost, nobody has.
          await ready(a, b);
          if (!side[s.role].store.dead) side[s.role].store.die();
          side[s.role].restart(true);
          await ready(a, b);
        }
        for (const each of [a, b]) if (each.store.dead) each.restart();
      }
      for (const each of [a, b]) each.store.fuse = Infinity;
      await ready(a, b);
      await Promise.all(calls);
      const drained = await Promise.all([a.endpoint.drain(10_000), b.endpoint.drain(10_000)]).then(
        () => true,
        () => false,
      );
      const stopped = a.endpoint.error ?? b.endpoint.error;
      for (const [payer, payee] of [
        [a, b],
        [b, a],
      ] as const) {
        const paid = payee.endpoint.halves().earns?.half.paid ?? 0;
        expect(payee.served - paid, `loss of ${payee.role}`).toBeLessThanOrEqual(
          CREDIT * (1 + payee.crashes + payer.crashes),
        );
        expect(paid, `paid by ${payer.role}`).toBeLessThanOrEqual(payer.asked);
        if (a.crashes + b.crashes === 0)
          expect([stopped, drained, payee.served - paid <= CREDIT]).toEqual([null, true, true]);
        if (drained) expect(payer.endpoint.halves().pays?.half).toEqual(payee.endpoint.halves().earns?.half);
      }
      // Only a payer that forgot what it asked for may refuse what it can't check.
      if (stopped !== null) expect(stopped.code).toBe('record_rejected');
      else expect(drained).toBe(true);
      // Honest parties behind an honest relay: neither says what costs the other its socket.
      expect([...a.errors, ...b.errors].filter((code) => code !== 'record_rejected')).toEqual([]);
      if (drained) clean += 1;
      a.endpoint.close();
      b.endpoint.close();
    }),
    { numRuns: 30, endOnFailure: false, interruptAfterTimeLimit: 10_000 },
  );
  // On a busy machine the time is over after a few.
  expect(clean).toBeGreaterThan(0);
});
