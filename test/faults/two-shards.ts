/**
 * `npm run faults -- [n]`: two shards under a load of what crosses them, and n times `kill -9` of workerd in the middle of it. Nothing that was
 * acknowledged is lost or twice, every message arrives once, every workflow is whole, and the books agree to the unit.
 */
import { drawUpBooks } from '../../local/accounting.ts';
import { Agent } from '../../local/agents.ts';
import { type Gateway, GatewayError } from '../../local/gateway.ts';
import { sleep, until } from '../../local/process.ts';
import { type TraceReplay, replayTrace } from '../../local/replay.ts';
import { signBundle } from '../../protocol/bundle.ts';
import { hex } from '../../protocol/bytes.ts';
import {
  Escrow,
  EscrowStatus,
  Head,
  Leg,
  META_PEERS,
  Peer,
  Region,
  Workflow,
  WorkflowStatus,
  get,
  slotOf,
} from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { type Engine, FrameKind } from '../../protocol/engine.ts';
import { makeId, parseId, shardOf } from '../../protocol/ids.ts';
import { NONE } from '../../protocol/memory.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import type { ReceiptJson } from '../../protocol/receipt.ts';
import { type TestNetwork, network } from '../support/stack.ts';

const FUNDS = 10_000_000;
/** Bundles acknowledged since the last kill before the next, however slow the machine, and so many milliseconds more, at most. */
const BUNDLES = 8;
const MOST_MS = 500;
/** The logs are executed again after every so many kills. */
const CHECK_EVERY = 10;
/** Short, so that what a kill makes late ends within a run. */
const DEADLINE_SECONDS = 20;
const REST = new Uint8Array(32);

interface Acknowledged {
  readonly frame: Uint8Array;
  readonly receipt: ReceiptJson;
}

export interface Outcome {
  readonly kills: number;
  readonly acknowledged: number;
  readonly messages: number;
  readonly committed: number;
  readonly aborted: number;
  readonly frames: number;
}

const fail = (what: string): never => {
  throw new Error(what);
};

/** One agent's bundles, in the order of its nonces, through whatever happens to the gateway. */
class Sender {
  readonly agent: Agent;
  readonly #run: Run;
  #nonce = -1;

  constructor(agent: Agent, run: Run) {
    this.agent = agent;
    this.#run = run;
  }
  get id(): number {
    return parseId(this.agent.id);
  }

  /** What the interactions came to; null when nobody said. */
  async send(...interactions: Interaction[]): Promise<ReceiptJson['outcomes'] | null> {
    const { gateway } = this.#run.net;
    try {
      if (this.#nonce < 0) this.#nonce = (await gateway.agent(this.agent.id)).nonce;
      const head = { actor: this.id, nonce: this.#nonce++, expiry: Math.floor(Date.now() / 1000) + 600 };
      const frame = await signBundle(this.agent.key, this.#run.signing, head, interactions);
      const receipt = await gateway.submit(frame);
      this.#run.acknowledged.push({ frame, receipt });
      return receipt.outcomes.slice(1);
    } catch (error) {
      // It may have run or not: the agent's nonce will say.
      this.#nonce = -1;
      const expected = ['overloaded', 'bad_nonce', 'replayed', 'unavailable', 'not_json', 'internal', 'timeout'];
      if (error instanceof GatewayError && !expected.includes(error.code)) this.#run.complain(error);
      await sleep(50);
      return null;
    }
  }
}

class Run {
  readonly net: TestNetwork;
  readonly signing: Signing;
  readonly acknowledged: Acknowledged[] = [];
  readonly #actors: Agent[] = [];
  readonly #traders: Sender[] = [];
  readonly #providers: { readonly sender: Sender; readonly service: number }[] = [];
  #error: unknown = null;
  isTrading = true;
  isAnswering = true;

  constructor(net: TestNetwork) {
    this.net = net;
    this.signing = new Signing({ chainId: net.l1.chainId, root: net.root });
  }

  complain(error: unknown): void {
    this.#error ??= error;
  }
  expectNoComplaint(): void {
    if (this.#error !== null) throw this.#error;
  }

  /** Two traders and a provider on each shard. */
  async prepare(): Promise<void> {
    const { net } = this;
    for (const shard of [0, 1]) {
      const names = ['trader', 'other', 'provider'].map((name) => `${name}-${shard}`);
      const agents = await Promise.all(names.map((name) => Agent.create(name, net.dir)));
      await Promise.all(agents.map((agent) => agent.registerAtL1(net.l1, BigInt(FUNDS), FUNDS, shard)));
      await Promise.all(agents.map((agent) => agent.known(net.gateway)));
      this.#actors.push(...agents);
      const [one, two, provider] = agents.map((agent) => new Sender(agent, this));
      this.#traders.push(one, two);
      const outcomes = await provider.send({
        op: 'publish',
        service: 0,
        active: true,
        ceiling: 1000,
        deadlineSeconds: DEADLINE_SECONDS,
        arbiter: 0,
        contestSeconds: 0,
        metadataHash: REST,
      });
      if (outcomes?.[0].status !== 'ok') fail('a service could not be published');
      this.#providers.push({ sender: provider, service: Number(outcomes![0].value) });
    }
  }

  load(): Promise<unknown> {
    return Promise.all([
      ...this.#traders.map((sender, i) => this.#trade(sender, i)),
      ...this.#providers.map(({ sender }) => this.#answer(sender)),
    ]);
  }

  async #trade(sender: Sender, number: number): Promise<void> {
    const home = shardOf(sender.id);
    const others = this.#traders.filter(({ id }) => shardOf(id) !== home);
    const [here, there] = [this.#providers[home].service, this.#providers[1 - home].service];
    for (let round = number; this.isTrading; round++) {
      const to = others[round % others.length];
      const kinds: readonly (() => Interaction[])[] = [
        () => Array.from({ length: 8 }, (_, i) => ({ op: 'transfer', to: to.id, amount: 1 + i }) as const),
        () => [
          { op: 'invoke', service: there, amount: 20 },
          // After the one before, which is answered elsewhere.
          { op: 'invoke', service: here, amount: 10, back: 1 },
          { op: 'invoke', service: there, amount: 10, back: 1 },
        ],
        () => {
          const legs = [here, there].map((service) => ({ payer: sender.id, service }));
          const invokes = legs.map(
            ({ service }, leg) => ({ op: 'invoke', service, amount: 30, workflow: 0, leg }) as const,
          );
          return [{ op: 'plan', deadlineSeconds: DEADLINE_SECONDS, legs }, ...invokes];
        },
      ];
      if (round % 4 === 3) await this.#session(sender, to);
      else await sender.send(...kinds[round % 4]());
    }
  }

  /** Opened with somebody on the other shard, closed in agreement. */
  async #session(a: Sender, b: Sender): Promise<void> {
    const outcomes = await a.send({ op: 'open', peer: b.id, deposit: 50, exitDelay: 60 });
    if (outcomes?.[0].status !== 'ok') return;
    const [from, to] = [shardOf(a.id), shardOf(b.id)];
    const path = `/messages/${from}/${to}/${outcomes[0].value}?wait=2000`;
    const found = await this.net.gateway.json<{ status?: string; value?: string }>(path).catch(() => null);
    if (found?.status !== 'ok') return;
    const session = Number(found.value);
    const close = { session, paidAB: 20, paidBA: 5, callsAB: 2, callsBA: 1, rootAB: REST, rootBA: REST };
    await a.send({ op: 'close', close, signature: await b.agent.key.sign(this.signing.close(close)) });
  }

  /** Answers what is open, most of it well. */
  async #answer(sender: Sender): Promise<void> {
    for (let round = 0; this.isAnswering; round++) {
      const path = `/escrows?payee=${sender.agent.id}&status=open&limit=32`;
      const page = await this.net.gateway.json<{ escrows: { id: string }[] }>(path).catch(() => null);
      if (!page || page.escrows.length === 0) {
        await sleep(50);
        continue;
      }
      await sender.send(
        ...page.escrows.map(({ id }, i): Interaction => {
          const isGood = (round + i) % 8 !== 0;
          return {
            op: 'respond',
            escrow: parseId(id),
            price: isGood ? 7 : 0,
            result: isGood ? 'fulfilled' : 'declined',
          };
        }),
      );
    }
  }

  trace(): Promise<TraceReplay> {
    return replayTrace(this.net.gateway, { chainId: this.net.l1.chainId, root: this.net.root });
  }

  /**
   * Each of the first `count` acknowledged bundles is at its place, came to what its receipt says, and stands nowhere else. While there is load, a
   * log may have been fetched before the message was sent that another goes on with: what is behind that is looked at the next time.
   */
  expectKept({ shards }: TraceReplay, count: number, isLoaded: boolean): void {
    const places = new Map<string, number>();
    for (const { executed } of shards)
      for (const { frame } of executed)
        if (frame[0] === FrameKind.bundle) places.set(hex(frame), (places.get(hex(frame)) ?? 0) + 1);
    for (const { frame, receipt } of this.acknowledged.slice(0, count)) {
      const place = `${receipt.shard}:${receipt.seq}`;
      const { executed } = shards[receipt.shard];
      const found = executed[Number(receipt.seq)];
      if (!found && isLoaded) continue;
      if (!found) fail(`the bundle acknowledged at ${place} is not there: the log ends at ${executed.length}`);
      if (hex(found.frame) !== hex(frame)) fail(`something else is at ${place}, where a bundle was acknowledged`);
      const values = found.outcomes.map(({ value }) => String(value)).join();
      if (values !== receipt.outcomes.map(({ value }) => value).join()) fail(`${place} came to something else`);
    }
    for (const [frame, times] of places) if (times > 1) fail(`a bundle ran ${times} times: ${frame.slice(0, 40)}…`);
  }

  /** Runs until nothing is under way; then everything must add up. */
  async settle(say: (line: string) => void): Promise<TraceReplay> {
    let trace = await this.trace();
    await until(
      'all calls, workflows and messages to end',
      async () => {
        trace = await this.trace();
        const { calls, messages, acks } = underWay(trace);
        if (calls + messages + acks === 0) return true;
        say(`  ${calls} calls, ${messages} messages and ${acks} acknowledgements to go`);
        return false;
      },
      { timeoutMs: 120_000, everyMs: 2000 },
    );
    this.isAnswering = false;
    return trace;
  }

  books(): ReturnType<typeof drawUpBooks> {
    return drawUpBooks(this.net.gateway as Gateway, this.net.l1, this.#actors);
  }
}

const peerOf = ({ trie }: Engine, shard: number): Uint8Array => trie.read(Region.meta, META_PEERS + shard);

/** Calls that have not ended, messages not received, and messages not acknowledged. */
function underWay({ shards }: TraceReplay): { calls: number; messages: number; acks: number } {
  let [calls, messages, acks] = [0, 0, 0];
  for (const { engine } of shards) {
    const { machine, shard } = engine;
    for (let serial = 1; serial <= get(machine.head(), Head.escrows); serial++) {
      const status = get(engine.trie.read(Region.escrow, slotOf(Region.escrow, serial)), Escrow.status);
      if (status !== EscrowStatus.empty && (status < EscrowStatus.fulfilled || status > EscrowStatus.expired))
        calls += 1;
    }
    for (const { engine: other } of shards) {
      const peer = peerOf(engine, other.shard);
      messages += get(peer, Peer.sent) - get(peerOf(other, shard), Peer.received);
      acks += get(peer, Peer.sent) - get(peer, Peer.acked);
    }
  }
  return { calls, messages, acks };
}

/** Legs of one workflow are all paid, or none is. Returns how many went each way. */
function expectWhole({ shards }: TraceReplay): { committed: number; aborted: number } {
  let [committed, aborted] = [0, 0];
  for (const { engine } of shards) {
    const { machine, shard } = engine;
    for (let serial = 1; serial <= get(machine.head(), Head.workflows); serial++) {
      const id = makeId(shard, serial);
      const workflow = machine.workflow(id);
      // A serial whose plan was refused.
      if (workflow === NONE) continue;
      const isCommitted = Workflow.status.get(machine.cells, workflow) === WorkflowStatus.committed;
      const legs = Array.from({ length: Workflow.legs.get(machine.cells, workflow) }, (_, leg) =>
        Leg.escrow.get(machine.cells, machine.leg(id, leg)),
      );
      const paid = legs.filter((escrow) => {
        if (escrow === 0) return false;
        const of = shards[shardOf(escrow)].engine.machine;
        return get(of.readEscrow(escrow), Escrow.status) === EscrowStatus.fulfilled;
      });
      if (paid.length !== (isCommitted ? legs.length : 0))
        fail(`workflow ${shard}:${serial} paid ${paid.length} of ${legs.length} legs`);
      if (isCommitted) committed += 1;
      else aborted += 1;
    }
  }
  return { committed, aborted };
}

/** Every message that was sent has been received, once: the cells agree, and so many receive frames were taken. */
function expectReceived({ shards }: TraceReplay): number {
  let messages = 0;
  for (const { engine, links } of shards)
    for (const { engine: other } of shards) {
      const sent = get(peerOf(other, engine.shard), Peer.sent);
      const taken = links.filter(({ kind, peer }) => kind === 'received' && peer === other.shard);
      if (taken.length !== sent || taken.some(({ number }, i) => number !== i + 1))
        fail(`of ${sent} messages from shard ${other.shard} to ${engine.shard}, ${taken.length} were taken`);
      messages += sent;
    }
  return messages;
}

/** Throws when anything was lost, doubled or torn. */
export async function twoShards(kills: number, say: (line: string) => void): Promise<Outcome> {
  const net = await network({ l1: { window: 3600 }, worker: { shards: 2 } });
  try {
    const run = new Run(net);
    await run.prepare();
    const loading = run.load();
    for (let kill = 1; kill <= kills; kill++) {
      const before = run.acknowledged.length;
      await until('the load to go on', () => run.acknowledged.length >= before + BUNDLES, { timeoutMs: 60_000 });
      await sleep(Math.random() * MOST_MS);
      await net.kill9Worker();
      await net.restartWorker();
      run.expectNoComplaint();
      say(`kill ${kill} of ${kills}: ${run.acknowledged.length} bundles acknowledged so far`);
      if (kill % CHECK_EVERY !== 0) continue;
      const known = run.acknowledged.length;
      const trace = await run.trace();
      run.expectKept(trace, known, true);
      say('  they are where they were said to be, once each');
    }
    await sleep(MOST_MS);
    run.isTrading = false;
    say('the traders stop; calls and workflows come to their ends');
    const trace = await run.settle(say);
    await loading;
    run.expectNoComplaint();
    run.expectKept(trace, run.acknowledged.length, false);
    const messages = expectReceived(trace);
    const whole = expectWhole(trace);
    const { checks, reconciled } = await run.books();
    if (!reconciled)
      fail(
        checks
          .filter(({ ok }) => !ok)
          .map(({ what, left, right }) => `${what}: ${left}, not ${right}`)
          .join('\n'),
      );
    const frames = trace.shards.reduce((sum, { engine }) => sum + engine.seq, 0);
    return { kills, acknowledged: run.acknowledged.length, messages, ...whole, frames };
  } finally {
    await net.stop();
  }
}

if (import.meta.main) {
  const start = Date.now();
  const outcome = await twoShards(Number(process.argv[2] ?? 100), (line) => console.log(line));
  const { kills, acknowledged, messages, committed, aborted, frames } = outcome;
  console.log(
    `${kills} kills in ${Math.round((Date.now() - start) / 1000)} s: ${acknowledged} acknowledged bundles each in the log once, ${messages} messages each received once, ` +
      `${committed} workflows committed and ${aborted} aborted, all whole; ${frames} frames executed again give the same roots, and the books agree to the unit`,
  );
  process.exit(0);
}
