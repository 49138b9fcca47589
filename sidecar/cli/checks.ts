/** The doctor's checks. Each goes by what those before it found out, and says nothing where that is missing. */
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { hex } from '../../protocol/bytes.ts';
import { codeOf } from '../../protocol/errors.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type Config, loadSecret, readConfig } from '../config.ts';
import { type AgentFacts, Core, type NetworkFacts } from '../core.ts';
import { mendOf } from './mends.ts';
import { describe } from './output.ts';
import { isFree, isListening } from './ports.ts';
import { Admin, absolute, urlOf } from './setup.ts';

export interface Finding {
  readonly level: 'ok' | 'warning' | 'fault';
  readonly code: string;
  /** The cause, for people. */
  readonly what: string;
  /** The exact command or edit. */
  readonly mend?: string;
}

/** What is known so far. */
export interface Facts {
  readonly file: string;
  readonly env: NodeJS.ProcessEnv;
  readonly docker: boolean;
  /** Version of Node, without its v. */
  readonly node: string;
  config?: Config;
  key?: MachineKey;
  network?: NetworkFacts;
  agent?: AgentFacts;
  /** Whether this agent's sidecar runs. */
  isRunning?: boolean;
}

export type Check = (facts: Facts) => Promise<Finding[]> | Finding[];

const ok = (what: string): Finding[] => [{ level: 'ok', code: 'ok', what }];
const fault = (code: string, what: string, mend = mendOf(code)): Finding[] => [{ level: 'fault', code, what, mend }];
const warning = (code: string, what: string, mend = mendOf(code)): Finding[] => [
  { level: 'warning', code, what, mend },
];

/** The first Node that strips types without a flag and has SQLite: as agnt2.mjs has it. */
const LEAST_NODE = [22, 18] as const;
/** Seconds that the gateway takes a signed time to be off. */
const CLOCK_SECONDS = 60;

export const node: Check = ({ node: version }) => {
  const [major, minor] = version.split('.').map(Number);
  const isEnough = major > LEAST_NODE[0] || (major === LEAST_NODE[0] && minor >= LEAST_NODE[1]);
  return isEnough
    ? ok(`Node ${version}`)
    : fault('node_too_old', `this is Node ${version}, ${LEAST_NODE.join('.')} is the least`, 'npm install node@24');
};

export const config: Check = (facts) => {
  const { file } = facts;
  if (!existsSync(file)) return fault('no_config', `there is no ${file}`, `agnt2 init --config ${file}`);
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    return fault('bad_config', `${file} is not JSON: ${(error as Error).message}`, `edit ${file}`);
  }
  if (typeof value === 'object' && value !== null && !('agent' in value))
    return fault(
      'not_registered',
      `${file} names no agent: its registration was never finished`,
      `agnt2 init --config ${file}`,
    );
  try {
    facts.config = absolute(readConfig(value), file);
  } catch (error) {
    return fault(
      'bad_config',
      `${file}: ${describe(error).detail}`,
      `edit ${file}: docs/cli.md explains every setting`,
    );
  }
  return ok(`config ${file}`);
};

export const key: Check = async (facts) => {
  const { config: own, env } = facts;
  if (own === undefined) return [];
  const { keyFile } = own;
  if (keyFile === undefined && env.AGNT2_MACHINE_KEY === undefined)
    return fault('no_key', "the config has no 'keyFile' and AGNT2_MACHINE_KEY is not set", "set 'keyFile'");
  if (keyFile !== undefined) {
    const stat = statSync(keyFile, { throwIfNoEntry: false });
    if (stat === undefined)
      return fault('no_key', `there is no ${keyFile}`, "point 'keyFile' at the agent's machine key");
    if ((stat.mode & 0o077) !== 0)
      return fault('key_exposed', `others on this machine can read ${keyFile}`, `chmod 600 ${keyFile}`);
  }
  try {
    facts.key = await MachineKey.import(loadSecret(own, env));
  } catch (error) {
    return fault(
      'bad_key',
      describe(error).detail,
      'put the key back from where you keep a copy, or have the owner rotate it',
    );
  }
  return ok(`machine key ${keyFile ?? 'from AGNT2_MACHINE_KEY'}`);
};

export const state: Check = ({ config: own }) => {
  if (own === undefined) return [];
  let dir = own.stateDir;
  while (!existsSync(dir)) dir = dirname(dir);
  try {
    accessSync(dir, constants.W_OK);
    if (!statSync(dir).isDirectory()) throw new Error('no directory');
    // Root may write everywhere, except where the file system is read-only.
    rmSync(mkdtempSync(join(dir, '.agnt2-doctor-')), { recursive: true });
  } catch {
    return fault(
      'state_unwritable',
      `${own.stateDir} can't be written: the sidecar would forget what it owes`,
      `mkdir -p ${own.stateDir} && chmod u+rwx ${own.stateDir}, or another 'stateDir'`,
    );
  }
  return ok(`state directory ${own.stateDir}`);
};

export const gateway: Check = async (facts) => {
  const { config: own } = facts;
  if (own === undefined) return [];
  try {
    facts.network = await new Core(own.gateway).status();
  } catch (error) {
    // Whatever says something else than JSON is there, and is something else.
    const isSilent = codeOf(error) === 'gateway_unavailable' && !((error as Error).cause instanceof SyntaxError);
    return isSilent
      ? fault(
          'gateway_unreachable',
          `no gateway answers at ${own.gateway}`,
          "agnt2 up, or set 'gateway' to the network's",
        )
      : fault('not_a_gateway', `${own.gateway} answers, but is no AGNT2 gateway`, "set 'gateway' to the network's");
  }
  const { chainId, root } = facts.network.domain;
  return ok(`gateway ${own.gateway}: chain ${chainId}, Root ${root}`);
};

/** What the state directory was used with first; null when it is new. */
async function pinned(stateDir: string): Promise<string | null> {
  const file = join(stateDir, 'sidecar.sqlite');
  if (!existsSync(file)) return null;
  const { DatabaseSync } = await import('node:sqlite');
  const db = new DatabaseSync(file, { readOnly: true });
  try {
    return (db.prepare(`SELECT value FROM facts WHERE key = 'network'`).get()?.value as string | undefined) ?? null;
  } finally {
    db.close();
  }
}

export const network: Check = async ({ config: own, network: seen }) => {
  if (own === undefined || seen === undefined) return [];
  let before: string | null;
  try {
    before = await pinned(own.stateDir);
  } catch (error) {
    return fault(
      'state_damaged',
      `${own.stateDir}/sidecar.sqlite can't be read: ${(error as Error).message}`,
      "restore it from a copy; a new 'stateDir' forgets what is owed",
    );
  }
  if (before === null) return [];
  const { domain, sequencerKey } = seen;
  const [chainId, root, sequencer] = before.split(' ');
  if (chainId === String(domain.chainId) && root === domain.root && sequencer === hex(sequencerKey))
    return ok('the network is the one of before');
  const [was, is] =
    chainId === String(domain.chainId) && root === domain.root
      ? ['another sequencer key', 'a new one']
      : [`chain ${chainId}, Root ${root}`, `chain ${domain.chainId}, Root ${domain.root}`];
  return fault(
    'wrong_network',
    `${own.stateDir} belongs to ${was}, the gateway speaks for ${is}`,
    "set 'gateway' back; if the new network is meant, give it a 'stateDir' of its own",
  );
};

export const clock: Check = async ({ config: own, network: seen }) => {
  if (own === undefined || seen === undefined) return [];
  const timeMs = await new Core(own.gateway).time().catch(() => null);
  if (timeMs === null) return [];
  const off = Math.round((Date.now() - timeMs) / 1000);
  if (Math.abs(off) < CLOCK_SECONDS) return ok('the clock agrees with the gateway');
  return fault(
    'clock_skew',
    `this machine's clock is ${Math.abs(off)} s ${off > 0 ? 'ahead' : 'behind'}; the gateway takes signatures of at most ${CLOCK_SECONDS} s off`,
    'timedatectl set-ntp true',
  );
};

export const agent: Check = async (facts) => {
  const { config: own, network: seen, key: machine } = facts;
  if (own === undefined || seen === undefined) return [];
  const core = new Core(own.gateway);
  const id = formatId(own.agent);
  try {
    facts.agent = await core.agent(own.agent);
    const onChain = await core.key(own.agent);
    if (machine === undefined) return [];
    if (hex(onChain) === hex(machine.publicKey)) return ok(`agent ${id}, owned by ${facts.agent.owner}`);
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'unknown_agent' && code !== 'wrong_shard') throw error;
    return fault('unknown_agent', `there is no agent ${id} on this network`, `agnt2 init --config ${facts.file}`);
  }
  const [rightful] = await core.agentsByKey(machine.publicKey);
  return fault(
    'wrong_key',
    `the key is not that of ${id}${rightful === undefined ? '' : `, but of ${formatId(rightful)}`}`,
    rightful === undefined
      ? `point 'keyFile' at the machine key of ${id}, or have its owner rotate it`
      : `set "agent": "${formatId(rightful)}" in ${facts.file}, or 'keyFile' to the key of ${id}`,
  );
};

export const balance: Check = ({ config: own, agent: on, network: seen }) => {
  if (own === undefined || on === undefined || seen === undefined) return [];
  const { perDay } = own.policy;
  const mend = `agnt2 deposit ${Math.max(perDay, 1000)} ${seen.domain.chainId === 31337 ? '--local' : '--l1 URL (with OWNER_KEY)'}`;
  if (on.balance > 0) return ok(`balance ${on.balance} base units`);
  if (perDay === 0) return ok('balance 0, and no budget to spend: it only sells');
  return fault('no_balance', `the balance is 0, and the budget is ${perDay} a day: it can pay nobody`, mend);
};

export const app: Check = async ({ config: own }) => {
  if (own?.app === undefined) return [];
  const { hostname, port, protocol } = new URL(own.app);
  if (port === '0') return ok('the app gets its port from agnt2 run');
  const at = Number(port || (protocol === 'https:' ? 443 : 80));
  if (await isListening(hostname.replace(/^\[|\]$/g, ''), at)) return ok(`the app listens at ${own.app}`);
  return fault(
    'app_not_listening',
    `nobody listens at ${own.app}: callers would get app_unavailable`,
    "start the app (agnt2 run -- CMD does both), or set 'app' to where it listens",
  );
};

export const ports: Check = async (facts) => {
  const { config: own, file } = facts;
  if (own === undefined) return [];
  facts.isRunning = (await new Admin(own).status()) !== null;
  if (facts.isRunning) return ok(`the sidecar runs, ${urlOf(own.listen)}`);
  for (const [name, { host, port }] of Object.entries({ listen: own.listen, admin: own.admin })) {
    if (port !== 0 && !(await isFree(port, host)))
      return fault(
        'port_taken',
        `'${name}' is ${host}:${port}, where another program listens`,
        `end it (ss -ltnp 'sport = :${port}' says which), or set '${name}' in ${file} to a free port`,
      );
  }
  return ok(`the sidecar does not run; ports ${own.listen.port} and ${own.admin.port} are free for it`);
};

/** Why a sidecar that runs takes no calls, and what to do about it. */
const UNREADY: Readonly<Record<string, readonly [why: string, mend: string]>> = {
  starting: [
    'has not heard its gateway or the chain yet',
    'agnt2 logs says what it waits for; what the config said when it started holds until it is started again',
  ],
  offline: ['the gateway could bring it no call: its socket there is not open', 'agnt2 logs says why'],
  key_expired: [
    'its machine key expired: it signs nothing',
    "set 'signer.expires' to a later time, or have the owner rotate the key, and start the sidecar again",
  ],
  draining: ['it is about to end, and takes no new calls', 'wait for it, then agnt2 sidecar'],
};

export const ready: Check = async ({ config: own, isRunning }) => {
  if (own === undefined || isRunning !== true) return [];
  const status = await new Admin(own).status();
  if (status?.ready === true) return ok('the sidecar is ready');
  const [why, mend] = UNREADY[status?.reason ?? 'draining'] ?? [`it says ${status?.reason}`, 'agnt2 logs'];
  return fault('not_ready', `the sidecar runs, but ${why}`, mend);
};

export const name: Check = async ({ config: own, network: seen, file }) => {
  if (own?.name === undefined || seen === undefined) return [];
  try {
    const { agent: holder } = await new Core(own.gateway).directory(own.name);
    if (holder === own.agent) return ok(`the name ${own.name} is held`);
    return fault(
      'name_taken',
      `${formatId(holder)} holds the name ${own.name}: the sidecar would not start`,
      `set 'name' in ${file} to another`,
    );
  } catch (error) {
    if (codeOf(error) !== 'unknown_name') throw error;
    return ok(`the name ${own.name} is free`);
  }
};

export const budget: Check = ({ config: own }) =>
  own !== undefined && own.policy.perDay === 0 && own.services.length === 0
    ? warning(
        'no_budget',
        "the agent sells nothing and may spend nothing: 'policy' is missing",
        `"policy": {"perDay": "10000"}`,
      )
    : [];

/** The engine's socket: DOCKER_HOST, else the usual place. */
export const docker: Check = async ({ docker: asked, env }) => {
  if (!asked) return [];
  const host = env.DOCKER_HOST ?? 'unix:///var/run/docker.sock';
  if (!host.startsWith('unix://')) {
    const { hostname, port } = new URL(host.replace(/^tcp:/, 'http:'));
    return (await isListening(hostname, Number(port || 2375)))
      ? ok(`a Docker engine at ${host}`)
      : fault('docker_unreachable', `no Docker engine listens at ${host}`, 'set DOCKER_HOST to one that does');
  }
  const path = host.slice('unix://'.length);
  if (!existsSync(path))
    return fault(
      'docker_missing',
      `there is no Docker socket at ${path}`,
      'systemctl start docker, or set DOCKER_HOST',
    );
  const code = await new Promise<string | null>((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(null);
    });
    socket.once('error', (error) => resolve(codeOf(error)));
  });
  if (code === null) return ok(`a Docker engine at ${path}`);
  return code === 'EACCES'
    ? fault(
        'docker_denied',
        `you may not use the Docker socket ${path}`,
        'sudo usermod -aG docker $USER, then log in again',
      )
    : fault('docker_unreachable', `nobody answers at the Docker socket ${path}`, 'systemctl restart docker');
};

export const CHECKS: readonly Check[] = [
  node,
  config,
  key,
  state,
  gateway,
  network,
  clock,
  agent,
  balance,
  name,
  app,
  ports,
  ready,
  budget,
  docker,
];
