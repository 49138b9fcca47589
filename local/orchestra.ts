/** What agents do on Core beyond single calls: workflows that commit and abort, calls that wait for others, spending by capability, stakes. */
import { requestHead } from '../protocol/call.ts';
import { formatId, parseId } from '../protocol/ids.ts';
import type { Interaction } from '../protocol/ops/index.ts';
import { CARRIED_HEADERS, packHeaders } from '../protocol/packet.ts';
import type { Agent } from './agents.ts';
import type { EscrowJson } from './gateway.ts';
import { until } from './process.ts';
import type { Progress } from './scenario.ts';
import { PRICES, type Stack } from './stack.ts';

/** A request to a peer's app, and who serves it. */
interface Request {
  readonly peer: Agent;
  readonly service: number;
  readonly price: number;
  readonly method: string;
  readonly target: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string;
}

/** An invoke that was made for a request, and its place: what a first-contact call brings as payment. */
interface Invoked {
  readonly id: string;
  readonly request: Request;
  readonly frame: string;
}

/** One agent without a sidecar, who pays and calls by hand. */
class Hand {
  readonly #stack: Stack;
  readonly agent: Agent;

  constructor(stack: Stack, agent: Agent) {
    this.#stack = stack;
    this.agent = agent;
  }

  /** Submits one interaction; answers its value. */
  async do(interaction: Interaction, payload?: Uint8Array): Promise<{ value: number; frame: string }> {
    const { gateway, l1 } = this.#stack;
    const { shard, seq, outcomes } = await this.agent.submitWith(gateway, l1, [interaction], [payload]);
    return { value: Number(outcomes[1].value), frame: `${shard}:${seq}` };
  }

  async invoke(request: Request, more: Partial<Interaction> = {}): Promise<Invoked> {
    const { service, price, method, target } = request;
    const interaction = { op: 'invoke', service, amount: price, ...more } as Interaction;
    const { value, frame } = await this.do(interaction, requestHead(method, target));
    return { id: formatId(value), request, frame };
  }

  /** Makes the call that an invoke paid for; throws unless it was answered well. */
  async call({ id, request, frame }: Invoked): Promise<void> {
    const { peer, method, target, headers = [], body } = request;
    const answer = await fetch(`${this.#stack.gateway.url}/agents/${peer.id}/calls`, {
      method: 'POST',
      headers: {
        'agnt2-escrow': id,
        'agnt2-frame': frame,
        'agnt2-method': method,
        'agnt2-target': target,
        [CARRIED_HEADERS]: packHeaders(headers),
      },
      body,
      signal: AbortSignal.timeout(30_000),
    });
    const text = await answer.text();
    if (answer.headers.get('agnt2-status') !== '200')
      throw new Error(
        `${peer.name} answered ${answer.headers.get('agnt2-status') ?? answer.status}: ${text.slice(0, 300)}`,
      );
  }

  /** Waits until an escrow or order of ours has a status. */
  async become({ id }: Pick<Invoked, 'id'>, status: string): Promise<void> {
    await until(`${id} to be ${status}`, async () => (await this.escrow(id)).status === status, { timeoutMs: 30_000 });
  }
  escrow(id: string): Promise<EscrowJson> {
    return this.#stack.gateway.json(`/escrows/${id}`);
  }
}

/** Asks toolsmith's MCP server for its name and archive's REST server for a paper: plain requests to plain servers. */
async function requests({ gateway, cast }: Stack): Promise<{ mcp: Request; paper: Request }> {
  const serviceOf = async (agent: Agent): Promise<number> => {
    const { services } = await gateway.json<{ services: { id: string }[] }>(`/services?provider=${agent.id}`);
    return parseId(services[0].id);
  };
  const [mcp, paper] = await Promise.all([serviceOf(cast.toolsmith), serviceOf(cast.archive)]);
  const params = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'patron', version: '1.0.0' } };
  return {
    mcp: {
      peer: cast.toolsmith,
      service: mcp,
      price: PRICES.mcp,
      method: 'POST',
      target: '/mcp',
      headers: [
        ['content-type', 'application/json'],
        ['accept', 'application/json, text/event-stream'],
      ],
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }),
    },
    paper: { peer: cast.archive, service: paper, price: PRICES.read, method: 'GET', target: '/papers/1' },
  };
}

/** Two legs on two shards: both answered and paid; then one answered, and the whole given up. */
async function workflows(patron: Hand, { mcp, paper }: { mcp: Request; paper: Request }): Promise<string> {
  const payer = parseId(patron.agent.id);
  const legs = [mcp, paper].map(({ service }) => ({ payer, service }));
  const plan: Interaction = { op: 'plan', deadlineSeconds: 120, legs };
  const { value: committed } = await patron.do(plan);
  const both = [
    await patron.invoke(mcp, { workflow: committed, leg: 0 }),
    await patron.invoke(paper, { workflow: committed, leg: 1 }),
  ];
  await Promise.all(both.map((leg) => patron.call(leg)));
  await Promise.all(both.map((leg) => patron.become(leg, 'fulfilled')));
  const { value: aborted } = await patron.do(plan);
  const answered = await patron.invoke(paper, { workflow: aborted, leg: 1 });
  await patron.call(answered);
  await patron.become(answered, 'held');
  await patron.do({ op: 'abort', workflow: aborted });
  await patron.become(answered, 'refunded');
  return `Workflows: ${formatId(committed)} committed, both legs paid at once; ${formatId(aborted)} aborted, its answered leg given back`;
}

/** A call that its payer has funded and that starts by itself when another has been answered. */
async function afterwards(patron: Hand, { mcp, paper }: { mcp: Request; paper: Request }): Promise<string> {
  const first = await patron.invoke(paper);
  const second = await patron.invoke(mcp, { after: parseId(first.id) });
  const { status } = await patron.escrow(second.id);
  if (status !== 'waiting') throw new Error(`${second.id} does not wait: it is ${status}`);
  await patron.call(first);
  await until(`${second.id} to start`, async () => (await patron.escrow(second.id)).status !== 'waiting', {
    timeoutMs: 30_000,
  });
  await patron.call(second);
  await patron.become(second, 'fulfilled');
  return `Graph: ${second.id} waited for ${first.id} and started by itself`;
}

/** The steward reads a paper on the patron's account, within a limit. */
async function onBehalf(patron: Hand, steward: Hand, paper: Request): Promise<string> {
  const expiry = Math.floor(Date.now() / 1000) + 3600;
  const grantee = parseId(steward.agent.id);
  const { value: capability } = await patron.do({
    op: 'grant',
    grantee,
    service: paper.service,
    limit: 2 * paper.price,
    expiry,
  });
  const invoked = await steward.invoke(paper, { capability });
  await steward.call(invoked);
  await steward.become(invoked, 'fulfilled');
  return `Capability: steward spent ${paper.price} of the patron's, within capability ${formatId(capability)}`;
}

const STAKE = 1000;
const ASKED = 100;

/** A provider with a stake sleeps through a call: half of what it promised goes to the caller, half is burned. */
async function asleep(patron: Hand, sleeper: Hand): Promise<string> {
  await sleeper.do({ op: 'stake', amount: STAKE });
  const { value: service } = await sleeper.do({
    op: 'publish',
    service: 0,
    active: true,
    ceiling: ASKED,
    deadlineSeconds: 1,
    arbiter: 0,
    contestSeconds: 0,
    metadataHash: new Uint8Array(32),
  });
  const { value } = await patron.do({ op: 'invoke', service, amount: ASKED });
  await patron.become({ id: formatId(value) }, 'expired');
  return `Stake: sleeper slept through ${formatId(value)}; of its stake ${ASKED / 2} went to the patron and ${ASKED / 2} were burned`;
}

/** All of it, one after the other: the patron signs with one key. */
export async function orchestra(stack: Stack, progress: Progress): Promise<void> {
  const [patron, steward, sleeper] = (['patron', 'steward', 'sleeper'] as const).map(
    (name) => new Hand(stack, stack.cast[name]),
  );
  const asked = await requests(stack);
  progress.say(await workflows(patron, asked));
  progress.say(await afterwards(patron, asked));
  progress.say(await onBehalf(patron, steward, asked.paper));
  progress.say(await asleep(patron, sleeper));
}
