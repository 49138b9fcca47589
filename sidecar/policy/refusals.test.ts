/** Every limit, tried by the app through its whole sidecar; what only the operator may do, tried by the app too. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Pair, ask, viaProxy } from '../testing/pair.ts';
import { POLICY_REFUSALS } from '../testing/refusals.ts';

let pair: Pair;
beforeAll(async () => {
  pair = await Pair.start({ peersTtlMs: 0 });
  await pair.bob();
});
afterAll(() => pair.stop());

test.each(POLICY_REFUSALS)('$limit holds whatever the app says', async ({ config, before, refused, ...expected }) => {
  const { ports } = await pair.sidecar('alice', await pair.gateway.agent(10_000), config);
  for (const call of before) await viaProxy(ports.listen, call);
  const frames = pair.gateway.frames.length;
  for (const call of refused) {
    const { status, problem, headers } = await viaProxy(ports.listen, call);
    expect({ status, code: problem?.code }).toEqual({ status: expected.status, code: expected.code });
    expect(problem?.detail).toContain(expected.says);
    expect(Number(headers['retry-after'] ?? 0) > 500).toBe(expected.code === 'circuit_open');
  }
  // Nothing was signed for any of them; what comes in at most is bob's answers to the calls before.
  expect(pair.gateway.frames.length - frames).toBeLessThanOrEqual(before.length);
});

const RUN = { method: 'POST', url: 'http://bob.agnt2/run' };

test('a dear call goes through once the operator grants it, and only then: neither the app nor a page can', async () => {
  const stateDir = join(pair.dir, 'approving');
  const { ports } = await pair.sidecar('alice', await pair.gateway.agent(10_000), {
    stateDir,
    policy: { perDay: 1000, approveAbove: 5 },
  });
  const { problem } = await viaProxy(ports.listen, RUN);
  const grant = `/admin/approvals/${problem!.approval}/grant`;
  const authorization = `Bearer ${readFileSync(join(stateDir, 'admin-token'), 'utf8')}`;
  const codeOf = async (headers: Record<string, string>, port = ports.admin, path = grant): Promise<unknown> => {
    const answer = await ask(port, path, { method: 'POST', headers });
    return answer.problem?.code ?? answer.status;
  };
  // The app may reach the port where they share a host; it has no token, and its proxy goes nowhere near.
  expect(await codeOf({})).toBe('not_operator');
  expect(await codeOf({ authorization: 'Bearer ' })).toBe('not_operator');
  expect(await codeOf({ authorization: 'Bearer 0' })).toBe('not_operator');
  expect(await codeOf({ authorization, origin: 'http://evil.example' })).toBe('connect_denied');
  expect(await codeOf({}, ports.listen)).toBe('not_found');
  expect(await codeOf({}, ports.listen, `http://127.0.0.1:${ports.admin}${grant}`)).toMatch(
    /egress_denied|bad_request/,
  );
  expect((await viaProxy(ports.listen, RUN)).problem?.approval).toBe(problem!.approval);
  expect(await codeOf({ authorization })).toBe(200);
  expect((await viaProxy(ports.listen, RUN)).status).toBe(200);
  expect((await viaProxy(ports.listen, RUN)).problem?.code).toBe('approval_needed');
  expect(await codeOf({ authorization })).toBe('unknown_approval');
  expect((await ask(ports.admin, '/metrics')).body).toContain('agnt2_approvals_waiting 1');
});

test('calls side by side pass no cap together, and a restart forgets none of them', async () => {
  const stateDir = join(pair.dir, 'crowd');
  const agent = await pair.gateway.agent(10_000);
  const config = { stateDir, policy: { perDay: 1000, perHour: 105 } };
  const alices = await pair.sidecar('alice', agent, config);
  const answers = await Promise.all(Array.from({ length: 30 }, () => viaProxy(alices.ports.listen, RUN)));
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(10);
  expect(new Set(answers.map(({ problem }) => problem?.code))).toEqual(new Set([undefined, 'over_hour_cap']));
  await alices.stop();
  const { ports } = await pair.sidecar('alice', agent, config);
  expect((await viaProxy(ports.listen, RUN)).problem?.code).toBe('over_hour_cap');
});
