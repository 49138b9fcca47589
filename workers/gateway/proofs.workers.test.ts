import { evictDurableObject } from 'cloudflare:test';
import { describe, expect, test } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { type Hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { type Asked, type ProofJson, type RecordKind, verifyProof } from '../../protocol/proof.ts';
import type { ReceiptJson } from '../../protocol/receipt.ts';
import { type TestAgent, registerAgents, testEnv, transfer } from '../../durable/shard/testing.ts';
import { call, getJson, postBundle, problemOf } from './testing.ts';

/** Submits through the gateway: the frame's number and the last interaction's value. */
async function run(agent: TestAgent, ...interactions: Parameters<TestAgent['bundle']>[0]) {
  const answer = await postBundle(await agent.bundle(interactions));
  const { receipt } = (await answer.json<{ results: { receipt: ReceiptJson }[] }>()).results[0];
  return { seq: Number(receipt.seq), value: Number(receipt.outcomes.at(-1)!.value) };
}

async function asked(kind: RecordKind, id: number): Promise<Asked> {
  const { sequencerKey } = await getJson<{ sequencerKey: { x: string; y: string } }>('/status');
  const root = testEnv.ROOT_ADDRESS as Hex;
  return { kind, id: formatId(id), chainId: Number(testEnv.CHAIN_ID), root, sequencerKey };
}

const terms = {
  active: true,
  ceiling: 100,
  deadlineSeconds: 60,
  arbiter: 0,
  contestSeconds: 0,
  metadataHash: new Uint8Array(32).fill(5),
};

describe('records with their proofs', () => {
  test('agent, key, service, escrow and session verify as they were written', async () => {
    const [alice, bob] = await registerAgents(2);
    const service = (await run(bob, { op: 'publish', service: 0, ...terms })).value;
    const escrow = (await run(alice, { op: 'invoke', service, amount: 20 })).value;
    const { seq, value: session } = await run(alice, { op: 'open', peer: bob.id, deposit: 50, exitDelay: 10 });
    const cases: [RecordKind, number, string, Record<string, unknown>][] = [
      ['agent', alice.id, `/agents/${formatId(alice.id)}/proof`, { balance: '999930', nonce: 2, stake: '0' }],
      ['key', bob.id, `/agents/${formatId(bob.id)}/key/proof`, {}],
      ['service', service, `/services/${formatId(service)}/proof`, { provider: formatId(bob.id), ceiling: '100' }],
      ['escrow', escrow, `/escrows/${formatId(escrow)}/proof`, { payer: formatId(alice.id), amount: '20', status: 1 }],
      ['session', session, `/sessions/${formatId(session)}/proof`, { b: formatId(bob.id), depositA: '50', status: 1 }],
    ];
    for (const [kind, id, path, fields] of cases) {
      const answer = await getJson<ProofJson>(path);
      expect(answer.cells.map((cell) => cell.fields)[0], path).toMatchObject(fields);
      const proven = await verifyProof(answer, { ...(await asked(kind, id)), atLeast: seq + 1 });
      expect(proven.fields, path).toEqual(answer.cells[0].fields);
      expect([proven.shard, proven.seq]).toEqual([0, Number(answer.checkpoint.seq)]);
      // Nobody else's record, and nothing that is still to come.
      const other = verifyProof(answer, { ...(await asked(kind, id + 256)) });
      expect(await other.catch(codeOf), path).toBe('wrong_record');
      const later = verifyProof(answer, { ...(await asked(kind, id)), atLeast: proven.seq + 1 });
      expect(await later.catch(codeOf), path).toBe('stale');
    }
    const key = await getJson<{ x: string; y: string }>(`/agents/${formatId(bob.id)}/key`);
    const quad = await getJson<ProofJson>(`/sessions/${formatId(session)}/proof`);
    expect(quad.cells[2].fields).toEqual({ x: key.x, y: key.y });
    expect([quad.cells.length, quad.proof.siblings.length]).toEqual([4, 11]);
  });

  test('capabilities and workflows, plain and proved', async () => {
    const [alice, bob, carol] = await registerAgents(3);
    const service = (await run(bob, { op: 'publish', service: 0, ...terms })).value;
    const grant = { op: 'grant', grantee: carol.id, service, limit: 70, expiry: 4_000_000_000 } as const;
    const first = (await run(alice, grant)).value;
    const second = (await run(alice, { ...grant, service: 0 }, { op: 'revoke', capability: first })).value;
    expect(second).toBe(0);
    const fields = {
      grantor: formatId(alice.id),
      grantee: formatId(carol.id),
      service: formatId(service),
      limit: '70',
    };
    const path = `/capabilities/${formatId(first)}`;
    const shown = { id: formatId(first), ...fields, used: '0', expiry: 4_000_000_000, revoked: true };
    expect(await getJson(path)).toEqual(shown);
    const proven = await verifyProof(await getJson(`${path}/proof`), await asked('capability', first));
    expect(proven.fields).toMatchObject({ ...fields, used: '0', flags: 3 });
    const list = (query: string) => getJson<{ capabilities: unknown[]; next?: string }>(`/capabilities?${query}`);
    const both = await list(`grantor=${formatId(alice.id)}`);
    expect(both.capabilities).toMatchObject([shown, { service: null, revoked: false }]);
    const page = await list(`grantee=${formatId(carol.id)}&limit=1`);
    expect([page.capabilities, page.next]).toEqual([[shown], formatId(first)]);
    expect((await list(`grantor=${formatId(bob.id)}`)).capabilities).toEqual([]);

    const legs = [
      { payer: alice.id, service },
      { payer: carol.id, service },
    ];
    const workflow = (await run(alice, { op: 'plan', deadlineSeconds: 60, legs })).value;
    const leg = { service: formatId(service), escrow: null, done: false, told: false };
    expect(await getJson(`/workflows/${formatId(workflow)}`)).toMatchObject({
      id: formatId(workflow),
      planner: formatId(alice.id),
      status: 'open',
      legs: [
        { payer: formatId(alice.id), ...leg },
        { payer: formatId(carol.id), ...leg },
      ],
    });
    const quad = await getJson<ProofJson>(`/workflows/${formatId(workflow)}/proof`);
    const { cells } = await verifyProof(quad, await asked('workflow', workflow));
    expect(cells.map(({ kind }) => kind)).toEqual(['workflow', 'workflowLegs', 'workflowLegs', 'workflowLegs']);
    expect(cells[0].fields).toMatchObject({ legs: 2, status: 1, done: 0 });
    expect(cells[1].fields).toMatchObject({ payer1: formatId(carol.id), service1: formatId(service), payer2: null });
  });

  test('what is not there is refused by code, wherever it is not', async () => {
    const [alice] = await registerAgents(1);
    const kinds = {
      '/agents/_/proof': 'unknown_agent',
      '/agents/_/key/proof': 'unknown_agent',
      '/services/_/proof': 'unknown_service',
      '/capabilities/_': 'unknown_capability',
      '/capabilities/_/proof': 'unknown_capability',
      '/sessions/_/proof': 'unknown_session',
      '/escrows/_/proof': 'unknown_escrow',
      '/workflows/_': 'unknown_workflow',
      '/workflows/_/proof': 'unknown_workflow',
    };
    for (const [path, code] of Object.entries(kinds)) {
      const at = async (id: string) => problemOf(await call(path.replace('_', id)));
      expect(await at('0:77777'), path).toMatchObject({ status: 404, code });
      expect(await at('0:0'), path).toMatchObject({ status: 404, code });
      // A serial that only shares the slot of one that is there.
      expect(await at(`0:${2 ** 20 + Math.floor(alice.id / 256)}`), path).toMatchObject({ status: 404, code });
      expect(await at('9:1'), path).toMatchObject({ status: 404, code: 'wrong_shard' });
      expect(await at('alice'), path).toMatchObject({ status: 400, code: 'malformed' });
    }
    expect(await getJson('/capabilities?grantor=0:5')).toEqual({ capabilities: [] });
    expect(await problemOf(await call('/capabilities?grantee=x'))).toMatchObject({ code: 'malformed' });
  });

  test('while frames run, those who ask within a second share one root, newer than their question', async () => {
    const [alice, bob] = await registerAgents(2);
    const path = `/agents/${formatId(alice.id)}/proof`;
    await run(alice, transfer(bob, 1));
    const first = await getJson<ProofJson>(path);
    expect(await getJson<ProofJson>(path)).toEqual(first);
    const { seq } = await run(alice, transfer(bob, 1));
    const answers = await Promise.all([
      ...Array.from({ length: 8 }, () => getJson<ProofJson>(path)),
      getJson<ProofJson>(`/agents/${formatId(bob.id)}/proof`),
    ]);
    expect(Number(answers[0].checkpoint.seq)).toBeGreaterThan(seq);
    expect(new Set(answers.map(({ checkpoint }) => checkpoint.signature)).size).toBe(1);
    expect(answers[0].cells[0].fields.balance).toBe('999998');
  });

  test('a shard that restarts has the same root to sign', async () => {
    const [alice] = await registerAgents(1);
    const path = `/agents/${formatId(alice.id)}/proof`;
    const before = await getJson<ProofJson>(path);
    await evictDurableObject(testEnv.SHARD.getByName('shard-0'));
    const after = await getJson<ProofJson>(path);
    expect(after.proof).toEqual(before.proof);
    await verifyProof(after, await asked('agent', alice.id));
  });
});
