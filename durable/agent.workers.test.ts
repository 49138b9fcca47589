import { evictDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { CARRIED_HEADERS, PacketType, packHeaders, unpackHeaders } from '../protocol/packet.ts';
import { concat } from '../protocol/bytes.ts';
import { framed, unframed } from '../protocol/framed.ts';
import { CallMux, type IncomingHandler } from '../protocol/mux.ts';
import type { AgentRpc } from './agent.ts';

const namespace = (env as unknown as { AGENT: DurableObjectNamespace }).AGENT;
type Stub = DurableObjectStub & AgentRpc;
let agents = 0;
const agent = (): Stub => namespace.get(namespace.idFromName(`agent-${(agents += 1)}`)) as Stub;

const echo: IncomingHandler = async (request, meta) => ({
  response: {
    status: 207,
    headers: [
      ['x-meta', JSON.stringify(meta)],
      ['x-seen', `${request.method} ${request.target}`],
      ['set-cookie', 'a=1'],
      ['set-cookie', 'b=2, c'],
      ['x-custom', request.headers.find(([name]) => name === 'custom')?.[1] ?? ''],
    ],
    body: request.body,
  },
  end: () => new Uint8Array(90),
});

async function sidecar(stub: Stub, handler: IncomingHandler = echo) {
  const response = await stub.fetch('https://do/socket', { headers: { upgrade: 'websocket' } });
  expect(response.status).toBe(101);
  const ws = response.webSocket!;
  ws.binaryType = 'arraybuffer';
  const errors: string[] = [];
  const mux = new CallMux({ numbering: 'none', handler, send: (packet) => ws.send(packet) });
  ws.addEventListener('message', ({ data }) => {
    const packet = new Uint8Array(data as ArrayBuffer);
    if (packet[0] === PacketType.calls) mux.receive(packet);
    else errors.push((JSON.parse(new TextDecoder().decode(packet.subarray(1))) as { code: string }).code);
  });
  const closed = new Promise<string>((resolve) => ws.addEventListener('close', (e) => resolve(e.reason)));
  ws.accept();
  return { ws, mux, closed, errors };
}

const call = (stub: Stub, init: RequestInit & { target?: string } = {}): Promise<Response> =>
  stub.fetch('https://do/calls', {
    method: 'POST',
    ...init,
    headers: {
      'agnt2-method': 'POST',
      'agnt2-target': init.target ?? '/x?y',
      'agnt2-escrow': '0:7',
      'agnt2-index': '0',
      ...(init.headers as Record<string, string>),
    },
  });

const problem = async (response: Response): Promise<[number, string]> => [
  response.status,
  ((await response.json()) as { code: string }).code,
];
const textOf = async (response: Response): Promise<string> => new TextDecoder().decode(await response.arrayBuffer());
const settle = () => new Promise((r) => setTimeout(r, 20));

describe('Agent', () => {
  test('carries trailers both ways and a reason, in framed bodies', async () => {
    const stub = agent();
    let sent: readonly (readonly [string, string])[] = [];
    await sidecar(stub, async (request) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of request.body) chunks.push(chunk);
      sent = request.trailers!();
      return {
        response: {
          status: 200,
          reason: 'Très bien',
          headers: [],
          body: (async function* () {
            yield* chunks;
          })(),
          trailers: () => [['grpc-status', '0']],
        },
        end: () => new Uint8Array(90),
      };
    });
    const upload: Uint8Array[] = [];
    async function* hello() {
      yield new TextEncoder().encode('hello');
    }
    for await (const chunk of framed(hello(), () => [['x-sum', '5']])) upload.push(chunk);
    const body = concat(...upload);
    const plain = await call(stub, { body, headers: { 'agnt2-framed': 'trailers' } });
    expect(plain.headers.get('agnt2-framed')).toBe(null);
    expect(await textOf(plain)).toBe('hello');
    expect(sent).toEqual([['x-sum', '5']]);
    const response = await call(stub, { body: 'hello', headers: { 'agnt2-takes': 'trailers' } });
    expect(unpackHeaders(response.headers.get('agnt2-reason'))).toEqual([['reason', 'Très bien']]);
    expect(response.headers.get('agnt2-framed')).toBe('trailers');
    const whole = new Uint8Array(await response.arrayBuffer());
    const { body: back, trailers } = unframed(
      (async function* () {
        yield whole;
      })(),
    );
    let text = '';
    for await (const chunk of back) text += new TextDecoder().decode(chunk);
    expect([text, trailers()]).toEqual(['hello', [['grpc-status', '0']]]);
  });

  test('carries a first-contact call to the sidecar and its answer back', async () => {
    const stub = agent();
    await sidecar(stub);
    expect(await stub.online()).toBe(true);
    const response = await call(stub, {
      body: 'hello',
      headers: { [CARRIED_HEADERS]: packHeaders([['custom', 'yes']]) },
    });
    expect(response.status).toBe(200);
    expect(response.headers.get('agnt2-status')).toBe('207');
    const headers = unpackHeaders(response.headers.get(CARRIED_HEADERS));
    expect(headers).toContainEqual(['x-seen', 'POST /x?y']);
    expect(headers).toContainEqual(['x-custom', 'yes']);
    expect(JSON.parse(new Map(headers).get('x-meta')!)).toEqual({ escrow: '0:7', index: '0' });
    // Equal names stay apart: a cookie jar must see each.
    expect(headers.filter(([name]) => name === 'set-cookie').map(([, value]) => value)).toEqual(['a=1', 'b=2, c']);
    expect(await textOf(response)).toBe('hello');
  });

  test('many calls at once, and 5 MB streamed', async () => {
    const stub = agent();
    await sidecar(stub);
    const texts = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => textOf(await call(stub, { body: `body ${i}` }))),
    );
    expect(texts).toEqual(Array.from({ length: 100 }, (_, i) => `body ${i}`));
    const big = await (await call(stub, { body: new Uint8Array(5_000_000).fill(7) })).arrayBuffer();
    expect(big.byteLength).toBe(5_000_000);
  });

  test('a client that leaves cancels the call', async () => {
    const stub = agent();
    let stopped = 0;
    await sidecar(stub, async () => ({
      response: {
        status: 200,
        headers: [],
        body: (async function* () {
          try {
            for (;;) yield new Uint8Array(1000);
          } finally {
            stopped += 1;
          }
        })(),
      },
      end: () => new Uint8Array(90),
    }));
    const response = await call(stub);
    const reader = response.body!.getReader();
    await reader.read();
    await reader.cancel();
    for (let i = 0; i < 50 && stopped === 0; i++) await settle();
    expect(stopped).toBe(1);
  });

  test('the mailbox holds a call until the sidecar comes; a full one and a bad call are refused', async () => {
    const stub = agent();
    expect(await stub.online()).toBe(false);
    const early = call(stub, { body: 'patience' });
    await settle();
    await sidecar(stub);
    expect(await textOf(await early)).toBe('patience');
    expect(await problem(await call(stub, { headers: { 'agnt2-target': 'nowhere' } }))).toEqual([400, 'malformed']);
    expect((await stub.fetch('https://do/calls')).status).toBe(405);
    const empty = agent();
    const waiting = Array.from({ length: 64 }, () => call(empty));
    await settle();
    const refused = await call(empty);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await problem(refused)).toEqual([503, 'agent_offline']);
    await sidecar(empty);
    for (const response of await Promise.all(waiting)) expect(response.status).toBe(200);
  });

  test('refusals carry their code; a lost socket is a problem', async () => {
    const stub = agent();
    const { ws, errors } = await sidecar(stub, async (request) => {
      if (request.target === '/poor') throw Object.assign(new Error('poor'), { code: 'escrow_too_small' });
      return new Promise(() => {});
    });
    expect(await problem(await call(stub, { target: '/poor' }))).toEqual([402, 'escrow_too_small']);
    const lost = call(stub);
    await settle();
    ws.send('text');
    await settle();
    expect(errors).toEqual(['malformed']);
    ws.close(1000, 'bye');
    expect(await problem(await lost)).toEqual([502, 'session_lost']);
    expect(await stub.online()).toBe(false);
  });

  test('a new socket replaces the old; a broken one is closed', async () => {
    const stub = agent();
    const old = await sidecar(stub);
    const next = await sidecar(stub);
    expect(await old.closed).toBe('replaced');
    expect(await textOf(await call(stub, { body: 'x' }))).toBe('x');
    next.ws.send(Uint8Array.of(1, 4, 0, 200, 1));
    expect(await next.closed).toBe('malformed');
    expect(await stub.online()).toBe(false);
  });

  test('eviction: the socket survives and calls go on', async () => {
    const stub = agent();
    const { mux } = await sidecar(stub);
    expect(await textOf(await call(stub, { body: 'one' }))).toBe('one');
    await evictDurableObject(stub);
    expect(await stub.online()).toBe(true);
    expect(await textOf(await call(stub, { body: 'two' }))).toBe('two');
    expect(mux.inFlight.incoming).toBe(0);
  });
});
