import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeCallRecord } from '../../protocol/call.ts';
import { codeOf } from '../../protocol/errors.ts';
import { leafHash, sha, verifyInclusion } from '../../protocol/log.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import {
  PacketType,
  PartKind,
  decodeCalls,
  decodeHello,
  decodeSigned,
  encodeCalls,
  encodeError,
  encodeHello,
} from '../../protocol/packet.ts';
import type { SessionEndpoint } from './endpoint.ts';
import { SessionFile } from './store-sqlite.ts';
import { memoryStore } from './store.ts';
import { Pipe, body, bytesOf, collect, endpoint, pair, parties, request, signing, text, until } from './testing.ts';

const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return codeOf(error);
  }
};
const sleep = (ms: number) => new Promise((r) => setTimeout(r, ms));
const go = async (from: SessionEndpoint, n: number, maxPrice = 2): Promise<void> => {
  await Promise.all(
    Array.from({ length: n }, async (_, i) => {
      const { response, record } = await from.call(request('POST', `/call/${i}`, `body ${i}`), { maxPrice });
      expect(await text(response)).toBe(`body ${i}`);
      await record;
    }),
  );
};

describe('SessionEndpoint', () => {
  test('a paid call: answered, recorded, signed at once, receipted, provable', async () => {
    const { left, right, facts } = await pair();
    const { response, record } = await left.call(request('POST', '/a?b', 'hello'), { maxPrice: 5 });
    expect(await text(response)).toBe('hello');
    expect(await record).toMatchObject({ index: 0, price: 2, status: 200 });
    await left.flush();
    const { receipts } = left.halves();
    expect(receipts.pays!.half).toMatchObject({ session: 256, dir: 0, seq: 1, calls: 1, paid: 2 });
    const preimage = signing.half(receipts.pays!.half);
    expect(await verifyP256(facts.keyA, preimage, receipts.pays!.payer)).toBe(true);
    expect(await verifyP256(facts.keyB, preimage, receipts.pays!.payee!)).toBe(true);
    expect(right.halves().earns!.half).toEqual(receipts.pays!.half);
    const proof = left.proveCall(0);
    const leaf = leafHash(sha, encodeCallRecord(proof.record));
    expect(verifyInclusion(sha, proof.half.half.root, proof.half.half.calls, 0, leaf, proof.path)).toBe(true);
    expect(right.proveCall(0, 0).path).toEqual(proof.path);
    expect(() => left.proveCall(1)).toThrow(/not_signed/);
  });

  test('thousands of calls both ways, few signatures, equal books', async () => {
    const { left, right } = await pair({ credit: 100_000 }, { credit: 100_000 });
    await Promise.all([go(left, 2000), go(right, 2000)]);
    await Promise.all([left.drain(), right.drain()]);
    for (const [payer, payee] of [
      [left, right],
      [right, left],
    ]) {
      expect(payer.accrued.pays).toBe(4000);
      expect(payee.accrued.earns).toBe(4000);
      expect(payee.halves().earns!.half).toMatchObject({ calls: 2000, paid: 4000 });
      expect(payer.halves().receipts.pays!.half.calls).toBe(2000);
      expect(payer.counters.windowsOut).toBeLessThan(200);
    }
    expect(await code(left.call(request('GET', '/'), { maxPrice: 1 }))).toBe('session_draining');
    const proof = right.proveCall(1234);
    expect(
      verifyInclusion(sha, proof.half.half.root, 2000, 1234, leafHash(sha, encodeCallRecord(proof.record)), proof.path),
    ).toBe(true);
  });

  test('k = 1 signs every call', async () => {
    const { left, right } = await pair({ windowCalls: 1 });
    await go(left, 50);
    await left.flush();
    expect(left.counters.windowsOut).toBe(50);
    expect(right.halves().earns!.half.seq).toBe(50);
  });

  test('10 MB through a session', async () => {
    const { left } = await pair({}, { handler: async (req) => ({ status: 200, headers: [], body: req.body }) });
    async function* source() {
      for (let i = 0; i < 160; i++) yield new Uint8Array(65536).fill(i);
    }
    const { response, record } = await left.call(request('PUT', '/', source()), { maxPrice: 2 });
    expect((await collect(response.body)).length).toBe(160 * 65536);
    expect((await record).price).toBe(2);
  });

  test('refusals reach no app: over_price, over_credit, insufficient_deposit, unsupported', async () => {
    let seen = 0;
    const handler = async () => {
      seen += 1;
      return { status: 200, headers: [], body: body() };
    };
    const { left, right } = await pair({}, { handler, quote: () => 600 });
    expect(await code(left.call(request('GET', '/'), { maxPrice: 10 }))).toBe('over_price');
    expect(await code(left.call(request('GET', '/'), { maxPrice: 2_000_000 }))).toBe('insufficient_deposit');
    right.setDeposits(500, 0);
    expect(await code(left.call(request('GET', '/'), { maxPrice: 600 }))).toBe('insufficient_deposit');
    const dear = await pair({}, { handler, quote: () => 1001 });
    expect(await code(dear.left.call(request('GET', '/'), { maxPrice: 1001 }))).toBe('over_credit');
    expect(seen).toBe(0);
    expect(left.accrued.pays).toBe(0);
  });

  test('an honest payer paces itself within the credit; one that never signs is served no more than it', async () => {
    const { left, right } = await pair({}, { credit: 20 });
    let most = 0;
    const timer = setInterval(() => (most = Math.max(most, right.unsigned.earns)), 0);
    await go(left, 200);
    clearInterval(timer);
    expect(most).toBeLessThanOrEqual(20);
    expect(right.counters.refused).toBe(0);

    const { pipe, left: thief, right: victim } = await pair({ windowMs: 1e9 }, { credit: 20 });
    // The thief believes in endless credit and its halves get lost.
    pipe.tap = (from, packet) => {
      if (packet[0] === 2 && from === 'a') return null;
      if (packet[0] === 4 && from === 'b') return encodeHello({ ...decodeHello(packet), credit: 2 ** 21 - 1 });
      return packet;
    };
    const codes = await Promise.all(
      Array.from({ length: 40 }, () =>
        code(thief.call(request('GET', '/'), { maxPrice: 2 }).then((c) => text(c.response))),
      ),
    );
    expect(codes.filter((c) => c === 'none').length).toBe(10);
    expect(codes.filter((c) => c === 'over_credit').length).toBe(30);
    expect(victim.unsigned.earns).toBeLessThanOrEqual(20);
  });

  test('a payer that takes answers and cuts the socket before their records gets no more than the credit', async () => {
    for (const endless of [false, true]) {
      const { pipe, left, right } = await pair(
        {},
        {
          credit: 20,
          handler: async () => ({
            status: 200,
            headers: [],
            body: (async function* () {
              yield bytesOf('the goods');
              await sleep(1e5);
            })(),
          }),
        },
      );
      // It signs nothing and denies every record.
      pipe.tap = (from, packet) =>
        (from === 'a' && packet[0] === 2) || (from === 'b' && packet[0] === 5) ? null : packet;
      let taken = 0;
      for (let i = 0; i < 15; i++) {
        const source = (async function* () {
          yield bytesOf('x');
          if (endless) await sleep(1e5);
        })();
        try {
          const { response } = await left.call(request('PUT', '/', source), { maxPrice: 2 });
          for await (const _ of response.body) break;
          taken += 1;
        } catch (error) {
          expect(codeOf(error)).toBe('over_credit');
        }
        pipe.kill('a');
        void left.attach(pipe.socket('a'));
        while (left.state !== 'ready' || right.state !== 'ready') await sleep(1);
      }
      expect(taken).toBe(10);
      left.close();
      right.close();
    }
  });

  for (const [what, change] of [
    ['another request', (r: Uint8Array) => (r[8] ^= 1)],
    ['another response', (r: Uint8Array) => (r[40] ^= 1)],
    ['a higher price', (r: Uint8Array) => (r[79] = 77)],
    ['another place', (r: Uint8Array) => (r[7] = 9)],
  ] as const) {
    test(`a record of ${what} is rejected, reported, and stops the payer`, async () => {
      const errors: string[] = [];
      const { pipe, left, right } = await pair(
        { onError: (e) => errors.push(e.code) },
        { onError: (e) => errors.push(`peer ${e.code}`) },
      );
      pipe.tap = (from, packet) => {
        if (from !== 'b' || packet[0] !== 1) return packet;
        return encodeCalls(
          decodeCalls(packet).map((part) => {
            if (part.kind !== PartKind.responseEnd) return part;
            const record = part.body.slice();
            change(record);
            return { ...part, body: record };
          }),
        );
      };
      const call = await left.call(request('POST', '/', 'x'), { maxPrice: 5 });
      // Who asked has the answer, which came whole; its record is looked at behind it.
      expect(await text(call.response)).toBe('x');
      expect(await code(call.record)).toBe('record_rejected');
      await until(() => errors.length > 1);
      expect(errors).toEqual(['record_rejected', 'peer record_rejected']);
      expect(left.state).toBe('stopped');
      expect(left.halves().pays).toBe(null);
      expect(await code(left.call(request('GET', '/'), { maxPrice: 5 }))).toBe('session_stopped');
      expect(right.unsigned.earns).toBe(2);
    });
  }

  test('failures of the app are not charged; a broken response is no call', async () => {
    const { left } = await pair(
      {},
      {
        handler: async (req) => {
          if (req.target === '/throw') throw new Error('no');
          return { status: 503, headers: [], body: body(bytesOf('sorry')) };
        },
      },
    );
    const { response, record } = await left.call(request('GET', '/503'), { maxPrice: 2 });
    expect(response.status).toBe(503);
    await text(response);
    expect((await record).price).toBe(0);
    expect(await code(left.call(request('GET', '/throw'), { maxPrice: 2 }))).toBe('internal');
    expect(left.accrued.pays).toBe(0);
  });

  test('nobody there: peer_offline; calls in flight: session_lost; then it goes on', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    const alone = endpoint('a', a, facts, { peerWaitMs: 30 });
    void alone.attach(pipe.socket('a'));
    expect(await code(alone.call(request('GET', '/'), { maxPrice: 2 }))).toBe('peer_offline');
    alone.close();
    const left = endpoint('a', a, facts);
    void left.attach(pipe.socket('a'));
    const arrived = Promise.withResolvers<void>();
    const right = endpoint('b', b, facts, {
      handler: async () => {
        arrived.resolve();
        return new Promise(() => {});
      },
    });
    void right.attach(pipe.socket('b'));
    const lost = code(left.call(request('GET', '/'), { maxPrice: 2 }));
    await arrived.promise;
    pipe.cut('b');
    expect(await lost).toBe('session_lost');
    right.close();
    const again = endpoint('b', b, facts);
    void again.attach(pipe.socket('b'));
    await go(left, 10);
    await left.flush();
    expect(again.halves().earns!.half.calls).toBe(10);
    expect(left.counters.resumes).toBe(2);
  });

  test('each side restarts from its store, and from nothing, with all signed calls intact', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    let left = endpoint('a', a, facts);
    let right = endpoint('b', b, facts);
    void left.attach(pipe.socket('a'));
    void right.attach(pipe.socket('b'));
    let calls = 0;
    const step = async () => {
      await Promise.all([go(left, 30), go(right, 30)]);
      calls += 30;
      await Promise.all([left.flush(), right.flush()]);
      for (const [payer, payee] of [
        [left, right],
        [right, left],
      ]) {
        expect(payer.halves().receipts.pays!.half).toMatchObject({ calls, paid: 2 * calls });
        expect(payee.halves().earns!.half).toEqual(payer.halves().pays!.half);
      }
    };
    await step();
    for (const fresh of [false, true]) {
      left.close();
      await until(() => right.state === 'waiting');
      if (fresh) a.store = memoryStore();
      left = endpoint('a', a, facts);
      void left.attach(pipe.socket('a'));
      await step();
      right.close();
      await until(() => left.state === 'waiting');
      if (fresh) b.store = memoryStore();
      right = endpoint('b', b, facts);
      void right.attach(pipe.socket('b'));
      await step();
    }
    expect(left.proveCall(7).path).toEqual(right.proveCall(7, 0).path);
  });

  test('a payer that lost its log sends the half again which only the relay had', async () => {
    const { a, facts, pipe, left, right } = await pair();
    await go(left, 3);
    await left.flush();
    let half: Uint8Array | undefined;
    pipe.tap = (from, packet) => {
      if (from !== 'a' || packet[0] !== PacketType.half) return packet;
      half = packet;
      return null;
    };
    await go(left, 2);
    const soon = { timeout: 10_000, interval: 2 };
    await expect.poll(() => left.halves().pays!.half.calls, soon).toBe(5);
    left.close();
    pipe.tap = (_, packet) => packet;
    const again = endpoint('a', { ...a, store: memoryStore() }, facts);
    void again.attach(pipe.socket('a'));
    const kept = decodeSigned(half!);
    pipe.inject('a', encodeHello({ halves: [{ half: kept.half, payer: kept.signature }], credit: 0 }), 'a');
    await expect.poll(() => right.halves().earns!.half, soon).toMatchObject({ calls: 5, paid: 10 });
    await expect.poll(() => again.halves().receipts.pays?.half.calls, soon).toBe(5);
    again.close();
    right.close();
  });

  test('a record the payer never saw comes again on resume and is paid once', async () => {
    const { pipe, left, right } = await pair();
    await go(left, 3);
    await left.flush();
    pipe.tap = (from, packet) => (from === 'b' && packet[0] === 1 ? null : packet);
    const lost = code(left.call(request('GET', '/gone'), { maxPrice: 2 }));
    await until(() => right.accrued.earns === 8);
    pipe.tap = (_, packet) => packet;
    pipe.cut('b');
    expect(await lost).toBe('session_lost');
    void right.attach(pipe.socket('b'));
    await go(left, 1);
    await left.flush();
    expect(right.halves().earns!.half).toMatchObject({ calls: 5, paid: 10 });
    expect(left.accrued.pays).toBe(10);
  });

  const forged = (index: number): Uint8Array =>
    encodeCallRecord({
      index,
      requestHash: new Uint8Array(32),
      responseHash: new Uint8Array(32),
      price: 2,
      status: 200,
      timeMs: 1,
    });

  test('after a crash records nobody remembers are accepted up to the credit, then stop the session', async () => {
    const { a, b, facts, pipe, left, right } = await pair({ credit: 5 });
    await go(left, 1);
    await left.flush();
    right.close();
    left.close();
    b.store.append(0, 1, [forged(1), forged(2)]);
    const again = endpoint('a', a, facts, { credit: 5 });
    const second = endpoint('b', b, facts);
    void again.attach(pipe.socket('a'));
    void second.attach(pipe.socket('b'));
    await go(again, 1);
    await again.flush();
    expect(again.accrued.pays).toBe(8);
    second.close();
    again.close();
    b.store.append(0, b.store.count(0), [forged(4)]);
    const last = endpoint('a', a, facts, { credit: 5 });
    void last.attach(pipe.socket('a'));
    void endpoint('b', b, facts).attach(pipe.socket('b'));
    await until(() => last.state === 'stopped');
    expect(last.error!.code).toBe('record_rejected');
    expect(last.accrued.pays).toBe(8);
  });

  test('without a crash a record nobody asked for is refused', async () => {
    const { b, facts, pipe, left, right } = await pair({ credit: 5 });
    await go(left, 1);
    await left.flush();
    right.close();
    b.store.append(0, 1, [forged(1)]);
    void endpoint('b', b, facts).attach(pipe.socket('b'));
    await until(() => left.state === 'stopped');
    expect(left.error!.code).toBe('record_rejected');
    expect(left.accrued.pays).toBe(2);
  });

  test('a half that goes back, lies or is not signed changes nothing', async () => {
    const { pipe, left, right } = await pair();
    const halves: Uint8Array[] = [];
    pipe.tap = (from, packet) => {
      if (from === 'a' && packet[0] === 2) halves.push(packet);
      return packet;
    };
    await go(left, 1);
    await left.flush();
    await go(left, 1);
    await left.flush();
    const before = right.halves().earns;
    const replayed = halves[0];
    const forged = halves[1].slice();
    forged[1 + 9 + 7] += 1;
    let inject: Uint8Array | null = replayed;
    pipe.tap = (_, packet) => {
      const bad = inject;
      inject = null;
      return bad ?? packet;
    };
    const packetsIn = right.counters.packetsIn;
    left.call(request('GET', '/'), { maxPrice: 2 }).catch(() => {});
    await until(() => right.counters.packetsIn > packetsIn);
    expect(right.halves().earns).toEqual(before);
    expect(right.state).toBe('ready');
    inject = forged;
    left.call(request('GET', '/'), { maxPrice: 2 }).catch(() => {});
    await until(() => right.state === 'offline');
    expect(right.halves().earns!.half.seq).toBeLessThanOrEqual(before!.half.seq + 1);
  });

  test('random and mutated packets cost at most the socket, never the books', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    const recorded: Uint8Array[] = [];
    pipe.tap = (from, packet) => {
      if (from === 'b') recorded.push(packet);
      return packet;
    };
    const left = endpoint('a', a, facts);
    const right = endpoint('b', b, facts);
    void left.attach(pipe.socket('a'));
    void right.attach(pipe.socket('b'));
    await Promise.all([go(left, 20), go(right, 20)]);
    await Promise.all([left.flush(), right.flush()]);
    await right.drain();
    const before = left.halves();
    left.close();
    const online = encodeError('peer_online', '');
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.nat(recorded.length - 1),
            fc.nat(2000),
            fc.integer({ min: 1, max: 255 }),
            fc.option(fc.uint8Array({ maxLength: 40 })),
          ),
          {
            maxLength: 12,
          },
        ),
        async (edits) => {
          let receive: (packet: Uint8Array) => void = () => {};
          const victim = endpoint('a', a, facts);
          void victim.attach({
            send: () => {},
            buffered: () => 0,
            close: () => {},
            listen: (onPacket) => (receive = onPacket),
          });
          receive(online);
          for (const [which, at, flip, random] of edits) {
            const packet = random ?? recorded[which].slice();
            if (random === null) packet[at % packet.length] ^= flip;
            receive(packet);
          }
          await sleep(3);
          expect(victim.halves().pays).toEqual(before.pays);
          expect(victim.halves().earns).toEqual(before.earns);
          if (victim.error !== null)
            expect(['log_conflict', 'record_rejected', 'half_mismatch']).toContain(victim.error.code);
          victim.close();
        },
      ),
      { numRuns: 150 },
    );
  });

  test('the SQLite store keeps what the memory store keeps', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'agnt2-session-'));
    try {
      const { a, b, facts } = await parties();
      const files = { a: new SessionFile(join(dir, 'a.db')), b: new SessionFile(join(dir, 'b.db')) };
      a.store = files.a.storeOf(facts.session);
      b.store = files.b.storeOf(facts.session);
      const pipe = new Pipe();
      let left = endpoint('a', a, facts);
      const right = endpoint('b', b, facts);
      void left.attach(pipe.socket('a'));
      void right.attach(pipe.socket('b'));
      await Promise.all([go(left, 300), go(right, 100)]);
      await left.flush();
      left.close();
      files.a.close();
      files.a = new SessionFile(join(dir, 'a.db'));
      a.store = files.a.storeOf(facts.session);
      left = endpoint('a', a, facts);
      expect(left.halves().receipts.pays!.half).toMatchObject({ calls: 300, paid: 600 });
      expect(left.accrued.earns).toBe(200);
      void left.attach(pipe.socket('a'));
      await go(left, 50);
      await left.flush();
      expect(right.halves().earns!.half.calls).toBe(350);
      expect(left.proveCall(320).record.index).toBe(320);
      expect(() =>
        a.store.transaction(() => {
          a.store.append(0, a.store.count(0), [new Uint8Array(90)]);
          throw new Error('crash');
        }),
      ).toThrow('crash');
      expect(a.store.count(0)).toBe(350);
      expect(a.store.records(0, 348, 360).length).toBe(2);
      for (const each of [left, right, files.a, files.b]) each.close();
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });
});
