import http from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { AccessLog } from './accesslog.ts';
import { NotedCall, type Notes, noted } from './call.ts';
import { SpanExporter, otlpFrom } from './otlp.ts';
import { beginSpan, parseTraceParent, traceParentOf } from './trace.ts';

const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const notesOf = (ratio: number | null, ...sinks: Notes['sinks']): Notes => ({ sinks, ratio });
async function* chunks(...sizes: number[]): AsyncGenerator<Uint8Array> {
  for (const size of sizes) yield new Uint8Array(size);
}
const request = (headers: [string, string][]): ExchangeRequest => ({
  method: 'GET',
  target: '/x',
  headers,
  body: chunks(),
  signal: new AbortController().signal,
});

test('a traceparent is read by the letter of its standard, or a new trace begins', () => {
  expect(parseTraceParent(PARENT)).toEqual({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId: 'b7ad6b7169203331',
    isSampled: true,
  });
  expect(parseTraceParent(`${PARENT.replace(/^00/, 'cc')}-what-comes`)?.isSampled).toBe(true);
  for (const bad of [
    '',
    `${PARENT}-more`,
    PARENT.toUpperCase(),
    PARENT.replace(/^00/, 'ff'),
    PARENT.replace(/-b7ad6b7169203331-/, '-0000000000000000-'),
    PARENT.replace(/-0af7651916cd43dd8448eb211c80319c-/, `-${'0'.repeat(32)}-`),
    PARENT.slice(1),
  ])
    expect([bad, parseTraceParent(bad)]).toEqual([bad, null]);
  fc.assert(
    fc.property(fc.string({ maxLength: 70 }), fc.double({ min: 0, max: 1, noNaN: true }), (text, ratio) => {
      const written = traceParentOf(beginSpan(text, ratio));
      expect(traceParentOf(beginSpan(written, 0))).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
      expect(parseTraceParent(written)?.traceId).toBe(beginSpan(written, 0).traceId);
    }),
  );
  expect(beginSpan(null, 0).isSampled).toBe(false);
  expect(beginSpan(null, 1).isSampled).toBe(true);
  expect(beginSpan(PARENT.replace(/01$/, '00'), 1).isSampled).toBe(false);
});

test('a traced request goes on with our span as parent; without traces it goes on as it is', () => {
  const call = new NotedCall('out', 'GET', notesOf(1));
  const headers = [
    ['x', 'y'],
    ['TraceParent', PARENT],
    ['tracestate', 'a=b'],
  ] as [string, string][];
  const passed = call.trace(request(headers)).headers;
  expect(passed).toEqual([
    ['x', 'y'],
    ['tracestate', 'a=b'],
    ['traceparent', traceParentOf(call.span!)],
  ]);
  expect(call.span).toMatchObject({ traceId: PARENT.slice(3, 35), parent: { spanId: 'b7ad6b7169203331' } });
  const broken = new NotedCall('out', 'GET', notesOf(1)).trace(
    request([
      ['traceparent', 'x'],
      ['tracestate', 'a=b'],
    ]),
  );
  expect(broken.headers.map(([name]) => name)).toEqual(['traceparent']);
  const untraced = request(headers);
  expect(new NotedCall('out', 'GET', notesOf(null)).trace(untraced)).toBe(untraced);
});

test('a call is noted once, when its body is over, however that comes', async () => {
  const seen: [string, number][] = [];
  const notes = notesOf(null, { call: ({ code, bytes }) => void seen.push([code, bytes]) });
  const whole = new NotedCall('out', 'GET', notes);
  for await (const _ of noted(chunks(3, 4), whole));
  whole.end();
  const left = new NotedCall('out', 'GET', notes);
  for await (const _ of noted(chunks(3, 4), left)) break;
  const broken = new NotedCall('out', 'GET', notes);
  const body = (async function* () {
    yield new Uint8Array(5);
    throw new Error('off');
  })();
  await expect(async () => {
    for await (const _ of noted(body, broken));
  }).rejects.toThrow('off');
  expect(seen).toEqual([
    ['', 7],
    ['abandoned', 3],
    ['broken_off', 5],
  ]);
});

test('the access log has its fields and no others, and drops what it has no room for', () => {
  const lines: Record<string, unknown>[] = [];
  const log = new AccessLog((fields) => lines.push(fields));
  const call = (path: string): void => {
    const one = new NotedCall('in', 'GET', notesOf(null, log));
    Object.assign(one, { path, peer: '0:1', route: 'core', status: 200, price: 7, bytes: 3 });
    one.end();
  };
  call(`/${'x'.repeat(1000)}`);
  log.flush();
  expect(Object.keys(lines[0])).toEqual('timeMs direction method path route peer status price bytes ms'.split(' '));
  expect(lines[0]).toMatchObject({ status: 200, price: '7', bytes: 3 });
  expect(lines[0].path).toHaveLength(256);
  for (let i = 0; i < 5000; i++) call('/');
  log.flush();
  expect([lines.length, log.dropped]).toEqual([4097, 904]);
});

test('the environment says where spans go, in the words of OpenTelemetry', () => {
  expect(otlpFrom({}, 'a')).toBeNull();
  expect(otlpFrom({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318', OTEL_SDK_DISABLED: 'true' }, 'a')).toBeNull();
  expect(otlpFrom({ OTEL_EXPORTER_OTLP_ENDPOINT: 'no url' }, 'a')).toBeNull();
  expect(
    otlpFrom(
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318/',
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x, b=c=d',
        OTEL_TRACES_SAMPLER_ARG: '0.25',
      },
      'alice',
    ),
  ).toEqual({
    url: 'http://c:4318/v1/traces',
    headers: { authorization: 'Bearer x', b: 'c=d' },
    serviceName: 'alice',
    ratio: 0.25,
  });
});

let collector: http.Server;
let bodies: { headers: http.IncomingHttpHeaders; body: string }[] = [];
let status = 200;
beforeAll(async () => {
  collector = http.createServer((incoming, response) => {
    let body = '';
    incoming.on('data', (chunk) => (body += String(chunk)));
    incoming.on('end', () => {
      bodies.push({ headers: incoming.headers, body });
      response.writeHead(status).end('{}');
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  collector.closeAllConnections();
  collector.close();
});

test('spans come in batches, under their parents; a collector that is away costs spans, and no more', async () => {
  const url = `http://127.0.0.1:${(collector.address() as AddressInfo).port}/v1/traces`;
  const exporter = new SpanExporter({ url, headers: { 'x-token': 't' }, serviceName: 'alice', ratio: 1 });
  const note = (traceparent: string | null, more: object = {}): void => {
    const call = new NotedCall('out', 'POST', notesOf(1, exporter));
    call.trace(request(traceparent === null ? [] : [['traceparent', traceparent]]));
    Object.assign(call, { path: '/run', peer: '0:7', route: 'session', status: 200, price: 10, bytes: 5, ...more });
    call.end();
  };
  note(PARENT);
  note(PARENT.replace(/01$/, '00'));
  note(null, { code: 'over_day_cap', status: 402 });
  await exporter.flush();
  expect(bodies).toHaveLength(1);
  expect(bodies[0].headers).toMatchObject({ 'x-token': 't', 'content-type': 'application/json' });
  const { resourceSpans } = JSON.parse(bodies[0].body) as {
    resourceSpans: { resource: unknown; scopeSpans: { spans: Record<string, unknown>[] }[] }[];
  };
  const [first, second, ...more] = resourceSpans[0].scopeSpans[0].spans;
  expect(more).toEqual([]);
  expect(first).toMatchObject({ traceId: PARENT.slice(3, 35), parentSpanId: 'b7ad6b7169203331', kind: 3, status: {} });
  expect(Number(first.endTimeUnixNano)).toBeGreaterThanOrEqual(Number(first.startTimeUnixNano));
  expect(first.startTimeUnixNano).toMatch(/^\d{19}$/);
  expect(second).toMatchObject({ status: { code: 2 } });
  expect(second).not.toHaveProperty('parentSpanId');
  bodies = [];
  status = 503;
  for (let i = 0; i < 5000; i++) note(null);
  await exporter.flush();
  expect(exporter.dropped).toBe(5000);
  expect(exporter.sent).toBe(2);
  status = 200;
  note(null);
  await exporter.flush();
  expect(exporter.sent).toBe(3);
});
