/** Sessions over a link of their own: real endpoints and sockets, a relay in memory, and links that break in the middle of calls. */
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { hex } from '../protocol/bytes.ts';
import { MachineKey } from '../protocol/keys.ts';
import { PacketType, decodeDirect, encodeDirect, encodeError } from '../protocol/packet.ts';
import type { DirectConfig } from './config.ts';
import { DialPolicy, DirectLinks, type LinkPace } from './direct.ts';
import { type Identity, type Peer, socketUrl } from './identity.ts';
import { DirectSocket } from './session/direct.ts';
import { type Party, Pipe, body, collect, endpoint, parties, request, signing, text } from './session/testing.ts';
import { type PacketSocket, type SessionEndpoint, type SessionFacts, keepConnected } from './session/index.ts';
import { Way } from './testing/way.ts';

const ends: (() => void)[] = [];
afterEach(() => {
  for (const end of ends.splice(0).toReversed()) end();
});

async function eventually(check: () => boolean, what: string): Promise<void> {
  for (let i = 0; !check(); i++) {
    if (i > 2000) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const identityOf = (party: Party, agent: number): Identity => ({ agent, key: party.key, signing });
const LOCAL: DirectConfig = { listen: null, advertise: null, dial: ['127.0.0.0/8'] };

interface World {
  readonly pipe: Pipe;
  readonly way: Way;
  readonly left: SessionEndpoint;
  readonly right: SessionEndpoint;
  readonly sockets: { a: DirectSocket | null; b: DirectSocket | null };
  readonly served: Map<string, number>;
  readonly facts: SessionFacts;
  /** While false the relay lets nobody in. */
  relay: boolean;
  /** Packets of calls that went by the relay. */
  relayed: number;
  halves: number;
}

/** Two endpoints of which b listens, behind a way that can be broken. */
async function world(pace: LinkPace = {}): Promise<World> {
  const { a, b, facts } = await parties();
  const way = new Way();
  ends.push(() => way.close());
  const port = await way.listen();
  const links = {
    a: new DirectLinks(identityOf(a, facts.a), LOCAL, undefined, pace),
    b: new DirectLinks(
      identityOf(b, facts.b),
      { ...LOCAL, listen: { host: '127.0.0.1', port: 0 }, advertise: `ws://127.0.0.1:${port}` },
      undefined,
      pace,
    ),
  };
  await links.b.start();
  way.to = links.b.port;
  const served = new Map<string, number>();
  const handler = async (req: Parameters<NonNullable<Parameters<typeof endpoint>[3]>['handler'] & object>[0]) => {
    served.set(req.target, (served.get(req.target) ?? 0) + 1);
    const got = await collect(req.body);
    await new Promise((resolve) => setTimeout(resolve, 1 + Math.random() * 4));
    return { status: 200, headers: [], body: body(got) } as never;
  };
  const made: World = {
    pipe: new Pipe(),
    way,
    left: endpoint('a', a, facts, { credit: 100_000, handler }),
    right: endpoint('b', b, facts, { credit: 100_000, handler }),
    sockets: { a: null, b: null },
    served,
    facts,
    relay: true,
    relayed: 0,
    halves: 0,
  };
  made.pipe.tap = (_, packet) => {
    if (packet[0] === PacketType.calls) made.relayed += 1;
    if (packet[0] === PacketType.half) made.halves += 1;
    return packet;
  };
  const stop = new AbortController();
  for (const role of ['a', 'b'] as const) {
    const peer: Peer =
      role === 'a'
        ? { session: facts.session, agent: facts.b, key: facts.keyB }
        : { session: facts.session, agent: facts.a, key: facts.keyA };
    const dialRelay = async (): Promise<PacketSocket> => {
      if (!made.relay) throw new Error('no relay');
      return made.pipe.socket(role);
    };
    const dial = async (): Promise<PacketSocket> =>
      (made.sockets[role] = await links[role].connect(peer, role, dialRelay));
    void keepConnected(role === 'a' ? made.left : made.right, dial, stop.signal);
  }
  ends.push(
    () => stop.abort(),
    () => links.a.close(),
    () => links.b.close(),
    () => made.left.close(),
    () => made.right.close(),
  );
  return made;
}

const areDirect = ({ sockets }: World): boolean => sockets.a?.isDirect === true && sockets.b?.isDirect === true;

let calls = 0;
async function call(by: SessionEndpoint): Promise<string> {
  const target = `/${calls++}`;
  const { response, record } = await by.call(request('POST', target, `body of ${target}`), { maxPrice: 2 });
  const answer = await text(response);
  expect(answer).toBe(`body of ${target}`);
  await record;
  return target;
}
const both = (w: World, n: number): Promise<string[]> =>
  Promise.all(Array.from({ length: n }, (_, i) => call(i % 2 ? w.left : w.right)));

/** All calls were served once, and both sides agree on what they cost. */
async function settled(w: World, targets: readonly string[]): Promise<void> {
  expect(new Set(targets).size).toBe(targets.length);
  for (const target of targets) expect([target, w.served.get(target)]).toEqual([target, 1]);
  await Promise.all([w.left.flush(), w.right.flush()]);
  expect(w.left.accrued.pays + w.left.accrued.earns).toBe(2 * targets.length);
  expect(w.right.accrued).toEqual({ pays: w.left.accrued.earns, earns: w.left.accrued.pays });
  expect(w.right.halves().earns!.half.paid).toBe(w.left.accrued.pays);
}

test('calls go point to point, halves to the relay too', async () => {
  const w = await world();
  await eventually(() => areDirect(w), 'a link');
  const before = w.relayed;
  const targets = await both(w, 200);
  await settled(w, targets);
  expect(w.relayed).toBe(before);
  expect(w.halves).toBeGreaterThan(0);
});

test('a link that is cut in the middle of calls, again and again, loses none and charges none twice', async () => {
  const w = await world({ retryMs: 30 });
  await eventually(() => areDirect(w), 'a link');
  const targets: string[] = [];
  let cuts = 0;
  for (let round = 0; round < 8; round++) {
    const many = both(w, 120);
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 12));
    if (areDirect(w)) cuts += 1;
    w.way.cut();
    targets.push(...(await many));
    // A new link is offered after a while.
    if (round % 2) await eventually(() => areDirect(w), 'a link again');
  }
  await settled(w, targets);
  expect(cuts).toBeGreaterThan(3);
  // Without a pairing having ended.
  expect([w.left.counters.resumes, w.right.counters.resumes]).toEqual([1, 1]);
});

test('while the relay is down calls go on; when it is back, so are the halves', async () => {
  const w = await world();
  await eventually(() => areDirect(w), 'a link');
  w.relay = false;
  w.pipe.cut('a');
  w.pipe.cut('b');
  const targets = await both(w, 100);
  expect(areDirect(w)).toBe(true);
  const { halves } = w;
  w.relay = true;
  // Both are there anew: a new pairing, and a new link.
  await eventually(() => w.left.counters.resumes === 2 && w.right.counters.resumes === 2, 'a new pairing');
  await eventually(() => areDirect(w), 'a link again');
  targets.push(...(await both(w, 50)));
  await settled(w, targets);
  expect(w.halves).toBeGreaterThan(halves);
});

test('link and relay lost together is a lost socket: both begin anew, and nobody pays twice', async () => {
  const w = await world();
  await eventually(() => areDirect(w), 'a link');
  const targets = await both(w, 50);
  w.relay = false;
  w.pipe.cut('a');
  w.pipe.cut('b');
  w.way.cut();
  await eventually(() => w.left.state === 'offline' && w.right.state === 'offline', 'both off');
  w.relay = true;
  await eventually(() => w.left.state === 'ready', 'ready again');
  targets.push(...(await both(w, 50)));
  await settled(w, targets);
});

/** A socket into nothing. */
const hole = (): PacketSocket => ({ send: () => {}, buffered: () => 0, close: () => {}, listen: () => {} });

test('a peer that offers a link and withholds what it should bring costs the time to notice, and no more', async () => {
  const { a, b, facts } = await parties();
  const pipe = new Pipe();
  const left = endpoint('a', a, facts);
  const right = endpoint('b', b, facts);
  ends.push(
    () => left.close(),
    () => right.close(),
  );
  const common = { dialRelay: async () => pipe.socket('a'), silenceMs: 80, retryMs: 60_000 };
  const mine = new DirectSocket(pipe.socket('a'), {
    ...common,
    offer: () => null,
    accept: () => Promise.resolve(hole()),
    yields: true,
  });
  const theirs = new DirectSocket(pipe.socket('b'), {
    ...common,
    offer: () => ({
      url: 'ws://10.0.0.1',
      nonce: `0x${'00'.repeat(32)}`,
      link: Promise.resolve(hole()),
      withdraw: () => {},
    }),
    accept: () => null,
    yields: false,
  });
  void left.attach(mine);
  void right.attach(theirs);
  await eventually(() => mine.isDirect && theirs.isDirect, 'the hole');
  const { response, record } = await left.call(request('POST', '/x', 'all the same'), { maxPrice: 2 });
  expect(await text(response)).toBe('all the same');
  await record;
  expect([mine.isDirect, theirs.isDirect]).toEqual([false, false]);
  expect(left.accrued.pays).toBe(2);
});

test('nonsense about links ends the socket, and presence over a link is nobody’s to say', async () => {
  const heard: Uint8Array[] = [];
  let closed = '';
  let relay: (packet: Uint8Array) => void = () => {};
  let link: (packet: Uint8Array) => void = () => {};
  const socket = (hear: (packet: (p: Uint8Array) => void) => void): PacketSocket => ({
    ...hole(),
    listen: (on) => hear(on),
  });
  const direct = new DirectSocket(
    socket((on) => (relay = on)),
    {
      dialRelay: () => Promise.reject(new Error('no')),
      offer: () => null,
      accept: () => Promise.resolve(socket((on) => (link = on))),
      yields: false,
    },
  );
  direct.listen(
    (packet) => heard.push(packet),
    (reason) => (closed = reason),
  );
  relay(encodeDirect({ kind: 'offer', url: 'ws://10.0.0.1', nonce: `0x${'11'.repeat(32)}` }));
  await new Promise((resolve) => setTimeout(resolve, 0));
  relay(encodeDirect({ kind: 'go' }));
  expect(direct.isDirect).toBe(true);
  link(encodeError('peer_online', ''));
  link(Uint8Array.of(PacketType.hello, 0, 0));
  link(encodeDirect({ kind: 'back', from: 0 }));
  expect(heard).toEqual([]);
  link(Uint8Array.of(PacketType.calls, 9));
  expect(heard).toEqual([Uint8Array.of(PacketType.calls, 9)]);
  // It can't have had more of ours than there was.
  link(Uint8Array.of(0, 5));
  expect(direct.isDirect).toBe(false);
  relay(encodeDirect({ kind: 'back', from: 7 }));
  expect(closed).toBe('bad_link');
  for (const bad of ['{}', '{"kind":"offer","url":"ws://x","nonce":"0x"}', '{"kind":"back","from":-1}', 'x', 'null'])
    expect(() => decodeDirect(new TextEncoder().encode(`\x07${bad}`))).toThrow('malformed');
});

test('strangers, old offers and false listeners get no link', async () => {
  const { a, b, facts } = await parties();
  const own = identityOf(b, facts.b);
  const links = new DirectLinks(own, { ...LOCAL, listen: { host: '127.0.0.1', port: 0 } });
  await links.start();
  ends.push(() => links.close());
  let offered: { url: string; nonce: string } | null = null;
  const relay: PacketSocket = {
    ...hole(),
    send: (packet) => void (packet[0] === PacketType.direct && (offered = decodeDirect(packet) as never)),
  };
  const peer = { session: facts.session, agent: facts.a, key: facts.keyA };
  let hear: (packet: Uint8Array) => void = () => {};
  const direct = await links.connect(peer, 'b', async () => ({ ...relay, listen: (on) => (hear = on) }));
  direct.listen(
    () => {},
    () => {},
  );
  const hello = Uint8Array.of(PacketType.hello, 0, 0);
  hear(hello);
  direct.send(hello);
  await eventually(() => offered !== null, 'an offer');
  const { url, nonce } = offered!;
  const knock = async (identity: Identity, room: string): Promise<string> => {
    const ws = new WebSocket(await socketUrl(url, room, identity));
    return new Promise((resolve) => {
      ws.on('error', () => resolve('refused'));
      ws.on('message', () => {
        resolve('in');
        ws.close();
      });
    });
  };
  const room = `/direct/0:1/${nonce}`;
  const stranger = { ...identityOf(a, facts.a), key: await MachineKey.import(MachineKey.randomSecret()) };
  expect(await knock(stranger, room)).toBe('refused');
  expect(await knock(identityOf(a, facts.a), `/direct/0:2/${nonce}`)).toBe('refused');
  expect(await knock(identityOf(a, facts.a), `/direct/0:1/${hex(new Uint8Array(32))}`)).toBe('refused');
  expect(await knock(identityOf(a, facts.a), room)).toBe('in');
  expect(await knock(identityOf(a, facts.a), room)).toBe('refused');
  // Who listens there must be the peer, too.
  const errors: unknown[] = [];
  const dialler = new DirectLinks(identityOf(a, facts.a), LOCAL, (error) => errors.push(error));
  let hearA: (packet: Uint8Array) => void = () => {};
  const other = { session: facts.session, agent: facts.b, key: facts.keyA };
  const socket = await dialler.connect(other, 'a', async () => ({ ...hole(), listen: (on) => (hearA = on) }));
  socket.listen(
    () => {},
    () => {},
  );
  offered = null;
  hear(encodeError('peer_online', ''));
  hear(hello);
  direct.send(hello);
  await eventually(() => offered !== null, 'another offer');
  hearA(encodeDirect({ kind: 'offer', ...(offered as unknown as { url: string; nonce: string }) }));
  await eventually(() => errors.length > 0, 'a refusal');
  expect(String(errors[0])).toContain('peer_unreachable');
  expect(socket.isDirect).toBe(false);
});

test('only what the owner allows is dialled', () => {
  const of = (dial: string[], url: string): string | null => new DialPolicy(dial).allows(url);
  for (const url of ['ws://10.1.2.3:7402', 'ws://192.168.0.9', 'ws://[fd00::1]:7402', 'wss://172.20.0.1/'])
    expect([url, of(['private'], url) !== null, of([], url)]).toEqual([url, true, null]);
  for (const url of [
    'ws://127.0.0.1:80',
    'ws://[::1]:80',
    'ws://169.254.169.254',
    'ws://8.8.8.8',
    'ws://localhost:80',
    'ws://internal.example:7402',
    'ws://0x7f.1:80',
    'http://10.0.0.1',
    'ws://u:p@10.0.0.1',
    'ws://10.0.0.1/admin',
    'ws://10.0.0.1/?x=1',
    'ws://10.0.0.1:80#x',
    'gopher://10.0.0.1',
    'nonsense',
    '',
  ])
    expect([url, of(['private'], url)]).toEqual([url, null]);
  expect(of(['peer.example:7402'], 'ws://peer.example:7402')).toBe('ws://peer.example:7402');
  expect(of(['peer.example:7402'], 'ws://peer.example:7403')).toBeNull();
  expect(of(['8.8.8.0/24'], 'wss://8.8.8.8')).toBe('wss://8.8.8.8');
  expect(() => new DialPolicy(['10.0.0.0/99'])).toThrow('bad_config');
});
