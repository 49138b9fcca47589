/** Agents by key and owner: right after every way to come to a key, through restarts, and at no cost that grows with how many there are. */
import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { expect, test } from 'vitest';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { keccak, keccakCount } from '../../protocol/hash.ts';
import { formatId, parseId } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { isFailure } from './api.ts';
import { registerAgents, run, shard0, shardAt, stubAt, until } from './testing.ts';

const owner = new Uint8Array(20).fill(0x5a);
const keyOf = (fill: number): Uint8Array => new Uint8Array(64).fill(fill);
const hashOf = (fill: number): Hex => hex(keccak(keyOf(fill)));

async function force(item: Parameters<typeof encodeInboxItem>[0]): Promise<void> {
  const { inboxCursor } = await shard0().head();
  const answer = await shard0().inbox([{ index: inboxCursor, bytes: encodeInboxItem(item) }]);
  if (isFailure(answer)) throw new Error(answer.error.detail);
}

const idsAt =
  (shard: number) =>
  async (query: { key?: Hex; owner?: Hex; after?: number; limit?: number }): Promise<number[]> =>
    (await shardAt(shard).agents(query)).items.map(({ id }) => parseId(String(id)));

test('by bundle, inbox and message; a key that was changed names nobody any more', async () => {
  const ids = idsAt(0);
  const [alice] = await registerAgents(1);
  const register = { op: 'register', owner, key: keyOf(1), amount: 5 } as const;
  const [one, two] = await run(alice, register, register);
  await force({ kind: 'register', shard: 0, owner, key: keyOf(2), amount: 5 });
  const three = two + 256;
  expect(await ids({ key: hex(keccak(alice.key.publicKey)) })).toEqual([alice.id]);
  expect(await ids({ key: hashOf(1) })).toEqual([one, two]);
  expect(await ids({ owner: hex(owner).toUpperCase().replace('0X', '0x') as Hex })).toEqual([one, two, three]);
  expect(await ids({ owner: hex(owner), key: hashOf(2) })).toEqual([three]);
  expect(await ids({ owner: hex(alice.owner), key: hashOf(2) })).toEqual([]);
  const { items, next } = await shard0().agents({ owner: hex(owner), limit: 2 });
  expect([items.length, formatId(256 * next!)]).toEqual([2, formatId(two)]);
  expect(await ids({ owner: hex(owner), after: next })).toEqual([three]);

  await force({ kind: 'rotate', owner, agent: two, key: keyOf(2) });
  const look = () => Promise.all([ids({ key: hashOf(1) }), ids({ key: hashOf(2) }), ids({ owner: hex(owner) })]);
  const found = [[one], [two, three], [one, two, three]];
  expect(await look()).toEqual(found);
  await evictDurableObject(stubAt(0));
  expect(await look()).toEqual(found);

  // A log from before there was an index.
  await runInDurableObject(stubAt(0), (_, { storage }) => void storage.sql.exec('DROP TABLE agents'));
  await evictDurableObject(stubAt(0));
  expect(await look()).toEqual(found);

  await force({ kind: 'register', shard: 1, owner, key: keyOf(3), amount: 5 });
  const there = await until('the message', async () => (await idsAt(1)({ key: hashOf(3) }))[0]);
  await force({ kind: 'rotate', owner, agent: there, key: keyOf(4) });
  await until('the other message', async () => (await idsAt(1)({ key: hashOf(4) })).length > 0);
  expect(await idsAt(1)({ key: hashOf(3) })).toEqual([]);
});

test('nobody is looked at for a key that is nobody’s', async () => {
  await registerAgents(40);
  await evictDurableObject(stubAt(0));
  await shard0().key(0);
  const before = keccakCount();
  expect(await idsAt(0)({ key: hashOf(77) })).toEqual([]);
  expect(keccakCount() - before).toBe(1);
});
