import { evictDurableObject } from 'cloudflare:test';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { hex, unhex } from '../../protocol/bytes.ts';
import { keccak, sha } from '../../protocol/hash.ts';
import { formatId } from '../../protocol/ids.ts';
import { verifyInclusion } from '../../protocol/log.ts';
import type { ReceiptJson } from '../../protocol/receipt.ts';
import { decodeChunkRecords, frameLeaf, placeFrames, sealData } from '../../protocol/trace.ts';
import { StateTree, verifyCell } from '../../protocol/trie.ts';
import type { Cut } from '../../durable/shard/api.ts';
import { CallMux } from '../../protocol/mux.ts';
import { packHeaders, unpackHeaders } from '../../protocol/packet.ts';
import { type TestAgent, registerAgents, shard0, testEnv, transfer } from '../../durable/shard/testing.ts';
import { createGateway, routes } from './app.ts';
import { announce, call, connectQuery, getJson, postBundle, problemOf } from './testing.ts';

type Json = Record<string, unknown>;

/** Submits through the gateway; the values of its interactions. */
async function run(
  agent: TestAgent,
  ...interactions: Parameters<TestAgent['bundle']>[0]
): Promise<{ seq: number; values: number[] }> {
  const answer = await postBundle(await agent.bundle(interactions));
  const { receipt } = (await answer.json<{ results: { receipt: ReceiptJson }[] }>()).results[0];
  return { seq: Number(receipt.seq), values: receipt.outcomes.slice(1).map(({ value }) => Number(value)) };
}

describe('reading', () => {
  test('health, status, feed', async () => {
    const [alice] = await registerAgents(1);
    expect(await getJson('/healthz')).toEqual({ ok: true, timeMs: expect.any(Number) });
    const status = await getJson<{ shards: Json[]; batches: Json; sequencerKey: Json }>('/status');
    expect(status).toMatchObject({ version: '0.1.0', chainId: 31337, batches: { posted: 0, final: 0 } });
    expect(status.shards[0]).toMatchObject({ shard: 0, services: 0 });
    const { cursor, events } = await getJson<{ cursor: string; events: Json[] }>('/feed');
    expect(
      events.some(({ kind, event, id }) => kind === 'agent' && event === 'register' && id === formatId(alice.id)),
    ).toBe(true);
    expect(await getJson(`/feed?after=${cursor}`)).toEqual({ cursor, events: [] });
    await run(alice, { op: 'withdraw', amount: 1 });
    expect((await getJson<{ events: Json[] }>(`/feed?after=${cursor}`)).events).toMatchObject([
      { kind: 'chunk', interactions: 1 },
    ]);
  });

  test('agents, by id, owner and key, and page by page', async () => {
    const agents = await registerAgents(3);
    const id = formatId(agents[1].id);
    expect(await getJson(`/agents/${id}`)).toMatchObject({ id, balance: '1000000', nonce: 0, online: false });
    expect(await getJson(`/agents/${id}/key`)).toEqual({
      x: hex(agents[1].key.publicKey.slice(0, 32)),
      y: hex(agents[1].key.publicKey.slice(32)),
      epoch: 0,
    });
    const byKey = await getJson<{ agents: Json[] }>(`/agents?key=${hex(keccak(agents[1].key.publicKey))}`);
    expect(byKey.agents.map((agent) => agent.id)).toEqual([id]);
    expect((await getJson<{ agents: Json[] }>(`/agents?owner=0x${'09'.repeat(20)}`)).agents).toEqual([]);
    const seen: unknown[] = [];
    for (let after = ''; ;) {
      const page = await getJson<{ agents: Json[]; next?: string }>(`/agents?limit=2${after}`);
      seen.push(...page.agents.map((agent) => agent.id));
      if (page.next === undefined) break;
      after = `&after=${page.next}`;
    }
    expect(seen).toEqual(Array.from({ length: Number((await shard0().status()).agents) }, (_, i) => `0:${i + 1}`));
    expect(await problemOf(await call('/agents/0:999999'))).toMatchObject({ status: 404, code: 'unknown_agent' });
    expect(await problemOf(await call('/agents/9:1'))).toMatchObject({ status: 404, code: 'wrong_shard' });
    expect(await problemOf(await call('/agents/alice'))).toMatchObject({ status: 400, code: 'malformed' });
  });

  test('a cell opens to the state root', async () => {
    const [alice] = await registerAgents(1);
    const address = 2 ** 20 + Math.floor(alice.id / 256);
    const found = await getJson<{
      cell: string;
      kind: string;
      fields: Json;
      proof: { siblings: string[][]; stateRoot: string };
    }>(`/cells/${address}?proof=1`);
    expect([found.kind, found.fields.balance, found.proof.siblings.length]).toEqual(['agent', '1000000', 16]);
    const siblings = found.proof.siblings.flat().map((sibling) => unhex(sibling));
    expect(verifyCell(unhex(found.proof.stateRoot), address, unhex(found.cell), siblings)).toBe(true);
    expect((await getJson<{ stateRoot: string }>('/status')).stateRoot).toBe(found.proof.stateRoot);
    expect(await getJson(`/cells/0x${address.toString(16)}`)).toMatchObject({ cell: found.cell });
    expect(await problemOf(await call('/cells/4294967296'))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await call('/cells/4294967295'))).toMatchObject({ code: 'wrong_shard' });
  });

  test('the trace, decoded', async () => {
    const [alice, bob] = await registerAgents(2);
    const { seq } = await run(alice, transfer(bob, 4));
    const frame = await getJson<Json & { bundle: { interactions: Json[] }; chunk: number }>(`/shards/0/frames/${seq}`);
    expect(frame).toMatchObject({
      kind: 'bundle',
      steps: [{ status: 'ok' }, { status: 'ok' }],
      receipt: { seq: String(seq) },
    });
    expect(frame.bundle.interactions).toEqual([{ op: 'transfer', fields: { to: formatId(bob.id), amount: '4' } }]);
    const chunk = await getJson<{ number: number; frames: Json[] }>(`/shards/0/chunks/${frame.chunk}`);
    expect(chunk.frames.at(-1)).toMatchObject({ seq: String(seq), kind: 'bundle' });
    const list = await getJson<{ chunks: { number: number }[] }>(`/shards/0/chunks?after=${frame.chunk - 1}&limit=1`);
    expect(list.chunks.map(({ number }) => number)).toEqual([frame.chunk]);
    expect(await problemOf(await call('/shards/0/frames/99999999'))).toMatchObject({ code: 'not_found' });
    expect(await problemOf(await call('/receipts/0/99999999'))).toMatchObject({ code: 'not_found' });
    expect(await problemOf(await call('/shards/7/chunks'))).toMatchObject({ code: 'wrong_shard' });
  });

  test('services with their documents, escrows', async () => {
    const [alice, bob] = await registerAgents(2);
    const document = new TextEncoder().encode(JSON.stringify({ name: 'echo', text: 'grüße', routes: [] }));
    const terms = {
      active: true,
      ceiling: 100,
      deadlineSeconds: 60,
      arbiter: 0,
      contestSeconds: 0,
      metadataHash: sha(document),
    };
    const [service] = (await run(bob, { op: 'publish', service: 0, ...terms })).values;
    const id = formatId(service);
    expect(await getJson(`/services/${id}`)).toMatchObject({
      id,
      provider: formatId(bob.id),
      active: true,
      ceiling: '100',
      arbiter: null,
      metadata: null,
    });
    const put = (body: Uint8Array, type = 'application/json') =>
      call(`/services/${id}/metadata`, { method: 'PUT', body: body as BodyInit, headers: { 'content-type': type } });
    expect(await problemOf(await put(new TextEncoder().encode('{}')))).toMatchObject({
      status: 409,
      code: 'hash_mismatch',
    });
    expect(await problemOf(await put(document, 'text/plain'))).toMatchObject({ code: 'unsupported_media_type' });
    expect(await problemOf(await put(new Uint8Array(65 * 1024)))).toMatchObject({ code: 'too_large' });
    expect(await problemOf(await put(new TextEncoder().encode('[1]')))).toMatchObject({ code: 'malformed' });
    expect((await put(document)).status).toBe(200);
    const { services } = await getJson<{ services: Json[] }>(`/services?provider=${formatId(bob.id)}`);
    expect(services).toMatchObject([{ id, metadata: { name: 'echo', text: 'grüße' } }]);
    const [escrow] = (await run(alice, { op: 'invoke', service, amount: 20 })).values;
    expect(await getJson(`/escrows/${formatId(escrow)}`)).toMatchObject({
      status: 'open',
      amount: '20',
      service: id,
      invoked: { index: 0 },
    });
    expect(await problemOf(await call('/escrows/0:77777'))).toMatchObject({ code: 'unknown_escrow' });
    expect(await problemOf(await call('/services/0:77777'))).toMatchObject({ code: 'unknown_service' });
  });

  test('batches: inclusion and withdrawals', async () => {
    const [alice] = await registerAgents(1);
    const { seq, values } = await run(alice, { op: 'withdraw', amount: 9 });
    const { cut: last } = await shard0().head();
    const number = last.number + 1;
    const cut = (await shard0().cut(number, number, [])) as Cut;
    const { records } = (await shard0().frames(cut.fromSeq, cut.toSeq)) as { records: Uint8Array };
    const placed = placeFrames(decodeChunkRecords(records));
    const { dataRoot, steps } = sealData(placed);
    const zero = `0x${'00'.repeat(32)}` as const;
    const header = {
      number,
      prev: zero,
      pre: zero,
      post: zero,
      steps,
      timeFrom: 1,
      timeTo: 1,
      inboxCursor: 1,
      dataRoot: hex(dataRoot),
      da: 0,
    };
    const stateRoot = hex(new StateTree([[0, cut.shardRoot]]).root());
    const cuts = { after: number - 1, upTo: number };
    const ranges = [{ shard: 0, firstSeq: cut.fromSeq, frames: cut.toSeq - cut.fromSeq }];
    const batch = { number, header, hash: zero, stateRoot, state: 'posted' as const, finalAt: 99, cuts, ranges };
    await shard0().recordBatch(batch);

    expect(await getJson(`/batches/${number}`)).toMatchObject({
      number,
      l1: { state: 'posted', finalAt: 99 },
      ranges: [{ firstSeq: String(cut.fromSeq) }],
    });
    expect((await getJson<{ batches: Json[] }>(`/batches?after=${number - 1}`)).batches).toHaveLength(1);
    const proof = await getJson<{ firstStep: number; index: number; size: number; path: string[] }>(
      `/batches/${number}/frames/0/${seq}`,
    );
    const leaf = frameLeaf(placed[proof.index]);
    expect(
      verifyInclusion(
        keccak,
        dataRoot,
        proof.size,
        proof.index,
        leaf,
        proof.path.map((node) => unhex(node)),
      ),
    ).toBe(true);
    expect(await problemOf(await call(`/batches/${number}/frames/0/${cut.toSeq}`))).toMatchObject({
      code: 'not_found',
    });

    const path = `/batches/${number}/withdrawals/${formatId(values[0])}`;
    expect(await problemOf(await call(path))).toMatchObject({ status: 409, code: 'not_final', body: { finalAt: 99 } });
    await shard0().recordBatch({ ...batch, state: 'final' });
    const paid = await getJson<{ cell: string; proof: string[][]; stateRoot: string }>(path);
    const address = 7 * 2 ** 20 + Math.floor(values[0] / 256);
    expect(
      verifyCell(
        unhex(paid.stateRoot),
        address,
        unhex(paid.cell),
        paid.proof.flat().map((node) => unhex(node)),
      ),
    ).toBe(true);
    expect(paid.stateRoot).toBe(stateRoot);
    expect((await getJson<{ batches: Json }>('/status')).batches).toEqual({ posted: number, final: number });
    expect(await problemOf(await call(`/batches/${number}/withdrawals/0:5000`))).toMatchObject({ code: 'not_found' });
    expect(await problemOf(await call('/batches/5000'))).toMatchObject({ code: 'not_found' });
  });
});

/** Asks for a socket, and claims what only the gateway may say. */
const upgrade = (path: string) =>
  call(path, { headers: { upgrade: 'websocket', 'agnt2-party': 'b', 'agnt2-agent': '0:1' } });

describe('sockets and calls', () => {
  test('a session’s socket is for its parties', async () => {
    const [alice, bob, eve] = await registerAgents(3);
    const [session] = (await run(alice, { op: 'open', peer: bob.id, deposit: 50, exitDelay: 10 })).values;
    const room = `/sessions/${formatId(session)}/socket`;
    const nonce = crypto.getRandomValues(new Uint8Array(32));
    const query = await connectQuery(alice, room, Date.now(), nonce);
    const joined = await upgrade(`${room}?${query}`);
    expect(joined.status).toBe(101);
    joined.webSocket?.accept();
    expect(await getJson(`/sessions/${formatId(session)}`)).toMatchObject({
      status: 'open',
      depositA: '50',
      live: { connected: [formatId(alice.id)], halves: [] },
    });
    expect((await getJson<{ sessions: Json[] }>(`/sessions?agent=${formatId(bob.id)}`)).sessions).toHaveLength(1);

    expect(await problemOf(await upgrade(`${room}?${query}`))).toMatchObject({ status: 409, code: 'nonce_used' });
    // Nor does a shard that restarts forget which were used.
    await evictDurableObject(testEnv.SHARD.getByName('shard-0'));
    expect(await problemOf(await upgrade(`${room}?${query}`))).toMatchObject({ status: 409, code: 'nonce_used' });
    expect(await problemOf(await call(`${room}?${query}`))).toMatchObject({ status: 426, code: 'upgrade_required' });
    expect(await problemOf(await upgrade(room))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await upgrade(`${room}?${await connectQuery(eve, room)}`))).toMatchObject({
      code: 'not_party',
    });
    expect(await problemOf(await upgrade(`${room}?${await connectQuery(bob, '/sessions/0:1/other')}`))).toMatchObject({
      status: 401,
      code: 'bad_signature',
    });
    expect(
      await problemOf(await upgrade(`${room}?${await connectQuery(bob, room, Date.now() - 61_000)}`)),
    ).toMatchObject({ status: 410, code: 'expired' });
    expect(await problemOf(await upgrade(`/sessions/0:8888/socket?${query}`))).toMatchObject({
      code: 'unknown_session',
    });
    joined.webSocket?.close();
  });

  test('an agent’s socket is for itself, and brings its calls', async () => {
    const [alice, bob] = await registerAgents(2);
    const room = `/agents/${formatId(bob.id)}/socket`;
    expect(await problemOf(await upgrade(`${room}?${await connectQuery(alice, room)}`))).toMatchObject({
      status: 403,
      code: 'forbidden',
    });
    const joined = await upgrade(`${room}?${await connectQuery(bob, room)}`);
    expect(joined.status).toBe(101);
    joined.webSocket?.accept();
    expect(await getJson(`/agents/${formatId(bob.id)}`)).toMatchObject({ online: true });
    const first = new Promise<ArrayBuffer>((resolve) => {
      joined.webSocket?.addEventListener('message', ({ data }) =>
        resolve(data instanceof Blob ? data.arrayBuffer() : (data as ArrayBuffer)),
      );
    });
    const abort = new AbortController();
    const headers = { 'agnt2-method': 'GET', 'agnt2-target': '/hello', 'agnt2-escrow': '0:1' };
    const pending = call(`/agents/${formatId(bob.id)}/calls`, { method: 'POST', headers, signal: abort.signal }).catch(
      () => null,
    );
    expect(new Uint8Array(await first)[0]).toBe(1);
    joined.webSocket?.close();
    expect((await pending)?.status ?? 0).not.toBe(200);
    const told = () =>
      getJson<{ events: Json[] }>('/feed').then(({ events }) =>
        events.map((e) => `${String(e.id)} ${String(e.event)}`),
      );
    await vi.waitFor(async () => expect(await told()).toContain(`${formatId(bob.id)} offline`));
  });

  test('a call that asks for an upgrade is no sidecar', async () => {
    const [bob] = await registerAgents(1);
    const id = formatId(bob.id);
    const answer = await call(`/agents/${id}/calls`, {
      method: 'POST',
      headers: { upgrade: 'websocket', connection: 'upgrade' },
    });
    expect((await problemOf(answer)).status).toBeGreaterThanOrEqual(400);
    expect(await getJson(`/agents/${id}`)).toMatchObject({ online: false });
  });

  test('a call to nobody', async () => {
    const headers = { 'agnt2-method': 'GET', 'agnt2-target': '/' };
    expect(await problemOf(await call('/agents/0:999999/calls', { method: 'POST', headers }))).toMatchObject({
      code: 'unknown_agent',
    });
  });
});

describe('the table of routes', () => {
  test('the document names every route Hono knows, and no other', async () => {
    const document = await getJson<{
      openapi: string;
      paths: Record<string, Record<string, { operationId: string; responses: Json }>>;
    }>('/openapi.json');
    expect(document.openapi).toBe('3.1.0');
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    );
    const registered = createGateway().routes.filter(({ method }) => method !== 'ALL' && method !== 'OPTIONS');
    expect(documented.toSorted()).toEqual(registered.map(({ method, path }) => `${method} ${path}`).toSorted());
    const ids = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).map(({ operationId }) => operationId),
    );
    expect(new Set(ids).size).toBe(ids.length);
  });

  test('other methods and paths are refused by name; reads may come from any origin', async () => {
    const wrong = await call('/status', { method: 'DELETE' });
    expect(wrong.headers.get('allow')).toBe('GET, HEAD, OPTIONS');
    expect(await problemOf(wrong)).toMatchObject({ status: 405, code: 'method_not_allowed' });
    expect(await problemOf(await call('/nothing/here'))).toMatchObject({ status: 404, code: 'not_found' });
    expect((await call('/healthz')).headers.get('access-control-allow-origin')).toBe('*');
    expect((await call('/agents/0:999999')).headers.get('access-control-allow-origin')).toBe('*');
    const preflight = await call('/status', {
      method: 'OPTIONS',
      headers: { origin: 'http://x', 'access-control-request-method': 'GET' },
    });
    expect([preflight.status, preflight.headers.get('access-control-allow-methods')]).toEqual([204, 'GET, HEAD']);
    expect((await call('/bundles', { method: 'OPTIONS' })).headers.get('access-control-allow-origin')).toBeNull();
    expect((await call('/healthz', { method: 'HEAD' })).status).toBe(200);
  });

  test('whatever comes, no route breaks', async () => {
    const [alice] = await registerAgents(1);
    await announce(alice, 'fuzzed', { agent: formatId(alice.id) });
    const text = fc.oneof(
      fc.constantFrom(
        '0:1',
        '0:2',
        '1:1',
        '0:0',
        '255:17592186044415',
        '0',
        '-1',
        '1e9',
        '4294967295',
        '9007199254740993',
        '',
        'null',
        '%',
        '0x',
        '../..',
      ),
      fc.string({ maxLength: 40 }),
      fc.nat().map(String),
    );
    const types = ['application/octet-stream', 'application/json', 'application/vnd.agnt2.bundles', 'text/plain', ''];
    const query = fc.dictionary(
      fc.constantFrom('after', 'limit', 'owner', 'key', 'provider', 'agent', 'proof', 'timeMs', 'nonce', 'signature'),
      text,
      { maxKeys: 4 },
    );
    const request = fc.record({
      route: fc.constantFrom(...routes.filter(({ path }) => !path.endsWith('/calls'))),
      parameters: fc.array(text, { minLength: 3, maxLength: 3 }),
      query,
      type: fc.constantFrom(...types),
      body: fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.json().map((json) => new TextEncoder().encode(json)),
      ),
      signature: text,
      upgrade: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        request,
        async ({ route, parameters, query: values, type, body, signature, upgrade: upgrading }) => {
          let i = 0;
          const path = route.path.replaceAll(/\{\w+\}/g, () => encodeURIComponent(parameters[i++]));
          const headers: Record<string, string> = {
            'agnt2-signature': encodeURIComponent(signature),
            'agnt2-time': String(Date.now()),
          };
          if (type) headers['content-type'] = type;
          if (upgrading && route.method === 'get') headers.upgrade = 'websocket';
          const init = {
            method: route.method.toUpperCase(),
            headers,
            ...(route.method === 'get' ? {} : { body: body as BodyInit }),
          };
          const answer = await call(`${path}?${new URLSearchParams(values).toString()}`, init);
          if (answer.status >= 400) {
            const { status, code } = await problemOf(answer);
            expect(status < 500 || code === 'overloaded', `${init.method} ${path}: ${code}`).toBe(true);
          } else await answer.body?.cancel();
        },
      ),
      { numRuns: 300 },
    );
  });

  test('whatever comes as a first-contact call, or answers one, is carried or refused by code', async () => {
    const [bob] = await registerAgents(1);
    const room = `/agents/${formatId(bob.id)}/socket`;
    const joined = await upgrade(`${room}?${await connectQuery(bob, room)}`);
    const ws = joined.webSocket!;
    let status = 200;
    let answerHeaders: [string, string][] = [];
    const mux = new CallMux({
      numbering: 'none',
      send: (packet) => ws.send(packet),
      handler: async ({ body }) => ({
        response: { status, headers: answerHeaders, body },
        end: () => new Uint8Array(90),
      }),
    });
    ws.binaryType = 'arraybuffer';
    ws.addEventListener('message', ({ data }) => mux.receive(new Uint8Array(data as ArrayBuffer)));
    ws.accept();
    const printable = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((n) => String.fromCharCode(n)) });
    const value = fc.oneof(fc.constantFrom('/', '/x?y', 'GET', 'POST', '0:1', '0', '', 'CONNECT'), printable);
    const name = fc.constantFrom(
      'method',
      'target',
      'headers',
      'escrow',
      'frame',
      'index',
      'session',
      'party',
      'agent',
      'status',
    );
    const packed = fc
      .tuple(fc.array(fc.tuple(printable, fc.string()), { maxLength: 4 }), fc.nat(40), printable)
      .map(([pairs, at, noise]) => {
        const text = packHeaders(pairs);
        return text.slice(0, at) + noise.trim() + text.slice(at);
      });
    const request = fc.record({
      sane: fc.boolean(),
      headers: fc.dictionary(name, value, { maxKeys: 6 }),
      packed: fc.option(packed, { nil: undefined }),
      body: fc.uint8Array({ maxLength: 400 }),
      status: fc.oneof(fc.constant(200), fc.integer({ min: -1, max: 1100 })),
      answer: fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 3 }) as fc.Arbitrary<[string, string][]>,
    });
    await fc.assert(
      fc.asyncProperty(request, async (given) => {
        status = given.status;
        answerHeaders = given.answer;
        const headers = new Headers(given.sane ? { 'agnt2-method': 'POST', 'agnt2-target': '/' } : {});
        for (const [key, text] of Object.entries(given.headers)) headers.set(`agnt2-${key}`, text);
        if (given.packed !== undefined) headers.set('agnt2-headers', given.packed);
        const answer = await call(`/agents/${formatId(bob.id)}/calls`, {
          method: 'POST',
          headers,
          body: given.body as BodyInit,
        });
        if (answer.status === 200) {
          expect(answer.headers.get('agnt2-status')).toBe(String(status));
          expect(unpackHeaders(answer.headers.get('agnt2-headers'))).toEqual(answerHeaders);
          expect(new Uint8Array(await answer.arrayBuffer())).toEqual(given.body);
        } else expect(['malformed']).toContain((await problemOf(answer)).code);
      }),
      { numRuns: 150 },
    );
    // The socket is none the worse for it.
    expect(await getJson(`/agents/${formatId(bob.id)}`)).toMatchObject({ online: true });
    ws.close();
  });

  test('mutated bundles never run, and never break', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 1), { op: 'withdraw', amount: 5 }]);
    const before = await shard0().head();
    const mutation = fc.tuple(fc.nat(frame.length - 1), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 4 }), fc.nat(3), async (changes, cut) => {
        const bytes = frame.slice(0, frame.length - cut);
        for (const [at, xor] of changes) if (at < bytes.length) bytes[at] ^= xor;
        fc.pre(hex(bytes) !== hex(frame));
        expect((await problemOf(await postBundle(bytes))).status).toBeLessThan(500);
      }),
      { numRuns: 100 },
    );
    expect(await shard0().head()).toEqual(before);
  });
});
