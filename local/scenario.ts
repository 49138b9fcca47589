/** What the agents do with the stack: meet, pay, open sessions, call a thousand times, part, and take their money home. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { rootAbi } from '../contracts/abi.ts';
import { formatId, parseId, shardOf } from '../protocol/ids.ts';
import type { BatchHeader } from '../protocol/trace.ts';
import { type Books, drawUpBooks } from './accounting.ts';
import type { Agent } from './agents.ts';
import { GatewayError } from './gateway.ts';
import type { Hex } from '../protocol/bytes.ts';
import type { SidecarProcess } from './sidecars.ts';
import { orchestra } from './orchestra.ts';
import { FIRST_CALLS, type Stack } from './stack.ts';
import { sleep, until } from './process.ts';

export interface Progress {
  /** A line that stays. */
  say(line: string): void;
  /** Counts one call of a caller. */
  called(caller: string): void;
  stage(what: string): void;
}

export interface ScenarioSize {
  /** Calls each of the two callers makes inside its session. */
  readonly sessionCalls: number;
  /** Calls in flight at once, per caller. */
  readonly concurrency: number;
}

export const FULL: ScenarioSize = { sessionCalls: 600, concurrency: 16 };
export const SMALL: ScenarioSize = { sessionCalls: 40, concurrency: 4 };

/** Makes `count` calls, `concurrency` at a time. The first failure ends it. */
async function inParallel(count: number, concurrency: number, call: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, count) }, lane));
}

async function sessionReady(sidecar: SidecarProcess, peer: string): Promise<string> {
  const found = await until(
    `a session of ${sidecar.agent.name} with ${peer}`,
    async () => (await sidecar.sessions()).find((session) => session.peer === peer && session.state === 'ready'),
    { timeoutMs: 30_000, child: sidecar.child },
  );
  return found.session;
}

/** An MCP client of the official SDK that knows one thing about AGNT2: its server's URL is a sidecar's. */
async function connectMcp(url: string): Promise<{ client: Client; leave: () => Promise<void> }> {
  const client = new Client({ name: 'scout', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(new URL(url));
  await client.connect(transport);
  const leave = async (): Promise<void> => {
    // Says goodbye, so that the server ends its stream: on an idle one nobody notices that the reader left.
    await transport.terminateSession();
    await client.close();
  };
  return { client, leave };
}

async function echo(client: Client, n: number): Promise<void> {
  const message = `call ${n}`;
  const result = await client.callTool({ name: 'echo', arguments: { message } });
  const [first] = result.content as { type: string; text?: string }[];
  if (!first?.text?.includes(message))
    throw new Error(`the echo tool answered ${JSON.stringify(result).slice(0, 200)}`);
}

/** Mostly reads, now and then a write. */
async function rest(url: string, n: number): Promise<void> {
  const writes = n % 10 === 9;
  const answer = writes
    ? await fetch(`${url}/notes`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ text: `note ${n}` }),
      })
    : await fetch(`${url}/papers/${1 + (n % 20)}`);
  const text = await answer.text();
  if (answer.status !== (writes ? 201 : 200))
    throw new Error(`json-server answered ${answer.status}: ${text.slice(0, 300)}`);
}

/** Meets, calls through Core until a session has opened by itself, then calls through that. Returns the session. */
async function callAround(
  { sidecar, peer, size, progress }: { sidecar: SidecarProcess; peer: Agent; size: ScenarioSize; progress: Progress },
  call: (n: number) => Promise<void>,
): Promise<string> {
  const { name } = sidecar.agent;
  const counted = async (n: number): Promise<void> => {
    await call(n);
    progress.called(name);
  };
  // One more than the policy's number opens the session.
  for (let n = 0; n <= FIRST_CALLS; n++) await counted(n);
  const session = await sessionReady(sidecar, peer.id);
  progress.say(`Session ${session}: opened by itself between ${name} and ${peer.name}`);
  await inParallel(size.sessionCalls, size.concurrency, counted);
  return session;
}

/** All trade, from first contact to closed sessions. */
export async function trade(stack: Stack, size: ScenarioSize, progress: Progress): Promise<void> {
  const { cast, sidecars, gateway } = stack;
  progress.stage('first contact, then sessions');
  const { client: mcp, leave } = await connectMcp(sidecars.scout.to('toolsmith', '/mcp'));
  const { tools } = await mcp.listTools();
  progress.say(`MCP: scout sees ${tools.length} tools of an unmodified server, through two sidecars`);
  const started = Date.now();
  const archive = sidecars.newcomer.to('archive');
  const [one, two] = await Promise.all([
    callAround({ sidecar: sidecars.scout, peer: cast.toolsmith, size, progress }, (n) => echo(mcp, n)),
    callAround({ sidecar: sidecars.newcomer, peer: cast.archive, size, progress }, (n) => rest(archive, n)),
    orchestra(stack, progress),
  ]);
  progress.say(
    `Sessions: ${2 * size.sessionCalls} paid calls in ${((Date.now() - started) / 1000).toFixed(1)} s, first contact included`,
  );
  await leave();

  progress.stage('closing sessions');
  await Promise.all([sidecars.scout.closeSession(one), sidecars.newcomer.closeSession(two)]);
  await until(
    'both sessions to be paid out',
    async () => (await gateway.sessions()).every(({ status }) => status === 'closed'),
    { timeoutMs: 30_000 },
  );
  progress.say('Sessions: closed by both parties, deposits paid out');
}

/** What `GET /batches/{n}/withdrawals/{id}` answers. */
interface Claim {
  header: BatchHeader;
  stateRoot: Hex;
  shard: number;
  cell: Hex;
  proof: readonly (readonly Hex[])[] | readonly Hex[];
}

/** Requests on Core that `amount` goes home; returns where. */
async function request({ gateway, l1 }: Stack, agent: Agent, amount: number): Promise<{ id: string; seq: string }> {
  const receipt = await agent.submit(gateway, l1, { op: 'withdraw', amount });
  return { id: formatId(Number(receipt.outcomes[1].value)), seq: receipt.seq };
}

/** Waits for the batch and its window, then has L1 pay. */
async function claim({ gateway, l1 }: Stack, agent: Agent, { id, seq }: { id: string; seq: string }): Promise<void> {
  const proof = await until(
    `the batch with withdrawal ${id} to be final`,
    async () => {
      const { batch } = await gateway.json<{ batch?: number }>(`/shards/${shardOf(parseId(id))}/frames/${seq}`);
      if (batch === undefined) return null;
      try {
        return await gateway.json<Claim>(`/batches/${batch}/withdrawals/${id}`);
      } catch (error) {
        if (error instanceof GatewayError && (error.code === 'not_final' || error.code === 'not_found')) return null;
        throw error;
      }
    },
    { timeoutMs: 90_000, everyMs: 250 },
  );
  const { header } = proof;
  const wire = {
    ...header,
    number: BigInt(header.number),
    steps: BigInt(header.steps),
    timeFrom: BigInt(header.timeFrom),
    timeTo: BigInt(header.timeTo),
    inboxCursor: BigInt(header.inboxCursor),
  };
  await l1.write(agent.owner, {
    address: l1.root,
    abi: rootAbi,
    functionName: 'withdraw',
    args: [wire, proof.stateRoot, proof.shard, proof.cell, proof.proof.flat()],
  });
}

/** The providers, the patron: each takes some money home. */
export async function takeHome(stack: Stack, progress: Progress): Promise<void> {
  const { cast, sidecars, gateway } = stack;
  progress.stage('withdrawing');
  // The providers' keys are their sidecars' while those run.
  await Promise.all([sidecars.toolsmith.stop(), sidecars.archive.stop()]);
  const leaving = [cast.toolsmith, cast.archive, cast.patron];
  const requests = await Promise.all(
    leaving.map(async (agent) => {
      const amount = Math.floor(Number((await gateway.agent(agent.id)).balance) / 2);
      return { agent, amount, at: await request(stack, agent, amount) };
    }),
  );
  progress.say(
    `Withdrawals: requested on Core by ${requests.map(({ agent, amount }) => `${agent.name} (${amount})`).join(', ')}`,
  );
  await Promise.all([sidecars.toolsmith.restart(), sidecars.archive.restart()]);
  await Promise.all(requests.map(({ agent, at }) => claim(stack, agent, at)));
  progress.say('Withdrawals: proved and paid on L1, after the window');
}

/** The whole of it; answers the books. */
export async function scenario(stack: Stack, size: ScenarioSize, progress: Progress): Promise<Books> {
  await trade(stack, size, progress);
  await takeHome(stack, progress);
  progress.stage('accounting');
  await until('the newest frames to be on L1', () => stack.gateway.isOnL1(), { timeoutMs: 60_000, everyMs: 250 });
  return drawUpBooks(stack.gateway, stack.l1, Object.values(stack.cast) as Agent[]);
}

const TRICKLE_MS = 2000;

/** A little trade that never ends, so that a stack that stays up has something to show. Returns what ends it. */
export function trickle({ sidecars, cast, gateway, l1 }: Stack): () => void {
  let stopped = false;
  const url = sidecars.newcomer.to('archive');
  void (async () => {
    for (let n = 0; !stopped; n++) {
      // Nobody depends on it: what fails while something restarts is left out.
      await rest(url, n).catch(() => {});
      await cast.patron
        .submit(gateway, l1, { op: 'transfer', to: parseId(cast.archive.id), amount: 1 })
        .catch(() => {});
      await sleep(TRICKLE_MS);
    }
  })();
  return () => (stopped = true);
}
