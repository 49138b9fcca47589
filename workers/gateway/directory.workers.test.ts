import { evictDurableObject } from 'cloudflare:test';
import { describe, expect, test } from 'vitest';
import { formatId } from '../../protocol/ids.ts';
import { registerAgents, testEnv } from '../../durable/shard/testing.ts';
import { announce, call, getJson, problemOf } from './testing.ts';

describe('the directory', () => {
  test('first come, first served; the holder may change it', async () => {
    const [alice, bob] = await registerAgents(2);
    const now = Date.now();
    const record = { agent: formatId(alice.id), services: ['0:1'], description: 'prices, straight' };
    const put = await announce(alice, 'prices', record, now);
    expect([put.status, await put.json()]).toEqual([200, { name: 'prices', ...record, timeMs: now }]);
    expect(await getJson('/directory/prices')).toMatchObject(record);
    expect(await problemOf(await announce(bob, 'prices', { agent: formatId(bob.id) }))).toMatchObject({
      status: 409,
      code: 'name_taken',
    });
    expect(await problemOf(await announce(alice, 'prices', record, now))).toMatchObject({
      status: 409,
      code: 'replayed',
    });
    expect((await announce(alice, 'prices', { ...record, description: 'now with charts' }, now + 1)).status).toBe(200);
    expect(await getJson(`/agents/${formatId(alice.id)}`)).toMatchObject({
      name: 'prices',
      description: 'now with charts',
    });
    const { records } = await getJson<{ records: { name: string }[] }>('/directory');
    expect(records.map(({ name }) => name)).toEqual(['prices']);
  });

  test('a record survives eviction', async () => {
    const [alice] = await registerAgents(1);
    expect((await announce(alice, 'stays', { agent: formatId(alice.id) })).status).toBe(200);
    await evictDurableObject(testEnv.DIRECTORY.getByName('name:stays'));
    expect(await getJson('/directory/stays')).toMatchObject({
      agent: formatId(alice.id),
      services: [],
      description: '',
    });
  });

  test('what is not an announcement is refused', async () => {
    const [alice, bob] = await registerAgents(2);
    const agent = formatId(alice.id);
    expect(await problemOf(await announce(bob, 'forged', { agent }))).toMatchObject({
      status: 401,
      code: 'bad_signature',
    });
    expect(await problemOf(await announce(alice, 'early', { agent }, Date.now() + 61_000))).toMatchObject({
      status: 410,
      code: 'expired',
    });
    expect(await problemOf(await announce(alice, 'Bad_Name', { agent }))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await announce(alice, 'n'.repeat(64), { agent }))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await announce(alice, 'ok', { agent, name: 'other' }))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await announce(alice, 'ok', { agent: 7 }))).toMatchObject({ code: 'malformed' });
    expect(await problemOf(await announce(alice, 'ok', { agent, services: ['x'] }))).toMatchObject({
      code: 'malformed',
    });
    expect(await problemOf(await announce(alice, 'ok', { agent, description: 'x'.repeat(501) }))).toMatchObject({
      code: 'malformed',
    });
    expect(await problemOf(await announce(alice, 'ok', { agent: '0:999999' }))).toMatchObject({
      code: 'unknown_agent',
    });
    expect(await problemOf(await call('/directory/ok', { method: 'PUT', body: '{}' }))).toMatchObject({
      code: 'unsupported_media_type',
    });
    expect(await problemOf(await call('/directory/nobody'))).toMatchObject({ status: 404, code: 'not_found' });
  });

  test('its objects are out of reach from outside', async () => {
    for (const path of ['/do/call/destroy', '/do/set/record', '/directory/do/call/destroy', '/do/get-prop/names']) {
      expect((await call(path)).status).toBe(404);
    }
  });
});
