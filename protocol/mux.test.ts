import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { utf8 } from './bytes.ts';
import { Agnt2Error, codeOf } from './errors.ts';
import { sha } from './hash.ts';
import { Meter } from './meter.ts';
import { PartKind, STREAM_WINDOW, decodeCalls, encodeCalls, encodeHead } from './packet.ts';
import { CallMux, type Digests, type IncomingHandler, type MuxOptions } from './mux.ts';
import { body, bytesOf, collect, request, text, until } from '../sidecar/session/testing.ts';

const code = async (promise: Promise<unknown>): Promise<string> => {
  try {
    await promise;
    return 'none';
  } catch (error) {
    return codeOf(error);
  }
};

const echo: IncomingHandler = async (req, meta, { id }) => ({
  response: {
    status: 200,
    headers: [
      ['call', String(id)],
      ['meta', JSON.stringify(meta)],
    ],
    body: req.body,
  },
  end: () => bytesOf('end'),
});

/** Two muxes joined by turns of the event loop. */
function join(left: Partial<MuxOptions> = {}, right: Partial<MuxOptions> = {}) {
  let packets = 0;
  const a: CallMux = new CallMux({
    numbering: 'even',
    send: (p) => {
      packets += 1;
      setImmediate(() => b.receive(p));
    },
    ...left,
  });
  const b: CallMux = new CallMux({
    numbering: 'odd',
    send: (p) => void setImmediate(() => a.receive(p)),
    handler: echo,
    ...right,
  });
  return { a, b, packets: () => packets };
}

describe('CallMux', () => {
  test('one call, with its end and meta', async () => {
    const { a } = join();
    const open = await a.call(request('POST', '/x?y=1', 'hello'), { meta: { escrow: '0:1' } });
    expect(open.response.status).toBe(200);
    expect(open.response.headers).toContainEqual(['meta', '{"escrow":"0:1"}']);
    expect(await text(open.response)).toBe('hello');
    expect(new TextDecoder().decode(await open.end)).toBe('end');
  });

  test('thousands of calls both ways travel many to a packet', async () => {
    const { a, b, packets } = join({ handler: echo });
    const one = async (mux: CallMux, i: number) => {
      const { response } = await mux.call(request('POST', `/${i}`, `body ${i}`));
      expect(await text(response)).toBe(`body ${i}`);
    };
    await Promise.all(Array.from({ length: 3000 }, (_, i) => one(i % 2 ? a : b, i)));
    expect(packets()).toBeLessThan(60);
    expect(a.inFlight).toEqual({ outgoing: 0, incoming: 0 });
    expect(b.inFlight).toEqual({ outgoing: 0, incoming: 0 });
  });

  test('10 MB both ways within the windows, hashed alike on both sides', async () => {
    let peak = 0;
    let inFlight = 0;
    const seen: Digests[] = [];
    const { a } = join(
      {},
      {
        handler: async (req) => ({
          response: { status: 200, headers: [], body: req.body },
          end: (digests) => {
            seen.push(digests);
            return new Uint8Array(1);
          },
        }),
      },
    );
    const chunk = new Uint8Array(100_000).map((_, i) => i % 251);
    async function* source() {
      for (let i = 0; i < 100; i++) {
        inFlight += chunk.length;
        peak = Math.max(peak, inFlight);
        yield chunk;
      }
    }
    let mine: Digests | undefined;
    const { response, end } = await a.call(request('PUT', '/big', source()), {
      onEnd: (_, digests) => (mine = digests),
    });
    let total = 0;
    for await (const part of response.body) {
      total += part.length;
      inFlight -= part.length;
    }
    await end;
    expect(total).toBe(10_000_000);
    expect(peak).toBeLessThan(STREAM_WINDOW * 4);
    const whole = sha(new Uint8Array(Buffer.concat(Array(100).fill(chunk) as Uint8Array[])));
    expect(mine).toEqual({ requestBody: whole, responseBody: whole });
    expect(seen[0]).toEqual(mine);
  });

  test('a reader that does not read stops its sender, and no other call', async () => {
    let sent = 0;
    const { a } = join(
      {},
      {
        handler: async (req) =>
          req.target === '/endless'
            ? {
                response: {
                  status: 200,
                  headers: [],
                  body: (async function* () {
                    for (;;) {
                      sent += 1000;
                      yield new Uint8Array(1000);
                    }
                  })(),
                },
                end: () => new Uint8Array(1),
              }
            : echo(req, {}, { id: 0, meter: null }),
      },
    );
    const stuck = await a.call(request('GET', '/endless'));
    await new Promise((r) => setTimeout(r, 30));
    expect(sent).toBeLessThanOrEqual(STREAM_WINDOW + 2000);
    const { response } = await a.call(request('POST', '/quick', 'still here'));
    expect(await text(response)).toBe('still here');
    for await (const _ of stuck.response.body) break;
    expect((await stuck.end).length).toBe(1);
    expect(a.inFlight.outgoing).toBe(0);
  });

  test('cancelling before the head costs nothing, after it still ends with the end', async () => {
    const events: string[] = [];
    const [asked, aborted, gate] = [0, 1, 2].map(() => Promise.withResolvers<void>());
    const { a, b } = join(
      {},
      {
        handler: async (req) => {
          req.signal.addEventListener('abort', () => {
            events.push(`abort ${req.target}`);
            aborted.resolve();
          });
          asked.resolve();
          if (req.target === '/slow') await gate.promise;
          return {
            response: {
              status: 200,
              headers: [],
              body: (async function* () {
                yield bytesOf('first');
                await new Promise((r) => setTimeout(r, 1e6).unref());
              })(),
            },
            end: () => {
              events.push(`end ${req.target}`);
              return new Uint8Array(1);
            },
            dropped: (why) => void events.push(`${why} ${req.target}`),
          };
        },
      },
    );
    const early = new AbortController();
    const slow = code(a.call(request('GET', '/slow', '', early.signal)));
    await asked.promise;
    early.abort();
    expect(await slow).toBe('cancelled');
    await aborted.promise;
    gate.resolve();
    const late = new AbortController();
    const open = await a.call(request('GET', '/late', '', late.signal));
    late.abort();
    expect(await code(collect(open.response.body))).toBe('cancelled');
    await open.end;
    expect(events).toEqual(['abort /slow', 'failed /slow', 'end /late', 'abort /late']);
    expect(a.inFlight.outgoing + b.inFlight.incoming).toBe(0);
  });

  test('what came of an answer before it broke off is read before the error, however late', async () => {
    const { a } = join(
      {},
      {
        handler: async (req, _, call) => {
          if (req.target === '/cut') call.meter = new Meter({ unit: 'byte', each: 1, price: 1, base: 0 }, 6);
          return {
            response: {
              status: 200,
              headers: [],
              body: (async function* () {
                for (const chunk of ['one', 'two']) {
                  yield bytesOf(chunk);
                  await new Promise((resolve) => setImmediate(resolve));
                }
                if (req.target === '/break') throw new Error('app broke');
                if (req.target === '/cut') yield bytesOf('three');
                await new Promise(() => {});
              })(),
            },
            end: () => new Uint8Array(1),
          };
        },
      },
    );
    const read = async (body: AsyncIterable<Uint8Array>): Promise<string[]> => {
      const seen: string[] = [];
      try {
        for await (const chunk of body) seen.push(new TextDecoder().decode(chunk));
      } catch (error) {
        seen.push(codeOf(error));
      }
      return seen;
    };
    for (const [target, why] of [
      ['/break', 'internal'],
      ['/cut', 'over_price'],
    ]) {
      const open = await a.call(request('GET', target));
      // All of it is here, and nobody has read any of it.
      await open.end.catch(() => {});
      expect(await read(open.response.body)).toEqual(['one', 'two', why]);
    }
    const lost = await a.call(request('GET', '/lost'));
    const chunks = lost.response.body[Symbol.asyncIterator]();
    expect(new TextDecoder().decode((await chunks.next()).value as Uint8Array)).toBe('one');
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    a.close();
    expect(await read({ [Symbol.asyncIterator]: () => chunks })).toEqual(['two', 'session_lost']);
  });

  test('an answer that is left half read gives its room back, also when all of it had come', async () => {
    const SIZE = 40_000;
    const { a } = join(
      { maxQueued: 3 * SIZE },
      {
        handler: async () => ({
          response: {
            status: 200,
            headers: [],
            body: (async function* () {
              yield new Uint8Array(SIZE);
              await new Promise((resolve) => setImmediate(resolve));
              yield new Uint8Array(SIZE);
            })(),
          },
          end: () => new Uint8Array(1),
        }),
      },
    );
    for (let i = 0; i < 5; i++) {
      const open = await a.call(request('GET', `/${i}`));
      await open.end;
      for await (const chunk of open.response.body) {
        expect(chunk.length).toBe(SIZE);
        break;
      }
    }
  });

  test('deadline, refusal, body failure, lost socket: coded', async () => {
    const { a } = join(
      {},
      {
        handler: async (req) => {
          if (req.target === '/no') throw new Agnt2Error('over_price', 'too dear');
          if (req.target === '/hang') await new Promise(() => {});
          return {
            response: {
              status: 200,
              headers: [],
              body: (async function* () {
                yield bytesOf('x');
                if (req.target === '/break') throw new Error('app broke');
                await new Promise(() => {});
              })(),
            },
            end: () => new Uint8Array(1),
          };
        },
      },
    );
    expect(await code(a.call(request('GET', '/hang'), { deadlineMs: 20 }))).toBe('deadline_exceeded');
    expect(await code(a.call(request('GET', '/no')))).toBe('over_price');
    const broken = await a.call(request('GET', '/break'));
    expect(await code(collect(broken.response.body))).toBe('internal');
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield bytesOf('y');
      throw new Error('source broke');
    }
    expect(await code(a.call(request('PUT', '/hang', failing())))).toBe('cancelled');
    const open = await a.call(request('GET', '/open'));
    const waiting = code(a.call(request('GET', '/hang')));
    a.close();
    expect(await waiting).toBe('session_lost');
    expect(await code(open.end)).toBe('session_lost');
    expect(await code(collect(open.response.body))).toBe('session_lost');
    expect(await code(a.call(request('GET', '/after')))).toBe('session_lost');
  });

  test('trailers both ways, a reason, and interim answers before the answer', async () => {
    const came: unknown[] = [];
    const { a } = join(
      {},
      {
        handler: async (req) => {
          req.interim!({ status: 100, headers: [] });
          const got = await collect(req.body);
          req.interim!({ status: 103, headers: [['link', '</a>']] });
          const trailers = () => [...req.trailers!(), ['sum', String(got.length)]] as const;
          return {
            response: { status: 200, reason: 'Fine', headers: [], body: body(got), trailers },
            end: () => bytesOf('end'),
          };
        },
      },
    );
    const { response } = await a.call({
      ...request('POST', '/', 'hello'),
      trailers: () => [['x-t', '1']],
      interim: (head) => came.push(head),
    });
    expect(came).toEqual([
      { status: 100, headers: [] },
      { status: 103, headers: [['link', '</a>']] },
    ]);
    expect([response.reason, await text(response)]).toEqual(['Fine', 'hello']);
    expect(response.trailers!()).toEqual([
      ['x-t', '1'],
      ['sum', '5'],
    ]);
  });

  test('a caller that does not say it takes trailers or interim answers gets none, an older end has none', async () => {
    const kinds: number[] = [];
    const b: CallMux = new CallMux({
      numbering: 'odd',
      send: (packet) => {
        for (const { kind } of decodeCalls(packet)) kinds.push(kind);
      },
      handler: async (req) => {
        expect(req.interim).toBe(undefined);
        await collect(req.body);
        expect(req.trailers!()).toEqual([]);
        return {
          response: { status: 200, headers: [], body: body(), trailers: () => [['x', 'y']] },
          end: () => bytesOf('end'),
        };
      },
    });
    const head = encodeHead({ method: 'GET', target: '/', headers: [] });
    b.receive(
      encodeCalls([
        { kind: PartKind.requestHead, call: 0, body: head },
        { kind: PartKind.requestEnd, call: 0, body: new Uint8Array(0) },
      ]),
    );
    await until(() => kinds.includes(PartKind.responseEnd));
    expect(kinds).toEqual([PartKind.responseHead, PartKind.responseEnd]);
  });

  test('trailers out of place, and interim answers without end, break their call', async () => {
    const heads = (count: number, status: number) =>
      Array.from({ length: count }, () => [PartKind.responseHead, encodeHead({ status, headers: [] })] as const);
    const trailers = [PartKind.responseTrailers, bytesOf('[["a","b"]]')] as const;
    for (const parts of [
      heads(33, 103),
      [trailers],
      [...heads(1, 200), trailers, trailers],
      [...heads(1, 200), trailers, [PartKind.responseData, bytesOf('late')] as const],
      [...heads(1, 200), [PartKind.responseTrailers, bytesOf('{"a":1}')] as const],
    ]) {
      const sent: number[] = [];
      const a: CallMux = new CallMux({
        numbering: 'even',
        send: (packet) => {
          for (const { kind } of decodeCalls(packet)) sent.push(kind);
        },
      });
      const failed = code(a.call(request('GET', '/')).then(({ end }) => end));
      a.receive(encodeCalls(parts.map(([kind, bytes]) => ({ kind, call: 0, body: bytes }))));
      await until(() => sent.includes(PartKind.cancel));
      a.close();
      expect(await failed).toMatch(/^(?:malformed|session_lost)$/);
    }
  });

  test('an app that answers early stops the request, and both hash what was sent of it', async () => {
    const digests: Digests[] = [];
    const { a } = join(
      {},
      {
        handler: async () => ({
          response: { status: 413, headers: [], body: body(bytesOf('no')) },
          end: (of) => {
            digests.push(of);
            return new Uint8Array(1);
          },
        }),
      },
    );
    const chunk = new Uint8Array(1000).fill(7);
    let sent = 0;
    // Nobody would ever see its end.
    async function* endless() {
      for (;;) {
        sent += 1;
        yield chunk;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const onEnd = (_: Uint8Array, of: Digests): void => void digests.push(of);
    const { response, end } = await a.call(request('POST', '/', endless()), { onEnd });
    expect(response.status).toBe(413);
    expect(await text(response)).toBe('no');
    await end;
    expect(digests).toHaveLength(2);
    expect(digests[0]).toEqual(digests[1]);
    const prefixes = Array.from({ length: sent + 1 }, (_, n) => sha(new Uint8Array(1000 * n).fill(7)));
    expect(prefixes).toContainEqual(digests[0].requestBody);
  });

  test('a caller that does not take a stop sends the whole of a request that was answered early', async () => {
    const ends: Digests[] = [];
    const b: CallMux = new CallMux({
      numbering: 'odd',
      send: () => {},
      handler: async () => ({
        response: { status: 413, headers: [], body: body(bytesOf('no')) },
        end: (of) => {
          ends.push(of);
          return new Uint8Array(1);
        },
      }),
    });
    const head = encodeHead({ method: 'POST', target: '/', headers: [], takes: ['trailers'] });
    b.receive(encodeCalls([{ kind: PartKind.requestHead, call: 0, body: head }]));
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(ends).toEqual([]);
    b.receive(
      encodeCalls([
        { kind: PartKind.requestData, call: 0, body: bytesOf('all') },
        { kind: PartKind.requestEnd, call: 0, body: new Uint8Array(0) },
      ]),
    );
    await until(() => ends.length > 0);
    expect(ends[0].requestBody).toEqual(sha(bytesOf('all')));
  });

  test('a bad part ends its call alone', async () => {
    const { a, b } = join({ handler: echo });
    const good = a.call(request('POST', '/', 'good'));
    b.receive(
      encodeCalls([
        { kind: PartKind.requestHead, call: 100, body: utf8('{"headers":') },
        { kind: PartKind.requestHead, call: 102, body: encodeHead({ method: 'GET', target: '/', headers: [] }) },
        { kind: 99, call: 102, body: new Uint8Array(3) },
        { kind: PartKind.responseHead, call: 104, body: new Uint8Array(0) },
        { kind: PartKind.window, call: 102, body: Uint8Array.of(0x80) },
        { kind: PartKind.cancel, call: 7777, body: new Uint8Array(9) },
      ]),
    );
    expect(await text((await good).response)).toBe('good');
    expect(b.inFlight.incoming).toBe(0);
    expect(() => b.receive(Uint8Array.of(1, 1, 0, 200, 1))).toThrow(/malformed/);
  });

  test('cancelled calls count while their handlers work: opening and leaving makes no more work than may be in flight', async () => {
    let working = 0;
    let most = 0;
    const wakes: (() => void)[] = [];
    const { a, b } = join(
      {},
      {
        maxCalls: 8,
        handler: async () => {
          most = Math.max(most, (working += 1));
          await new Promise<void>((wake) => wakes.push(wake));
          working -= 1;
          return { response: { status: 200, headers: [], body: body() }, end: () => bytesOf('') };
        },
      },
    );
    for (let i = 0; i < 30; i++) {
      const leave = new AbortController();
      const call = code(a.call(request('GET', '/', '', leave.signal)));
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      leave.abort();
      await call;
    }
    expect(most).toBe(8);
    for (const wake of wakes.splice(0)) wake();
    await until(() => working === 0);
    const after = a.call(request('GET', '/'));
    await until(() => wakes.length > 0);
    for (const wake of wakes) wake();
    expect((await after).response.status).toBe(200);
    expect(b.inFlight.incoming).toBeLessThanOrEqual(1);
  });

  test('an answer its caller breaks is a fault of the caller, one the app breaks is not', async () => {
    const whys: string[] = [];
    const serving =
      (fault: string): IncomingHandler =>
      async () => ({
        response: {
          status: 200,
          headers: [],
          body: (async function* () {
            yield bytesOf('most of it');
            throw new Agnt2Error(fault, 'the response broke');
          })(),
        },
        end: () => bytesOf(''),
        dropped: (why) => void whys.push(why),
      });
    for (const fault of ['body_mismatch', 'app_failed']) {
      const { a } = join({}, { handler: serving(fault) });
      const open = await a.call(request('GET', '/'));
      expect(await code(text(open.response))).toBe(fault);
    }
    expect(whys).toEqual(['fault', 'failed']);
  });

  test('a sender that ignores its window is cut off', async () => {
    const sent: Uint8Array[] = [];
    const b = new CallMux({ numbering: 'odd', send: (p) => void sent.push(p), handler: () => new Promise(() => {}) });
    b.receive(
      encodeCalls([
        { kind: PartKind.requestHead, call: 2, body: encodeHead({ method: 'PUT', target: '/', headers: [] }) },
      ]),
    );
    for (let i = 0; i < 5; i++)
      b.receive(encodeCalls([{ kind: PartKind.requestData, call: 2, body: new Uint8Array(65536) }]));
    b.flush();
    expect(decodeCalls(sent[0]).map((p) => p.kind)).toEqual([PartKind.cancel]);
    expect(b.inFlight.incoming).toBe(0);
  });

  test('random and mutated packets give calls or a coded error', () => {
    const valid = encodeCalls([
      { kind: 1, call: 0, body: encodeHead({ method: 'GET', target: '/', headers: [['a', 'b']], meta: { max: '1' } }) },
      { kind: 2, call: 0, body: bytesOf('data') },
      { kind: 3, call: 0, body: new Uint8Array(0) },
      { kind: 7, call: 0, body: Uint8Array.of(200, 1) },
      { kind: 4, call: 1, body: encodeHead({ status: 200, headers: [] }) },
      { kind: 6, call: 1, body: new Uint8Array(90) },
      { kind: 8, call: 0, body: utf8('cancelled') },
    ]);
    const mutated = fc
      .array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 })
      .map((edits) => edits.reduce((p, [at, byte]) => ((p[at] = byte), p), valid.slice()));
    const random = fc.uint8Array({ maxLength: 200 }).map((bytes) => Uint8Array.of(1, ...bytes));
    fc.assert(
      fc.property(fc.array(fc.oneof(mutated, random), { maxLength: 8 }), (packets) => {
        const mux = new CallMux({ numbering: 'odd', send: () => {}, handler: echo });
        mux.call(request('GET', '/')).catch(() => {});
        for (const packet of packets) {
          try {
            mux.receive(packet);
          } catch (error) {
            expect(codeOf(error)).toBe('malformed');
          }
        }
        mux.close();
      }),
      { numRuns: 500 },
    );
  });
});
