import { describe, expect, test } from 'vitest';
import { encodeCallRecord } from '../../protocol/call.ts';
import { codeOf } from '../../protocol/errors.ts';
import { leafHash, sha, verifyInclusion } from '../../protocol/log.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { PartKind, decodeCalls, decodeHello, encodeCalls, encodeHello } from '../../protocol/packet.ts';
import { body, bytesOf, code, collect, go, pair, request, signing, sleep, text, until } from './testing.ts';

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
});
