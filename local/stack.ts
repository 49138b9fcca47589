/** The whole stack on one machine: L1, Workers, two services and two callers, each behind a sidecar of its own. */
import { Agent } from './agents.ts';
import { type Service, startEverything, startJsonServer } from './demo.ts';
import { Gateway } from './gateway.ts';
import { L1, type L1Options } from './l1.ts';
import { newRun } from './paths.ts';
import { stopAll } from './process.ts';
import { SidecarProcess } from './sidecars.ts';
import { Worker, type WorkerOptions } from './worker.ts';

export interface StackOptions {
  /** Gateway port wished for. */
  readonly port?: number;
  readonly l1?: Partial<L1Options>;
  readonly worker?: Partial<WorkerOptions>;
  /** Told of each step. */
  readonly say?: (line: string) => void;
}

/** L1 and Workers, nobody trading yet. */
export interface Network {
  readonly dir: string;
  readonly l1: L1;
  readonly worker: Worker;
  readonly gateway: Gateway;
}

export async function startNetwork({
  port,
  l1: l1Options,
  worker: workerOptions,
  say = () => {},
}: StackOptions = {}): Promise<Network> {
  const dir = newRun();
  say('L1: starting anvil, deploying the token and Root, bonding the sequencer');
  const l1 = await L1.start({ dir, shards: workerOptions?.shards ?? 1, ...l1Options });
  say(`L1: Root at ${l1.root} on ${l1.rpc}`);
  say('Workers: starting gateway, settlement and Durable Objects in workerd');
  const worker = await Worker.start({ dir, l1, port, ...workerOptions });
  say(`Workers: gateway at ${worker.url}`);
  return { dir, l1, worker, gateway: new Gateway(worker.url) };
}

/** Base units. */
const DEPOSIT = 1_000_000;
/** Token wei minted to each owner. */
const MINTED = 10_000_000n;
export const PRICES = { mcp: 5, read: 2, write: 4 } as const;
const POLICY = { perCall: '100', perHour: '500000', perDay: '500000' };

export interface Cast {
  /** Sells the MCP reference server's tools. */
  readonly toolsmith: Agent;
  /** Sells json-server's papers. */
  readonly archive: Agent;
  /** Calls both. */
  readonly scout: Agent;
  /** Sponsored by the patron: never was on L1. */
  readonly newcomer: Agent;
  readonly patron: Agent;
  /** Sponsored too: spends the patron's money by a capability. */
  readonly steward: Agent;
  /** Has a stake, and sleeps. */
  readonly sleeper: Agent;
}

export interface Stack extends Network {
  readonly cast: Cast;
  readonly services: readonly Service[];
  readonly sidecars: { readonly [K in 'toolsmith' | 'archive' | 'scout' | 'newcomer']: SidecarProcess };
}

/** Shards that the agents live on. */
const SHARDS = 2;

/** Calls through Core before a session opens by itself. */
export const FIRST_CALLS = 10;

/** A provider's config: one service under its own name. */
const provider = (name: string, app: string, description: string, routes: object[]) => ({
  name,
  description,
  app,
  services: [{ name, description, routes, deadlineSeconds: 120, workflows: true }],
});

/** Everything, registered and ready to trade. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const { say = () => {} } = options;
  const network = await startNetwork({ ...options, worker: { shards: SHARDS, ...options.worker } });
  const { dir, l1, gateway } = network;
  say('Services: starting server-everything (MCP) and json-server, unmodified');
  const [everything, jsonServer] = await Promise.all([startEverything(dir), startJsonServer(dir)]);

  const create = (name: string): Promise<Agent> => Agent.create(name, dir);
  const [toolsmith, archive, scout, newcomer, patron, steward, sleeper] = await Promise.all(
    ['toolsmith', 'archive', 'scout', 'newcomer', 'patron', 'steward', 'sleeper'].map(create),
  );
  // Who calls each other lives on different shards, where there are several; but scout and toolsmith share one.
  const { shards } = await gateway.status();
  const far = shards.length - 1;
  const depositing = [toolsmith, scout, patron, archive, sleeper];
  const shardOf = (agent: Agent): number => (agent === archive || agent === sleeper ? far : 0);
  say(`L1: ${depositing.length} owners get tokens, approve Root, register an agent and deposit`);
  await Promise.all(depositing.map((agent) => agent.registerAtL1(l1, MINTED, DEPOSIT, shardOf(agent))));
  await Promise.all(depositing.map((agent) => agent.known(gateway)));
  say(`Core: ${depositing.map(({ name, id }) => `${name} is ${id}`).join(', ')}`);
  await patron.sponsor(gateway, l1, newcomer, DEPOSIT / 10);
  await patron.sponsor(gateway, l1, steward, 0);
  say(`Core: patron sponsored newcomer, who is ${newcomer.id}, and steward, who is ${steward.id}`);

  const start = (agent: Agent, config: Record<string, unknown>): Promise<SidecarProcess> =>
    SidecarProcess.start({ dir, gateway: gateway.url, agent, config });
  const caller = { policy: POLICY, session: { auto: true, afterCalls: FIRST_CALLS, deposit: '20000' } };
  const providers = await Promise.all([
    start(
      toolsmith,
      provider('toolsmith', everything.url, 'The MCP reference server', [
        { method: 'POST', path: '/mcp', price: PRICES.mcp },
        // Listening for what the server says unasked, and saying goodbye, cost nothing.
        { method: 'GET', path: '/mcp', price: 0 },
        { method: 'DELETE', path: '/mcp', price: 0 },
      ]),
    ),
    start(
      archive,
      provider('archive', jsonServer.url, 'Papers and notes over REST', [
        { method: 'GET', path: '/*', price: PRICES.read },
        { method: '*', path: '/*', price: PRICES.write },
      ]),
    ),
  ]);
  say('Sidecars: toolsmith and archive have published their services and prices');
  const callers = await Promise.all([start(scout, caller), start(newcomer, caller)]);
  say('Sidecars: scout and newcomer are ready to call');
  return {
    ...network,
    cast: { toolsmith, archive, scout, newcomer, patron, steward, sleeper },
    services: [everything, jsonServer],
    sidecars: { toolsmith: providers[0], archive: providers[1], scout: callers[0], newcomer: callers[1] },
  };
}

/** Everything that was started by this process, in good order first. */
export async function stopStack(stack?: Partial<Stack>): Promise<void> {
  await Promise.all(Object.values(stack?.sidecars ?? {}).map((sidecar) => sidecar.stop()));
  await stack?.worker?.stop();
  await stopAll();
}
