/**
 * Layer Top from ten to a million agents: every agent has a machine of its own and a session in which it pays another, every call is sent, relayed,
 * served, relayed back and recorded, each step an event. Who signs when, what is served on credit, and what a session pays out is decided by the
 * product's own code. State is in typed arrays, a few dozen bytes an agent.
 */
import { payOut } from '../../protocol/half.ts';
import { isOverCredit } from '../../sidecar/session/credit.ts';
import { signDelay } from '../../sidecar/session/window.ts';
import { EventQueue } from './events.ts';
import { Draws } from './random.ts';
import { Sample } from './statistics.ts';

/** Events. `a` is a session, which has the number of the agent that pays in it; `b` a call's slot. */
const CALL = 0;
const AT_RELAY = 1;
const AT_CALLEE = 2;
const BACK_AT_RELAY = 3;
const BACK = 4;
const WINDOW = 5;
const HALF_AT_RELAY = 6;
const HALF_AT_CALLEE = 7;

export interface PopulationSetup {
  readonly seed: number;
  readonly agents: number;
  /** Calls a second of each agent, Poisson. */
  readonly rate: number;
  /** Seconds of the run, and those at its start that do not count. */
  readonly seconds: number;
  readonly warmUp: number;
  /** Relay threads, each with sessions of its own. */
  readonly relays: number;
  /** Seconds of processor time of a call at an end, of a packet of calls at a relay, of a signature and of its check. */
  readonly end: number;
  readonly packet: number;
  readonly sign: number;
  readonly verify: number;
  /** Mean one-way seconds between a machine and its relay, and the standard deviation of its logarithm over machines. */
  readonly latency: number;
  readonly latencySigma: number;
  /** Share of packets lost, and seconds until TCP sends one again. */
  readonly loss: number;
  readonly resend: number;
  /** Standard deviation of the logarithm of machines' speeds. */
  readonly speedSigma: number;
  readonly windowMs: number;
  readonly windowCalls: number;
  readonly credit: number;
  readonly price: number;
  readonly deposit: number;
  /** Share of payers that never sign. */
  readonly silent: number;
  /** Between these seconds, this share of sessions can't reach its relay. */
  readonly partition?: { readonly from: number; readonly to: number; readonly share: number };
}

export interface PopulationRun {
  /** Calls a second that were answered, and asked for, after the warm-up. */
  readonly callsPerSecond: number;
  readonly offered: number;
  /** Seconds from a call to its record. */
  readonly latency: Sample;
  /** Halves a second. */
  readonly halvesPerSecond: number;
  readonly relayLoad: number;
  readonly endLoad: number;
  /** Calls refused for want of credit or deposit, and lost with their pairing. */
  readonly refused: number;
  readonly lost: number;
  /** Base units: served for payers that never sign and not paid, the most of one payee, and the most that any payee had at risk. */
  readonly taken: number;
  readonly takenMost: number;
  readonly exposureMost: number;
  /** Deposits of all sessions, and what they pay out: equal. */
  readonly deposits: number;
  readonly paidOut: number;
  readonly events: number;
}

export function simulatePopulation(setup: PopulationSetup): PopulationRun {
  const { agents, rate, seconds, warmUp, relays, price, credit, deposit } = setup;
  const draws = Draws.of(setup.seed, 'population');
  const events = new EventQueue();
  const callees = new Uint32Array(agents);
  const slowness = new Float32Array(agents);
  const latencies = new Float32Array(agents);
  const isSilent = new Uint8Array(agents);
  const isCut = new Uint8Array(agents);
  /** When each machine and relay is free again: who comes first is served first, so that is all there is to a queue. */
  const free = new Float64Array(agents);
  const relayFree = new Float64Array(relays);
  /** The payee's books: recorded, being served, paid by halves here. The payer's: recorded, signed, when last. */
  const accrued = new Float64Array(agents);
  const reserved = new Float64Array(agents);
  const paid = new Float64Array(agents);
  const known = new Float64Array(agents);
  const signed = new Float64Array(agents);
  const signedAt = new Float64Array(agents);
  const isDue = new Uint8Array(agents);
  /** Halves travel in order: the value of each that is under way. */
  const slots = new Slots();
  const latency = new Sample();
  let [answered, offered, halves, refused, lost, exposureMost] = [0, 0, 0, 0, 0, 0];
  let [relayBusy, endBusy] = [0, 0];

  for (let agent = 0; agent < agents; agent++) {
    callees[agent] = agents === 1 ? agent : (agent + 1 + draws.below(agents - 1)) % agents;
    slowness[agent] = draws.lognormal(1, setup.speedSigma);
    latencies[agent] = draws.lognormal(setup.latency, setup.latencySigma);
    isSilent[agent] = draws.chance(setup.silent) ? 1 : 0;
    // As if it had been going on for long: each is somewhere in a window.
    signedAt[agent] = -draws.next() * (setup.windowMs / 1000);
    isCut[agent] = setup.partition && draws.chance(setup.partition.share) ? 1 : 0;
    events.add(draws.exponential(1 / rate), CALL, agent);
  }

  /** Seconds until a packet is there; -1 when the session's pairing is broken. */
  const travel = (session: number, agent: number): number => {
    const { partition } = setup;
    const now = events.time;
    if (partition && isCut[session] === 1 && now >= partition.from && now < partition.to) return -1;
    let delay = latencies[agent];
    while (draws.chance(setup.loss)) delay += setup.resend;
    return delay;
  };
  /** Takes a machine for so long, in its turn; answers when it is done. */
  const atEnd = (agent: number, cost: number): number => {
    const time = cost * slowness[agent];
    free[agent] = Math.max(events.time, free[agent]) + time;
    if (events.time >= warmUp) endBusy += time;
    return free[agent];
  };
  const atRelay = (session: number, cost: number): number => {
    const relay = session % relays;
    relayFree[relay] = Math.max(events.time, relayFree[relay]) + cost;
    if (events.time >= warmUp) relayBusy += cost;
    return relayFree[relay];
  };
  const lose = (session: number, slot: number, isServed: boolean): void => {
    // What was served has its record sent again when the two are paired anew; what was not is gone.
    if (isServed) {
      reserved[session] -= price;
      accrued[session] += price;
      known[session] += price;
    }
    slots.give(slot);
    lost += 1;
  };
  const look = (session: number): void => {
    if (isSilent[session] === 1) return;
    const value = known[session] - signed[session];
    const calls = value / price;
    const rule = { ms: setup.windowMs, calls: setup.windowCalls };
    const delay = signDelay(rule, { calls, value }, credit, (events.time - signedAt[session]) * 1000);
    if (delay === Infinity || (isDue[session] === 1 && delay > LEAST_MS)) return;
    if (delay > LEAST_MS) {
      isDue[session] = 1;
      events.add(events.time + delay / 1000, WINDOW, session);
      return;
    }
    const gone = travel(session, session);
    if (gone < 0) {
      // It signs when the pairing is back.
      isDue[session] = 1;
      events.add(setup.partition!.to, WINDOW, session);
      return;
    }
    signed[session] = known[session];
    signedAt[session] = events.time;
    if (events.time >= warmUp) halves += 1;
    events.add(atEnd(session, setup.sign) + gone, HALF_AT_RELAY, session, slots.take(signed[session]));
  };

  while (events.next() && events.time < seconds) {
    const { time, kind, a: session, b: slot } = events;
    const callee = callees[session];
    if (kind === CALL) {
      events.add(time + draws.exponential(1 / rate), CALL, session);
      if (time >= warmUp) offered += 1;
      const gone = travel(session, session);
      if (gone < 0) lost += 1;
      else events.add(atEnd(session, setup.end / 2) + gone, AT_RELAY, session, slots.take(time));
    } else if (kind === AT_RELAY) {
      const gone = travel(session, callee);
      if (gone < 0) lose(session, slot, false);
      else events.add(atRelay(session, setup.packet) + gone, AT_CALLEE, session, slot);
    } else if (kind === AT_CALLEE) {
      const exposure = accrued[session] + reserved[session] + price - paid[session];
      if (
        isOverCredit({ exposure, spoilt: 0, unasked: 0 }, credit) ||
        accrued[session] + reserved[session] + price > deposit
      ) {
        if (time >= warmUp) refused += 1;
        slots.give(slot);
        continue;
      }
      reserved[session] += price;
      exposureMost = Math.max(exposureMost, exposure);
      const done = atEnd(callee, setup.end);
      const gone = travel(session, callee);
      if (gone < 0) lose(session, slot, true);
      else {
        events.add(done + gone, BACK_AT_RELAY, session, slot);
        reserved[session] -= price;
        accrued[session] += price;
      }
    } else if (kind === BACK_AT_RELAY) {
      const gone = travel(session, session);
      events.add(atRelay(session, setup.packet) + Math.max(0, gone), BACK, session, slot);
    } else if (kind === BACK) {
      atEnd(session, setup.end / 2);
      const began = slots.value(slot);
      slots.give(slot);
      known[session] += price;
      if (time >= warmUp) {
        answered += 1;
        latency.add(free[session] - began);
      }
      look(session);
    } else if (kind === WINDOW) {
      isDue[session] = 0;
      look(session);
    } else if (kind === HALF_AT_RELAY) {
      // The relay checks it before it passes it, and its receipt likewise.
      events.add(atRelay(session, 2 * setup.verify) + latencies[callee], HALF_AT_CALLEE, session, slot);
    } else {
      atEnd(callee, setup.verify + setup.sign);
      paid[session] = Math.max(paid[session], slots.value(slot));
      slots.give(slot);
    }
  }

  let [taken, takenMost, paidOut] = [0, 0, 0];
  for (let session = 0; session < agents; session++) {
    const { outA, outB } = payOut(deposit, 0, isSilent[session] === 1 ? 0 : known[session], 0);
    paidOut += outA + outB;
    if (isSilent[session] === 0) continue;
    taken += accrued[session];
    takenMost = Math.max(takenMost, accrued[session]);
  }
  const counted = seconds - warmUp;
  return {
    callsPerSecond: answered / counted,
    offered: offered / counted,
    latency,
    halvesPerSecond: halves / counted,
    relayLoad: relayBusy / counted / relays,
    endLoad: endBusy / counted / agents,
    refused,
    lost,
    taken,
    takenMost,
    exposureMost,
    deposits: agents * deposit,
    paidOut,
    events: events.taken,
  };
}

/** A rest below the clock's own step is none. */
const LEAST_MS = 1e-6;

/** Numbers that travel with events, in slots that are used again. */
class Slots {
  #values = new Float64Array(1024);
  #next = 0;
  readonly #given: number[] = [];

  take(value: number): number {
    const slot = this.#given.pop() ?? this.#next++;
    if (slot >= this.#values.length) {
      const more = new Float64Array(2 * this.#values.length);
      more.set(this.#values);
      this.#values = more;
    }
    this.#values[slot] = value;
    return slot;
  }
  value(slot: number): number {
    return this.#values[slot];
  }
  give(slot: number): void {
    this.#given.push(slot);
  }
}
