/** Parties without sidecars, on the test gateway; examples/session has them on a real stack. */
import { cpSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Agent, Session, SessionStatus, get } from '../../protocol/cells.ts';
import { codeOf } from '../../protocol/errors.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { encodeHalfPacket, sessionRoom } from '../../protocol/packet.ts';
import { dial } from '../dial.ts';
import { type TestAgent, TestGateway } from '../testing/gateway.ts';
import { type Conduct, Party, type SessionEndpoint, answer, request, verifyCall, whole } from './index.ts';

const PRICE = 3;
const BALANCE = 10_000;

let gateway: TestGateway;
const folder = (): string => mkdtempSync(join(tmpdir(), 'agnt2-party-'));
const start = ({ key }: Pick<TestAgent, 'key'>, stateDir = folder(), deposit = 1000): Promise<Party> =>
  Party.start({ gateway: gateway.url, key, stateDir, deposit });

beforeAll(async () => {
  gateway = await TestGateway.start();
});
afterAll(() => gateway.stop());

const echo: Conduct = { quote: () => PRICE, handler: async ({ body }) => answer(200, body) };
const call = async (endpoint: SessionEndpoint, text: string, target = '/'): Promise<string> => {
  const { response, record } = await endpoint.call(request('POST', target, Buffer.from(text)), { maxPrice: PRICE });
  const said = Buffer.from(await whole(response.body)).toString();
  await record;
  return said;
};
const code = (of: Promise<unknown>): Promise<string> => of.then(() => 'none', codeOf);

/** A payer and a payee, each in its folder, in a session that the first opened. */
async function trading() {
  const [a, b] = [await gateway.agent(BALANCE), await gateway.agent(BALANCE)];
  const [payerDir, payeeDir] = [folder(), folder()];
  const [payer, payee] = [await start(a, payerDir), await start(b, payeeDir)];
  const { endpoint, facts } = await payer.open(payee.agent);
  const [offered] = await payee.unattended();
  expect(offered).toMatchObject({ id: facts.session, a: a.id, b: b.id, depositA: 1000 });
  const { endpoint: serving } = await payee.join(offered.id, echo);
  return { a, b, payer, payee, payerDir, payeeDir, endpoint, serving, facts };
}

test('opens, pays, proves; and both leave at once as agreed', async () => {
  const { a, b, payer, payee, endpoint, serving, facts } = await trading();
  expect(await payee.unattended()).toEqual([]);
  expect((await payee.join(facts.session, echo)).endpoint).toBe(serving);
  const said = await Promise.all(Array.from({ length: 200 }, (_, i) => call(endpoint, `call ${i}`)));
  expect(said).toEqual(Array.from({ length: 200 }, (_, i) => `call ${i}`));
  await endpoint.flush();
  expect(await verifyCall(endpoint.proveCall(199), facts, payer.signing)).toEqual({ receipted: true });
  // The other way nothing is served, and what parties tell each other is not a program's to answer.
  expect(await code(call(serving, 'hello'))).toBe('not_found');
  expect(await code(call(endpoint, '', '/.agnt2/other'))).toBe('not_found');
  await Promise.all([payer.stop(), payee.stop()]);
  expect([gateway.balance(a), gateway.balance(b)]).toEqual([BALANCE - 200 * PRICE, BALANCE + 200 * PRICE]);
});

test('a program that is killed goes on from its folder', async () => {
  const { a, b, payer, payee, payerDir, payeeDir, endpoint, serving, facts } = await trading();
  for (let i = 0; i < 10; i++) await call(endpoint, `call ${i}`);
  // What stands on disk at this moment is what a kill would leave.
  const [payerLeft, payeeLeft] = [folder(), folder()];
  cpSync(payerDir, payerLeft, { recursive: true });
  cpSync(payeeDir, payeeLeft, { recursive: true });
  for (const gone of [endpoint, serving]) gone.close();
  const [again, shop] = [await start(a, payerLeft), await start(b, payeeLeft)];
  for (const party of [again, shop]) expect(await party.unattended()).toMatchObject([{ id: facts.session }]);
  await shop.join(facts.session, echo);
  const seat = await again.join(facts.session);
  expect(await call(seat.endpoint, 'one more')).toBe('one more');
  await seat.endpoint.flush();
  expect(seat.endpoint.proveCall(10).record.index).toBe(10);
  await again.leave(facts.session);
  expect([gateway.balance(a), gateway.balance(b)]).toEqual([BALANCE - 11 * PRICE, BALANCE + 11 * PRICE]);
  expect(await code(again.join(facts.session))).toBe('session_draining');
  await Promise.all([again.stop(), shop.stop()]);
  await Promise.all([payer.stop(), payee.stop()]);
});

test('what an earlier run was in can be left without being used again', async () => {
  const { a, b, payer, payee, payerDir, endpoint, facts } = await trading();
  await call(endpoint, 'one');
  const left = folder();
  cpSync(payerDir, left, { recursive: true });
  endpoint.close();
  const again = await start(a, left);
  await again.leave(facts.session);
  // At once, not after an exit: the peer signed it, too.
  expect([gateway.balance(a), gateway.balance(b)]).toEqual([BALANCE - PRICE, BALANCE + PRICE]);
  await Promise.all([again.stop(), payer.stop(), payee.stop()]);
});

test('a program that lost its folder leaves the sessions it was in, with what the peer shows', async () => {
  const { a, b, payer, payee, endpoint, facts } = await trading();
  for (let i = 0; i < 10; i++) await call(endpoint, `call ${i}`);
  await endpoint.flush();
  const anew = await start(b);
  expect(await anew.unattended()).toEqual([]);
  expect(await code(anew.join(facts.session, echo))).toBe('session_draining');
  await expect.poll(() => gateway.balance(b), { timeout: 15_000 }).toBe(BALANCE + 10 * PRICE);
  expect(gateway.balance(a)).toBe(BALANCE - 10 * PRICE);
  await Promise.all([anew.stop(), payer.stop(), payee.stop()]);
});

test('a payer that contradicts itself is left, settled with and slashed', async () => {
  const { a, payer, payee, endpoint, facts } = await trading();
  await call(endpoint, 'one');
  await endpoint.flush();
  const { half } = endpoint.halves().pays!;
  const identity = { agent: a.id, key: a.key, signing: gateway.signing };
  const socket = await dial(gateway.url, sessionRoom(formatId(facts.session)), identity);
  const lie = { ...half, root: new Uint8Array(32) };
  socket.send(encodeHalfPacket(lie, await a.key.sign(gateway.signing.half(lie))));
  await expect.poll(() => get(gateway.engine.machine.readAgent(a.id), Agent.failed), { timeout: 15_000 }).toBe(1);
  const chain = (): Uint8Array => gateway.engine.machine.readSession(facts.session);
  await expect.poll(() => get(chain(), Session.status), { timeout: 15_000 }).toBe(SessionStatus.exiting);
  expect(get(chain(), Session.paidAB)).toBe(PRICE);
  expect(await code(payee.join(facts.session, echo))).toBe('session_draining');
  await Promise.all([payer.stop(), payee.stop()]);
});

test('refuses by code what can’t be', async () => {
  const stranger = { key: await MachineKey.import(MachineKey.randomSecret()) };
  expect(await code(start(stranger))).toBe('unknown_agent');
  const { payer, payee, payerDir, endpoint, facts } = await trading();
  const third = await start(await gateway.agent(5));
  expect(await code(third.open(payee.agent))).toBe('insufficient_balance');
  expect(await code(third.join(facts.session, echo))).toBe('not_party');
  expect(await code(third.join(facts.session + 256 * 1000, echo))).toBe('unknown_session');
  await payer.leave(facts.session);
  expect(await code(call(endpoint, 'late'))).toBe('session_closed');
  expect(await code(payee.leave(facts.session))).toBe('none');
  await Promise.all([payer.stop(), payee.stop(), third.stop()]);
  const other = await TestGateway.start();
  const { key } = await other.agent(5);
  expect(await code(Party.start({ gateway: other.url, key, stateDir: payerDir }))).toBe('network_changed');
  other.stop();
});
