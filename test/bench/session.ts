/**
 * Sessions for real: both endpoints with their stores on disk, through the Session object in workerd. 256-byte requests and responses, halves signed by
 * window; the payees run in a thread of their own, everything on this machine.
 */
import { once } from 'node:events';
import { Worker as Thread } from 'node:worker_threads';
import { fromUtf8 } from '../../protocol/bytes.ts';
import { signBundle } from '../../protocol/bundle.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { PacketType, encodeHello, sessionRoom } from '../../protocol/packet.ts';
import { formatId } from '../../protocol/ids.ts';
import { sleep } from '../../local/process.ts';
import { dial } from '../../sidecar/dial.ts';
import type { SessionEndpoint, SessionFacts } from '../../sidecar/session/index.ts';
import { Isolate, totalOf } from './isolate.ts';
import { type EndOptions, callOnce, connectEnd, held } from './session-end.ts';
import { type BenchStack, benchStack, packBundles } from './stack.ts';
import { type Suite, median, percentile } from './suite.ts';
import { x402Note, x402Rates } from './x402.ts';

const ROUNDS = 5;
/** Of one pair: enough that each side has work while the other's packet is on its way. */
const IN_FLIGHT = 1024;
const DEPOSIT = 1_000_000_000;
/** Idle sessions twice, and how long until their objects sleep. */
const IDLE = 200;
const IDLE_DEPOSIT = 1_000;
const ASLEEP_MS = 15_000;

interface Pair {
  readonly caller: SessionEndpoint;
}

class Bench {
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

  /** KiB that one more idle session takes: of JavaScript in a sidecar, and in the relay's isolate once its object sleeps. */
  async idle(): Promise<{ sidecar: number; relay: number }> {
    const isolate = await Isolate.connect();
    try {
      const first = await this.pairs(IDLE, {}, IDLE_DEPOSIT);
      await sleep(ASLEEP_MS);
      const [ours, theirs] = [held(), totalOf(await isolate.collected())];
      // What the first ones made the runtime allocate for good is not an idle session's.
      const more = await this.pairs(IDLE, {}, IDLE_DEPOSIT);
      await sleep(ASLEEP_MS);
      const idle = {
        sidecar: Math.max(0, held() - ours) / IDLE / 1024,
        relay: Math.max(0, totalOf(await isolate.collected()) - theirs) / IDLE / 1024,
      };
      await this.release([...first, ...more]);
      return idle;
    } finally {
      isolate.close();
    }
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
async function saturate(pairs: readonly Pair[], callsPerPair: number, inFlight = IN_FLIGHT): Promise<number> {
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

/** Milliseconds from when each call was due, at a steady rate. */
async function steady(caller: SessionEndpoint, callsPerSecond: number, seconds: number): Promise<number[]> {
  const out: number[] = [];
  const calls: Promise<void>[] = [];
  const start = performance.now();
  for (let i = 0; i < callsPerSecond * seconds; i++) {
    const due = start + (i * 1000) / callsPerSecond;
    const wait = due - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    calls.push(callOnce(caller).then(() => void out.push(performance.now() - due)));
  }
  await Promise.all(calls);
  return out;
}

export const suite: Suite = {
  name: 'session',
  async run(progress) {
    progress('starting L1 and workerd');
    const secrets = [MachineKey.randomSecret(), MachineKey.randomSecret()];
    const stack = await benchStack(2, secrets);
    const bench = new Bench(stack, secrets);
    try {
      const one = await bench.pairs(1);
      const { caller } = one[0];
      await saturate(one, 5_000);
      const rates: number[] = [];
      const before = { ...caller.counters };
      const [cpu, relayCpu] = [process.cpuUsage(), stack.cpuMicros()];
      for (let round = 0; round < ROUNDS; round++) {
        rates.push(await saturate(one, 10_000));
        progress(`one pair, round ${round + 1}: ${Math.round(rates.at(-1)!)} calls/s`);
      }
      const after = { ...caller.counters };
      const relayMicros = stack.cpuMicros() - relayCpu;
      const { user, system } = process.cpuUsage(cpu);
      const packets = after.packetsOut - before.packetsOut + after.packetsIn - before.packetsIn;
      const bytes = after.bytesOut - before.bytesOut + after.bytesIn - before.bytesIn;
      const calls = after.callsOut - before.callsOut;
      const waits = await steady(caller, 1000, 5);
      await bench.release(one);
      progress('40 ms of emulated round trip');
      const far = await bench.pairs(1, { delayMs: 20 });
      const farWaits = await steady(far[0].caller, 200, 4);
      await bench.release(far);
      progress('over links of their own');
      const linked = await bench.pairs(1, { direct: true });
      await saturate(linked, 2_000);
      const relayed = linked[0].caller.counters.windowsOut;
      const direct: number[] = [];
      for (let round = 0; round < 3; round++) direct.push(await saturate(linked, 10_000));
      progress(
        `over a link: ${Math.round(median(direct))} calls/s, ${linked[0].caller.counters.windowsOut - relayed} halves`,
      );
      await bench.release(linked);
      progress('a signature per call');
      const strict = await bench.pairs(1, { windowCalls: 1 });
      const perCall: number[] = [];
      for (let round = 0; round < 3; round++) {
        // Until the last of them is signed, and its receipt is here.
        const start = performance.now();
        await saturate(strict, 2_000);
        await strict[0].caller.flush();
        perCall.push(2_000 / ((performance.now() - start) / 1000));
      }
      await bench.release(strict);
      const aggregate: Record<number, number> = { 1: median(rates) };
      for (const count of [8, 64]) {
        const many = await bench.pairs(count);
        await saturate(many, 100);
        const rounds: number[] = [];
        for (let round = 0; round < 3; round++) rounds.push(await saturate(many, Math.ceil(20_000 / count), 32));
        aggregate[count] = median(rounds);
        progress(`${count} pairs: ${Math.round(aggregate[count])} calls/s`);
        await bench.release(many);
      }
      const bare = await bench.bareFrames(
        Math.round(bytes / packets),
        Math.max(2, Math.round((IN_FLIGHT * packets) / calls / 2)),
        4,
      );
      progress('idle sessions');
      const idle = await bench.idle();
      progress('the official x402 packages');
      const x402 = await x402Rates(stack.l1, progress);
      const rate = typeof x402 === 'string' ? null : x402;
      return {
        metrics: {
          callsPerSecond: median(rates),
          callsPerPacket: calls / (packets / 2),
          p50Ms: percentile(waits, 50),
          p99Ms: percentile(waits, 99),
          farP50Ms: percentile(farWaits, 50),
          callsPerSecondSignedEach: median(perCall),
          directCallsPerSecond: median(direct),
          // What the relay spends on a bare frame of the same size, over what it spends on a packet of calls with all that
          // goes with it: halves and receipts verified and kept.
          relayEfficiency: bare.relayMicros / (relayMicros / packets),
          // How much more the relay could pass: the ends are what is busy.
          relayHeadroom: bare.rate / ((packets / calls) * median(rates)),
          endsMicrosPerCall: (user + system) / calls,
          relayMicrosPerCall: relayMicros / calls,
          aggregate1: aggregate[1],
          aggregate8: aggregate[8],
          aggregate64: aggregate[64],
          costPerCall64Vs1: aggregate[1] / aggregate[64],
          x402ExactCallsPerSecond: rate?.exact ?? null,
          x402BatchCallsPerSecond: rate?.batch ?? null,
          vsX402: rate === null ? null : median(rates) / Math.max(rate.exact, rate.batch),
          idleSessionRelayKb: idle.relay,
          idleSessionSidecarKb: idle.sidecar,
        },
        notes: {
          vsX402: typeof x402 === 'string' ? x402 : x402Note(x402),
          directCallsPerSecond: 'calls over a WebSocket between the two sidecars, halves through the relay as well',
          idleSessionRelayKb: `of the isolate, per session of ${IDLE} more, asleep`,
          idleSessionSidecarKb: `of JavaScript, per session of ${IDLE} more; SQLite's own memory apart`,
        },
      };
    } finally {
      await bench.stop();
      await stack.stop();
    }
  },
};
