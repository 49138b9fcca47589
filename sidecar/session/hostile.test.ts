/** What a hostile party of a session may do by itself: bytes no honest sidecar sends, at moments it chooses. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  PacketType,
  PartKind,
  decodeCalls,
  decodeHello,
  encodeBind,
  encodeCalls,
  encodeError,
  encodeHead,
  encodeHello,
  encodeReceiptPacket,
} from '../../protocol/packet.ts';
import { memoryStore } from './store.ts';
import {
  Pipe,
  body,
  bytesOf,
  code,
  endpoint,
  go,
  openSealing,
  pair,
  parties,
  request,
  signing,
  sleep,
  slowKey,
  until,
} from './testing.ts';

/** A payer without a ledger: it writes parts as it likes and reads what comes. */
async function rogue(handler: Parameters<typeof endpoint>[3]) {
  const { a, b, facts } = await parties();
  const pipe = new Pipe();
  const payee = endpoint('b', b, facts, handler);
  const parts: { kind: number; call: number; body: string }[] = [];
  const socket = pipe.socket('a');
  const { publicKey: key } = await openSealing.pairingKey();
  let peerKey: Uint8Array | undefined;
  socket.listen(
    (packet) => {
      if (packet[0] === PacketType.hello) peerKey = decodeHello(packet).key;
      if (packet[0] !== PacketType.calls) return;
      for (const part of decodeCalls(packet))
        parts.push({ kind: part.kind, call: part.call, body: new TextDecoder().decode(part.body) });
    },
    () => {},
  );
  void payee.attach(pipe.socket('b'));
  await until(() => peerKey !== undefined);
  socket.send(encodeHello({ halves: [], credit: 1000, key }));
  const pairing = signing.pairing({ session: facts.session, party: 0, key, peerKey: peerKey! });
  socket.send(encodeBind(await a.key.sign(pairing)));
  await until(() => payee.state === 'ready');
  const say = (kind: number, call: number, bytes: Uint8Array = new Uint8Array(0)): void =>
    socket.send(encodeCalls([{ kind, call, body: bytes }]));
  const head = (call: number, headers: [string, string][] = []): void =>
    say(PartKind.requestHead, call, encodeHead({ method: 'POST', target: `/${call}`, headers, meta: { max: '100' } }));
  return { payee, parts, say, head, key: a.key, facts };
}

describe('a hostile payer', () => {
  for (const [what, spoil] of [
    ['an unknown part', (say: (kind: number, call: number) => void, call: number) => say(99, call)],
    ['a second head', (say: (kind: number, call: number) => void, call: number) => say(PartKind.requestHead, call)],
  ] as const) {
    test(`pays for an answer it has read, also when it breaks the call with ${what}`, async () => {
      const { payee, parts, say, head } = await rogue({
        quote: () => 100,
        credit: 250,
        // It answers without reading, as many do.
        handler: async () => ({ status: 200, headers: [], body: body(bytesOf('the goods')) }),
      });
      let served = 0;
      const over = (call: number): boolean => parts.some((p) => p.call === call && p.kind === PartKind.cancel);
      const goods = (call: number): boolean => parts.some((p) => p.call === call && p.body === 'the goods');
      for (let call = 0; call < 20; call += 2) {
        head(call);
        await until(() => goods(call) || over(call));
        if (goods(call)) served += 1;
        spoil(say, call);
        await until(() => over(call));
      }
      // 250 of credit are two calls of 100, whatever the caller sends.
      expect(served).toBe(2);
      expect(payee.unsigned.earns).toBe(0);
    });
  }
});

describe('a hostile payee', () => {
  test('a receipt of another half under the same number is none', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    const payer = endpoint('a', a, facts);
    const payee = endpoint('b', b, facts);
    let receipts = 0;
    pipe.tap = (from, packet) => {
      if (from !== 'b' || packet[0] !== PacketType.receipt) return packet;
      receipts += 1;
      return null;
    };
    void payer.attach(pipe.socket('a'));
    void payee.attach(pipe.socket('b'));
    await (
      await payer.call(request('POST', '/', 'x'), { maxPrice: 2 })
    ).record;
    await until(() => receipts === 1);
    const other = { ...payer.halves().pays!.half, paid: 999 };
    const forged = encodeReceiptPacket(other, await b.key.sign(signing.half(other)));
    // Through the same socket, past the relay's own look at it.
    pipe.tap = (from, packet) => (from === 'b' && packet[0] === PacketType.error ? forged : packet);
    pipe.inject('b', encodeError('anything', ''));
    await sleep(30);
    expect(payer.halves().receipts.pays).toBeNull();
    expect(payer.halves().pays!.payee).toBeUndefined();
  });
});

describe('whoever is between', () => {
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
});

describe('calls in flight when a session stops', () => {
  test('may have been made: they are lost, not refused', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    let made = 0;
    const payer = endpoint('a', a, facts);
    const payee = endpoint('b', b, facts, {
      handler: async (req) => {
        made += 1;
        if (req.target === '/slow') await sleep(10_000);
        return { status: 200, headers: [], body: body(bytesOf('ok')) };
      },
    });
    void payer.attach(pipe.socket('a'));
    void payee.attach(pipe.socket('b'));
    const slow = code(payer.call(request('POST', '/slow'), { maxPrice: 2 }));
    await until(() => made === 1);
    // A record that charges too much stops the session.
    pipe.tap = (from, packet) => {
      if (from !== 'b' || packet[0] !== PacketType.calls) return packet;
      return encodeCalls(
        decodeCalls(packet).map((part) => {
          if (part.kind !== PartKind.responseEnd) return part;
          const record = part.body.slice();
          record[79] = 200;
          return { ...part, body: record };
        }),
      );
    };
    await payer
      .call(request('POST', '/fast'), { maxPrice: 2 })
      .then((open) => open.record)
      .catch(() => {});
    expect(payer.state).toBe('stopped');
    // `session_stopped` says that nothing was made, and a caller may then pay for it elsewhere.
    expect(await slow).toBe('session_lost');
  });
});

describe('after close()', () => {
  test('nothing is signed again and again', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    const slow = slowKey(a.key);
    const payer = endpoint('a', { key: slow.key, store: a.store }, facts);
    const payee = endpoint('b', b, facts);
    void payer.attach(pipe.socket('a'));
    void payee.attach(pipe.socket('b'));
    await until(() => payer.state === 'ready' && payee.state === 'ready');
    slow.hold();
    await (
      await payer.call(request('POST', '/'), { maxPrice: 2 })
    ).record;
    await until(() => slow.signed() === 1);
    // The peer comes anew while the half is being signed, and then the endpoint is closed.
    pipe.inject('a', encodeError('peer_online', ''), 'a');
    await sleep(5);
    payer.close();
    slow.go();
    await sleep(50);
    expect(slow.signed()).toBe(1);
  });

  test('nothing is written any more, whatever was being checked', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    let closed = false;
    const late: string[] = [];
    const inner = memoryStore();
    const watched = new Proxy(inner, {
      get: (target, name) => {
        const value = Reflect.get(target, name) as unknown;
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (closed) late.push(String(name));
          return (value as (...a: unknown[]) => unknown).apply(target, args);
        };
      },
    });
    const payer = endpoint('a', a, facts);
    const payee = endpoint('b', { key: b.key, store: watched }, facts);
    pipe.tap = (from, packet) => {
      if (from !== 'a' || packet[0] !== PacketType.half) return packet;
      // Right after the half is delivered, while its signature is checked.
      queueMicrotask(() =>
        setImmediate(() => {
          payee.close();
          closed = true;
        }),
      );
      return packet;
    };
    void payer.attach(pipe.socket('a'));
    void payee.attach(pipe.socket('b'));
    await (
      await payer.call(request('POST', '/'), { maxPrice: 2 })
    ).record;
    await until(() => closed);
    await sleep(50);
    expect(late).toEqual([]);
  });
});
