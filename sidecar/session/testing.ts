/** Test help: two endpoints and the relay between them, all in memory. */
import { Signing } from '../../protocol/eip712.ts';
import { codeOf } from '../../protocol/errors.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { PacketType, encodeError } from '../../protocol/packet.ts';
import { type Sealing, platformSealing } from '../../protocol/seal.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { SessionEndpoint } from './endpoint.ts';
import { type SessionStore, memoryStore } from './store.ts';
import type { EndpointOptions, PacketSocket, Role, SessionFacts } from './types.ts';

export const signing = new Signing({ chainId: 31337, root: '0x00000000000000000000000000000000000000aa' });

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

export async function* body(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

export const request = (
  method: string,
  target: string,
  chunks: AsyncIterable<Uint8Array> | string = '',
  signal?: AbortSignal,
): ExchangeRequest => ({
  method,
  target,
  headers: [['content-type', 'text/plain']],
  body: typeof chunks === 'string' ? body(...(chunks ? [bytesOf(chunks)] : [])) : chunks,
  signal: signal ?? new AbortController().signal,
});

export async function collect(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part);
  return Uint8Array.from(Buffer.concat(parts));
}

export const text = async (response: ExchangeResponse): Promise<string> =>
  new TextDecoder().decode(await collect(response.body));

/** The code of what it rejects with; `none` when it does not. */
export const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'none', codeOf);

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Makes so many calls at once to a peer that answers what it was sent, and waits for their records. */
export async function go(from: SessionEndpoint, calls: number, maxPrice = 2): Promise<void> {
  await Promise.all(
    Array.from({ length: calls }, async (_, i) => {
      const { response, record } = await from.call(request('POST', `/call/${i}`, `body ${i}`), { maxPrice });
      const answer = await text(response);
      if (answer !== `body ${i}`) throw new Error(`call ${i} was answered ${answer}`);
      await record;
    }),
  );
}

/** For what has no event of its own. */
export async function until(reached: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !reached(); await new Promise((resolve) => setTimeout(resolve, 1)))
    if (Date.now() > end) throw new Error('never');
}

interface End {
  packet(packet: Uint8Array): void;
  close(reason: string): void;
  /** Hellos it has been asked for and not said; until then what it says is of an older pairing. */
  owes: number;
}

/** Seals nothing: for tests whose hostile party is the peer itself, which may say in its own calls what it likes. */
export const openSealing: Sealing = {
  pairingKey: () => platformSealing.pairingKey(),
  seal: (_key, _nonce, packet) => packet,
  open: (_key, _nonce, packet) => packet,
};

type Tap = (from: Role, packet: Uint8Array) => Uint8Array | null;

/** A relay in memory: order kept, presence told, packets passed to `tap` which may change or lose them. */
export class Pipe {
  #ends: Partial<Record<Role, End>> = {};
  tap: Tap = (_, packet) => packet;
  packets = 0;
  bytes = 0;

  socket(role: Role): PacketSocket {
    const other: Role = role === 'a' ? 'b' : 'a';
    let open = true;
    let self: End | undefined;
    return {
      send: (packet) => {
        if (!open) return;
        const passed = this.tap(role, packet);
        this.packets += 1;
        this.bytes += packet.length;
        if (passed === null || self === undefined || this.#ends[role] !== self) return;
        const from = self;
        if (packet[0] === PacketType.hello) from.owes -= 1;
        if (from.owes > 0 && packet[0] !== PacketType.half && packet[0] !== PacketType.receipt) return;
        this.#tell(other, passed, () => this.#ends[role] === from);
      },
      buffered: () => 0,
      close: () => {
        open = false;
        if (this.#ends[role] === self) this.cut(role);
      },
      listen: (packet, close) => {
        self = { packet, close, owes: 0 };
        this.#ends[role] = self;
        if (this.#ends[other] === undefined) return;
        for (const each of [role, other]) {
          this.#ends[each]!.owes += 1;
          this.#tell(each, encodeError('peer_online', 'both parties are connected'));
        }
      },
    };
  }

  /** In its turn, to the end that is there now: one that comes meanwhile gets nothing of what was said before it. */
  #tell(role: Role, packet: Uint8Array, still: () => boolean = () => true): void {
    const end = this.#ends[role];
    setImmediate(() => {
      if (end !== undefined && this.#ends[role] === end && still()) end.packet(packet);
    });
  }

  /** A packet as if `from` had sent it, or to the side named. */
  inject(from: Role, packet: Uint8Array, to: Role = from === 'a' ? 'b' : 'a'): void {
    const passed = to === from ? packet : this.tap(from, packet);
    if (passed !== null) this.#ends[to]?.packet(passed);
  }

  /** A side's process dies: it hears nothing any more, and nothing it still says arrives. */
  kill(role: Role): void {
    delete this.#ends[role];
    this.#tell(role === 'a' ? 'b' : 'a', encodeError('peer_offline', 'the other party left'));
  }

  /** Loses one side's socket. */
  cut(role: Role): void {
    const end = this.#ends[role];
    delete this.#ends[role];
    end?.close('cut');
    this.#tell(role === 'a' ? 'b' : 'a', encodeError('peer_offline', 'the other party left'));
  }
}

/** From when it is held, signs when told to. */
export function slowKey(key: MachineKey): { key: MachineKey; signed: () => number; hold: () => void; go: () => void } {
  let wake: () => void = () => {};
  let count = 0;
  let open = true;
  const slow = {
    publicKey: key.publicKey,
    async sign(preimage: Uint8Array): Promise<Uint8Array> {
      count += 1;
      if (!open) await new Promise<void>((resolve) => (wake = resolve));
      return key.sign(preimage);
    },
  };
  return {
    key: slow as unknown as MachineKey,
    signed: () => count,
    hold: () => {
      open = false;
      count = 0;
    },
    go: () => {
      open = true;
      wake();
    },
  };
}

export interface Party {
  key: MachineKey;
  store: SessionStore;
}

export async function parties(): Promise<{ a: Party; b: Party; facts: SessionFacts }> {
  const [keyA, keyB] = await Promise.all([
    MachineKey.import(MachineKey.randomSecret()),
    MachineKey.import(MachineKey.randomSecret()),
  ]);
  return {
    a: { key: keyA, store: memoryStore() },
    b: { key: keyB, store: memoryStore() },
    facts: {
      session: 256,
      a: 256,
      b: 512,
      keyA: keyA.publicKey,
      keyB: keyB.publicKey,
      depositA: 1_000_000,
      depositB: 1_000_000,
      exitDelay: 60,
    },
  };
}

export type Extra = Partial<Omit<EndpointOptions, 'key' | 'store' | 'role' | 'signing'>>;

export const endpoint = (role: Role, party: Party, facts: SessionFacts, extra: Extra = {}): SessionEndpoint =>
  new SessionEndpoint({
    facts,
    role,
    key: party.key,
    signing,
    sealing: openSealing,
    store: party.store,
    credit: 1_000,
    handler: async (req) => {
      const got = await collect(req.body);
      return { status: 200, headers: [['x-target', req.target]], body: body(got) };
    },
    quote: () => 2,
    ...extra,
  });

/** Two connected endpoints. */
export async function pair(extraA: Extra = {}, extraB: Extra = {}) {
  const { a, b, facts } = await parties();
  const pipe = new Pipe();
  const left = endpoint('a', a, facts, extraA);
  const right = endpoint('b', b, facts, extraB);
  void left.attach(pipe.socket('a'));
  void right.attach(pipe.socket('b'));
  return { a, b, facts, pipe, left, right };
}
