/** Ends of sessions for the bench: dials the relay, answers 256 bytes. `session-callee.ts` runs them in a thread of their own. */
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
// As a sidecar does: short messages are hashed in WebAssembly.
import '../../protocol/keccak/install.ts';
import { CallSignal } from '../../protocol/aborts.ts';
import { Signing, type Domain } from '../../protocol/eip712.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { sessionRoom } from '../../protocol/packet.ts';
import { Whole } from '../../protocol/whole.ts';
import { dial } from '../../sidecar/dial.ts';
import { DirectLinks } from '../../sidecar/direct.ts';
import type { Identity } from '../../sidecar/identity.ts';
import type { ExchangeRequest } from '../../protocol/exchange.ts';
import { type PacketSocket, type Role, SessionEndpoint, type SessionFacts } from '../../sidecar/session/index.ts';
import { SessionFile } from '../../sidecar/session/store-sqlite.ts';

export const BODY_BYTES = 256;
export const PRICE = 1;
const CREDIT = 100_000;

export interface EndOptions {
  readonly url: string;
  readonly domain: Domain;
  readonly role: Role;
  readonly agent: number;
  readonly secret: Uint8Array;
  readonly facts: SessionFacts;
  /** Calls a half covers at most. */
  readonly windowCalls?: number;
  /** One-way delay to emulate, milliseconds. */
  readonly delayMs?: number;
  /** Whether the two talk over a link of their own; b listens. */
  readonly direct?: boolean;
}

/** A socket whose packets leave late, in order. */
const delayed = (socket: PacketSocket, ms: number): PacketSocket => ({
  ...socket,
  send: (packet) => void setTimeout(() => socket.send(packet), ms),
});

const reply = new Uint8Array(BODY_BYTES).fill(111);

/** A socket that leads over a link of the parties' own, once they have met. */
async function directSocket({ url, role, facts }: EndOptions, identity: Identity, room: string): Promise<PacketSocket> {
  const listens = role === 'b' ? { host: '127.0.0.1', port: 0 } : null;
  const links = new DirectLinks(identity, { listen: listens, advertise: null, dial: ['127.0.0.0/8'] });
  await links.start();
  const peer =
    role === 'a'
      ? { session: facts.session, agent: facts.b, key: facts.keyB }
      : { session: facts.session, agent: facts.a, key: facts.keyA };
  return links.connect(peer, role, () => dial(url, room, identity));
}

/** The sessions of this thread's ends, as those of a sidecar, in one file. */
let file: SessionFile | null = null;
const openFile = (): SessionFile => new SessionFile(join(mkdtempSync(join(tmpdir(), 'agnt2-bench-')), 'sessions.db'));

/** Connects one end and keeps it for as long as the process runs. */
export async function connectEnd(options: EndOptions): Promise<SessionEndpoint> {
  const key = await MachineKey.import(options.secret);
  const signing = new Signing(options.domain);
  const { facts, role, windowCalls } = options;
  const endpoint = new SessionEndpoint({
    facts,
    role,
    key,
    signing,
    store: (file ??= openFile()).storeOf(facts.session),
    credit: CREDIT,
    quote: () => PRICE,
    ...(windowCalls ? { windowCalls } : {}),
    handler: async () => ({ status: 200, headers: [], body: new Whole(reply) }),
  });
  const room = sessionRoom(formatId(facts.session));
  const identity = { agent: options.agent, key, signing };
  if (options.direct) {
    void endpoint.attach(await directSocket(options, identity, room));
    return endpoint;
  }
  const socket = await dial(options.url, room, identity);
  void endpoint.attach(options.delayMs ? delayed(socket, options.delayMs) : socket);
  return endpoint;
}

let collect: (() => void) | null = null;

/** Bytes that this thread's JavaScript holds, garbage apart. */
export function held(): number {
  if (collect === null) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const body = new Uint8Array(BODY_BYTES).fill(113);
export const request = (): ExchangeRequest => ({
  method: 'POST',
  target: '/bench',
  headers: [],
  body: new Whole(body),
  signal: new CallSignal(),
});

/** One whole paid call: sent, answered, read, recorded. */
export async function callOnce(endpoint: SessionEndpoint): Promise<void> {
  const { response, record } = await endpoint.call(request(), { maxPrice: PRICE });
  if (response.body instanceof Whole) response.body.take();
  else for await (const _ of response.body);
  await record;
}
