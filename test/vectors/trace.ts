/**
 * A trace of two shards in which every operation and every message happens, most of them refused at least once: the frames, and
 * what each step came to. Keys are seeded and signatures deterministic (RFC 6979), so the file is the same wherever it is written.
 */
import { p256 } from '@noble/curves/nist.js';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { type Hex, Writer, concat, equal, hex } from '../../protocol/bytes.ts';
import { MessageCell, Peer, Region, messageSlot } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, inboxFrame, tickFrame } from '../../protocol/engine.ts';
import type { Half } from '../../protocol/half.ts';
import { keccak } from '../../protocol/hash.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { ownerAddress, signOwner } from '../../protocol/keys.ts';
import { sha } from '../../protocol/log.ts';
import { type Foreign, ackFrame, advanceFrame, receiveFrame, tellFrame } from '../../protocol/messages.ts';
import { type Interaction, encodeInteraction } from '../../protocol/ops/index.ts';
import { STATUSES } from '../../protocol/status.ts';

const SHARDS = 2;
/** Bytes of an act's interaction. */
const MAX_ACT = 512;

export interface TraceOptions {
  readonly domain: { readonly chainId: number; readonly root: Hex };
  /** Its first tick, Unix seconds. */
  readonly start: number;
  /** Leaves out the inbox items that L1's contract would refuse to queue. */
  readonly queueable: boolean;
}
const VECTOR: TraceOptions = {
  domain: { chainId: 31337, root: '0x5fbdb2315678afecb367f032d93f642f64180aa3' },
  start: 1_900_000_000,
  queueable: false,
};

interface Actor {
  readonly id: number;
  readonly secret: Uint8Array;
  readonly owner: Uint8Array;
  nonce: number;
}
interface Step {
  readonly status: string;
  readonly value: string;
}
interface FrameVector {
  readonly shard: number;
  readonly seq: number;
  readonly frame: Hex;
  readonly steps: readonly Step[];
}

/** Both shards, the messages between them carried by hand. */
class Trace {
  readonly options: TraceOptions;
  readonly signing: Signing;
  readonly frames: FrameVector[] = [];
  readonly #engines: readonly Engine[];
  /** What was sent and not received: by sender, then receiver. */
  readonly #mail: Uint8Array[][][] = [0, 1].map(() => [[], []]);

  constructor(options: TraceOptions) {
    this.options = options;
    this.signing = new Signing(options.domain);
    this.#engines = [0, 1].map(
      (shard) => new Engine(shard, this.signing, { shards: SHARDS, foreign: this.#foreign(shard) }),
    );
  }

  #foreign(shard: number): Foreign {
    return {
      holds: (from, number, hash) => {
        const { cells, trie } = this.#engines[from].machine;
        const cell = trie.cell(Region.message, messageSlot(shard, number));
        return MessageCell.number.get(cells, cell) === number && equal(MessageCell.hash.get(cells, cell), hash);
      },
      received: (to, number) => {
        const { machine } = this.#engines[to];
        return Peer.received.get(machine.cells, machine.peer(shard)) >= number;
      },
    };
  }

  execute(shard: number, frame: Uint8Array): Step[] {
    const engine = this.#engines[shard];
    const { seq } = engine;
    const steps = engine
      .execute(seq, frame)
      .map(({ status, value }) => ({ status: STATUSES[status], value: String(value) }));
    for (const { to, payload } of engine.takeSent()) this.#mail[shard][to].push(payload);
    this.frames.push({ shard, seq, frame: hex(frame), steps });
    return steps;
  }

  register(shard: number, seed: number, amount: number): Actor {
    const secret = sha(Uint8Array.of(seed));
    const owner = sha(Uint8Array.of(seed, seed));
    const key = p256.getPublicKey(secret, false).slice(1);
    const item = encodeInboxItem({ kind: 'register', shard, owner: ownerAddress(owner), key, amount });
    const [{ value }] = this.execute(0, inboxFrame(item));
    const [made] = shard === 0 ? [{ value }] : this.deliver(0, 1);
    return { id: Number(made.value), secret, owner, nonce: 0 };
  }

  sign(actor: Actor, preimage: Uint8Array): Uint8Array {
    return p256.sign(sha(preimage), actor.secret, { prehash: false, lowS: true });
  }

  /** A bundle of an actor on its shard. Returns the values of its interactions. */
  run(actor: Actor, ...interactions: Interaction[]): number[] {
    const body = encodeBundleBody({ actor: actor.id, nonce: actor.nonce, expiry: 0xf0000000 }, interactions);
    const frame = concat(body, this.sign(actor, this.signing.bundle(body)));
    actor.nonce += 1;
    return this.execute(actor.id % 256, frame)
      .slice(1)
      .map(({ value }) => Number(value));
  }

  /** All that one shard has sent the other is received, then acknowledged. Returns the outcomes. */
  deliver(from: number, to: number): Step[] {
    const out: Step[] = [];
    const queue = this.#mail[from][to];
    while (queue.length > 0) out.push(...this.execute(to, receiveFrame(from, queue.shift()!)));
    const { machine } = this.#engines[to];
    const received = Peer.received.get(machine.cells, machine.peer(from));
    if (out.length > 0) this.execute(from, ackFrame(to, received));
    return out;
  }
  settleMail(): Step[] {
    const out: Step[] = [];
    for (let before = -1; out.length > before;) {
      before = out.length;
      out.push(...this.deliver(0, 1), ...this.deliver(1, 0));
    }
    return out;
  }

  /** Seconds after its start. */
  tick(seconds: number): void {
    for (const shard of [0, 1]) this.execute(shard, tickFrame(this.time(seconds)));
  }
  time(seconds: number): number {
    return this.options.start + seconds;
  }
  roots(): string[] {
    return this.#engines.map(({ trie }) => hex(trie.root()));
  }
}

const HASH = keccak(Uint8Array.of(1));
const service = (fields: Partial<Extract<Interaction, { op: 'publish' }>> = {}): Interaction => ({
  op: 'publish',
  service: 0,
  active: true,
  ceiling: 1000,
  deadlineSeconds: 60,
  arbiter: 0,
  contestSeconds: 30,
  metadataHash: HASH,
  ...fields,
});

/** Balances, services, calls inside one shard: answered, failed, declined, contested, expired with a stake. */
function calls(trace: Trace, ann: Actor, bob: Actor, judge: Actor): void {
  trace.run(bob, { op: 'stake', amount: 300 }, { op: 'unstake' }, { op: 'unstake' }, { op: 'stake', amount: 1 });
  const [plain, judged] = trace.run(bob, service(), service({ arbiter: judge.id }), service({ deadlineSeconds: 0 }));
  const ask = (id: number): Interaction => ({ op: 'invoke', service: id, amount: 100 });
  const [a, b, c, d, e, late] = trace.run(ann, ...[plain, plain, plain, judged, judged, plain].map(ask), ask(99 * 256));
  const answer = (escrow: number, price: number, result: 'fulfilled' | 'failed' | 'declined'): Interaction => ({
    op: 'respond',
    escrow,
    price,
    result,
  });
  trace.run(
    bob,
    answer(a, 40, 'fulfilled'),
    answer(a, 40, 'fulfilled'),
    answer(b, 0, 'failed'),
    answer(c, 1, 'declined'),
    answer(c, 0, 'declined'),
    answer(d, 90, 'fulfilled'),
    answer(e, 90, 'fulfilled'),
  );
  trace.run(ann, { op: 'contest', escrow: a }, { op: 'contest', escrow: d }, { op: 'expire', escrow: late });
  trace.run(judge, { op: 'rule', escrow: d, amount: 91 }, { op: 'rule', escrow: d, amount: 45 });
  trace.run(ann, { op: 'attest', kind: 'escrow', id: a, score: 4 }, { op: 'attest', kind: 'escrow', id: a, score: 4 });
  trace.tick(100);
  trace.run(judge, { op: 'expire', escrow: e });
  for (const escrow of [late, late]) trace.execute(0, advanceFrame(escrow));
  trace.run(bob, { op: 'unstake' }, { op: 'withdraw', amount: 10 }, { op: 'transfer', to: ann.id, amount: 3 });
  const rotated = p256.getPublicKey(sha(Uint8Array.of(77)), false).slice(1);
  const ownerSignature = signOwner(bob.owner, trace.signing.rotate({ agent: bob.id, epoch: 0, key: rotated }));
  trace.run(ann, { op: 'rotate', agent: bob.id, key: rotated, ownerSignature });
  trace.run(ann, { op: 'register', owner: ownerAddress(ann.owner), key: rotated, amount: 5 });
}

/** Capabilities, calls that wait, and workflows, between shards. */
function graphs(trace: Trace, ann: Actor, eve: Actor, far: Actor): void {
  const [near] = trace.run(eve, service());
  const [there] = trace.run(far, service());
  const [capability] = trace.run(ann, {
    op: 'grant',
    grantee: far.id,
    service: 0,
    limit: 150,
    expiry: trace.time(5000),
  });
  trace.run(far, { op: 'invoke', service: there, amount: 100, capability });
  trace.run(far, { op: 'invoke', service: near, amount: 100, capability });
  trace.settleMail();
  const [first, second] = trace.run(
    ann,
    { op: 'invoke', service: there, amount: 10 },
    { op: 'invoke', service: near, amount: 10, back: 1 },
    { op: 'invoke', service: near, amount: 10, after: 99 * 256 },
  );
  const [opened] = trace.settleMail();
  trace.execute(0, advanceFrame(second));
  trace.run(far, { op: 'respond', escrow: Number(opened.value), price: 10, result: 'fulfilled' });
  trace.settleMail();
  trace.execute(0, advanceFrame(second));
  trace.run(ann, { op: 'attest', kind: 'escrow', id: first, score: 5 });
  trace.run(ann, { op: 'revoke', capability }, { op: 'revoke', capability });
  trace.settleMail();
  for (const commits of [true, false]) {
    const legs = [
      { payer: ann.id, service: near },
      { payer: ann.id, service: there },
    ];
    const [workflow, here] = trace.run(
      ann,
      { op: 'plan', deadlineSeconds: 500, legs },
      { op: 'invoke', service: near, amount: 20, workflow: 0, leg: 0 },
      { op: 'invoke', service: there, amount: 20, workflow: 0, leg: 1 },
    );
    const [leg] = trace.settleMail();
    trace.run(eve, { op: 'respond', escrow: here, price: 20, result: 'fulfilled' });
    if (commits) trace.run(far, { op: 'respond', escrow: Number(leg.value), price: 20, result: 'fulfilled' });
    else trace.run(ann, { op: 'abort', workflow });
    trace.settleMail();
    trace.execute(0, tellFrame(workflow, 0));
    trace.run(far, { op: 'tell', workflow, leg: 1 });
    trace.settleMail();
    trace.execute(0, tellFrame(workflow, 0));
  }
}

/** A session between shards: funded, settled, closed, rated; another left alone; and a liar. */
function sessions(trace: Trace, ann: Actor, far: Actor): void {
  trace.run(ann, { op: 'open', peer: far.id, deposit: 400, exitDelay: 50 });
  const session = Number(trace.settleMail()[0].value);
  const half = (fields: Partial<Half>): Half => ({ session, dir: 0, seq: 1, calls: 2, paid: 70, root: HASH, ...fields });
  const signed = (which: Half): Uint8Array => trace.sign(ann, trace.signing.half(which));
  trace.run(ann, { op: 'fund', session, amount: 30 });
  trace.run(ann, { op: 'settle', half: half({}), signature: signed(half({ seq: 2 })) });
  trace.run(far, { op: 'settle', half: half({}), signature: signed(half({})) }, { op: 'stake', amount: 1 });
  trace.run(ann, { op: 'stake', amount: 101 });
  const lie = half({ paid: 71 });
  const evidence = (which: Half) => ({ ...which, signature: signed(which) });
  const [a, b] = [evidence(half({})), evidence(lie)];
  trace.run(far, { op: 'slash', session, dir: 0, first: a, second: a }, { op: 'slash', session, dir: 0, first: a, second: b });
  trace.settleMail();
  const close = { session, paidAB: 70, paidBA: 0, callsAB: 2, callsBA: 0, rootAB: HASH, rootBA: new Uint8Array(32) };
  trace.run(far, { op: 'close', close, signature: trace.sign(ann, trace.signing.close(close)) });
  trace.run(ann, { op: 'attest', kind: 'session', id: session, score: 1 }, { op: 'open', peer: far.id, deposit: 9, exitDelay: 50 });
  const [, opened] = trace.settleMail();
  trace.run(ann, { op: 'exit', session: Number(opened.value) }, { op: 'finalize', session: Number(opened.value) });
  trace.settleMail();
  trace.tick(1000);
  trace.run(ann, { op: 'finalize', session: Number(opened.value) });
  trace.settleMail();
}

/** What owners force at L1: every operation they may, on both shards, and what they may not. */
function acts(trace: Trace, ann: Actor, bob: Actor, judge: Actor, eve: Actor, far: Actor): void {
  const forceBytes = (actor: Actor, interaction: Uint8Array, agent = actor.id): void => {
    const item = encodeInboxItem({ kind: 'act', owner: ownerAddress(actor.owner), agent, interaction });
    trace.execute(0, inboxFrame(item));
    trace.settleMail();
  };
  const bytesOf = (interaction: Interaction): Uint8Array => {
    const writer = new Writer();
    encodeInteraction(writer, interaction);
    return writer.finish();
  };
  const force = (actor: Actor, ...interactions: Interaction[]): void => {
    for (const interaction of interactions) forceBytes(actor, bytesOf(interaction));
  };
  const exit = bytesOf({ op: 'unstake' });
  for (const agent of [far.id, 99 * 256, 99 * 256 + 1, 256 + SHARDS]) forceBytes(ann, exit, agent);
  for (const bytes of [Uint8Array.of(), Uint8Array.of(0xff), concat(exit, exit), new Uint8Array(513)])
    if (!trace.options.queueable || (bytes.length > 0 && bytes.length <= MAX_ACT)) forceBytes(ann, bytes);
  forceBytes(far, Uint8Array.of(0x03));
  force(far, { op: 'withdraw', amount: 1 });
  force(ann, { op: 'stake', amount: 1 }, { op: 'transfer', to: bob.id, amount: 7 }, { op: 'transfer', to: far.id, amount: 7 });
  force(far, { op: 'transfer', to: ann.id, amount: 7 }, { op: 'unstake' });
  force(bob, { op: 'transfer', to: ann.id, amount: 2 ** 40 }, { op: 'transfer', to: 99 * 256 + 1, amount: 5 });

  const [judged] = trace.run(eve, service({ arbiter: judge.id, deadlineSeconds: 5 }));
  const ask: Interaction = { op: 'invoke', service: judged, amount: 50 };
  const [answered, late] = trace.run(ann, ask, ask);
  force(eve, { op: 'respond', escrow: answered, price: 51, result: 'fulfilled' });
  force(eve, { op: 'respond', escrow: answered, price: 50, result: 'fulfilled' });
  force(ann, { op: 'contest', escrow: answered }, { op: 'contest', escrow: late });
  const [capability] = trace.run(ann, { op: 'grant', grantee: far.id, service: 0, limit: 1, expiry: trace.time(9000) });
  force(ann, { op: 'revoke', capability }, { op: 'revoke', capability });

  const open: Interaction = { op: 'open', peer: far.id, deposit: 60, exitDelay: 50 };
  trace.run(ann, open, open);
  const [left, closed] = trace.settleMail().map(({ value }) => Number(value));
  const half: Half = { session: left, dir: 0, seq: 1, calls: 1, paid: 20, root: HASH };
  const signature = trace.sign(ann, trace.signing.half(half));
  force(far, { op: 'settle', half, signature }, { op: 'settle', half, signature });
  force(ann, { op: 'exit', session: left }, { op: 'finalize', session: left });
  const close = { session: closed, paidAB: 30, paidBA: 0, callsAB: 1, callsBA: 0, rootAB: HASH, rootBA: HASH };
  force(ann, { op: 'close', close, signature: trace.sign(far, trace.signing.close(close)) });

  const legs = [judged, judged].map((id) => ({ payer: ann.id, service: id }));
  const [workflow] = trace.run(ann, { op: 'plan', deadlineSeconds: 500, legs });
  force(far, { op: 'abort', workflow });
  force(ann, { op: 'abort', workflow }, { op: 'tell', workflow, leg: 0 });
  const [free] = trace.run(far, service());
  const [decided] = trace.run(
    ann,
    { op: 'plan', deadlineSeconds: 500, legs: [{ payer: ann.id, service: free }] },
    { op: 'invoke', service: free, amount: 15, workflow: 0, leg: 0 },
  );
  const [leg] = trace.settleMail();
  force(far, { op: 'respond', escrow: Number(leg.value), price: 9, result: 'fulfilled' });
  force(far, { op: 'tell', workflow: decided, leg: 0 });

  trace.tick(2000);
  force(bob, { op: 'expire', escrow: late }, { op: 'expire', escrow: answered }, { op: 'unstake' });
  force(far, { op: 'finalize', session: left });
}

/** The frames in the order of the trace, and both shards' roots behind the last. */
export function traceVector(options: Partial<TraceOptions> = {}): {
  domain: TraceOptions['domain'];
  shards: number;
  frames: readonly FrameVector[];
  roots: string[];
} {
  const trace = new Trace({ ...VECTOR, ...options });
  trace.tick(0);
  const [ann, bob, judge, eve] = [1, 2, 3, 4].map((seed) => trace.register(0, seed, 10_000));
  const far = trace.register(1, 5, 10_000);
  calls(trace, ann, bob, judge);
  graphs(trace, ann, eve, far);
  sessions(trace, ann, far);
  const from = ownerAddress(ann.owner);
  for (const agent of [ann.id, far.id, 99 * 256 + 1])
    trace.execute(0, inboxFrame(encodeInboxItem({ kind: 'deposit', from, agent, amount: 50 })));
  trace.execute(0, inboxFrame(encodeInboxItem({ kind: 'withdraw', owner: from, agent: far.id, amount: 50 })));
  trace.settleMail();
  acts(trace, ann, bob, judge, eve, far);
  return { domain: trace.options.domain, shards: SHARDS, frames: trace.frames, roots: trace.roots() };
}
