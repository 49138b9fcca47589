/** Sessions that go on: after a lost socket, a restart, a lost store, with what was signed and recorded before. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeCallRecord } from '../../protocol/call.ts';
import { PacketType, decodeSigned, encodeHello } from '../../protocol/packet.ts';
import { SessionFile } from './store-sqlite.ts';
import { memoryStore } from './store.ts';
import { Pipe, code, endpoint, go, pair, parties, request, until } from './testing.ts';

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
