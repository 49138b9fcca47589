/** The whole stack for tests: one a test process, started once, with real trade on it. */
import type { Address } from 'viem';
import type { Gateway } from '../../local/gateway.ts';
import type { L1 } from '../../local/l1.ts';
import { stopAll } from '../../local/process.ts';
import { type Progress, SMALL, scenario, trickle } from '../../local/scenario.ts';
import { type Network, type Stack, type StackOptions, startNetwork, startStack, stopStack } from '../../local/stack.ts';
import type { Worker } from '../../local/worker.ts';

export interface TestNetwork {
  /** The gateway's, and the explorer's. */
  readonly url: string;
  readonly gateway: Gateway;
  /** The run's own folder. */
  readonly dir: string;
  readonly l1: L1;
  readonly worker: Worker;
  readonly root: Address;
  readonly token: Address;
  /** Stops everything that this process started. */
  stop(): Promise<void>;
  /** `kill -9` of wrangler and workerd. */
  kill9Worker(): Promise<void>;
  /** Starts them again, from the state on disk. */
  restartWorker(): Promise<void>;
}

const expose = (network: Network): TestNetwork => ({
  url: network.gateway.url,
  gateway: network.gateway,
  dir: network.dir,
  l1: network.l1,
  worker: network.worker,
  root: network.l1.root,
  token: network.l1.token,
  stop: () => stopStack(network),
  kill9Worker: () => network.worker.kill9(),
  restartWorker: () => network.worker.restart(),
});

/** L1 and Workers alone, for tests that bring their own agents. */
export async function network(options: StackOptions = {}): Promise<TestNetwork> {
  return guarded(async () => expose(await startNetwork(options)));
}

const SILENT: Progress = { say: () => {}, called: () => {}, stage: () => {} };

export interface TestStack extends TestNetwork {
  readonly stack: Stack;
}

let shared: Promise<TestStack> | null = null;

/**
 * Everything, after a small run of the scenario: agents, services, calls through Core and sessions, final batches, paid withdrawals, and a
 * little trade that goes on. The same one for all who ask in this process; it ends with the process.
 */
export function stack(): Promise<TestStack> {
  shared ??= guarded(async () => {
    const started = await startStack();
    await scenario(started, SMALL, SILENT);
    const quieten = trickle(started);
    const stop = (): Promise<void> => {
      quieten();
      return stopStack(started);
    };
    return { ...expose(started), stack: started, stop };
  });
  return shared;
}

/** A start that fails halfway leaves nothing running. */
async function guarded<T>(start: () => Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    await stopAll();
    throw error;
  }
}
