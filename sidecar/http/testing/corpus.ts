/**
 * Exchanges as data: what an app and its caller may say to each other in HTTP/1.1. Run against an app directly and through sidecars they
 * must come out the same (transparency.test.ts); docs/http.md says which row of its table each shows.
 */
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';

export type Fields = readonly (readonly [string, string])[];

export interface Exchange {
  readonly name: string;
  readonly method: string;
  readonly target: string;
  /** Of the request, framing aside: that follows from the body. */
  readonly headers: Fields;
  /** One chunk is sent with its length, several as chunks; null is no body at all. */
  readonly upload: readonly Uint8Array[] | null;
  readonly uploadTrailers: Fields;
  readonly answer: Answer;
}

export interface Answer {
  readonly interim: readonly { readonly status: number; readonly headers: Fields }[];
  readonly status: number;
  readonly reason: string;
  readonly headers: Fields;
  readonly framing: 'length' | 'chunks' | 'close' | 'none';
  readonly body: readonly Uint8Array[];
  readonly trailers: Fields;
  /** Each chunk leaves only when the caller has the one before it: a hop that gathers anything stops it for good. */
  readonly lockstep: boolean;
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  203: 'Non-Authoritative Information',
  204: 'No Content',
  205: 'Reset Content',
  206: 'Partial Content',
  207: 'Multi-Status',
  300: 'Multiple Choices',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  410: 'Gone',
  412: 'Precondition Failed',
  416: 'Range Not Satisfiable',
  418: "I'm a Teapot",
  422: 'Unprocessable Entity',
  429: 'Too Many Requests',
  451: 'Unavailable For Legal Reasons',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
  511: 'Network Authentication Required',
};

const bytes = (text: string): Uint8Array => Buffer.from(text);
/** Bytes of every value, without a period that any chunk has. */
const noise = (length: number): Uint8Array => {
  const out = Buffer.allocUnsafe(length);
  for (let i = 0, x = 1; i < length; i++) {
    x = (x * 1103515245 + 12345) % 2147483648;
    out[i] = (x >> 16) & 255;
  }
  return out;
};
const pieces = (whole: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => whole.subarray(i * size, (i + 1) * size));

interface Ask {
  readonly method?: string;
  readonly target?: string;
  readonly headers?: Fields;
  readonly upload?: string | readonly Uint8Array[] | null;
  readonly uploadTrailers?: Fields;
}
interface Say extends Partial<Omit<Answer, 'body'>> {
  readonly body?: string | readonly Uint8Array[];
}

const DATE = ['Date', 'Sun, 06 Nov 1994 08:49:37 GMT'] as const;

function exchange(name: string, ask: Ask, say: Say): Exchange {
  const status = say.status ?? 200;
  const body = typeof say.body === 'string' ? [bytes(say.body)] : (say.body ?? []);
  const bodiless = ask.method === 'HEAD' || status === 204 || status === 304;
  return {
    name,
    method: ask.method ?? 'GET',
    target: ask.target ?? '/',
    headers: ask.headers ?? [],
    upload: typeof ask.upload === 'string' ? [bytes(ask.upload)] : (ask.upload ?? null),
    uploadTrailers: ask.uploadTrailers ?? [],
    answer: {
      interim: say.interim ?? [],
      status,
      reason: say.reason ?? REASONS[status],
      headers: [DATE, ...(say.headers ?? [])],
      framing: say.framing ?? (bodiless ? 'none' : body.length > 1 || say.trailers ? 'chunks' : 'length'),
      body,
      trailers: say.trailers ?? [],
      lockstep: say.lockstep ?? false,
    },
  };
}

const TEXT = ['Content-Type', 'text/plain; charset=utf-8'] as const;
const statuses = [200, 201, 202, 203, 207, 300, 400, 402, 403, 404, 409, 410, 418, 422, 429, 451, 500, 501, 503, 511];

export const CORPUS: readonly Exchange[] = [
  // Methods.
  exchange('GET', {}, { headers: [TEXT], body: 'hello' }),
  exchange('GET with a body, chunked', { upload: [bytes('que'), bytes('ry')] }, { body: 'found' }),
  exchange(
    'HEAD with a length',
    { method: 'HEAD' },
    {
      headers: [
        ['Content-Length', '12345'],
        ['ETag', '"a"'],
      ],
    },
  ),
  exchange('HEAD without a length', { method: 'HEAD' }, { headers: [TEXT] }),
  exchange(
    'POST with a length',
    { method: 'POST', headers: [TEXT], upload: 'name=value' },
    { status: 201, body: 'ok' },
  ),
  exchange('POST of an empty body', { method: 'POST', upload: [new Uint8Array(0)] }, { body: 'empty' }),
  exchange('PUT in chunks', { method: 'PUT', upload: [bytes('one'), bytes('two'), bytes('three')] }, { status: 204 }),
  exchange(
    'PATCH',
    { method: 'PATCH', headers: [['Content-Type', 'application/json-patch+json']], upload: '[]' },
    { body: '{}' },
  ),
  exchange('DELETE', { method: 'DELETE' }, { status: 204 }),
  exchange('DELETE with a body', { method: 'DELETE', upload: 'why' }, { body: 'gone' }),
  exchange(
    'OPTIONS, a preflight',
    {
      method: 'OPTIONS',
      headers: [
        ['Origin', 'https://a.example'],
        ['Access-Control-Request-Method', 'PUT'],
      ],
    },
    {
      status: 204,
      headers: [
        ['Access-Control-Allow-Origin', '*'],
        ['Access-Control-Allow-Methods', 'GET, PUT'],
        ['Allow', 'GET, PUT'],
      ],
    },
  ),
  exchange(
    'PROPFIND',
    { method: 'PROPFIND', headers: [['Depth', '1']], upload: '<propfind/>' },
    { status: 207, body: '<multistatus/>' },
  ),
  exchange('REPORT', { method: 'REPORT', upload: '<r/>' }, { body: '<r/>' }),
  // Targets.
  exchange('a long query', { target: `/q?${'k=v&'.repeat(1500)}` }, { body: 'q' }),
  exchange('escapes', { target: '/caf%C3%A9/a%20b;v=1/@x:y,z?a=%2e%2e%2f&b=%00&c=[1]&d={"e":"f"}' }, { body: 'e' }),
  exchange('a query of nothing', { target: '/x?' }, { body: 'x' }),
  exchange('a slash at the end', { target: '/a/b/' }, { body: 'x' }),
  // Statuses.
  ...statuses.map((status) => exchange(`status ${status}`, {}, { status, headers: [TEXT], body: `it was ${status}` })),
  exchange('204 without anything', {}, { status: 204 }),
  exchange(
    '205',
    { method: 'POST', upload: 'x' },
    { status: 205, headers: [['Content-Length', '0']], framing: 'none' },
  ),
  exchange(
    '304 with the length of what it stands for',
    { headers: [['If-None-Match', '"v1"']] },
    {
      status: 304,
      headers: [
        ['ETag', '"v1"'],
        ['Content-Length', '99'],
        ['Cache-Control', 'max-age=60'],
      ],
    },
  ),
  exchange(
    '304 without a length',
    { headers: [['If-Modified-Since', DATE[1]]] },
    { status: 304, headers: [['ETag', 'W/"v"']] },
  ),
  exchange('412', { method: 'PUT', headers: [['If-Match', '"no"']], upload: 'x' }, { status: 412, body: '' }),
  exchange(
    '401 with two challenges',
    {},
    {
      status: 401,
      headers: [
        ['WWW-Authenticate', 'Basic realm="a"'],
        ['WWW-Authenticate', 'Bearer'],
      ],
      body: 'no',
    },
  ),
  exchange('405', { method: 'PUT', upload: '' }, { status: 405, headers: [['Allow', 'GET']], body: '' }),
  ...[301, 302, 303, 307, 308].map((status) =>
    exchange(
      `redirect ${status}`,
      { method: 'POST', upload: 'x' },
      { status, headers: [['Location', `/next?from=${status}#there`]], body: '' },
    ),
  ),
  exchange(
    'a redirect elsewhere',
    {},
    { status: 302, headers: [['Location', 'https://example.com/a//b/../c']], body: '' },
  ),
  // Reason phrases.
  exchange('a reason of its own', {}, { status: 200, reason: 'Fine, thank you', body: 'x' }),
  exchange('no reason at all', {}, { status: 404, reason: '', body: 'x' }),
  exchange('a reason with bytes beyond ASCII', {}, { status: 500, reason: 'K\u00e4se \t!', body: 'x' }),
  exchange('a status without a name', {}, { status: 299, reason: 'Odd', body: 'x' }),
  exchange('a status without a name or a reason', {}, { status: 599, reason: '', body: 'x' }),
  // Fields.
  exchange(
    'many cookies, in order',
    { headers: [['Cookie', 'a=1; b=2; c="3"']] },
    {
      headers: Array.from(
        { length: 40 },
        (_, i) => ['Set-Cookie', `c${i}=${'v'.repeat(i)}; Path=/; Expires=Sun, 06 Nov 1994 08:49:37 GMT`] as const,
      ),
      body: 'x',
    },
  ),
  exchange(
    'equal names, mixed case, in order',
    {
      headers: [
        ['X-A', '1'],
        ['x-a', '2'],
        ['X-B', '3'],
        ['X-A', '4'],
      ],
    },
    {
      headers: [
        ['X-R', '1'],
        ['x-r', '2'],
        ['Y', '3'],
        ['X-R', '1'],
      ],
      body: 'x',
    },
  ),
  exchange(
    'fields of one value, twice',
    {
      headers: [
        ['User-Agent', 'a'],
        ['User-Agent', 'b'],
        ['Referer', 'c'],
        ['Referer', 'd'],
      ],
    },
    {
      headers: [
        ['ETag', '"a"'],
        ['ETag', '"b"'],
        ['Age', '1'],
        ['Age', '2'],
      ],
      body: 'x',
    },
  ),
  exchange(
    'empty values',
    {
      headers: [
        ['X-Empty', ''],
        ['X-Other', ''],
      ],
    },
    {
      headers: [
        ['X-Empty', ''],
        ['X-Empty', ''],
      ],
      body: 'x',
    },
  ),
  exchange(
    'values with tabs, commas, quotes and bytes beyond ASCII',
    { headers: [['X-V', 'a\tb, "c\\"d" ; \u00e9\u00ff']] },
    { headers: [['X-V', '\u00fc, \tx "y"']], body: 'x' },
  ),
  exchange(
    'names of every token character',
    { headers: [["!#$%&'*+-.^_`|~09Az", '1']] },
    { headers: [["!#$%&'*+-.^_`|~09Az", '1']], body: 'x' },
  ),
  exchange(
    'long fields, 8 KB each way',
    { headers: [['X-Long', 'q'.repeat(8000)]] },
    { headers: [['X-Long', 'r'.repeat(8000)]], body: 'x' },
  ),
  exchange(
    'a hundred fields',
    { headers: Array.from({ length: 100 }, (_, i) => [`X-${i}`, String(i)] as const) },
    { headers: Array.from({ length: 100 }, (_, i) => [`Y-${i}`, String(i)] as const), body: 'x' },
  ),
  exchange(
    'credentials',
    {
      headers: [
        ['Authorization', 'Bearer abc.def'],
        ['X-Api-Key', 'k'],
      ],
    },
    { body: 'x' },
  ),
  exchange(
    'trace context',
    {
      headers: [
        ['traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
        ['tracestate', 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'],
        ['tracestate', 'x=y'],
        ['baggage', 'userId=alice,serverNode=DF%2028;p=1'],
      ],
    },
    {
      headers: [
        ['traceresponse', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
        ['Server-Timing', 'db;dur=53'],
      ],
      body: 'x',
    },
  ),
  exchange(
    'content negotiation and caching',
    {
      headers: [
        ['Accept', 'text/html;q=0.9, */*'],
        ['Accept-Encoding', 'gzip, br'],
        ['Accept-Language', 'de'],
      ],
    },
    {
      headers: [
        ['Vary', 'Accept, Accept-Encoding'],
        ['Cache-Control', 'no-store'],
        ['Cache-Control', 'private'],
        ['Age', '3'],
        ['Expires', '0'],
        ['Link', '</a>; rel=next'],
      ],
      body: 'x',
    },
  ),
  exchange(
    'hop-by-hop fields, named ones too',
    {
      headers: [
        ['Connection', 'X-Secret, keep-alive'],
        ['X-Secret', 's'],
        ['Keep-Alive', 'timeout=5'],
        ['Proxy-Authorization', 'Basic eA=='],
        ['TE', 'deflate'],
        ['X-Stays', '1'],
      ],
    },
    {
      headers: [
        ['X-Hop', '1'],
        ['Proxy-Connection', 'close'],
        ['X-End', '2'],
      ],
      body: 'x',
    },
  ),
  // Bodies.
  exchange('an empty body of length 0', {}, { body: '' }),
  exchange('an empty chunked body', {}, { framing: 'chunks' }),
  exchange('a chunked body', {}, { body: [bytes('a'), bytes('bc'), bytes('def')] }),
  exchange('a body that ends with its connection', {}, { framing: 'close', body: 'until the end' }),
  exchange('a large body with a length', {}, { body: [noise(3_000_000)], framing: 'length' }),
  exchange('a large body in chunks', {}, { body: pieces(noise(3_000_000), 70_001) }),
  exchange('a large upload with a length', { method: 'POST', upload: [noise(2_500_000)] }, { body: 'x' }),
  exchange('a large upload in chunks', { method: 'POST', upload: pieces(noise(2_500_000), 65_537) }, { body: 'x' }),
  exchange('many one-byte chunks', {}, { body: pieces(noise(500), 1) }),
  exchange(
    'every byte value',
    { method: 'POST', upload: [noise(65_536)] },
    { headers: [['Content-Type', 'application/octet-stream']], body: [noise(65_536)] },
  ),
  exchange(
    'gzip',
    { headers: [['Accept-Encoding', 'gzip']] },
    { headers: [['Content-Encoding', 'gzip'], TEXT], body: [gzipSync('squeezed '.repeat(500))] },
  ),
  exchange(
    'brotli in chunks',
    {},
    { headers: [['Content-Encoding', 'br']], body: pieces(brotliCompressSync('squeezed '.repeat(500)), 7) },
  ),
  exchange(
    'a deflated upload',
    { method: 'POST', headers: [['Content-Encoding', 'deflate']], upload: [deflateSync('x'.repeat(999))] },
    { body: 'x' },
  ),
  exchange(
    'a form with files',
    {
      method: 'POST',
      headers: [['Content-Type', 'multipart/form-data; boundary=b']],
      upload: '--b\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\n\r\n\0\x01\r\n--b--\r\n',
    },
    { body: 'x' },
  ),
  exchange(
    'a body that looks like a request',
    { method: 'POST', upload: 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n' },
    { body: 'HTTP/1.1 200 OK\r\n\r\n' },
  ),
  exchange(
    'a range',
    { headers: [['Range', 'bytes=2-5']] },
    {
      status: 206,
      headers: [
        ['Content-Range', 'bytes 2-5/10'],
        ['Accept-Ranges', 'bytes'],
      ],
      body: '2345',
    },
  ),
  exchange(
    'several ranges',
    {
      headers: [
        ['Range', 'bytes=0-0,-1'],
        ['If-Range', '"v"'],
      ],
    },
    {
      status: 206,
      headers: [['Content-Type', 'multipart/byteranges; boundary=B']],
      body: '--B\r\nContent-Range: bytes 0-0/10\r\n\r\n0\r\n--B--',
    },
  ),
  exchange(
    'a range that is not there',
    { headers: [['Range', 'bytes=99-']] },
    { status: 416, headers: [['Content-Range', 'bytes */10']], body: '' },
  ),
  // Streams.
  exchange(
    'server-sent events',
    {
      headers: [
        ['Accept', 'text/event-stream'],
        ['Last-Event-ID', '7'],
      ],
    },
    {
      headers: [
        ['Content-Type', 'text/event-stream'],
        ['Cache-Control', 'no-cache'],
        ['X-Accel-Buffering', 'no'],
      ],
      body: [bytes(': hi\n\n'), ...[8, 9, 10, 11].map((i) => bytes(`id: ${i}\nevent: tick\ndata: ${i}\n\n`))],
      lockstep: true,
    },
  ),
  exchange(
    'JSON lines, one at a time',
    { method: 'POST', upload: '{"stream":true}' },
    {
      headers: [['Content-Type', 'application/x-ndjson']],
      body: [1, 2, 3].map((i) => bytes(`{"n":${i}}\n`)),
      lockstep: true,
    },
  ),
  exchange(
    'a stream that ends with its connection',
    {},
    { framing: 'close', body: [bytes('one'), bytes('two')], lockstep: true },
  ),
  exchange(
    'a stream with a length',
    {},
    { framing: 'length', body: [bytes('one'), bytes('two'), bytes('six')], lockstep: true },
  ),
  // Trailers and interim answers.
  exchange(
    'trailers of an answer',
    { headers: [['TE', 'trailers']] },
    {
      headers: [['Trailer', 'X-Sum, X-Sum']],
      body: [bytes('a'), bytes('b')],
      trailers: [
        ['X-Sum', '1'],
        ['x-sum', '2'],
        ['X-Empty', ''],
      ],
    },
  ),
  exchange(
    'trailers nobody announced or asked for',
    {},
    { body: [bytes('a')], trailers: [['Server-Timing', 'total;dur=9']] },
  ),
  exchange(
    'trailers after an empty body, as gRPC-Web has them',
    { method: 'POST', headers: [['TE', 'trailers']], upload: 'x' },
    {
      framing: 'chunks',
      trailers: [
        ['grpc-status', '0'],
        ['grpc-message', ''],
      ],
    },
  ),
  exchange(
    'trailers after events',
    {},
    {
      headers: [['Content-Type', 'text/event-stream']],
      body: [bytes('data: 1\n\n'), bytes('data: 2\n\n')],
      trailers: [['X-End', 'yes']],
      lockstep: true,
    },
  ),
  exchange(
    'trailers of an upload',
    {
      method: 'POST',
      headers: [['Trailer', 'Content-MD5']],
      upload: [bytes('ab'), bytes('cd')],
      uploadTrailers: [
        ['Content-MD5', 'eA=='],
        ['X-T', '1'],
      ],
    },
    { body: 'x' },
  ),
  exchange(
    'early hints',
    {},
    {
      interim: [
        {
          status: 103,
          headers: [
            ['Link', '</style.css>; rel=preload'],
            ['Link', '</s.js>; rel=preload'],
          ],
        },
      ],
      body: 'x',
    },
  ),
  exchange(
    'processing, twice, then hints',
    { method: 'POST', upload: 'x' },
    {
      interim: [
        { status: 102, headers: [] },
        { status: 102, headers: [['X-Progress', '50']] },
        { status: 103, headers: [['Link', '</a>']] },
      ],
      status: 201,
      body: 'done',
    },
  ),
];
