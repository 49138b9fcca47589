/** `agnt2 compose`: an image, unchanged, as an agent in containers: a folder with its machine key, its config and the compose file, registered and up. */
import { execFile, spawnSync } from 'node:child_process';
import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { formatId } from '../../protocol/ids.ts';
import { readConfig } from '../config.ts';
import { Core } from '../core.ts';
import { NAME } from '../target.ts';
import { type Command, EXIT, Failure, type Invocation, UsageError, countOf } from './command.ts';
import { freeNet, usedNets } from './nets.ts';
import { REGISTRATION, keyAt } from './init.ts';
import { register, waysOf } from './register.ts';

const example = (file: string): string => fileURLToPath(new URL(`../../examples/compose/${file}`, import.meta.url));
/** Whom the image runs as, unless it is told otherwise. */
const IMAGE_USER = 65532;
/** This machine, as a container calls it. */
const HOST = 'host.docker.internal';
const READY_MS = 90_000;

export const compose: Command = {
  usage: 'NAME --image IMAGE [--price UNITS]',
  about: [
    'Makes the folder NAME (machine.key, agnt2.json, compose.yaml, .env), registers the agent, and has Docker Compose bring up the image, its sidecar and what reads its labels. With --price others call it as http://NAME.agnt2/ for money; it calls others, through the proxy in its environment, within --budget.',
    "With --transparent the app's environment says nothing of a proxy: every name it looks up is its sidecar, which goes by what is asked for at ports 80 and 443.",
    'What is there already is kept: run it again after you have edited any of it.',
  ],
  options: {
    image: { type: 'string', value: 'IMAGE', help: "the app's image" },
    price: {
      type: 'string',
      value: 'PRICES',
      help: "base units a call costs, or 'GET /=2; POST /run=200; *=5'; without it the app only calls others",
    },
    transparent: {
      type: 'boolean',
      help: 'for an app that does not hear HTTP_PROXY: it is led to its sidecar by names',
    },
    ...REGISTRATION,
  },
  exits: { 3: 'the folder is written, but the agent is not registered yet' },
  examples: [
    'agnt2 compose shop --image nginx --price 5 --local',
    'OWNER_KEY=0x… agnt2 compose shop --image nginx --price 5 --gateway https://gateway.example --l1 https://rpc.example',
  ],
  run,
};

const execute = promisify(execFile);
const works = (command: string, ...args: string[]): Promise<boolean> =>
  execute(command, args).then(
    () => true,
    () => false,
  );

/** Docker Compose as this machine has it: the client's plugin, or the older program; null where neither runs. */
export const composeCommand = (): readonly [string, ...string[]] | null =>
  ([['docker', 'compose'], ['docker-compose']] as const).find(
    ([command, ...args]) => spawnSync(command, [...args, 'version'], { stdio: 'ignore' }).status === 0,
  ) ?? null;

/** A gateway on this machine's loopback is another machine's to a container. */
function asContainersSee(gateway: string): string {
  const url = new URL(gateway);
  if (/^(?:localhost|127\.[\d.]+|\[::1\])$/.test(url.hostname)) url.hostname = HOST;
  return url.origin;
}

/** A line of `.env` that every version of Compose reads alike. Throws {@link UsageError}. */
function assignment(name: string, value: string): string {
  if (/['\r\n]/.test(value)) throw new UsageError(`${name} can't hold quotes or line breaks`);
  return `${name}='${value}'\n`;
}

async function environment({ text, flag, env }: Invocation, name: string): Promise<string> {
  const image = text('image');
  if (image === undefined) throw new UsageError('which image? --image IMAGE');
  const price = text('price') ?? '';
  const { DOCKER_HOST = '' } = env;
  const { getuid, getgid } = process;
  // Root's key is given to the image's own user; anybody else is whom the sidecar runs as.
  const isRoot = getuid === undefined || getuid() === 0;
  return Object.entries({
    COMPOSE_PROJECT_NAME: name,
    APP_IMAGE: image,
    AGENT_NAME: name,
    AGENT_PRICE: /^\d+$/.test(price) ? `*=${price}` : price,
    ...(flag('transparent') && { AGNT2_NET: freeNet(name, await usedNets()) }),
    ...(!isRoot && { AGNT2_USER: `${getuid!()}:${getgid!()}` }),
    ...(DOCKER_HOST.startsWith('unix://') && { DOCKER_SOCKET: DOCKER_HOST.slice('unix://'.length) }),
  })
    .map(([key, value]) => assignment(key, value))
    .join('');
}

async function run(invocation: Invocation): Promise<number> {
  const { text, flag, out, args } = invocation;
  const [name, ...more] = args;
  if (name === undefined || more.length > 0 || !NAME.test(name))
    throw new UsageError('agnt2 compose NAME: lower-case letters, digits and inner hyphens, at most 63');
  const dir = resolve(name);
  const [envFile, config, file] = ['.env', 'agnt2.json', 'compose.yaml'].map((part) => join(dir, part));
  const isTransparent = flag('transparent');
  if (isTransparent && existsSync(file) && !readFileSync(file, 'utf8').includes('AGNT2_NET'))
    throw new Failure(
      'not_transparent',
      `${relative('.', file)} is there already, and is one with a proxy`,
      `rm ${[file, envFile, config].map((path) => relative('.', path)).join(' ')}, if nothing in them is yours`,
    );
  const variables = existsSync(envFile) ? null : await environment(invocation, name);
  const budget = countOf(text('budget')!, '--budget');
  const found = composeCommand();
  if (found === null)
    throw new Failure(
      'no_compose',
      'neither docker compose nor docker-compose runs here',
      'install Docker Compose (Debian: apt-get install docker.io docker-compose)',
    );
  const [command, ...first] = found;
  const gateway = new URL(text('gateway')!).origin;
  const core = new Core(gateway);
  const { domain } = await core.status();

  mkdirSync(dir, { recursive: true });
  const { key, isNew } = await keyAt(join(dir, 'machine.key'));
  if (isNew && process.getuid?.() === 0) chownSync(join(dir, 'machine.key'), IMAGE_USER, IMAGE_USER);
  if (variables !== null) writeFileSync(envFile, variables);
  if (!existsSync(file)) copyFileSync(example(isTransparent ? 'transparent.yaml' : 'compose.yaml'), file);
  let agent = (await core.agentsByKey(key.publicKey)).at(0);
  const made = agent === undefined ? await register(invocation, { core, domain, key }) : null;
  agent ??= made?.agent;
  if (agent === undefined) {
    const ways = waysOf(domain, key.publicKey, text('shard')!, text('deposit')!, `agnt2 compose ${name}`);
    out.result({ ok: false, registered: false, folder: dir, ...ways.json }, [
      `the folder ${dir} is written`,
      out.paint('yellow', 'not registered yet'),
      ...ways.lines,
    ]);
    return 3;
  }
  if (!existsSync(config))
    writeFileSync(config, `${JSON.stringify(configOf(gateway, agent, name, budget, isTransparent), null, 2)}\n`);

  const composed = [...first, '--file', file];
  out.note(`agent ${formatId(agent)}; ${[command, ...first].join(' ')} brings up ${relative('.', file)}`);
  try {
    await execute(command, [...composed, 'up', '--detach']);
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    const hasNoSidecar = /agnt2\/sidecar/.test(stderr);
    throw new Failure(
      hasNoSidecar ? 'no_image' : 'compose_failed',
      stderr.trim().split('\n').slice(-3).join(' ') || String(error),
      hasNoSidecar ? 'npm run image' : `${[command, ...composed].join(' ')} up`,
    );
  }
  await ready(command, composed);
  const called = `${[command, ...composed.slice(0, -1)].join(' ')} ${relative('.', file)} exec -T app`;
  out.result(
    {
      ok: true,
      agent: formatId(agent),
      folder: dir,
      file,
      ...(made?.ownerKey !== undefined && { ownerKey: made.ownerKey }),
    },
    [
      `${out.paint('bold', name)} is up, as ${formatId(agent)}: for apps behind a sidecar it is http://${name}.agnt2/`,
      ...(made?.ownerKey === undefined
        ? []
        : [
            `its owner's key, shown once and kept nowhere (the local chain's money is worth nothing): ${made.ownerKey}`,
          ]),
      `next: ${called} curl -s http://PEER.agnt2/`,
    ],
  );
  return EXIT.done;
}

/** As its container has it. */
function configOf(
  gateway: string,
  agent: number,
  name: string,
  budget: number,
  isTransparent: boolean,
): Record<string, unknown> {
  const config = {
    gateway: asContainersSee(gateway),
    agent: formatId(agent),
    keyFile: '/run/secrets/machine_key',
    name,
    listen: 'agnt2:8402',
    ...(isTransparent && { transparent: { host: 'agnt2' } }),
    admin: '127.0.0.1:8403',
    stateDir: '/var/lib/agnt2',
    policy: { perCall: String(Math.ceil(budget / 10)), perDay: String(budget) },
    ...(budget > 0 && { session: { auto: true, afterCalls: 10, deposit: String(Math.ceil(budget / 5)) } }),
  };
  readConfig(config);
  return config;
}

/** Waits until calls can be made and taken. Throws `not_ready`. */
async function ready(command: string, composed: readonly string[]): Promise<void> {
  const probe = [...composed, 'exec', '-T', 'sidecar', 'node', '/opt/agnt2/health.mjs', '/readyz'];
  for (const end = Date.now() + READY_MS; Date.now() < end; await setTimeout(250))
    if (await works(command, ...probe)) return;
  throw new Failure(
    'not_ready',
    `the sidecar is up, and has not reached its gateway or is not online there after ${READY_MS / 1000} s`,
    `${[command, ...composed].join(' ')} logs sidecar discover`,
  );
}
