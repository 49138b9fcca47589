/** What a relay can do to calls it may not read: nothing, but end the pairing. */
import { describe, expect, test, vi } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { PacketType, decodeHello, encodeBind, encodeCalls, encodeHello } from '../../protocol/packet.ts';
import { type Sealing, platformSealing, webSealing } from '../../protocol/seal.ts';
import type { SessionEndpoint } from './endpoint.ts';
import { Pipe, body, bytesOf, code, collect, endpoint, pair, parties, request, text, until } from './testing.ts';
import type { Role } from './types.ts';

const bothReady = (left: SessionEndpoint, right: SessionEndpoint): Promise<void> =>
  until(() => left.state === 'ready' && right.state === 'ready');

async function paid(end: SessionEndpoint, target: string, content: string): Promise<string> {
  const call = await end.call(request('POST', target, content), { maxPrice: 2 });
  const answer = await text(call.response);
  await call.record;
  return answer;
}

/** Two endpoints that seal, and what each complained of. */
async function sealedPair(a: Sealing = platformSealing, b: Sealing = platformSealing) {
  const errors: Record<Role, string[]> = { a: [], b: [] };
  const parts = await pair(
    { sealing: a, onError: (e) => errors.a.push(e.code) },
    { sealing: b, onError: (e) => errors.b.push(e.code) },
  );
  return { ...parts, errors };
}

describe('a relay', () => {
  for (const [what, a, b] of [
    ['of the platform', platformSealing, platformSealing],
    ['of WebCrypto', webSealing, webSealing],
    ['of one each', platformSealing, webSealing],
  ] as const) {
    test(`reads no body, target or header under ciphers ${what}`, async () => {
      const { pipe, left, right } = await sealedPair(a, b);
      const seen: Uint8Array[] = [];
      pipe.tap = (_, packet) => {
        seen.push(packet);
        return packet;
      };
      const calls = Array.from({ length: 300 }, (_, i) =>
        paid(i % 2 ? left : right, '/canary-target', `canary-content-${i}`),
      );
      expect((await Promise.all(calls)).every((answer, i) => answer === `canary-content-${i}`)).toBe(true);
      // Larger than a packet, so that many are on their way at once.
      const big = new Uint8Array(600_000).map((_, i) => i % 251);
      const { response } = await left.call(request('PUT', '/canary-target', body(big)), { maxPrice: 2 });
      expect(await collect(response.body)).toEqual(big);
      await Promise.all([left.drain(), right.drain()]);
      const all = Buffer.concat(seen);
      expect(all.length).toBeGreaterThan(1_200_000);
      // The test's app answers with the header x-target.
      for (const canary of ['canary', 'POST', 'text/plain', 'x-target', Buffer.from(big.subarray(0, 64))])
        expect(all.includes(canary), String(canary)).toBe(false);
      expect(left.halves().pays!.half).toEqual(right.halves().earns!.half);
    });
  }

  /** Does something to the calls packets of a, once there are enough of them. */
  const meddlers: Record<string, (packet: Uint8Array, before: Uint8Array, pipe: Pipe) => Uint8Array | null> = {
    'flips a bit of a body': (packet) => packet.map((byte, i) => (i === 20 ? byte ^ 1 : byte)),
    'flips a bit of a tag': (packet) => packet.map((byte, i) => (i === packet.length - 1 ? byte ^ 1 : byte)),
    'cuts a packet short': (packet) => packet.subarray(0, -1),
    'leaves only the type': (packet) => packet.subarray(0, 1),
    'repeats a packet': (_, before) => before,
    'drops a packet': () => null,
    'puts calls of its own in the clear': () => encodeCalls([{ kind: 1, call: 2, body: bytesOf('{}') }]),
    'swaps two packets': (packet, _, pipe) => {
      let held: Uint8Array | null = packet;
      pipe.tap = (from, next) => {
        if (held === null || from !== 'a' || next[0] !== PacketType.calls) return next;
        const late = held;
        held = null;
        setImmediate(() => setImmediate(() => pipe.inject('a', late)));
        return next;
      };
      return null;
    },
  };
  for (const [what, meddle] of Object.entries(meddlers)) {
    test(`that ${what} ends the pairing, and the next one goes on`, async () => {
      const { pipe, left, right, errors } = await sealedPair();
      await paid(left, '/', 'before');
      let before: Uint8Array | null = null;
      pipe.tap = (from, packet) => {
        if (from !== 'a' || packet[0] !== PacketType.calls) return packet;
        if (before === null) {
          before = packet;
          return packet;
        }
        pipe.tap = (_, each) => each;
        return meddle(packet, before, pipe);
      };
      await paid(left, '/', 'noted');
      // One after another: what two of them say in one turn is one packet.
      const lost: Promise<string>[] = [];
      while (right.state === 'ready') {
        lost.push(code(paid(left, '/', 'meddled with')));
        await new Promise((r) => setTimeout(r, 2));
      }
      await until(() => right.state === 'offline');
      expect(errors.b).toEqual(['bad_seal']);
      for (const each of await Promise.all(lost)) expect(['session_lost', 'peer_offline']).toContain(each);
      pipe.tap = (_, packet) => packet;
      void right.attach(pipe.socket('b'));
      await bothReady(left, right);
      expect(await paid(left, '/', 'after')).toBe('after');
      await left.flush();
      expect(left.halves().pays!.half).toEqual(right.halves().earns!.half);
      expect([left.error, right.error]).toEqual([null, null]);
    });
  }

  test('that takes the key out of a hello gets no calls in the clear', async () => {
    const { a, b, facts } = await parties();
    const pipe = new Pipe();
    const sent: number[] = [];
    pipe.tap = (_, packet) => {
      sent.push(packet[0]);
      if (packet[0] !== PacketType.hello) return packet;
      const { halves, credit } = decodeHello(packet);
      return encodeHello({ halves, credit });
    };
    const errors: string[] = [];
    const extra = { sealing: platformSealing, peerWaitMs: 50, onError: (e: Error) => errors.push(codeOf(e)) };
    const left = endpoint('a', a, facts, extra);
    const right = endpoint('b', b, facts, extra);
    void left.attach(pipe.socket('a'));
    void right.attach(pipe.socket('b'));
    expect(await code(paid(left, '/', 'secret'))).toBe('peer_offline');
    await vi.waitFor(() => expect(errors).toContain('key_required'), { timeout: 10_000 });
    expect(sent).not.toContain(PacketType.calls);
  });

  test('can put no key of its own between the two, nor turn theirs around', async () => {
    const { a, b, facts } = await parties();
    const own = await platformSealing.pairingKey();
    for (const [keyFor, expected] of [
      [() => own.publicKey, 'bad_signature'],
      [(_: Uint8Array, other: Uint8Array | undefined) => other ?? own.publicKey, 'malformed'],
      [(key: Uint8Array) => key.map((byte, i) => (i === 40 ? byte ^ 1 : byte)), 'malformed'],
    ] as const) {
      const pipe = new Pipe();
      const sent: number[] = [];
      const keys: Partial<Record<Role, Uint8Array>> = {};
      pipe.tap = (from, packet) => {
        sent.push(packet[0]);
        if (packet[0] !== PacketType.hello) return packet;
        const hello = decodeHello(packet);
        keys[from] = hello.key!;
        return encodeHello({ ...hello, key: keyFor(hello.key!, keys[from === 'a' ? 'b' : 'a']) });
      };
      const errors: string[] = [];
      const extra = { sealing: platformSealing, peerWaitMs: 50, onError: (e: Error) => errors.push(codeOf(e)) };
      const ends = [endpoint('a', a, facts, extra), endpoint('b', b, facts, extra)];
      void ends[0].attach(pipe.socket('a'));
      void ends[1].attach(pipe.socket('b'));
      expect(await code(paid(ends[0], '/', 'secret'))).toBe('peer_offline');
      // Its own wait may end before the two have heard each other.
      await vi.waitFor(() => expect(errors).toContain(expected), { timeout: 10_000 });
      expect(sent).not.toContain(PacketType.calls);
      for (const end of ends) end.close();
    }
  });

  test('can take no one for the peer by what the peer said in an older pairing', async () => {
    const { pipe, left, right, errors } = await sealedPair();
    const old: Uint8Array[] = [];
    pipe.tap = (from, packet) => {
      if (from === 'b' && (packet[0] === PacketType.hello || packet[0] === PacketType.bind)) old.push(packet);
      return packet;
    };
    await bothReady(left, right);
    pipe.cut('b');
    void right.attach(pipe.socket('b'));
    await until(() => old.length === 4 && left.state === 'ready');
    const [hello, bind] = old;
    // What b says now is lost, and its older words are said again.
    pipe.tap = (from, packet) => {
      if (from !== 'b') return packet;
      if (packet[0] === PacketType.hello) return hello;
      return packet[0] === PacketType.bind ? bind : packet;
    };
    pipe.cut('b');
    void right.attach(pipe.socket('b'));
    await until(() => errors.a.length > 0);
    expect(errors.a).toEqual(['bad_signature']);
    expect(left.state).not.toBe('ready');
  });

  test('a bind out of place, or by nobody, costs the socket', async () => {
    const { pipe, left, right, errors } = await sealedPair();
    await bothReady(left, right);
    pipe.inject('a', encodeBind(new Uint8Array(64)));
    await until(() => right.state === 'offline');
    expect(errors.b).toEqual(['malformed']);
  });
});
