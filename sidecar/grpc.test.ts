/** gRPC, its own client and server unchanged, through two sidecars: over a session and by first contact. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as grpc from '@grpc/grpc-js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hex } from '../protocol/bytes.ts';
import { formatId } from '../protocol/ids.ts';
import { readConfig } from './config.ts';
import { Sidecar } from './sidecar.ts';
import { type TestAgent, TestGateway } from './testing/gateway.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-grpc-'));
const text = {
  serialize: (value: string): Buffer => Buffer.from(value),
  parse: (bytes: Buffer): string => String(bytes),
};
const method = <S extends boolean, R extends boolean>(path: string, requestStream: S, responseStream: R) => ({
  path: `/test.Words/${path}`,
  requestStream,
  responseStream,
  requestSerialize: text.serialize,
  requestDeserialize: text.parse,
  responseSerialize: text.serialize,
  responseDeserialize: text.parse,
});
const METHODS = {
  Upper: method('Upper', false, false),
  Join: method('Join', true, false),
  Split: method('Split', false, true),
  Chat: method('Chat', true, true),
  Fail: method('Fail', false, false),
  Early: method('Early', true, false),
  Wait: method('Wait', false, false),
};

let gateway: TestGateway;
let server: grpc.Server;
const sidecars: Sidecar[] = [];
const clients = new Map<string, grpc.Client>();
/** What the server saw of calls that wait. */
let waiting: { metadata: Record<string, unknown>; cancelled: Promise<void> }[] = [];

async function start(name: string, agent: TestAgent, more: Record<string, unknown>): Promise<Sidecar> {
  process.env.AGNT2_MACHINE_KEY = hex(agent.secret);
  const sidecar = new Sidecar(
    readConfig({
      gateway: gateway.url,
      agent: formatId(agent.id),
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      stateDir: join(dir, name),
      drainSeconds: 1,
      ...more,
    }),
    () => {},
    { retryMs: 20, sessionsMs: 100_000, refundsMs: 100_000, peersTtlMs: 60_000 },
  );
  sidecars.push(sidecar);
  await sidecar.start();
  return sidecar;
}

beforeAll(async () => {
  server = new grpc.Server();
  server.addService(METHODS, {
    Upper: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
      call.sendMetadata(
        call.metadata.get('x-in').reduce((out, value) => (out.add('x-out', value), out), new grpc.Metadata()),
      );
      const trailers = new grpc.Metadata();
      trailers.set('x-sum-bin', Buffer.from([0, 255, 10, 13]));
      done(null, call.request.toUpperCase(), trailers);
    },
    Join: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
      const parts: string[] = [];
      call.on('data', (part: string) => parts.push(part));
      call.on('end', () => done(null, parts.join()));
    },
    Split: (call: grpc.ServerWritableStream<string, string>) => {
      for (const part of call.request.split(',')) call.write(part);
      call.end();
    },
    Chat: (call: grpc.ServerDuplexStream<string, string>) => {
      call.on('data', (part: string) => call.write(`re: ${part}`));
      call.on('end', () => call.end());
    },
    Fail: (_: unknown, done: grpc.sendUnaryData<string>) => {
      const metadata = new grpc.Metadata();
      metadata.set('x-why', 'because');
      done({ code: grpc.status.FAILED_PRECONDITION, details: 'nö, not now', metadata });
    },
    Early: (_: unknown, done: grpc.sendUnaryData<string>) =>
      done({ code: grpc.status.ABORTED, details: 'heard enough' }),
    Wait: (call: grpc.ServerUnaryCall<string, string>) => {
      waiting.push({
        metadata: call.metadata.getMap(),
        cancelled: new Promise((resolve) => call.on('cancelled', resolve)),
      });
    },
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  gateway = await TestGateway.start();
  const [bob, alice, carol] = [await gateway.agent(0), await gateway.agent(10_000), await gateway.agent(10_000)];
  const callee = await start('bob', bob, {
    name: 'bob',
    app: `h2c://127.0.0.1:${port}`,
    services: [{ name: 'words', routes: [], defaultPrice: 1 }],
  });
  for (const end = Date.now() + 20_000; !callee.ready && Date.now() < end;)
    await new Promise((resolve) => setTimeout(resolve, 10));
  const policy = { perDay: 9000, perCall: 10 };
  const caller = await start('alice', alice, { policy, session: { deposit: 2000, credit: 500, afterCalls: 100_000 } });
  const stranger = await start('carol', carol, { policy, session: { deposit: 0 } });
  await fetch(`http://127.0.0.1:${caller.ports.admin}/admin/sessions/bob/open`, { method: 'POST' });
  for (const [way, { ports }] of [
    ['a session', caller],
    ['first contact', stranger],
  ] as const)
    clients.set(
      way,
      new grpc.Client(`127.0.0.1:${ports.listen}`, grpc.credentials.createInsecure(), {
        'grpc.default_authority': 'bob.agnt2',
      }),
    );
}, 60_000);
afterAll(async () => {
  for (const client of clients.values()) client.close();
  server.forceShutdown();
  for (const sidecar of sidecars.toReversed()) await sidecar.stop();
  gateway.stop();
  rmSync(dir, { recursive: true, force: true });
}, 60_000);
beforeEach(() => void (waiting = []));

interface Result {
  value?: string;
  error: grpc.ServiceError | null;
  metadata: Record<string, unknown>;
  trailers: grpc.Metadata;
}
function unary(
  way: string,
  name: keyof typeof METHODS,
  value: string,
  options: grpc.CallOptions = {},
  sent = new grpc.Metadata(),
) {
  let call!: grpc.ClientUnaryCall;
  const result = new Promise<Result>((resolve) => {
    const seen: Result = { error: null, metadata: {}, trailers: new grpc.Metadata() };
    const { path, requestSerialize, responseDeserialize } = METHODS[name];
    call = clients
      .get(way)!
      .makeUnaryRequest<string, string>(
        path,
        requestSerialize,
        responseDeserialize,
        value,
        sent,
        options,
        (error, got) => {
          setImmediate(() => resolve({ ...seen, error, value: got }));
        },
      );
    call.on('metadata', (metadata: grpc.Metadata) => (seen.metadata = metadata.getMap()));
    call.on('status', ({ metadata }) => (seen.trailers = metadata));
  });
  return { call, result };
}

describe.each(['a session', 'first contact'] as const)('gRPC over %s', (way) => {
  test('a unary call, its metadata both ways and its trailers', async () => {
    const sent = new grpc.Metadata();
    sent.add('x-in', 'one');
    sent.add('x-in', 'two');
    const { value, metadata, trailers } = await unary(way, 'Upper', 'hello', {}, sent).result;
    expect(value).toBe('HELLO');
    expect(metadata['x-out']).toBe('one, two');
    expect(trailers.get('x-sum-bin')).toEqual([Buffer.from([0, 255, 10, 13])]);
  });

  test('a server that streams', async () => {
    const { path, requestSerialize, responseDeserialize } = METHODS.Split;
    const call = clients.get(way)!.makeServerStreamRequest(path, requestSerialize, responseDeserialize, 'a,b,c');
    const got: string[] = [];
    for await (const part of call) got.push(part as string);
    expect(got).toEqual(['a', 'b', 'c']);
  });

  test('a client that streams', async () => {
    const { path, requestSerialize, responseDeserialize } = METHODS.Join;
    const value = await new Promise((resolve, reject) => {
      const call = clients
        .get(way)!
        .makeClientStreamRequest<string, string>(path, requestSerialize, responseDeserialize, (error, got) =>
          error === null ? resolve(got) : reject(error),
        );
      for (const part of ['a', 'b', 'c']) call.write(part);
      call.end();
    });
    expect(value).toBe('a,b,c');
  });

  test('both stream, each message before the next is sent', async () => {
    const { path, requestSerialize, responseDeserialize } = METHODS.Chat;
    const call = clients.get(way)!.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    const got: string[] = [];
    call.write('0');
    for await (const part of call) {
      got.push(part as string);
      if (got.length < 5) call.write(String(got.length));
      else call.end();
    }
    expect(got).toEqual(['re: 0', 're: 1', 're: 2', 're: 3', 're: 4']);
  });

  test('a failed call has its status, its words and its metadata', async () => {
    const { error, trailers } = await unary(way, 'Fail', 'x').result;
    expect(error).toMatchObject({ code: grpc.status.FAILED_PRECONDITION, details: 'nö, not now' });
    expect(trailers.get('x-why')).toEqual(['because']);
  });

  test('a server that answers while its client still streams ends the call', async () => {
    const { path, requestSerialize, responseDeserialize } = METHODS.Early;
    const error = await new Promise<grpc.ServiceError | null>((resolve) => {
      const call = clients
        .get(way)!
        .makeClientStreamRequest<string, string>(path, requestSerialize, responseDeserialize, resolve);
      call.write('and another thing');
    });
    expect(error).toMatchObject({ code: grpc.status.ABORTED, details: 'heard enough' });
  });

  test('a deadline passes to the server, and ends the work there', async () => {
    const { result } = unary(way, 'Wait', 'x', { deadline: Date.now() + 700 });
    expect((await result).error?.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    await waiting[0].cancelled;
  });

  test('a call cancelled by its client is cancelled at the server', async () => {
    const { call, result } = unary(way, 'Wait', 'x');
    while (waiting.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    call.cancel();
    expect((await result).error?.code).toBe(grpc.status.CANCELLED);
    await waiting[0].cancelled;
  });

  test('a refusal of the sidecar is a status with its code, not an HTTP error', async () => {
    const client = clients.get(way)!;
    const stranger = new grpc.Client(
      client.getChannel().getTarget().replace('dns:', ''),
      grpc.credentials.createInsecure(),
      {
        'grpc.default_authority': 'nobody.agnt2',
      },
    );
    const error = await new Promise<grpc.ServiceError | null>((resolve) =>
      stranger.makeUnaryRequest('/x/y', text.serialize, text.parse, '', resolve),
    );
    stranger.close();
    expect(error).toMatchObject({ code: grpc.status.UNIMPLEMENTED });
    expect(error!.details).toMatch(/^unknown_name: /);
  });
});
