/**
 * Two real session endpoints and a relay between them, in one world whose every next event is drawn from a seed: a packet
 * arrives, a signature is done, a socket goes, a process dies (its store kept or lost), time passes. No socket, timer or
 * curve is real.
 */
import { Clock, settled, useClock } from './clock.ts';
import { cheapSealing, cheapSignature, work } from './cheap.ts';
import { decodeCallRecord, requestHash } from '../../protocol/call.ts';
import { concat, equal, hex } from '../../protocol/bytes.ts';
import type { Signing } from '../../protocol/eip712.ts';
import {
  type Direction,
  type Half,
  SIGNATURE_BYTES,
  type SignedHalf,
  contradicts,
  covers,
  encodeHalf,
} from '../../protocol/half.ts';
import type { MachineKey } from '../../protocol/keys.ts';
import { leafHash, rootOf, sha } from '../../protocol/log.ts';
import {
  PacketType,
  decodeHello,
  decodeNewest,
  decodeSigned,
  encodeError,
  encodeHalfPacket,
  encodeHello,
  encodeReceiptPacket,
} from '../../protocol/packet.ts';
import { SessionEndpoint } from '../../sidecar/session/endpoint.ts';
import { type DirectionSnapshot, MemoryStore, type SessionStore } from '../../sidecar/session/store.ts';
import type { PacketSocket, Role, SessionFacts } from '../../sidecar/session/types.ts';

export const CREDIT = 6;
export const PRICE = 2;
const DEPOSIT = 1_000_000;

const ROLES: readonly Role[] = ['a', 'b'];
const peerOf = (role: Role): Role => (role === 'a' ? 'b' : 'a');
const earnsOf = (role: Role): Direction => (role === 'a' ? 1 : 0);

const keyOf = (role: Role): MachineKey => {
  const publicKey = new Uint8Array(64).fill(role === 'a' ? 1 : 2);
  const sign = (preimage: Uint8Array): Promise<Uint8Array> => work.take(() => cheapSignature(publicKey, preimage));
  return { publicKey, sign } as unknown as MachineKey;
};
const KEYS: Record<Role, MachineKey> = { a: keyOf('a'), b: keyOf('b') };
const SIGNING = {
  separator: new Uint8Array(32),
  half: encodeHalf,
  pairing: ({ session, party, key, peerKey }: Parameters<Signing['pairing']>[0]) =>
    concat(Uint8Array.of(session & 255, party), key, peerKey),
} as unknown as Signing;
export const FACTS: SessionFacts = {
  session: 256,
  a: 256,
  b: 512,
  keyA: KEYS.a.publicKey,
  keyB: KEYS.b.publicKey,
  depositA: DEPOSIT,
  depositB: DEPOSIT,
  exitDelay: 60,
};

/** Small, fast, and the same everywhere. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed + 1) * 0x9e3779b1;
  }
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
  }
}

/** A process's hold on its store: gone when it dies, which it does by itself when its fuse has burnt. */
class MortalStore implements SessionStore {
  readonly disk: MemoryStore;
  fuse = Infinity;
  dead = false;
  readonly #onMoment: () => void;
  readonly #onDeath: () => void;

  constructor(disk: MemoryStore, onMoment: () => void, onDeath: () => void) {
    this.disk = disk;
    this.#onMoment = onMoment;
    this.#onDeath = onDeath;
  }
  #write(run: () => void): void {
    if (!this.dead) this.#onMoment();
    if (this.dead) return;
    run();
    if ((this.fuse -= 1) <= 0) this.die();
    else this.#onMoment();
  }
  die(): void {
    if (this.dead) return;
    this.dead = true;
    this.#onDeath();
  }
  load(dir: Direction): DirectionSnapshot | null {
    return this.disk.load(dir);
  }
  save(dir: Direction, snapshot: DirectionSnapshot): void {
    this.#write(() => this.disk.save(dir, snapshot));
  }
  append(dir: Direction, from: number, records: readonly Uint8Array[]): void {
    this.#write(() => this.disk.append(dir, from, records));
  }
  records(dir: Direction, from: number, to: number): Uint8Array[] {
    return this.disk.records(dir, from, to);
  }
  count(dir: Direction): number {
    return this.disk.count(dir);
  }
  transaction(run: () => void): void {
    run();
  }
}

/** One socket between a party and the relay: two queues, and an end that each side sees when it has read its queue. */
class Link implements PacketSocket {
  readonly role: Role;
  up: Uint8Array[] = [];
  down: Uint8Array[] = [];
  over = false;
  toldRelay = false;
  toldParty = false;
  /** Hellos its party has still to say: one for each `peer_online`. */
  owes = 0;
  readonly #onMoment: () => void;
  #onPacket: (packet: Uint8Array) => void = () => {};
  #onClose: (reason: string) => void = () => {};

  constructor(role: Role, onMoment: () => void) {
    this.role = role;
    this.#onMoment = onMoment;
  }
  send(packet: Uint8Array): void {
    if (!this.over) this.#onMoment();
    if (this.over) return;
    this.up.push(packet);
    this.#onMoment();
  }
  buffered(): number {
    return 0;
  }
  close(): void {
    this.over = true;
    this.toldParty = true;
    this.down = [];
  }
  listen(onPacket: (packet: Uint8Array) => void, onClose: (reason: string) => void): void {
    this.#onPacket = onPacket;
    this.#onClose = onClose;
  }
  /** The party hears the next packet, or that the socket is gone. */
  hear(): void {
    const packet = this.down.shift();
    if (packet !== undefined) this.#onPacket(packet);
    else {
      this.toldParty = true;
      this.#onClose('cut');
    }
  }
  /** Lost, with what of both queues was still on its way. */
  cut(random: Random): void {
    this.over = true;
    this.up.length = random.below(this.up.length + 1);
    this.down.length = random.below(this.down.length + 1);
  }
}

/** A new pairing hides what was refused in the one before. */
const COSTS_A_SOCKET = new Set(['bad_signature', 'malformed', 'overloaded']);

const MONEY = new Set<number>([PacketType.half, PacketType.receipt]);

/** What durable/session.ts does, without a runtime. */
class Relay {
  readonly current: Record<Role, Link | null> = { a: null, b: null };
  readonly halves: [SignedHalf | null, SignedHalf | null] = [null, null];
  /** Every half that ever came, by direction: any two of them must agree. */
  readonly seen: [Map<string, Half>, Map<string, Half>] = [new Map(), new Map()];
  refused = 0;
  /** Halves of the packet that had most. */
  most = 0;

  join(link: Link): void {
    this.current[link.role] = link;
    const halves = this.halves.filter((signed) => signed !== null);
    if (halves.length > 0) link.down.push(encodeHello({ halves, credit: 0 }));
    this.repeat(link);
    const peer = this.current[peerOf(link.role)];
    if (peer === null) link.down.push(encodeError('peer_offline', ''));
    else
      for (const each of [peer, link]) {
        each.owes += 1;
        each.down.push(encodeError('peer_online', ''));
      }
  }

  /** What the party may have missed, once more. */
  repeat(link: Link): void {
    const earns = this.halves[earnsOf(link.role)];
    const pays = this.halves[1 - earnsOf(link.role)];
    if (earns !== null && earns.payee === undefined) link.down.push(encodeHalfPacket(earns.half, earns.payer));
    if (pays?.payee !== undefined) link.down.push(encodeReceiptPacket(pays.half, pays.payee));
  }

  take(link: Link): void {
    if (link.up.length === 0) {
      link.toldRelay = true;
      if (this.current[link.role] !== link) return;
      this.current[link.role] = null;
      this.current[peerOf(link.role)]?.down.push(encodeError('peer_offline', ''));
      return;
    }
    const packet = link.up.shift()!;
    if (this.current[link.role] !== link) return;
    if (packet[0] === PacketType.half) {
      const { half, signature } = decodeNewest(packet);
      const all = halvesOf(packet);
      this.most = Math.max(this.most, all.length);
      for (const each of all) this.seen[each.dir].set(hex(encodeHalf(each)), each);
      if (!this.#keep({ half, payer: signature })) {
        link.down.push(encodeError('stale_half', ''));
        return;
      }
    } else if (packet[0] === PacketType.receipt) {
      const { half, signature } = decodeSigned(packet);
      const known = this.halves[half.dir];
      if (known !== null && equal(encodeHalf(known.half), encodeHalf(half)))
        this.halves[half.dir] = { ...known, payee: signature };
      else if (known === null || half.seq > known.half.seq) return;
    } else if (packet[0] === PacketType.hello) {
      link.owes -= 1;
      for (const signed of decodeHello(packet).halves) {
        this.seen[signed.half.dir].set(hex(encodeHalf(signed.half)), signed.half);
        const known = this.halves[signed.half.dir];
        if (known === null || signed.half.seq > known.half.seq) this.#keep(signed);
        else if (signed.payee !== undefined && signed.half.seq === known.half.seq)
          this.halves[signed.half.dir] = { ...known, payee: signed.payee };
      }
    }
    // Of an older pairing: its peer is in a newer one.
    if (link.owes > 0 && !MONEY.has(packet[0])) return;
    this.current[peerOf(link.role)]?.down.push(packet);
  }

  #keep(signed: SignedHalf): boolean {
    const { half } = signed;
    const known = this.halves[half.dir]?.half;
    if (known !== undefined) {
      if (equal(encodeHalf(known), encodeHalf(half))) return true;
      if (half.seq === known.seq || !covers(half, known)) {
        this.refused += 1;
        return false;
      }
    }
    this.halves[half.dir] = signed;
    return true;
  }
}

/** All halves of a packet. */
function halvesOf(packet: Uint8Array): Half[] {
  const each = encodeHalfPacket(decodeNewest(packet).half, new Uint8Array(SIGNATURE_BYTES)).length - 1;
  return Array.from({ length: (packet.length - 1) / each }, (_, i) => {
    const at = 1 + i * each;
    return decodeSigned(concat(packet.subarray(0, 1), packet.subarray(at, at + each))).half;
  });
}

class Side {
  readonly role: Role;
  readonly world: World;
  store: MortalStore;
  endpoint: SessionEndpoint;
  link: Link | null = null;
  /** Request hashes of the calls made, and the units of goods that left. */
  readonly asked = new Set<string>();
  served = 0;
  crashes = 0;
  losses = 0;
  /** Just before and just after each of its writes and packets, counted; it dies at one of them. */
  moments = 0;
  diesAt = Infinity;
  readonly errors: string[] = [];
  #calls = 0;

  constructor(role: Role, world: World) {
    this.role = role;
    this.world = world;
    [this.store, this.endpoint] = this.#begin(new MemoryStore());
  }

  #begin(disk: MemoryStore): [MortalStore, SessionEndpoint] {
    const store = new MortalStore(disk, this.#moment, () => {
      this.crashes += 1;
      this.link?.cut(this.world.random);
    });
    const endpoint = new SessionEndpoint({
      facts: FACTS,
      role: this.role,
      key: KEYS[this.role],
      signing: SIGNING,
      sealing: cheapSealing,
      store,
      credit: CREDIT,
      peerWaitMs: 300,
      windowMs: 2,
      windowCalls: this.world.windowCalls,
      quote: () => PRICE,
      onError: (error) => this.errors.push(error.code),
      handler: async (request) => {
        for await (const _ of request.body);
        await this.world.after(() => undefined);
        return { status: 200, headers: [], body: this.#goods() };
      },
    });
    return [store, endpoint];
  }

  readonly #moment = (): void => {
    if ((this.moments += 1) === this.diesAt) this.store.die();
  };

  async *#goods(): AsyncGenerator<Uint8Array> {
    // The head has left: from here on the peer has something of this side.
    this.served += PRICE;
    yield Uint8Array.of(1);
    await this.world.after(() => undefined);
    yield Uint8Array.of(2);
  }

  connect(): void {
    this.link = new Link(this.role, this.#moment);
    this.world.links.push(this.link);
    this.world.relay.join(this.link);
    void this.endpoint.attach(this.link);
  }

  get isConnected(): boolean {
    return this.link !== null && !this.link.toldParty;
  }

  /** The process is gone; another begins with what the disk has. */
  restart(lost: boolean): void {
    this.store.die();
    this.endpoint.close();
    if (this.link !== null) this.link.toldParty = true;
    if (lost) this.losses += 1;
    [this.store, this.endpoint] = this.#begin(lost ? new MemoryStore() : this.store.disk);
  }

  call(): void {
    const target = `/${this.role}/${this.#calls++}`;
    this.asked.add(hex(requestHash('POST', target, sha(Uint8Array.of(7)))));
    const endpoint = this.endpoint;
    const body = async function* (): AsyncGenerator<Uint8Array> {
      yield Uint8Array.of(7);
    };
    const { signal } = new AbortController();
    this.world.calls += 1;
    endpoint
      .call({ method: 'POST', target, headers: [], body: body(), signal }, { maxPrice: PRICE })
      .then(async ({ response }) => {
        for await (const _ of response.body);
        this.world.answered += 1;
      })
      .catch(() => {})
      .finally(() => (this.world.calls -= 1));
  }
}

/** What may be asked of a world besides letting it run. */
export type Fault = 'cut' | 'crash' | 'lose' | 'fuse' | 'repeat' | 'replace';
export const FAULTS: readonly Fault[] = ['cut', 'crash', 'lose', 'fuse', 'repeat', 'replace'];

export class World {
  readonly clock = new Clock();
  readonly random: Random;
  readonly relay = new Relay();
  links: Link[] = [];
  readonly sides: Record<Role, Side>;
  /** Calls a half covers at most. */
  readonly windowCalls: number | undefined;
  events = 0;
  calls = 0;
  answered = 0;
  #jobs: (() => void)[] = [];

  constructor(seed: number, windowCalls?: number) {
    this.random = new Random(seed);
    this.windowCalls = windowCalls;
    useClock(this.clock);
    work.take = (run) => this.after(run);
    this.sides = { a: new Side('a', this), b: new Side('b', this) };
  }

  /** `run`, at a moment of the world's choice. */
  after<T>(run: () => T): Promise<T> {
    return new Promise((resolve) => this.#jobs.push(() => resolve(run())));
  }

  /** One event, drawn from all that may be next. Time passes at random; if patient, only when nothing else is left. */
  async step(patient = false): Promise<boolean> {
    const { random, clock } = this;
    const next: (() => void)[] = [];
    for (const side of [this.sides.a, this.sides.b]) {
      if (side.store.dead) next.push(() => side.restart(false));
      else if (!side.isConnected) next.push(() => side.connect());
    }
    this.links = this.links.filter((link) => !(link.toldParty && link.toldRelay));
    for (const link of this.links) {
      if (!link.toldRelay && (link.up.length > 0 || link.over)) next.push(() => this.relay.take(link));
      if (!link.toldParty && (link.down.length > 0 || link.over)) next.push(() => link.hear());
    }
    for (let at = 0; at < this.#jobs.length; at++) next.push(() => this.#jobs.splice(at, 1)[0]());
    if (clock.turn.length > 0)
      next.push(() => {
        for (const run of clock.turn.splice(0)) run();
      });
    const quiet = next.length === 0;
    if (clock.timers > 0 && (patient ? quiet : !quiet && random.below(12) === 0)) next.push(() => clock.ring());
    if (next.length === 0) return false;
    this.events += 1;
    next[random.below(next.length)]();
    await settled();
    return true;
  }

  async steps(n: number): Promise<void> {
    for (let i = 0; i < n && (await this.step()); i++);
  }

  fault(kind: Fault, role: Role): void {
    const side = this.sides[role];
    if (side.store.dead) return;
    if (kind === 'cut') side.link?.cut(this.random);
    else if (kind === 'crash') side.restart(false);
    else if (kind === 'lose') side.restart(true);
    else if (kind === 'fuse') side.store.fuse = 1 + this.random.below(5);
    else if (kind === 'replace') side.connect();
    else if (this.relay.current[role] !== null) this.relay.repeat(this.relay.current[role]);
  }

  /** Nothing goes wrong any more: everything that can still happen does. Whether both sides then signed and agreed. */
  async heal(): Promise<boolean> {
    const { a, b } = this.sides;
    a.store.fuse = b.store.fuse = Infinity;
    const up = new Set(['ready', 'stopped']);
    const ready = (): boolean => [a, b].every(({ endpoint, store }) => !store.dead && up.has(endpoint.state));
    for (let i = 0; i < 5000 && !(ready() && this.calls === 0); i++) if (!(await this.step(true))) break;
    let drained: boolean | null = null;
    Promise.all([a.endpoint.drain(1500), b.endpoint.drain(1500)]).then(
      () => (drained = true),
      () => (drained = false),
    );
    await settled();
    for (let i = 0; i < 20_000 && drained === null; i++) if (!(await this.step(true))) break;
    return drained === true;
  }

  end(): void {
    for (const role of ROLES) this.sides[role].endpoint.close();
    useClock(null);
  }

  /** The first of the promises of docs/protocol.md §8 that this world broke, in words. */
  broken(drained: boolean): string | null {
    const { a, b } = this.sides;
    const crashes = a.crashes + b.crashes;
    const losses = a.losses + b.losses;
    for (const payee of [a, b]) {
      const payer = this.sides[peerOf(payee.role)];
      const dir = earnsOf(payee.role);
      const paid = payee.endpoint.halves().earns?.half.paid ?? 0;
      if (payee.served - paid > CREDIT * (1 + crashes))
        return `${payee.role} served ${payee.served} and has ${paid}, after ${crashes} crashes`;
      if (paid > payer.asked.size * PRICE) return `${payer.role} pays ${paid} for ${payer.asked.size} calls`;
      const conflict = conflicting([...this.relay.seen[dir].values()]);
      if (conflict !== null) return `${payer.role} signed ${conflict}`;
      for (const side of [payer, payee]) {
        const wrong = this.#wrongBooks(side, dir, payer);
        if (wrong !== null) return `books of ${side.role}: ${wrong}`;
      }
      const [pays, earns] = [payer.endpoint.halves().pays, payee.endpoint.halves().earns];
      if (drained && (pays === null) !== (earns === null)) return 'one of them knows of a half';
      if (drained && pays && earns && !equal(encodeHalf(pays.half), encodeHalf(earns.half))) return 'they disagree';
    }
    const dropped = [a, b].flatMap(({ errors }) => errors.find((code) => COSTS_A_SOCKET.has(code)) ?? []);
    if (dropped.length > 0) return `an honest party lost its socket for ${dropped[0]}`;
    if (this.relay.refused > 0) return 'the relay refused a half of an honest party';
    const stopped = [a, b].flatMap(({ endpoint }) => (endpoint.error === null ? [] : [endpoint.error]));
    // Only who forgot may refuse what it can't check; and what both forgot, nobody has: all of it, or the last calls in a crash.
    const mayStop = (code: string): boolean =>
      code === 'record_rejected' || losses > 1 || (code === 'records_lost' && losses > 0 && crashes > 1);
    if (stopped.some(({ code }) => !mayStop(code))) return `stopped: ${stopped[0].message}`;
    if (stopped.length > 0 && crashes === 0) return `stopped without a crash: ${stopped[0].message}`;
    if (!drained && stopped.length === 0 && losses < 2)
      return `not drained: ${JSON.stringify([a, b].map((s) => [s.endpoint.state, s.endpoint.unsigned, s.endpoint.inFlight, s.errors, seqs(s.endpoint)]))}`;
    return null;
  }

  /** Records in order, each of a call that was made, none twice, and halves over exactly them. */
  #wrongBooks(side: Side, dir: Direction, payer: Side): string | null {
    const { disk } = side.store;
    const records = disk.records(dir, 0, disk.count(dir));
    const hashes = new Set<string>();
    let sum = 0;
    const sums = [0];
    for (const [index, bytes] of records.entries()) {
      const record = decodeCallRecord(bytes);
      const hash = hex(record.requestHash);
      if (record.index !== index) return `record ${record.index} at ${index}`;
      if (hashes.has(hash)) return `call ${index} twice`;
      if (!payer.asked.has(hash)) return `call ${index} was never made`;
      hashes.add(hash);
      sums.push((sum += record.price));
    }
    const snapshot = disk.load(dir);
    for (const signed of [snapshot?.half, snapshot?.receipt]) {
      if (!signed || signed.half.calls > records.length) continue;
      const { calls, paid, root } = signed.half;
      if (paid !== sums[calls]) return `half of ${paid}, ${calls} calls cost ${sums[calls]}`;
      const leaves = records.slice(0, calls).map((record) => leafHash(sha, record));
      if (!equal(rootOf(sha, leaves), root)) return `another root over ${calls} calls`;
    }
    return null;
  }
}

/** Two halves that would have their payer slashed. */
function conflicting(halves: readonly Half[]): string | null {
  for (const [at, x] of halves.entries())
    for (const y of halves.slice(at + 1)) {
      if (contradicts(x, y)) return x.seq === y.seq ? `two halves number ${x.seq}` : `two roots over ${x.calls} calls`;
    }
  return null;
}

/** Newest halves and receipts, by number. */
const seqs = (endpoint: SessionEndpoint): unknown => {
  const { pays, earns, receipts } = endpoint.halves();
  return [pays, receipts.pays, earns, receipts.earns].map((signed) => signed?.half.seq);
};
