/**
 * `kill -9` of workerd in the middle of bundles and of a session's halves. Whatever was acknowledged is there afterwards, the state is what
 * anyone gets by executing the trace again, and nothing can be made to happen twice.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Agent } from '../../local/agents.ts';
import { type GatewayError } from '../../local/gateway.ts';
import { sleep, until } from '../../local/process.ts';
import { replay, replayFrames } from '../../local/replay.ts';
import { signBundle } from '../../protocol/bundle.ts';
import { hex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import type { Half } from '../../protocol/half.ts';
import { parseId } from '../../protocol/ids.ts';
import { PacketType, decodeSigned, encodeHalfPacket, encodeReceiptPacket, sessionRoom } from '../../protocol/packet.ts';
import type { ReceiptJson } from '../../protocol/receipt.ts';
import { dial } from '../../sidecar/dial.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const LOAD_MS = 2500;
const KILLS = 2;

let net: TestNetwork;
let signing: Signing;
let domain: { chainId: number; root: `0x${string}` };
let payer: Agent;
let payee: Agent;
let traders: Agent[];
let session: string;

beforeAll(async () => {
  net = await network({ l1: { window: 3600 } });
  domain = { chainId: net.l1.chainId, root: net.root };
  signing = new Signing(domain);
  const agents = await Promise.all(
    ['payer', 'payee', 'one', 'two', 'three'].map((name) => Agent.create(name, net.dir)),
  );
  await Promise.all(agents.map((agent) => agent.registerAtL1(net.l1, 1_000_000n, 1_000_000)));
  await Promise.all(agents.map((agent) => agent.known(net.gateway)));
  [payer, payee, ...traders] = agents;
  const opened = await payer.submit(net.gateway, net.l1, {
    op: 'open',
    peer: parseId(payee.id),
    deposit: 500_000,
    exitDelay: 600,
  });
  session = `0:${Math.floor(Number(opened.outcomes[1].value) / 256)}`;
});
afterAll(() => net?.stop());

interface Acknowledged {
  readonly frame: Uint8Array;
  readonly receipt: ReceiptJson;
}

/** All that anyone was told, over the whole test: a second try goes on from the first. */
const acknowledged: Acknowledged[] = [];
const seen = { half: new Map<number, Uint8Array>(), received: 0, receipted: 0 };

/** One agent's bundles, one after the other, until the gateway is gone. */
async function trade(agent: Agent): Promise<void> {
  let { nonce } = await net.gateway.agent(agent.id);
  const expiry = Math.floor(Date.now() / 1000) + 600;
  for (;;) {
    const to = parseId(payee.id);
    const frame = await signBundle(agent.key, signing, { actor: parseId(agent.id), nonce: nonce++, expiry }, [
      { op: 'transfer', to, amount: 1 },
      { op: 'transfer', to, amount: 2 },
    ]);
    try {
      acknowledged.push({ frame, receipt: await net.gateway.submit(frame) });
    } catch {
      return;
    }
  }
}

/** Halves of the payer, as fast as it signs, each countersigned; what either side saw come back from the relay. */
async function stream(from: number): Promise<() => void> {
  const join = (agent: Agent) =>
    dial(net.url, sessionRoom(session), { agent: parseId(agent.id), key: agent.key, signing });
  const [a, b] = [await join(payer), await join(payee)];
  a.listen(
    (packet) => {
      if (packet[0] === PacketType.receipt) seen.receipted = Math.max(seen.receipted, decodeSigned(packet).half.seq);
    },
    () => {},
  );
  b.listen(
    (packet) => {
      if (packet[0] !== PacketType.half) return;
      const { half } = decodeSigned(packet);
      seen.received = Math.max(seen.received, half.seq);
      void payee.key.sign(signing.half(half)).then((signature) => b.send(encodeReceiptPacket(half, signature)));
    },
    () => {},
  );
  let stopped = false;
  void (async () => {
    for (let seq = from; !stopped; seq++) {
      const half: Half = {
        session: parseId(session),
        dir: 0,
        seq,
        calls: seq,
        paid: seq,
        root: new Uint8Array(32).fill(seq % 251),
      };
      const packet = encodeHalfPacket(half, await payer.key.sign(signing.half(half)));
      seen.half.set(seq, packet);
      a.send(packet);
      await sleep(10);
    }
  })();
  return () => {
    stopped = true;
    a.close('over');
    b.close('over');
  };
}

const newestHalf = async (): Promise<{ seq: number; receipted: boolean; payer: string }> => {
  const { live } = await net.gateway.session(session);
  const [half] = (live?.halves ?? []) as { seq: string; payerSignature: string; payeeSignature?: string }[];
  return {
    seq: Number(half?.seq ?? 0),
    receipted: half?.payeeSignature !== undefined,
    payer: String(half?.payerSignature),
  };
};

/** The state root over the first `count` frames. */
async function rootAfter(count: number): Promise<string> {
  const frames = (await net.gateway.frames(0)).flatMap((record) => record.frames).slice(0, count);
  return hex((await replayFrames(domain, frames)).stateRoot);
}

test(`nothing that was acknowledged is lost, through ${KILLS} kills under load`, async () => {
  for (let kill = 0; kill < KILLS; kill++) {
    const before = acknowledged.length;
    const hangUp = await stream(seen.half.size + 1);
    const trading = traders.map((agent) => trade(agent));
    await sleep(LOAD_MS / 2);
    const middle = await net.gateway.status();
    await sleep(LOAD_MS / 2);
    await net.kill9Worker();
    await Promise.all(trading);
    hangUp();
    expect(acknowledged.length - before, 'there was load').toBeGreaterThan(10);
    expect(seen.received, 'there were halves').toBeGreaterThan(20);
    await net.restartWorker();

    // Halves: at least as new as anyone saw come out of the relay, and signed.
    const newest = await newestHalf();
    expect(newest.seq).toBeGreaterThanOrEqual(Math.max(seen.received, seen.receipted));
    if (newest.seq === seen.receipted) expect(newest.receipted).toBe(true);
    expect(hex(decodeSigned(seen.half.get(newest.seq)!).signature)).toBe(newest.payer);

    // Bundles: every acknowledged one at its place, with its receipt's word kept.
    const frames = (await net.gateway.frames(0)).flatMap((record) => record.frames);
    for (const { frame, receipt } of acknowledged) expect(hex(frames[Number(receipt.seq)])).toBe(hex(frame));
    // The state: what anyone gets from the frames, now and as of the look in the middle of the load.
    const whole = await replay(net.gateway, domain);
    const status = await net.gateway.status();
    if (Number(status.shards[0].seq) === whole.engine.seq) expect(status.stateRoot).toBe(hex(whole.stateRoot));
    expect(await rootAfter(Number(status.shards[0].seq))).toBe(status.stateRoot);
    expect(await rootAfter(Number(middle.shards[0].seq))).toBe(middle.stateRoot);
  }

  // Again: each is refused, the newer ones by the place they have, older ones by their nonce; nothing changes.
  const codes: (string | undefined)[] = [];
  const { seq } = (await net.gateway.status()).shards[0];
  for (const { frame } of acknowledged) {
    const error = await net.gateway.submit(frame).then(
      () => null,
      (thrown: GatewayError) => thrown,
    );
    codes.push(error?.code);
  }
  expect(codes.every((code) => code === 'replayed' || code === 'bad_nonce')).toBe(true);
  expect(codes.slice(-traders.length)).toEqual(traders.map(() => 'replayed'));
  const after = await replay(net.gateway, domain);
  expect(
    after.executed.slice(Number(seq)).every(({ frame }) => frame[0] === 1),
    'only ticks came',
  ).toBe(true);

  // The newest half is money: the payee brings it on chain.
  const { seq: paid } = await newestHalf();
  const { half, signature } = decodeSigned(seen.half.get(paid)!);
  await payee.submit(net.gateway, net.l1, { op: 'settle', half, signature });
  expect((await net.gateway.session(session)).paidAB).toBe(String(paid));

  // And L1 hears all of it.
  await until('the newest bundle to be posted', () => net.gateway.isOnL1(), { timeoutMs: 90_000, everyMs: 250 });
}, 240_000);
