/**
 * The two sidecars of a whole call, with everything on and with it off: client → caller's sidecar → callee's sidecar → origin. Both ways the same routing, prices,
 * app client, metrics, sealed packets and sockets. On are the sidecar's own sessions and policy, on disk: accounting, hashing, signing, persistence; off leaves them out.
 */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Signing } from '../../protocol/eip712.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { CallMux } from '../../protocol/mux.ts';
import { encodeError } from '../../protocol/packet.ts';
import { platformSealing } from '../../protocol/seal.ts';
import { App } from '../../sidecar/app.ts';
import type { Core } from '../../sidecar/core.ts';
import type { Far } from '../../sidecar/far.ts';
import type { FirstContact } from '../../sidecar/firstcontact.ts';
import { Metrics } from '../../sidecar/metrics.ts';
import { Outbound, type Sessions } from '../../sidecar/outbound.ts';
import type { PeerService } from '../../sidecar/peers.ts';
import { Policy, type Reservation } from '../../sidecar/policy/policy.ts';
import { readPolicy } from '../../sidecar/policy/config.ts';
import { type PacketSocket, type SessionFacts } from '../../sidecar/session/index.ts';
import { Pairing } from '../../sidecar/session/pairing.ts';
import { SessionFile } from '../../sidecar/session/store-sqlite.ts';
import { SessionManager } from '../../sidecar/sessions.ts';
import { openStore } from '../../sidecar/sqlite.ts';

const PRICE = 5;
const SESSION = 256;
const AGENTS = { a: 256, b: 512 };
/** The route that the bench calls is one of several. */
const SERVICE: PeerService = {
  id: 256,
  ceiling: PRICE,
  deadlineSeconds: 60,
  table: {
    routes: [
      { method: 'GET', path: '/status', price: 1 },
      { method: '*', path: '/*', price: PRICE },
    ],
    defaultPrice: PRICE,
    free: ['/healthz'],
  },
};
const services = (): readonly PeerService[] => [SERVICE];

const signing = new Signing({ chainId: 31337, root: '0x00000000000000000000000000000000000000aa' });
const keys = {
  a: await MachineKey.import(new Uint8Array(32).fill(1)),
  b: await MachineKey.import(new Uint8Array(32).fill(2)),
};
const facts: SessionFacts = {
  session: SESSION,
  ...AGENTS,
  keyA: keys.a.publicKey,
  keyB: keys.b.publicKey,
  depositA: 1e12,
  depositB: 0,
  exitDelay: 86_400,
};

type Which = 'a' | 'b';
export type Mode = 'on' | 'off';

/** A socket that tells its end, as the relay would, that the other one is there. */
function paired(socket: PacketSocket): PacketSocket {
  return {
    ...socket,
    listen(onPacket, onClose) {
      socket.listen(onPacket, onClose);
      onPacket(encodeError('peer_online', 'both parties are here'));
    },
  };
}

const nothing = (): void => {};
const unreachable = (name: string): never => {
  throw new Error(`the bench has no ${name}`);
};

/** The sessions of a sidecar that is in this one alone. */
async function sessionsOn(
  which: Which,
  socket: PacketSocket,
  app: Pick<App, 'serve'>,
  metrics: Metrics,
): Promise<SessionManager> {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-bench-'));
  const file = new SessionFile(join(dir, 'sessions.sqlite'));
  const cell = { id: SESSION, ...facts, paidAB: 0, paidBA: 0, exitAt: 0, status: 'open' };
  const core = {
    base: '',
    session: () => Promise.resolve(cell),
    sessionKeys: () => Promise.resolve({ a: facts.keyA, b: facts.keyB }),
  } as unknown as Core;
  const sessions = new SessionManager({
    identity: { agent: AGENTS[which], key: keys[which], signing },
    dial: () => Promise.resolve(paired(socket)),
    links: null,
    config: {
      auto: false,
      afterCalls: 0,
      deposit: 0,
      credit: 1_000_000,
      exitDelay: 86_400,
      minExitDelay: 0,
      minDeposit: 0,
      direct: { listen: null, advertise: null, dial: [] },
    },
    core,
    far: { submit: () => unreachable('far shard') } as unknown as Far,
    store: openStore(dir),
    app,
    firstContact: {} as FirstContact,
    metrics,
    services,
    storeOf: (session) => file.storeOf(session),
    onEvent: nothing,
    onError: (error) => console.error(error),
  });
  await sessions.join(SESSION);
  return sessions;
}

/** What is left of a session without its accounts: calls in sealed packets. */
async function sessionsOff(which: Which, socket: PacketSocket, app: Pick<App, 'serve'>): Promise<Sessions> {
  const begun = Pairing.begin({ facts, role: which, key: keys[which], signing }, platformSealing);
  const peerKey = Promise.withResolvers<Uint8Array>();
  let receive = (packet: Uint8Array): void => {
    peerKey.resolve(packet);
    // Calls come as soon as the other end has met this one.
    receive = (call) => void met.then(() => mux.receive(pairing.open(call) as Uint8Array));
  };
  socket.listen(
    (packet) => receive(packet),
    () => process.exit(0),
  );
  const pairing = await begun;
  socket.send(pairing.publicKey);
  const met = peerKey.promise.then((key) => pairing.meet(key));
  const mux = new CallMux({
    send: (packet) => pairing.seal(packet, (sealed) => socket.send(sealed)),
    buffered: () => socket.buffered(),
    numbering: which === 'a' ? 'even' : 'odd',
    digests: false,
    handler: async (request) => ({
      response: await app.serve(request, AGENTS.a, 'session'),
      end: () => new Uint8Array(0),
    }),
  });
  await met;
  receive = (packet) => mux.receive(pairing.open(packet) as Uint8Array);
  return {
    call: async (_agent, request) => (await mux.call(request)).response,
    noteCoreCall: nothing,
    ensure: () => Promise.resolve(true),
  };
}

const NO_RESERVATION: Reservation = { atMs: 0, settle: nothing, release: nothing };

/** Answers the calls that come over a socket from an app. */
export async function callee(mode: Mode, socket: PacketSocket, app: Pick<App, 'serve'>): Promise<void> {
  await (mode === 'on' ? sessionsOn('b', socket, app, new Metrics()) : sessionsOff('b', socket, app));
}

/** The way out of a local app, to the one peer there is: `http://bob.agnt2`. */
export async function caller(mode: Mode, socket: PacketSocket): Promise<Outbound['handle']> {
  const metrics = new Metrics();
  const app = new App(undefined, metrics);
  const sessions = await (mode === 'on' ? sessionsOn('a', socket, app, metrics) : sessionsOff('a', socket, app));
  // Before both have met there is no session to call through.
  while (!(await sessions.ensure(AGENTS.b))) await new Promise((resolve) => setTimeout(resolve, 5));
  const limits = { perDay: '9000000000000', perCall: '1000', breaker: {} };
  const policy =
    mode === 'on'
      ? new Policy(readPolicy(limits, []), openStore(mkdtempSync(join(tmpdir(), 'agnt2-bench-'))).policy)
      : { reserve: () => NO_RESERVATION, report: nothing };
  const peer = Promise.resolve({ agent: AGENTS.b, services: services() });
  const outbound = new Outbound({
    agent: AGENTS.a,
    peers: { resolve: () => peer, forget: nothing },
    policy,
    firstContact: {} as FirstContact,
    sessions,
    metrics,
    perCall: 1000,
  });
  return outbound.handle;
}
