/** The README's commands for containers, as they stand there, in an empty folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseId } from '../../../protocol/ids.ts';
import { Doorway, bridgeAddress } from '../../../local/doorway.ts';
import { inRepository } from '../../../local/paths.ts';
import { until } from '../../../local/process.ts';
import { Core } from '../../../sidecar/core.ts';
import type { TestNetwork } from '../stack.ts';
import { type Docker, composeCommand, execute } from './engine.ts';
import { IMAGES } from './images.ts';

/** The image that the README names, as a registry has it. */
const NGINX = 'nginx';

export interface Outcome {
  /** What the last command printed. */
  readonly page: string;
  /** Base units that it cost both its callers together, and brought the agent they called. */
  readonly earned: number;
}

/** The block of the README that ends with a call out of a container. */
function commands(): string[] {
  const blocks = [...readFileSync(inRepository('README.md'), 'utf8').matchAll(/```sh\n(.*?)```/gs)];
  const block = blocks.map(([, text]) => text).find((text) => text.includes('docker compose'));
  if (block === undefined) throw new Error('the README has no commands for containers');
  return block.trim().split('\n');
}

/** Runs what the README says; the first command only where LONG is set, as it brings up a whole system of its own. Throws with what a command said. */
export async function readme(docker: Docker, net: TestNetwork): Promise<Outcome> {
  const [first, ...rest] = commands();
  if (rest.length !== 3) throw new Error('there are not four commands');
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-readme-'));
  // For npx: installed, and nothing else is there.
  mkdirSync(join(dir, 'node_modules', '.bin'), { recursive: true });
  symlinkSync(inRepository('sidecar', 'cli', 'agnt2.mjs'), join(dir, 'node_modules', '.bin', 'agnt2'));
  chmodSync(dir, 0o755);
  const [command, ...args] = composeCommand!;
  const compose = (name: string, ...more: string[]): Promise<string> =>
    execute(command, [...args, '--file', join(dir, name, 'compose.yaml'), ...more]);
  const images = await docker.run('images', '--quiet', NGINX);
  if (images === '') await docker.run('tag', IMAGES.nginx, NGINX);
  const system = process.env.LONG === '1' ? await bringUp(first) : await open(net);
  try {
    const shell = (line: string): Promise<string> => execute('sh', ['-c', `cd ${dir} && ${line}`]);
    const isElsewhere = system.gateway !== 'http://127.0.0.1:8787' || system.l1 !== 'http://127.0.0.1:8545';
    const where = isElsewhere ? ` --gateway ${system.gateway} --l1 ${system.l1}` : '';
    await Promise.all(rest.slice(0, 2).map((line) => shell(line + where)));
    const ask = rest[2].replace('docker compose', [command, ...args].join(' '));
    const page = await shell(ask);
    // The same for one whose environment names no proxy.
    await shell(`${rest[1].replace('visitor', 'walker')} --transparent${where}`);
    const walked = await shell(ask.replace('visitor', 'walker'));
    if (walked !== page) throw new Error(`without a proxy setting the page is ${walked}`);
    const core = new Core(system.gateway);
    const agentOf = (name: string): number =>
      parseId((JSON.parse(readFileSync(join(dir, name, 'agnt2.json'), 'utf8')) as { agent: string }).agent);
    const DEPOSIT = 100_000;
    const paid = async (name: string): Promise<number> => DEPOSIT - (await core.agent(agentOf(name))).balance;
    let earned = 0;
    await until('the shop to be paid by both', async () => {
      const [visitor, walker] = [await paid('visitor'), await paid('walker')];
      earned = -(await paid('shop'));
      return visitor > 0 && walker > 0 && earned === visitor + walker;
    });
    return { page, earned };
  } finally {
    for (const name of ['shop', 'visitor', 'walker'])
      await compose(name, 'down', '--volumes', '--timeout', '1').catch(console.error);
    if (images === '') await docker.run('rmi', NGINX);
    await system.end();
    rmSync(dir, { recursive: true, force: true });
  }
}

interface System {
  readonly gateway: string;
  readonly l1: string;
  end(): Promise<void>;
}

/** A stack that runs, where containers look for it. */
async function open({ url, l1, worker }: TestNetwork): Promise<System> {
  const door = await Doorway.open(await bridgeAddress(), worker.port, worker.port);
  return { gateway: url, l1: l1.rpc, end: async () => door.close() };
}

/** Runs the README's first command; what `npm install` does was done by whoever runs this. */
async function bringUp(line: string): Promise<System> {
  const [install, ...rest] = line.split(' && ');
  if (install !== 'npm install') throw new Error(`the first thing is ${install}`);
  const child: ChildProcess = spawn('sh', ['-c', rest.join(' && ')], {
    cwd: inRepository(),
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  let said = '';
  child.stdout!.on('data', (data: Buffer) => (said += data.toString()));
  const found = async (what: RegExp): Promise<string> => {
    await until(
      String(what),
      () => {
        if (child.exitCode !== null) throw new Error(said);
        return what.test(said);
      },
      { timeoutMs: 240_000, everyMs: 250 },
    );
    return what.exec(said)![1];
  };
  await found(/(Containers): they reach/);
  return {
    gateway: await found(/gateway at (http:\S+)/),
    l1: await found(/Root at \S+ on (http:\S+)/),
    end: async () => {
      process.kill(-child.pid!, 'SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}
