import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { describe, expect, test } from 'vitest';
import { hex, unhex } from '../protocol/bytes.ts';
import { Signing } from '../protocol/eip712.ts';
import { formatId } from '../protocol/ids.ts';
import { MachineKey } from '../protocol/keys.ts';
import { verifyReceipt } from '../protocol/receipt.ts';
import { Status } from '../protocol/status.ts';
import { type SubmitResult, isFailure } from './shard/api.ts';
import { TestAgent, registerAgents, shard0, signing, testEnv, transfer } from './shard/testing.ts';

const code = (result: SubmitResult): string => (isFailure(result) ? result.error.code : 'ok');
const stub = () => testEnv.SHARD.getByName('shard-0');
const root = async (): Promise<string> => hex((await shard0().head()).root);

describe('submitting', () => {
  test('a bundle is executed and answered with a receipt that verifies', async () => {
    const [alice, bob] = await registerAgents(2);
    const frame = await alice.bundle([transfer(bob, 10), transfer(bob, 5)]);
    const [result] = await alice.submit(frame);
    if (isFailure(result)) throw new Error(result.error.detail);
    const sequencer = await MachineKey.import(unhex(testEnv.SEQUENCER_KEY, 32));
    expect(await verifyReceipt(sequencer.publicKey, signing, result.receipt, frame)).toBe(true);
    expect(result.receipt.outcomes.map(({ status }) => status)).toEqual([Status.ok, Status.ok, Status.ok]);
    expect((await shard0().agent(bob.id))?.balance).toBe('1000015');
    expect((await shard0().agent(alice.id))?.nonce).toBe(1);
    const again = await shard0().receipt(result.receipt.receipt.seq);
    expect(again?.receipt).toEqual(result.receipt.receipt);
    expect(await verifyReceipt(sequencer.publicKey, signing, again!, frame)).toBe(true);
  });

  test('many at once share chunks', async () => {
    const [alice, bob] = await registerAgents(2);
    const frames = await Promise.all(Array.from({ length: 50 }, (_, i) => alice.bundle([transfer(bob, i)])));
    const before = await shard0().status();
    const results = (await Promise.all(frames.map((frame) => alice.submit(frame)))).flat();
    const after = await shard0().status();
    expect(results.map(code)).toEqual(Array.from({ length: 50 }, () => 'ok'));
    expect(after.interactions - before.interactions).toBe(50);
    expect(after.chunks - before.chunks).toBeLessThan(25);
  });
});
