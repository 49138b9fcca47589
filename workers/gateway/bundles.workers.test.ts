import { describe, expect, test } from 'vitest';
import { MAX_FRAME_BYTES } from '../../protocol/bundle.ts';
import { Reader, concat, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { formatId, makeId } from '../../protocol/ids.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { MachineKey } from '../../protocol/keys.ts';
import {
  type ReceiptJson,
  decodeReceipt,
  receiptFromJson,
  receiptText,
  receiptToJson,
  verifyReceipt,
} from '../../protocol/receipt.ts';
import { TestAgent, registerAgents, shard0, signing, testEnv, transfer } from '../../durable/shard/testing.ts';
import { call, getJson, postBundle, problemOf } from './testing.ts';

const MANY = 'application/vnd.agnt2.bundles';
const pack = (...frames: Uint8Array[]): Uint8Array =>
  concat(...frames.flatMap((f) => [Uint8Array.of(f.length >> 8, f.length & 255), f]));
const results = async (answer: Response): Promise<{ receipt?: ReceiptJson; error?: { code: string } }[]> =>
  (await answer.json<{ results: { receipt?: ReceiptJson; error?: { code: string } }[] }>()).results;
const refusal = async (frame: Uint8Array, type?: string) => problemOf(await postBundle(frame, type));

describe('POST /bundles', () => {
  test('one bundle: a receipt that verifies under the key that /status names', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 3)]);
    const answer = await postBundle(frame);
    expect(answer.status).toBe(200);
    const [{ receipt }] = await results(answer);
    const { sequencerKey } = await getJson<{ sequencerKey: { x: string; y: string } }>('/status');
    const key = concat(unhex(sequencerKey.x), unhex(sequencerKey.y));
    expect(await verifyReceipt(key, signing, receiptFromJson(receipt!), frame)).toBe(true);
    expect(await getJson(`/receipts/0/${receipt!.seq}`)).toMatchObject({
      frameHash: receipt!.frameHash,
      outcomes: receipt!.outcomes,
    });
  });

  test('in binary for who accepts that: the same results', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 300), transfer(bob, 10 ** 15)]);
    const late = await alice.bundle([transfer(bob, 1)], { nonce: 9 });
    const answer = await call('/bundles', {
      method: 'POST',
      body: pack(frame, late) as BodyInit,
      headers: { 'content-type': MANY, accept: 'application/json;q=0.5, application/vnd.agnt2.receipts' },
    });
    expect(answer.headers.get('content-type')).toBe('application/vnd.agnt2.receipts');
    const body = new Uint8Array(await answer.arrayBuffer());
    const reader = new Reader(body);
    expect(reader.u8()).toBe(0);
    const record = reader.bytes(reader.u32());
    const receipt = decodeReceipt(record);
    const head = await shard0().receipt(receipt.receipt.seq);
    expect(receipt.receipt).toEqual(head!.receipt);
    expect(JSON.parse(receiptText(record))).toEqual(receiptToJson(receipt));
    const sequencer = await MachineKey.import(unhex(testEnv.SEQUENCER_KEY));
    expect(await verifyReceipt(sequencer.publicKey, signing, receipt, frame)).toBe(true);
    expect(reader.u8()).toBe(1);
    expect(JSON.parse(new TextDecoder().decode(reader.bytes(reader.u32())))).toMatchObject({
      error: { code: 'bad_nonce', expected: 1 },
    });
    reader.end();
    // What is a problem stays one.
    const refused = await call('/bundles', {
      method: 'POST',
      body: late as BodyInit,
      headers: { 'content-type': 'application/octet-stream', accept: 'application/vnd.agnt2.receipts' },
    });
    expect((await problemOf(refused)).code).toBe('bad_nonce');
  });

  test('many: results in order, the refused among the others', async () => {
    const [alice, bob] = await registerAgents(2);
    const good = await alice.bundle([transfer(bob, 1)]);
    const late = await alice.bundle([transfer(bob, 1)], { nonce: 9 });
    const next = await bob.bundle([transfer(alice, 1)]);
    const answer = await postBundle(pack(good, late, new Uint8Array(8), next), MANY);
    expect((await results(answer)).map(({ error }) => error?.code ?? 'ok')).toEqual([
      'ok',
      'bad_nonce',
      'malformed',
      'ok',
    ]);
  });

  test('each bad input has its own code and changes nothing', async () => {
    const [alice, bob] = await registerAgents(2);
    const taken = await alice.bundle([transfer(bob, 1)]);
    const [{ receipt }] = await results(await postBundle(taken));
    const frame = await alice.bundle([transfer(bob, 1)]);
    const flip = (at: number) => frame.map((byte, i) => (i === at ? byte ^ 1 : byte));
    const nobody = new TestAgent(makeId(0, 900_000), alice.key, alice.owner);
    const elsewhere = new TestAgent(makeId(5, 1), alice.key, alice.owner);
    const otherChain = new Signing({ chainId: 1, root: '0x0000000000000000000000000000000000000000' });
    const before = await shard0().head();
    const cases: [Uint8Array, number, string][] = [
      [new Uint8Array(0), 400, 'malformed'],
      [new TextEncoder().encode('hello'), 400, 'malformed'],
      [frame.slice(0, -1), 400, 'malformed'],
      [new Uint8Array(MAX_FRAME_BYTES + 1), 413, 'too_large'],
      [flip(frame.length - 1), 401, 'bad_signature'],
      [flip(frame.length - 66), 401, 'bad_signature'],
      [await alice.bundle([transfer(bob, 1)], { nonce: 1, signing: otherChain }), 401, 'bad_signature'],
      [
        await new TestAgent(alice.id, bob.key, alice.owner).bundle([transfer(bob, 1)], { nonce: 1 }),
        401,
        'bad_signature',
      ],
      [taken, 409, 'replayed'],
      [await alice.bundle([transfer(bob, 1)], { nonce: 7 }), 409, 'bad_nonce'],
      [await alice.bundle([transfer(bob, 1)], { nonce: 1, expiry: 1_000_000 }), 410, 'expired'],
      [await nobody.bundle([transfer(bob, 1)]), 404, 'unknown_agent'],
      [await elsewhere.bundle([transfer(bob, 1)]), 404, 'wrong_shard'],
    ];
    for (const [bytes, status, code] of cases) {
      expect(await refusal(bytes)).toMatchObject({ status, code });
    }
    expect(await refusal(taken)).toMatchObject({ body: { place: `0:${receipt!.seq}` } });
    expect(await refusal(frame, 'text/plain')).toMatchObject({ status: 415, code: 'unsupported_media_type' });
    expect(await refusal(new Uint8Array(0), MANY)).toMatchObject({ status: 400, code: 'malformed' });
    expect(await refusal(Uint8Array.of(0, 9, 1), MANY)).toMatchObject({ status: 400, code: 'malformed' });
    expect(await refusal(new Uint8Array(1024 * 1024 + 1), MANY)).toMatchObject({ status: 413, code: 'too_large' });
    expect(await shard0().head()).toEqual(before);
    expect((await postBundle(frame)).status).toBe(200);
  });

  test('a rotated key is picked up, whichever the cache knew', async () => {
    const [alice, bob] = await registerAgents(2);
    expect((await postBundle(await alice.bundle([transfer(bob, 1)]))).status).toBe(200);
    const fresh = await MachineKey.import(MachineKey.randomSecret());
    const { inboxCursor } = await shard0().head();
    const bytes = encodeInboxItem({ kind: 'rotate', owner: alice.owner, agent: alice.id, key: fresh.publicKey });
    await shard0().inbox([{ index: inboxCursor, bytes }]);
    const old = await alice.bundle([transfer(bob, 1)], { nonce: 1 });
    expect(await refusal(old)).toMatchObject({ code: 'bad_signature' });
    const rotated = new TestAgent(alice.id, fresh, alice.owner);
    expect((await postBundle(await rotated.bundle([transfer(bob, 1)], { nonce: 1 }))).status).toBe(200);
    const { epoch } = await getJson<{ epoch: number }>(`/agents/${formatId(alice.id)}/key`);
    expect(epoch).toBe(1);
  });

  test('what costs too much is put off with a time to come back, alone and among others', async () => {
    const [alice, bob] = await registerAgents(2);
    const rotation = (agent: TestAgent) =>
      ({ op: 'rotate', agent: agent.id, key: agent.key.publicKey, ownerSignature: new Uint8Array(65) }) as const;
    const rotations = (count: number) => Array.from({ length: count }, () => rotation(alice));
    expect(await refusal(await alice.bundle(rotations(9), { nonce: 0 }))).toMatchObject({
      status: 413,
      code: 'too_costly',
    });
    expect((await postBundle(await alice.bundle(rotations(8), { nonce: 0 }))).status).toBe(200);
    const more = await alice.bundle(rotations(1), { nonce: 1 });
    const answer = await postBundle(more);
    expect(answer.status).toBe(429);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    const many = await postBundle(pack(await bob.bundle([transfer(alice, 1)]), more), MANY);
    expect(many.status).toBe(200);
    expect(Number(many.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await results(many)).map(({ error }) => error?.code ?? 'ok')).toEqual(['ok', 'rate_limited']);
  });
});
