/** `agnt2 init`: a machine key, a config, and an agent that is on Core, whichever of these is missing. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, relative, resolve } from 'node:path';
import { hex } from '../../protocol/bytes.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { loadSecret, readConfig } from '../config.ts';
import { Core } from '../core.ts';
import { NAME } from '../target.ts';
import { CONFIG, type Command, EXIT, Failure, type Invocation, type Option, UsageError, countOf } from './command.ts';
import { configFile } from './setup.ts';
import { freePort } from './ports.ts';
import { type Registered, register, waysOf } from './register.ts';

/** Options of how an agent comes onto Core. */
export const REGISTRATION: Readonly<Record<string, Option>> = {
  gateway: { type: 'string', value: 'URL', default: 'http://127.0.0.1:8787', help: "the network's gateway" },
  budget: { type: 'string', value: 'UNITS', default: '10000', help: 'what the agent may spend in a day' },
  local: { type: 'boolean', help: 'register on the local chain, with tokens made for it' },
  l1: { type: 'string', value: 'URL', help: "an L1 node; with OWNER_KEY it registers (--local: 'agnt2 up's)" },
  deposit: { type: 'string', value: 'UNITS', default: '100000', help: 'first deposit, in base units' },
  shard: { type: 'string', value: 'N', default: '0', help: 'the shard to live on' },
  sponsor: {
    type: 'string',
    value: 'FILE',
    help: 'config of an agent that registers this one and gives it --deposit',
  },
  owner: { type: 'string', value: 'ADDRESS', help: "with --sponsor: the new agent's owner (default: the sponsor's)" },
};

export const init: Command = {
  usage: '[--name NAME --price UNITS]',
  about: [
    'What is there already is kept: run it again when the deposit is in, or with another way to register. With --price or --app the agent sells a service, else it only buys.',
    'The machine key signs calls and is all that a sidecar holds. The owner, an account at L1, gets what is withdrawn and may replace the machine key; its key is read from OWNER_KEY, used here once, and written nowhere.',
    'Ways to register: --local on the chain of `agnt2 up`; --l1 with OWNER_KEY on any chain; --sponsor out of the balance of another agent of yours; or by the transactions that are printed.',
  ],
  options: {
    config: CONFIG,
    key: { type: 'string', value: 'FILE', default: 'machine.key', help: 'the machine key, made when missing' },
    name: { type: 'string', value: 'NAME', help: 'directory name to hold, and the name of the service' },
    app: { type: 'string', value: 'URL', help: 'where the app listens; port 0 is chosen by agnt2 run' },
    price: { type: 'string', value: 'UNITS', help: 'what a call costs, in base units' },
    ...REGISTRATION,
  },
  exits: { 3: 'all is written, but the agent is not registered yet' },
  examples: [
    'agnt2 init --local',
    'agnt2 init --local --name clock --price 5',
    'OWNER_KEY=0x… agnt2 init --gateway https://gateway.example --l1 https://rpc.example --deposit 1000000',
    'agnt2 init --sponsor ../payer/agnt2.json --deposit 5000',
  ],
  run,
};

/** Makes the key's file for its owner alone, or reads the one that is there. Throws `bad_config`. */
export async function keyAt(file: string): Promise<{ key: MachineKey; isNew: boolean }> {
  const isNew = !existsSync(file);
  if (isNew) writeFileSync(file, `${hex(MachineKey.randomSecret())}\n`, { mode: 0o600, flag: 'wx' });
  return { key: await MachineKey.import(loadSecret({ keyFile: file })), isNew };
}

type Json = Record<string, unknown>;

/** The config as it will stand: what is there, or a new one. */
async function draft({ text }: Invocation, file: string, keyFile: string): Promise<Json> {
  if (existsSync(file)) {
    try {
      return JSON.parse(readFileSync(file, 'utf8')) as Json;
    } catch (error) {
      throw new Failure('bad_config', `${file} is not JSON: ${(error as Error).message}`);
    }
  }
  const name = text('name');
  if (name !== undefined && !NAME.test(name))
    throw new UsageError('--name must be lower-case letters, digits and inner hyphens, at most 63');
  const budget = countOf(text('budget')!, '--budget');
  const price = text('price') === undefined ? null : countOf(text('price')!, '--price');
  const sells = price !== null || text('app') !== undefined;
  const listen = await freePort(8402);
  return {
    gateway: new URL(text('gateway')!).origin,
    keyFile: relative(dirname(file), keyFile),
    ...(name !== undefined && { name }),
    ...(sells && {
      app: text('app') ?? 'http://127.0.0.1:0',
      services: [{ name: name ?? 'service', routes: [], free: ['/healthz'], defaultPrice: String(price ?? 0) }],
    }),
    listen: `127.0.0.1:${listen}`,
    admin: `127.0.0.1:${await freePort(listen + 1)}`,
    policy: { perCall: String(Math.ceil(budget / 10)), perDay: String(budget) },
    // Several agents may have their configs in one folder.
    stateDir: `${basename(file, '.json')}.state`,
  };
}

async function run(invocation: Invocation): Promise<number> {
  const { text, out, args } = invocation;
  if (args.length > 0) throw new UsageError(`init takes no ${args[0]}`);
  const file = configFile(invocation);
  const config = await draft(invocation, file, resolve(text('key')!));
  const keyFile = resolve(dirname(file), String(config.keyFile ?? text('key')));
  const gateway = String(config.gateway);
  const core = new Core(gateway);
  // Before anything is written: a mistyped gateway leaves nothing behind.
  const { domain } = await core.status();
  const { key, isNew } = await keyAt(keyFile);
  const save = (): void => writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`, { mode: 0o644 });
  if (!existsSync(file)) save();
  let agent = (await core.agentsByKey(key.publicKey)).at(0);
  let made: Registered | null = null;
  if (agent === undefined) {
    made = await register(invocation, { core, domain, key });
    agent = made?.agent;
  }
  const lines = [
    `${isNew ? 'made' : 'kept'} the machine key ${keyFile} (only you can read it)`,
    `config ${file}${config.services === undefined ? ', an agent that buys' : ''}`,
  ];
  if (agent === undefined) {
    const ways = waysOf(domain, key.publicKey, text('shard')!, text('deposit')!, 'agnt2 init');
    out.result({ ok: false, registered: false, config: file, keyFile, publicKey: hex(key.publicKey), ...ways.json }, [
      ...lines,
      out.paint('yellow', 'not registered yet'),
      ...ways.lines,
    ]);
    return 3;
  }
  config.agent = formatId(agent);
  readConfig(config);
  save();
  const { balance, owner } = await core.agent(agent);
  const { ownerKey } = made ?? {};
  out.result(
    {
      ok: true,
      registered: true,
      agent: formatId(agent),
      shard: shardOf(agent),
      balance: String(balance),
      owner,
      config: file,
      keyFile,
      publicKey: hex(key.publicKey),
      ...(ownerKey !== undefined && { ownerKey }),
    },
    [
      ...lines,
      `agent ${out.paint('bold', formatId(agent))} is registered, with ${balance} base units, owned by ${owner}`,
      ...(ownerKey === undefined
        ? []
        : [`its owner's key, shown once and kept nowhere (the local chain's money is worth nothing): ${ownerKey}`]),
      `next: ${config.services === undefined ? 'agnt2 pay http://NAME.agnt2/path' : 'agnt2 run -- CMD'}`,
    ],
  );
  return EXIT.done;
}
