/** Pairs of sessions for the bench: opened by Core, connected through the relay in workerd; the payees run in a thread of their own. */
import { once } from 'node:events';
import { Worker as Thread } from 'node:worker_threads';
import { fromUtf8 } from '../../protocol/bytes.ts';
import { signBundle } from '../../protocol/bundle.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { PacketType, encodeHello, sessionRoom } from '../../protocol/packet.ts';
import { formatId } from '../../protocol/ids.ts';
import { sleep } from '../../local/process.ts';
import { dial } from '../../sidecar/dial.ts';
import type { SessionEndpoint, SessionFacts } from '../../sidecar/session/index.ts';
import { Isolate } from './isolate.ts';
import { type EndOptions, callOnce, connectEnd, held } from './session-end.ts';
import { type BenchStack, packBundles } from './stack.ts';
import { slope } from './suite.ts';

/** Of one pair: enough that each side has work while the other's packet is on its way. */
export const IN_FLIGHT = 1024;
const DEPOSIT = 1_000_000_000;
/** Idle sessions, so many times that many, and how long until their objects sleep. */
const IDLE = 100;
const IDLE_STEPS = 5;
const IDLE_DEPOSIT = 1_000;
const ASLEEP_MS = 15_000;

export interface Pair {
  readonly caller: SessionEndpoint;
}

export class Bench {
  readonly #stack: BenchStack;
  readonly #secrets: readonly Uint8Array[];
  readonly #callee: Thread;

  constructor(stack: BenchStack, secrets: readonly Uint8Array[]) {
    this.#stack = stack;
    this.#secrets = secrets;
    this.#callee = new Thread(new URL('session-callee.ts', import.meta.url));
  }

  /** Opens sessions between the two agents by Core, as a sidecar would. */
  async open(count: number, deposit = DEPOSIT): Promise<SessionFacts[]> {
    const [a, b] = this.#stack.agents;
    const interactions = Array.from({ length: count }, (): Interaction => ({
      op: 'open',
      peer: b.id,
      deposit,
      exitDelay: 3600,
    }));
    const expiry = Math.floor(Date.now() / 1000) + 60;
    const frame = await signBundle(a.key, this.#stack.signing, { actor: a.id, nonce: a.nonce++, expiry }, interactions);
    const response = await fetch(`${this.#stack.url}/bundles`, {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.agnt2.bundles' },
      body: packBundles([frame]) as BodyInit,
    });
    const { results } = (await response.json()) as {
      results: { receipt: { outcomes: { status: string; value: string }[] } }[];
    };
    return results[0].receipt.outcomes.slice(1).map(({ status, value }) => {
      if (status !== 'ok') throw new Error(`a session was not opened: ${status}`);
      return {
        session: Number(value),
        a: a.id,
        b: b.id,
        keyA: a.key.publicKey,
        keyB: b.key.publicKey,
        depositA: deposit,
        depositB: 0,
        exitDelay: 3600,
      };
    });
  }

  /** Connected pairs over fresh sessions. */
  async pairs(count: number, extra: Partial<EndOptions> = {}, deposit = DEPOSIT): Promise<Pair[]> {
    const { url, agents, domain } = this.#stack;
    const sessions: SessionFacts[] = [];
    while (sessions.length < count)
      sessions.push(...(await this.open(Math.min(count - sessions.length, 200), deposit)));
    const end = (role: 'a' | 'b', facts: SessionFacts): EndOptions => ({
      url,
      domain,
      role,
      agent: agents[role === 'a' ? 0 : 1].id,
      secret: this.#secrets[role === 'a' ? 0 : 1],
      facts,
      ...extra,
    });
    this.#callee.postMessage(sessions.map((facts) => end('b', facts)));
    await once(this.#callee, 'message');
    const callers = await Promise.all(sessions.map((facts) => connectEnd(end('a', facts))));
    await Promise.all(callers.map(callOnce));
    return callers.map((caller) => ({ caller }));
  }

  async release(pairs: readonly Pair[]): Promise<void> {
    for (const { caller } of pairs) {
      await caller.drain();
      caller.close();
    }
    this.#callee.postMessage('close');
    await once(this.#callee, 'message');
  }

  async stop(): Promise<void> {
    await this.#callee.terminate();
  }

  /**
   * KiB that one more idle session takes once its object sleeps: of JavaScript in a sidecar, of JavaScript in the relay's isolate, and of all memory of
   * workerd. Slopes over growing numbers of sessions: what the first ones made a runtime allocate for good is not an idle session's.
   */
  async idle(): Promise<{ sidecar: number; relay: number; relayProcess: number }> {
    const isolate = await Isolate.connect();
    const steps: { sidecar: number; relay: number; relayProcess: number }[] = [];
    const all: Pair[] = [];
    try {
      while (steps.length < IDLE_STEPS) {
        all.push(...(await this.pairs(IDLE, {}, IDLE_DEPOSIT)));
        await sleep(ASLEEP_MS);
        const { used, embedder, buffers, wasm } = await isolate.collected();
        steps.push({
          sidecar: held(),
          // Without the room in the heap's pages, which comes and goes by more than all of them take.
          relay: used + embedder + buffers + wasm,
          relayProcess: this.#stack.memoryBytes(),
        });
      }
      await this.release(all);
    } finally {
      isolate.close();
    }
    const each = (what: keyof (typeof steps)[number]): number => slope(steps.map((step) => step[what])) / IDLE / 1024;
    return { sidecar: each('sidecar'), relay: each('relay'), relayProcess: each('relayProcess') };
  }

  /**
   * Frames of this size that one relay passes between two bare sockets, with as many in flight: how many a second, and
   * microseconds of the relay's CPU for each.
   */
  async bareFrames(bytes: number, inFlight: number, seconds: number): Promise<{ rate: number; relayMicros: number }> {
    const [facts] = await this.open(1);
    const room = sessionRoom(formatId(facts.session));
    const { agents, signing, url } = this.#stack;
    const sockets = await Promise.all(
      [0, 1].map((i) => dial(url, room, { agent: agents[i].id, key: agents[i].key, signing })),
    );
    const packet = new Uint8Array(Math.max(bytes, 1));
    packet[0] = PacketType.calls;
    let echoed = 0;
    let running = true;
    // Each says hello when the other is there: before that the relay passes no calls.
    const met = sockets.map(
      (socket, i) =>
        new Promise<void>((resolve) => {
          socket.listen(
            (data) => {
              if (data[0] === PacketType.error && fromUtf8(data.subarray(1)).includes('peer_online')) {
                socket.send(encodeHello({ halves: [], credit: 0 }));
                resolve();
              }
              if (data[0] !== PacketType.calls || !running) return;
              if (i === 0) echoed += 1;
              socket.send(packet);
            },
            () => {},
          );
        }),
    );
    await Promise.all(met);
    const start = performance.now();
    const cpu = this.#stack.cpuMicros();
    for (let i = 0; i < inFlight; i++) sockets[0].send(packet);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    running = false;
    const rate = (2 * echoed) / ((performance.now() - start) / 1000);
    const relayMicros = (this.#stack.cpuMicros() - cpu) / (2 * echoed);
    for (const socket of sockets) socket.close('done');
    return { rate, relayMicros };
  }
}

/** Calls a second over all pairs, each with so many in flight. */
export async function saturate(pairs: readonly Pair[], callsPerPair: number, inFlight = IN_FLIGHT): Promise<number> {
  const start = performance.now();
  await Promise.all(
    pairs.map(async ({ caller }) => {
      let left = callsPerPair;
      await Promise.all(
        Array.from({ length: Math.min(inFlight, callsPerPair) }, async () => {
          while (left-- > 0) await callOnce(caller);
        }),
      );
    }),
  );
  return (pairs.length * callsPerPair) / ((performance.now() - start) / 1000);
}

export interface Cost {
  /** Calls a second. */
  readonly rate: number;
  /** Microseconds of CPU of all processes for a call: both ends and workerd. */
  readonly micros: number;
}

/**
 * What a call costs while each of the pairs has so many in flight, over so many calls of all: not at the beginning, where they all start at once, nor
 * at the end, where fewer and fewer are left.
 */
export async function costOf(
  stack: BenchStack,
  pairs: readonly Pair[],
  calls: number,
  inFlight: number,
): Promise<Cost> {
  const look = () => {
    const { user, system } = process.cpuUsage();
    return { ms: performance.now(), micros: user + system + stack.cpuMicros() };
  };
  const first = 2 * pairs.length * inFlight;
  let [begin, end] = [look(), look()];
  let made = 0;
  await Promise.all(
    pairs.flatMap(({ caller }) =>
      Array.from({ length: inFlight }, async () => {
        while (made < first + calls) {
          await callOnce(caller);
          made += 1;
          if (made === first) begin = look();
          if (made === first + calls) end = look();
        }
      }),
    ),
  );
  return { rate: (1000 * calls) / (end.ms - begin.ms), micros: (end.micros - begin.micros) / calls };
}
