/**
 * `npm start`: the whole system on this machine, trading. Stays up until Ctrl-C.
 *
 *     --once   ends after the scenario; exit code 0 only if all money reconciles
 *     --json   the last line on stdout is one JSON object; everything else goes to stderr
 *     --port   the gateway's port (8787, or any free one)
 *     --l1-port  the L1 node's (8545, or any free one)
 *     --containers  lets containers of this machine's Docker engine reach the gateway too
 */
import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import '../protocol/keccak/install.ts';
import { type Books, printBooks } from './accounting.ts';
import { Doorway, bridgeAddress } from './doorway.ts';
import { ChildFailure, stopAll } from './process.ts';
import { Display } from './progress.ts';
import { FULL, scenario, trickle } from './scenario.ts';
import { type Stack, startStack, stopStack } from './stack.ts';

const { values } = parseArgs({
  options: {
    once: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    port: { type: 'string', default: '8787' },
    'l1-port': { type: 'string', default: '8545' },
    containers: { type: 'boolean', default: false },
  },
});
const display = new Display(values.json ? process.stderr : process.stdout);
const print = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);
const started = Date.now();

let stack: Stack | undefined;
let ending = false;

/** Stops everything, says how it went, and ends. */
async function end(code: number, result?: Record<string, unknown>): Promise<never> {
  if (ending) return new Promise(() => {});
  ending = true;
  display.end();
  await stopStack(stack).catch(() => stopAll());
  // State and logs of a run that went well are nobody's any more.
  if (stack && code !== 1) rmSync(stack.dir, { recursive: true, force: true });
  if (values.json && result)
    await new Promise((resolve) => process.stdout.write(`${JSON.stringify(result)}\n`, resolve));
  process.exit(code);
}

const seconds = (): number => Math.round((Date.now() - started) / 100) / 10;

async function fail(error: unknown): Promise<never> {
  display.end();
  const crashed = Object.values(stack?.sidecars ?? {}).find(({ child }) => child.crashed)?.child;
  print(`\nFailed: ${error instanceof Error ? error.message : String(error)}`);
  if (error instanceof Error && !(error instanceof ChildFailure) && error.stack) print(error.stack);
  if (crashed) print(crashed.tail());
  if (stack) print(`${stack.worker.child.tail()}\n\nAll logs: ${stack.dir}`);
  return end(1, {
    ok: false,
    error: error instanceof Error ? error.message.split('\n')[0] : String(error),
    seconds: seconds(),
  });
}

function summary({ counts, reconciled }: Books): Record<string, unknown> {
  const { agents, coreCalls, sessionCalls, committed, aborted, messages, batches, withdrawals } = counts;
  const workflows = committed + aborted;
  const did = { agents, coreCalls, sessionCalls, workflows, messages, batches, withdrawals };
  return { ok: reconciled, ...did, reconciled, seconds: seconds() };
}

/** On Linux a container reaches this machine at the bridge's address, where the gateway does not listen; Docker Desktop leads it to loopback by itself. */
async function openToContainers({ worker }: Stack): Promise<void> {
  const host = await bridgeAddress();
  try {
    await Doorway.open(host, worker.port, worker.port);
    display.say(`Containers: they reach the gateway as host.docker.internal:${worker.port}, by ${host}`);
  } catch (error) {
    if ((error as { code?: string }).code !== 'EADDRNOTAVAIL') throw error;
    display.say('Containers: the engine is in a machine of its own, and leads them here itself');
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.on(signal, () => void end(signal === 'SIGINT' ? 130 : 143));
process.on('uncaughtException', (error) => void fail(error));
process.on('unhandledRejection', (error) => void fail(error));

try {
  stack = await startStack({
    port: Number(values.port),
    l1: { port: Number(values['l1-port']) },
    say: (line) => display.say(line),
  });
  if (values.containers) await openToContainers(stack);
  display.watch(stack.gateway);
  const books = await scenario(stack, FULL, display);
  display.end();
  print(`\n${printBooks(books)}\n`);
  const result = summary(books);
  if (values.once || !books.reconciled) await end(books.reconciled ? 0 : 1, result);
  if (values.json) process.stdout.write(`${JSON.stringify(result)}\n`);
  print(`Explorer: ${stack.gateway.url}/`);
  trickle(stack);
  print('Everything stays up, and goes on trading a little, until Ctrl-C.');
} catch (error) {
  await fail(error);
}
