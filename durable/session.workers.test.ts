import { evictDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { type Hex, equal, fromUtf8, hex, unhex } from '../protocol/bytes.ts';
import type { Half } from '../protocol/half.ts';
import { MachineKey } from '../protocol/keys.ts';
import {
  MAX_PACKET_BYTES,
  PacketType,
  decodeHello,
  decodeSigned,
  encodeDirect,
  encodeHalfPacket,
  encodeHalvesPacket,
  encodeHello,
  encodeReceiptPacket,
  encodeRecords,
  isAccusation,
} from '../protocol/packet.ts';
import { packetSocket } from '../sidecar/session/index.ts';
import { type Party, collect, endpoint, parties, request, signing } from '../sidecar/session/testing.ts';
import vectors from '../test/vectors/halves.json' with { type: 'json' };
import type { RelayFacts, SessionRpc } from './session.ts';

const DOMAIN = { chainId: 31337, root: '0x00000000000000000000000000000000000000aa' } as const;
const namespace = (env as unknown as { SESSION: DurableObjectNamespace }).SESSION;

type Stub = DurableObjectStub & SessionRpc;
/** Says nothing, and that is enough for what follows it to be passed on. */
const HELLO = encodeHello({ halves: [], credit: 0 });
let sessions = 0;

interface Client {
  ws: WebSocket;
  /** Next packet; presence notices, and the empty hellos that answer them, are kept apart. */
  next(): Promise<Uint8Array>;
  presence: string[];
  closed: Promise<string>;
}

/** A `silent` one leaves it to the test to say hello. */
async function connect(stub: Stub, party: string, silent = false): Promise<Client> {
  const response = await stub.fetch('https://do/socket', { headers: { upgrade: 'websocket', 'agnt2-party': party } });
  const ws = response.webSocket!;
  expect(response.status).toBe(101);
  ws.binaryType = 'arraybuffer';
  const packets: Uint8Array[] = [];
  const readers: ((p: Uint8Array) => void)[] = [];
  const presence: string[] = [];
  ws.addEventListener('message', ({ data }) => {
    const packet = new Uint8Array(data as ArrayBuffer);
    const code = packet[0] === PacketType.error ? codeIn(packet) : '';
    if (code === 'peer_online' && !silent) ws.send(HELLO);
    if (code.startsWith('peer_o')) presence.push(code);
    else if (equal(packet, HELLO)) return;
    else if (readers.length > 0) readers.shift()!(packet);
    else packets.push(packet);
  });
  const closed = new Promise<string>((resolve) => ws.addEventListener('close', (e) => resolve(e.reason)));
  ws.accept();
  return {
    ws,
    presence,
    closed,
    next: () =>
      packets.length > 0 ? Promise.resolve(packets.shift()!) : new Promise((resolve) => readers.push(resolve)),
  };
}

/** Until each has heard of the other so many times, and said hello. */
async function met(...clients: [Client, number][]): Promise<void> {
  const online = ({ presence }: Client): number => presence.filter((code) => code === 'peer_online').length;
  while (!clients.every(([client, times]) => online(client) >= times)) await settle();
}

async function meet(stub: Stub): Promise<[Client, Client]> {
  const [a, b] = [await connect(stub, 'a'), await connect(stub, 'b')];
  await met([a, 1], [b, 1]);
  return [a, b];
}

const codeIn = (packet: Uint8Array): string => (JSON.parse(fromUtf8(packet.subarray(1))) as { code: string }).code;
const calls = (n: number): Uint8Array => Uint8Array.of(1, 8, n, 0);
const settle = () => new Promise((r) => setTimeout(r, 20));

async function open() {
  sessions += 1;
  const id = sessions * 256;
  const { a, b, facts } = await parties();
  const stub = namespace.get(namespace.idFromName(`session-${id}`)) as Stub;
  const relay: RelayFacts = { id, keyA: facts.keyA, keyB: facts.keyB, depositA: 1000, depositB: 1000, domain: DOMAIN };
  await stub.configure(relay);
  const half = (over: Partial<Half> = {}): Half => ({
    session: id,
    dir: 0,
    seq: 1,
    calls: 1,
    paid: 5,
    root: new Uint8Array(32).fill(1),
    ...over,
  });
  const sign = async (party: Party, h: Half) => party.key.sign(signing.half(h));
  const pay = async (h: Half) => encodeHalfPacket(h, await sign(h.dir === 0 ? a : b, h));
  const receipt = async (h: Half) => encodeReceiptPacket(h, await sign(h.dir === 0 ? b : a, h));
  return { id, stub, a, b, facts: { ...facts, session: id }, relay, half, pay, receipt };
}

describe('Session', () => {
  test('relays calls unread, both ways, in order with halves between them', async () => {
    const { stub, half, pay } = await open();
    const [a, b] = await meet(stub);
    const money = await pay(half());
    for (const packet of [calls(0), money, calls(1), calls(2), await pay(half({ seq: 2, calls: 2 })), calls(3)])
      a.ws.send(packet);
    const seen: number[] = [];
    for (let i = 0; i < 6; i++) {
      const packet = await b.next();
      seen.push(packet[0] === 1 ? packet[2] : -1);
    }
    expect(seen).toEqual([0, -1, 1, 2, -1, 3]);
    b.ws.send(calls(9));
    expect(await a.next()).toEqual(calls(9));
    const note = encodeDirect({ kind: 'go' });
    b.ws.send(note);
    expect(await a.next()).toEqual(note);
    expect(a.presence).toEqual(['peer_offline', 'peer_online']);
    expect(b.presence).toEqual(['peer_online']);
    expect(await stub.live()).toMatchObject({ connected: { a: true, b: true }, frames: 10 });
  });

  test('keeps the newest half and receipt, as JSON', async () => {
    const { stub, half, pay, receipt } = await open();
    const [a, b] = await meet(stub);
    const second = half({ seq: 2, calls: 4, paid: 20 });
    a.ws.send(await pay(half()));
    a.ws.send(await pay(second));
    await b.next();
    await b.next();
    b.ws.send(await receipt(half()));
    b.ws.send(await receipt(second));
    await a.next();
    await a.next();
    const { halves } = await stub.live();
    expect(halves).toMatchObject([{ dir: 0, seq: '2', calls: '4', paid: '20', root: hex(second.root) }]);
    expect(halves[0].payeeSignature).toMatch(/^0x[0-9a-f]{128}$/);
  });

  test('keeps the last half of a packet, and verifies that one alone', async () => {
    const { stub, a: partyA, half, pay } = await open();
    const [a, b] = await meet(stub);
    const rows = [1, 2, 3].map((seq) => half({ seq, calls: seq, paid: seq * 10 }));
    const payer = await partyA.key.sign(signing.half(rows[2]));
    const unsigned = new Uint8Array(64).fill(1);
    const packet = encodeHalvesPacket(rows.map((each, i) => ({ half: each, payer: i === 2 ? payer : unsigned })));
    a.ws.send(encodeHalvesPacket([rows[0], rows[1]].map((each) => ({ half: each, payer: unsigned }))));
    expect(codeIn(await a.next())).toBe('bad_signature');
    a.ws.send(encodeHalvesPacket([rows[2], rows[1]].map((each) => ({ half: each, payer }))));
    expect(codeIn(await a.next())).toBe('malformed');
    expect((await stub.live()).halves).toEqual([]);
    a.ws.send(packet);
    expect(await b.next()).toEqual(packet);
    expect((await stub.live()).halves).toMatchObject([
      { seq: '3', calls: '3', paid: '30', payerSignature: hex(payer) },
    ]);
    a.ws.send(await pay(rows[1]));
    expect(codeIn(await a.next())).toBe('stale_half');
  });

  test('takes and refuses half packets as the vectors say', async () => {
    const { session, domain, keys, cases } = vectors;
    const relay: RelayFacts = {
      id: Number(session),
      keyA: unhex(keys.keyA),
      keyB: unhex(keys.keyB),
      depositA: 1000,
      depositB: 1000,
      domain: { chainId: domain.chainId, root: domain.root as Hex },
    };
    for (const { name, packet, relay: expected, last } of cases) {
      const stub = namespace.get(namespace.idFromName(`vectors ${name}`)) as Stub;
      await stub.configure(relay);
      const [a, b] = await meet(stub);
      a.ws.send(unhex(packet));
      if (expected === 'kept') expect([name, hex(await b.next())]).toEqual([name, packet]);
      else expect([name, codeIn(await a.next())]).toEqual([name, expected]);
      expect([name, (await stub.live()).halves]).toEqual([name, expected === 'kept' ? [{ dir: 0, ...last }] : []]);
    }
  });

  test('refuses what is malformed, foreign, replayed, going back or not signed; nothing changes', async () => {
    const { stub, a: partyA, b: partyB, half, pay, receipt } = await open();
    const [a, b] = await meet(stub);
    const newest = half({ seq: 5, calls: 50, paid: 500 });
    a.ws.send(await pay(newest));
    await b.next();
    const before = await stub.live();
    const stranger = await MachineKey.import(MachineKey.randomSecret());
    const forged = encodeHalfPacket(
      half({ seq: 6, calls: 60, paid: 600 }),
      await stranger.sign(signing.half(half({ seq: 6, calls: 60, paid: 600 }))),
    );
    const foreign = half({ session: 77, seq: 6, calls: 60, paid: 600 });
    const dirB = half({ dir: 1, seq: 1 });
    const bad: [Uint8Array | string, string][] = [
      ['text', 'malformed'],
      [new Uint8Array(0), 'malformed'],
      [Uint8Array.of(9, 1, 2), 'malformed'],
      [new Uint8Array(162).fill(2), 'malformed'],
      [(await pay(half({ seq: 7 }))).subarray(0, 100), 'malformed'],
      [new Uint8Array(MAX_PACKET_BYTES + 1).fill(1), 'malformed'],
      [forged, 'bad_signature'],
      [encodeHalfPacket(foreign, await partyA.key.sign(signing.half(foreign))), 'wrong_session'],
      [encodeHalfPacket(dirB, await partyB.key.sign(signing.half(dirB))), 'bad_signature'],
      [await pay(half({ seq: 4, calls: 40, paid: 400 })), 'stale_half'],
      [await pay(half({ seq: 6, calls: 49, paid: 500 })), 'stale_half'],
      [await pay(half({ seq: 6, calls: 60, paid: 499 })), 'stale_half'],
      [await pay(half({ seq: 5, calls: 50, paid: 501 })), 'stale_half'],
      [
        encodeHello({
          halves: [{ half: half({ seq: 9, calls: 90, paid: 900 }), payer: new Uint8Array(64).fill(1) }],
          credit: 1,
        }),
        'bad_signature',
      ],
      [encodeRecords(0, [new Uint8Array(89)]), 'malformed'],
      [Uint8Array.of(0x07, ...new TextEncoder().encode('{"kind":"gone"}')), 'malformed'],
      [Uint8Array.of(0x7f, ...new TextEncoder().encode('{"code":"peer_online"}')), 'malformed'],
    ];
    for (const [packet, code] of bad) {
      a.ws.send(packet);
      expect([code, codeIn(await a.next())]).toEqual([code, code]);
    }
    // The one that contradicts it is shown to whom it would have paid.
    expect(decodeHello(await b.next()).halves.map((signed) => signed.half.paid)).toEqual([500, 501]);
    b.ws.send(await receipt(half({ seq: 6, calls: 60, paid: 600 })));
    expect(codeIn(await b.next())).toBe('unknown_half');
    b.ws.send(await receipt(half({ seq: 5, calls: 50, paid: 501 })));
    expect(codeIn(await b.next())).toBe('unknown_half');
    expect((await stub.live()).halves).toEqual(before.halves);
    // The same half again is no error and no change.
    a.ws.send(await pay(newest));
    expect((await b.next())[0]).toBe(PacketType.half);
    expect((await stub.live()).halves).toEqual(before.halves);
  });

  test('shows a payee the first two halves that contradict each other, whether it is there or comes later', async () => {
    const { stub, b: partyB, half, pay } = await open();
    const [a, b] = await meet(stub);
    const [one, two] = [half({ seq: 3 }), half({ seq: 3, root: new Uint8Array(32).fill(2) })];
    a.ws.send(await pay(one));
    await b.next();
    // Going back, and not signed: nothing to show.
    a.ws.send(await pay(half({ seq: 4, calls: 0, paid: 0 })));
    expect(codeIn(await a.next())).toBe('stale_half');
    a.ws.send(encodeHalfPacket(two, await partyB.key.sign(signing.half(two))));
    expect(codeIn(await a.next())).toBe('bad_signature');
    a.ws.send(await pay(two));
    expect(codeIn(await a.next())).toBe('stale_half');
    const shown = await b.next();
    expect(decodeHello(shown)).toMatchObject({ halves: [{ half: one }, { half: two }], credit: 0 });
    expect(isAccusation(decodeHello(shown))).toBe(true);
    // Once is enough; who comes later has it behind what the relay keeps, its payer has not.
    a.ws.send(await pay(half({ seq: 3, paid: 9 })));
    expect(codeIn(await a.next())).toBe('stale_half');
    await evictDurableObject(stub);
    const later = await connect(stub, 'b');
    expect(decodeHello(await later.next())).toMatchObject({ halves: [{ half: one }] });
    expect(hex(await later.next())).toBe(hex(shown));
    expect(decodeSigned(await later.next()).half).toEqual(one);
    const again = await connect(stub, 'a');
    expect(decodeHello(await again.next()).halves).toHaveLength(1);
    again.ws.send(await pay(half({ seq: 9, calls: 9, paid: 90 })));
    expect((await later.next())[0]).toBe(PacketType.half);
  });

  test('weighs the halves of a hello too: one that a payer gave its payee alone, and another that the relay has', async () => {
    const { stub, a: partyA, half, pay } = await open();
    const [a, b] = await meet(stub);
    a.ws.send(await pay(half({ seq: 3 })));
    await b.next();
    const two = half({ seq: 3, calls: 2, paid: 7 });
    b.ws.send(encodeHello({ halves: [{ half: two, payer: await partyA.key.sign(signing.half(two)) }], credit: 5 }));
    expect(decodeHello(await b.next()).halves.map((signed) => signed.half.calls)).toEqual([1, 2]);
    expect((await stub.live()).halves).toMatchObject([{ seq: '3', calls: '1', paid: '5' }]);
  });

  test('random and mutated packets never change a half or break the relay', async () => {
    const { stub, half, pay } = await open();
    const [a, b] = await meet(stub);
    const good = await pay(half());
    a.ws.send(good);
    await b.next();
    let errors = 0;
    for (let i = 0; i < 300; i++) {
      const packet = i % 2 ? good.slice() : crypto.getRandomValues(new Uint8Array(1 + (i % 200)));
      packet[0] = 2 + (i % 4);
      packet[1 + (i % (packet.length - 1 || 1))] ^= 1 + (i % 255);
      a.ws.send(packet);
    }
    a.ws.send(calls(1));
    for (;;) {
      const packet = await b.next();
      if (packet[0] === 1) break;
    }
    errors += 1;
    expect(errors).toBe(1);
    expect((await stub.live()).halves).toMatchObject([{ seq: '1', calls: '1', paid: '5' }]);
  });

  test('an absent peer: calls are refused, halves and receipts wait for it', async () => {
    const { stub, half, pay, receipt } = await open();
    const a = await connect(stub, 'a');
    a.ws.send(calls(0));
    await settle();
    expect(a.presence).toEqual(['peer_offline', 'peer_offline']);
    const money = await pay(half());
    a.ws.send(money);
    await settle();
    const b = await connect(stub, 'b');
    // What the relay keeps, for one that lost its own; then what it may not have seen.
    const kept = decodeHello(await b.next());
    expect(kept.halves.map((signed) => signed.half)).toEqual([half()]);
    expect(kept.credit).toBe(0);
    expect(await b.next()).toEqual(money);
    a.ws.close(1000, 'gone');
    await settle();
    expect(b.presence).toEqual(['peer_online', 'peer_offline']);
    const thanks = await receipt(half());
    b.ws.send(thanks);
    await settle();
    const again = await connect(stub, 'a');
    expect(decodeHello(await again.next()).halves[0].payee).toEqual(thanks.subarray(-64));
    expect(await again.next()).toEqual(thanks);
  });

  test('a reconnecting party replaces its old socket', async () => {
    const { stub } = await open();
    const [a, b] = await meet(stub);
    const a2 = await connect(stub, 'a');
    expect(await a.closed).toBe('replaced');
    await met([a2, 1], [b, 2]);
    a2.ws.send(calls(4));
    expect(await b.next()).toEqual(calls(4));
    expect(b.presence).toEqual(['peer_online', 'peer_online']);
    expect((await stub.live()).connected).toEqual({ a: true, b: true });
  });

  test('what a party says before it knows that its peer came anew reaches nobody, but for its money', async () => {
    const { stub, half, pay } = await open();
    const a = await connect(stub, 'a', true);
    // Comes twice within one way of a packet: a's answers to the first are still on their way when it is there again.
    await connect(stub, 'b');
    const b = await connect(stub, 'b');
    const money = await pay(half());
    const old = encodeHello({ halves: [], credit: 7 });
    for (const packet of [calls(1), old, calls(2), money, encodeRecords(0, [new Uint8Array(90)])]) a.ws.send(packet);
    const anew = encodeHello({ halves: [], credit: 8 });
    for (const packet of [anew, calls(3)]) a.ws.send(packet);
    expect([await b.next(), await b.next(), await b.next()]).toEqual([money, anew, calls(3)]);
    // An object that has slept knows it too.
    const again = await connect(stub, 'b');
    expect(decodeHello(await again.next()).halves).toHaveLength(1);
    expect(await again.next()).toEqual(money);
    await evictDurableObject(stub);
    for (const packet of [calls(4), anew, calls(5)]) a.ws.send(packet);
    expect([await again.next(), await again.next()]).toEqual([anew, calls(5)]);
  });

  test('only parties, only sockets, only once configured, and only for its own session', async () => {
    const { stub, relay } = await open();
    const fresh = namespace.get(namespace.idFromName('never-configured')) as Stub;
    const status = async (s: Stub, headers: Record<string, string>) =>
      (await s.fetch('https://do/socket', { headers })).status;
    expect(await status(stub, { upgrade: 'websocket', 'agnt2-party': 'c' })).toBe(403);
    expect(await status(stub, { 'agnt2-party': 'a' })).toBe(426);
    expect(await status(fresh, { upgrade: 'websocket', 'agnt2-party': 'a' })).toBe(409);
    let code = 'none';
    try {
      await stub.configure({ ...relay, id: 5 });
    } catch (error) {
      code = (error as { code: string }).code;
    }
    expect(code).toBe('wrong_session');
    await stub.configure({ ...relay, depositA: 2000 });
  });

  test('eviction: sockets, halves and checks survive', async () => {
    const { stub, half, pay } = await open();
    const [a, b] = await meet(stub);
    a.ws.send(await pay(half()));
    await b.next();
    await evictDurableObject(stub);
    a.ws.send(calls(7));
    expect(await b.next()).toEqual(calls(7));
    a.ws.send(await pay(half({ paid: 4 })));
    expect(codeIn(await a.next())).toBe('stale_half');
    expect(isAccusation(decodeHello(await b.next()))).toBe(true);
    a.ws.send(await pay(half({ seq: 2, calls: 2, paid: 6 })));
    expect((await b.next())[0]).toBe(PacketType.half);
    await evictDurableObject(stub);
    const a2 = await connect(stub, 'a');
    expect(await a.closed).toBe('replaced');
    await met([a2, 1], [b, 2]);
    a2.ws.send(calls(8));
    expect(await b.next()).toEqual(calls(8));
    expect(await stub.live()).toMatchObject({ connected: { a: true, b: true }, halves: [{ seq: '2', paid: '6' }] });
  });

  test('two endpoints over the relay, through an eviction and a lost store', async () => {
    const { stub, a, b, facts } = await open();
    const socket = async (party: string) => {
      const response = await stub.fetch('https://do/socket', {
        headers: { upgrade: 'websocket', 'agnt2-party': party },
      });
      response.webSocket!.accept();
      return packetSocket(response.webSocket!);
    };
    const left = endpoint('a', a, facts);
    let right = endpoint('b', b, facts);
    void left.attach(await socket('a'));
    void right.attach(await socket('b'));
    const go = (n: number) =>
      Promise.all(
        Array.from({ length: n }, async (_, i) => {
          const { response } = await left.call(request('POST', `/${i}`, `body ${i}`), { maxPrice: 2 });
          expect((await collect(response.body)).length).toBe(`body ${i}`.length);
        }),
      );
    await go(200);
    await left.flush();
    await evictDurableObject(stub);
    await go(200);
    await left.flush();
    right.close();
    await settle();
    right = endpoint('b', { ...b, store: (await parties()).b.store }, facts);
    void right.attach(await socket('b'));
    await go(50);
    await left.flush();
    expect(right.halves().earns!.half).toMatchObject({ calls: 450, paid: 900 });
    expect(await stub.live()).toMatchObject({ halves: [{ dir: 0, calls: '450', paid: '900' }] });
  });
});
