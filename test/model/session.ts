/**
 * A session as docs/protocol.md §§4, 5 and 8 tell it, small enough to see every state of: two parties of which each may
 * be hostile, a relay that loses, holds back, repeats and reorders, crashes with the store kept or lost, and the chain.
 *
 * Calls cost 1 and a log is its length, so a half is one number: the calls it counts, which is what it pays. Signatures
 * don't wear out, so the network is one number a direction too: whoever wants may show any half up to the newest that
 * ever left its payer, at any time, in any order, any number of times, or never.
 */
import { payOut } from '../../protocol/half.ts';

/** The rules that can be left out, to see that the explorer notices. */
export interface Rules {
  /** A payee serves while what no half pays is within its credit. */
  readonly credit: boolean;
  /** The chain keeps the most that was paid. */
  readonly max: boolean;
  /** A payee serves no more than the payer's deposit, and what it paid the payer, can cover. */
  readonly coverage: boolean;
  /** Who has signed a close serves and signs no more. */
  readonly close: boolean;
  /** The relay shows a party that comes both newest halves it keeps. */
  readonly shows: boolean;
  /** A payer accepts no more records it can't remember asking for than its credit, */
  readonly allowance: boolean;
  /** none once its peer has called or answered since it started, */
  readonly start: boolean;
  /** and serves that much less. */
  readonly shared: boolean;
  /** A watchful party has time to settle between an exit and the end. */
  readonly delay: boolean;
}

export const PAGE: Rules = {
  credit: true,
  max: true,
  coverage: true,
  close: true,
  shows: true,
  allowance: true,
  start: true,
  shared: true,
  delay: true,
};

export interface Bounds {
  readonly honest: readonly [boolean, boolean];
  readonly relay: 'honest' | 'lying';
  /** Calls a direction. */
  readonly calls: number;
  readonly credit: number;
  readonly deposits: readonly [number, number];
  /** Crashes of each party; what a crash does to the store. */
  readonly crashes: number;
  readonly store: 'kept' | 'lost';
  /** Whether closes are signed. */
  readonly closes: boolean;
  /** Whether who lost its store goes on in the session; else it only settles what it is shown, and leaves. Default true. */
  readonly resumes?: boolean;
  readonly rules?: Partial<Rules>;
}

/** One direction: its payer, its payee, what the world has of it. */
interface Way {
  /** Calls the payee gave an answer to (a hostile payee: that the payer got one to). */
  served: number;
  /** The payee's log; calls it served and will never record; the newest half it holds. */
  log: number;
  spoilt: number;
  held: number;
  /** The payer's log; records in it that nobody asked for; the newest half it knows it signed. */
  known: number;
  unasked: number;
  signed: number;
  /** The newest half that left the payer. */
  out: number;
  /** What the chain has. */
  paid: number;
}

interface Party {
  crashes: number;
  /** Its store is gone, and its peer has not shown it the logs yet. */
  bare: boolean;
  /** Has heard a call or an answer since it started: all records of before are in. */
  sure: boolean;
  /** Has signed a close, and knows. */
  closing: boolean;
  /** What the last close it signed says it pays and earns, plus 1; 0 for none. Its signature outlives its memory. */
  closePays: number;
  closeEarns: number;
  /** Has signed two halves that contradict each other. */
  forked: boolean;
}

export type ChainStatus = 'open' | 'exiting' | 'due' | 'closed';

export interface State {
  /** By payer. */
  readonly ways: readonly [Way, Way];
  readonly parties: readonly [Party, Party];
  status: ChainStatus;
}

export interface Finding {
  readonly broken: string;
  /** How it came to it. */
  readonly steps: readonly string[];
  readonly state: State;
}

export interface Explored {
  readonly states: number;
  readonly steps: number;
  readonly closed: number;
  readonly finding: Finding | null;
}

type Side = 0 | 1;
const SIDES: readonly Side[] = [0, 1];
const NAMES = ['a', 'b'] as const;
const STATUSES: readonly ChainStatus[] = ['open', 'exiting', 'due', 'closed'];
const other = (side: Side): Side => (1 - side) as Side;

const way = (): Way => ({ served: 0, log: 0, spoilt: 0, held: 0, known: 0, unasked: 0, signed: 0, out: 0, paid: 0 });
const party = (): Party => ({
  crashes: 0,
  bare: false,
  sure: false,
  closing: false,
  closePays: 0,
  closeEarns: 0,
  forked: false,
});

const clone = (s: State): State => ({
  ways: [{ ...s.ways[0] }, { ...s.ways[1] }],
  parties: [{ ...s.parties[0] }, { ...s.parties[1] }],
  status: s.status,
});

function keyOf(s: State): string {
  const numbers: number[] = [STATUSES.indexOf(s.status)];
  for (const side of SIDES) {
    const w = s.ways[side];
    const p = s.parties[side];
    numbers.push(w.served, w.log, w.spoilt, w.held, w.known, w.unasked, w.signed, w.out, w.paid);
    numbers.push(
      p.crashes * 16 + (p.sure ? 8 : 0) + (p.bare ? 4 : 0) + (p.closing ? 2 : 0) + (p.forked ? 1 : 0),
      p.closePays,
      p.closeEarns,
    );
  }
  return String.fromCharCode(...numbers);
}

/** Sees every state that can be reached, breadth first, and stops at the first that breaks an invariant. */
export function explore(bounds: Bounds): Explored {
  const model = new Model(bounds);
  const first: State = { ways: [way(), way()], parties: [party(), party()], status: 'open' };
  const seen = new Map<string, { from: string; by: string }>([[keyOf(first), { from: '', by: '' }]]);
  const queue: State[] = [first];
  let steps = 0;
  let closed = 0;
  let finding: Finding | null = null;
  for (let at = 0; at < queue.length && finding === null; at++) {
    const state = queue[at];
    const key = keyOf(state);
    if (state.status === 'closed') closed += 1;
    const broken = model.broken(state);
    if (broken !== null) {
      const path: string[] = [];
      for (let k = key; seen.get(k)!.by !== ''; k = seen.get(k)!.from) path.unshift(seen.get(k)!.by);
      finding = { broken, steps: path, state };
    }
    model.next(state, (by, next) => {
      steps += 1;
      const reached = keyOf(next);
      if (seen.has(reached)) return;
      seen.set(reached, { from: key, by });
      queue.push(next);
    });
  }
  return { states: queue.length, steps, closed, finding };
}

class Model {
  readonly #bounds: Bounds;
  readonly #rules: Rules;

  constructor(bounds: Bounds) {
    this.#bounds = bounds;
    this.#rules = { ...PAGE, ...bounds.rules };
  }

  /** Every step anybody can make, honest or not. */
  next(state: State, reach: (by: string, next: State) => void): void {
    const step = (by: string, change: (s: State) => void): void => {
      const next = clone(state);
      change(next);
      reach(by, next);
    };
    if (state.status === 'closed') return;
    for (const side of SIDES) {
      this.#calls(state, side, step);
      this.#halves(state, side, step);
      this.#life(state, side, step);
      this.#chain(state, side, step);
    }
    if (state.status === 'exiting' && (!this.#rules.delay || SIDES.every((side) => this.#settled(state, side))))
      step('time passes', (s) => (s.status = 'due'));
  }

  /** Whether an honest party has nothing left to settle. */
  #settled(state: State, side: Side): boolean {
    const earns = state.ways[other(side)];
    return !this.#bounds.honest[side] || earns.paid >= earns.held;
  }

  /** Calls that `payer` makes: served, recorded, accepted. */
  #calls(state: State, payer: Side, step: Step): void {
    const { honest, calls, credit } = this.#bounds;
    const payee = other(payer);
    const w = state.ways[payer];
    const asks = !honest[payer] || this.#speaks(state, payer);
    if (!honest[payee]) {
      // It answers or not; what it answered is asked for, hashed, and so accepted.
      if (honest[payer] && asks && w.served < calls && w.known - w.signed < credit)
        step(`${NAMES[payee]} answers`, (s) => {
          s.ways[payer].served += 1;
          s.ways[payer].known += 1;
          s.parties[payer].sure = true;
        });
      // A record of a call nobody made.
      const unsure = !this.#rules.start || !state.parties[payer].sure;
      if (honest[payer] && asks && unsure && w.known < calls && (!this.#rules.allowance || w.unasked < credit))
        step(`${NAMES[payee]} makes a record up`, (s) => {
          s.ways[payer].known += 1;
          s.ways[payer].unasked += 1;
        });
      return;
    }
    if (asks && this.#serves(state, payer)) {
      step(`${NAMES[payee]} serves and records`, (s) => {
        s.ways[payer].served += 1;
        s.ways[payer].log += 1;
        s.parties[payee].sure = true;
      });
      step(`${NAMES[payee]} serves and the socket goes`, (s) => {
        s.ways[payer].served += 1;
        s.ways[payer].spoilt += 1;
        s.parties[payee].sure = true;
      });
    }
    // At once, or sent again on resume.
    if (honest[payer] && asks && w.known < w.log)
      step(`${NAMES[payer]} accepts a record`, (s) => (s.ways[payer].known += 1));
  }

  /** In a session with both logs at hand, and not being closed. */
  #speaks(state: State, side: Side): boolean {
    const { bare, closing } = state.parties[side];
    return !bare && !(closing && this.#rules.close);
  }

  #serves(state: State, payer: Side): boolean {
    const { calls, credit, deposits } = this.#bounds;
    const payee = other(payer);
    const w = state.ways[payer];
    // Who has seen an exit end serves no more; until then it has time to settle.
    if (w.served >= calls || !this.#speaks(state, payee) || state.status === 'due') return false;
    const unasked = this.#rules.shared ? state.ways[payee].unasked : 0;
    if (this.#rules.credit && w.log - w.held + w.spoilt + unasked + 1 > credit) return false;
    return !this.#rules.coverage || w.log + 1 <= deposits[payer] + state.ways[payee].signed;
  }

  /** What `payer` signs, and who is shown it. */
  #halves(state: State, payer: Side, step: Step): void {
    const { honest, calls } = this.#bounds;
    const payee = other(payer);
    const w = state.ways[payer];
    if (!honest[payer]) {
      // It signs what it likes.
      for (let half = w.held + 1; honest[payee] && half <= calls; half++) this.#deliver(state, payer, half, step);
      return;
    }
    if (this.#speaks(state, payer) && w.known > w.signed) {
      const sign = (s: State): void => {
        // It can't know of what it forgot; whoever has the older half has two under one number now.
        if (s.ways[payer].signed < s.ways[payer].out) s.parties[payer].forked = true;
        s.ways[payer].signed = s.ways[payer].known;
      };
      step(`${NAMES[payer]} signs, and the half is lost`, sign);
      step(`${NAMES[payer]} signs`, (s) => {
        sign(s);
        s.ways[payer].out = Math.max(s.ways[payer].out, s.ways[payer].signed);
      });
    }
    if (w.signed > w.out) step(`${NAMES[payer]} says hello`, (s) => (s.ways[payer].out = s.ways[payer].signed));
    if (honest[payee]) for (let half = w.held + 1; half <= w.out; half++) this.#deliver(state, payer, half, step);
  }

  #deliver(state: State, payer: Side, half: number, step: Step): void {
    const payee = other(payer);
    // What it is paid after it signed a close, it has given up.
    if (state.parties[payee].closing && this.#rules.close) return;
    step(`${NAMES[payee]} is given half ${half}`, (s) => (s.ways[payer].held = half));
  }

  /** Crashes of an honest party, its return, and the close it may sign. */
  #life(state: State, side: Side, step: Step): void {
    const { honest, crashes, store, relay, closes, resumes = true } = this.#bounds;
    if (!honest[side]) return;
    const peer = other(side);
    const p = state.parties[side];
    if (p.crashes < crashes) {
      // What it was serving is forgotten, however much its credit let it serve.
      const hands = clone(state);
      for (let lost = 0; ; lost++) {
        step(`${NAMES[side]} crashes with ${lost} calls in hand`, (s) => {
          s.ways[peer].served += lost;
          this.#crash(s, side, store);
        });
        if (!this.#serves(hands, peer)) break;
        // In hand: they count against the credit until the crash, and against nothing after.
        hands.ways[peer].served += 1;
        hands.ways[peer].spoilt += 1;
      }
    }
    if (resumes && p.bare && honest[peer] && !state.parties[peer].bare)
      step(`${NAMES[peer]} shows ${NAMES[side]} what it lost`, (s) => {
        const [pays, earns] = [s.ways[side], s.ways[peer]];
        pays.signed = Math.max(pays.signed, pays.held);
        pays.known = Math.max(pays.known, pays.signed);
        earns.held = Math.max(earns.held, earns.signed);
        earns.log = Math.max(earns.log, earns.held);
        earns.out = Math.max(earns.out, earns.signed);
        s.parties[side].bare = false;
      });
    // A hostile peer shows an empty log. Without a half from elsewhere it looks like a new session.
    if (resumes && p.bare && !honest[peer] && state.ways[side].signed === 0 && state.ways[peer].held === 0)
      step(`${NAMES[side]} begins anew`, (s) => (s.parties[side].bare = false));
    if (p.bare && relay === 'lying' && !honest[peer]) return;
    if (closes && !p.bare && !p.closing)
      step(`${NAMES[side]} signs a close`, (s) => {
        const signer = s.parties[side];
        signer.closing = true;
        signer.closePays = s.ways[side].signed + 1;
        signer.closeEarns = s.ways[peer].held + 1;
      });
  }

  #crash(s: State, side: Side, store: 'kept' | 'lost'): void {
    const p = s.parties[side];
    p.crashes += 1;
    const [pays, earns] = [s.ways[side], s.ways[other(side)]];
    p.sure = false;
    if (store === 'kept') return;
    const shown = this.#bounds.relay === 'honest' && this.#rules.shows;
    Object.assign(pays, { known: 0, unasked: 0, signed: shown ? pays.out : 0 });
    // A hostile payer's halves reach it through the relay, and so the relay has the newest it held.
    Object.assign(earns, { log: 0, spoilt: 0, held: shown ? earns.held : 0 });
    p.bare = true;
    p.closing = false;
  }

  /** What `side` may do on chain, with any half there is. */
  #chain(state: State, side: Side, step: Step): void {
    const { honest, calls } = this.#bounds;
    const w = state.ways[side];
    const newest = honest[side] ? w.out : calls;
    for (let half = 1; half <= newest; half++) {
      if (half === w.paid || (half < w.paid && this.#rules.max)) continue;
      step(`someone settles half ${half} of ${NAMES[side]}`, (s) => (s.ways[side].paid = half));
    }
    if (state.status === 'open') step(`${NAMES[side]} exits`, (s) => (s.status = 'exiting'));
    if (state.status === 'due') step(`${NAMES[side]} finalizes`, (s) => (s.status = 'closed'));
    this.#close(state, side, step);
  }

  /** A close with the other party's signature: over what that party knows. */
  #close(state: State, side: Side, step: Step): void {
    const { honest } = this.#bounds;
    const signer = other(side);
    const { closePays, closeEarns } = state.parties[signer];
    if (!honest[signer] || closePays === 0) return;
    // An honest one hands in only what agrees with its own books.
    const [pays, earns] = [closePays - 1, closeEarns - 1];
    if (honest[side] && (pays !== state.ways[signer].held || earns !== state.ways[side].signed)) return;
    step(`${NAMES[side]} closes`, (s) => {
      s.ways[signer].paid = pays;
      s.ways[side].paid = earns;
      s.status = 'closed';
    });
  }

  /** The first invariant that `state` breaks, in words. */
  broken(state: State): string | null {
    const { honest, deposits } = this.#bounds;
    for (const side of SIDES) {
      if (!honest[side]) continue;
      if (state.parties[side].forked) return `${NAMES[side]} can be slashed`;
      const loss = this.#loss(state, side);
      if (loss > this.#bound(state)) return `${NAMES[side]} loses ${loss}`;
    }
    const { outA, outB } = payOut(deposits[0], deposits[1], state.ways[0].paid, state.ways[1].paid);
    if (outA + outB !== deposits[0] + deposits[1] || outA < 0 || outB < 0) return 'money appears or is gone';
    return null;
  }

  #bound(state: State): number {
    return this.#bounds.credit * (1 + state.parties[0].crashes + state.parties[1].crashes);
  }

  /**
   * What `side` loses at worst if it now gets out by itself: settles what it holds, exits, and finalizes, while the other
   * settles what it likes of what there is. Closed: what it lost.
   */
  #loss(state: State, side: Side): number {
    const { deposits } = this.#bounds;
    const [pays, earns] = [state.ways[side], state.ways[other(side)]];
    const fair = deposits[side] + earns.served - pays.served;
    const done = state.status === 'closed';
    // With the time that an exit leaves; the rules are the chain's, so the newest settled is the most paid.
    const earned = done || state.status === 'due' ? earns.paid : Math.max(earns.paid, earns.held);
    let worst = Infinity;
    for (let paid = pays.paid; paid <= (done ? pays.paid : Math.max(pays.paid, pays.out)); paid++) {
      const [ab, ba] = side === 0 ? [paid, earned] : [earned, paid];
      const { outA, outB } = payOut(deposits[0], deposits[1], ab, ba);
      worst = Math.min(worst, side === 0 ? outA : outB);
    }
    return fair - worst;
  }
}

type Step = (by: string, change: (s: State) => void) => void;
