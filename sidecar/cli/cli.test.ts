import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatId } from '../../protocol/ids.ts';
import { listen } from '../http/server.ts';
import { readConfig } from '../config.ts';
import { Sidecar } from '../sidecar.ts';
import { type TestAgent, TestGateway } from '../testing/gateway.ts';
import { hex } from '../../protocol/bytes.ts';
import { COMMANDS } from './commands.ts';
import { Output } from './output.ts';
import { freePort } from './ports.ts';
import { type Ran, type Running, agnt2, begin, folder, setUp } from './testing.ts';

let gateway: TestGateway;
let buyer: TestAgent;
let seller: TestAgent;
let shop: Sidecar;
let app: http.Server;

const json = ({ stdout }: Ran): Record<string, unknown> => JSON.parse(stdout) as Record<string, unknown>;
const BUDGET = { policy: { perDay: '5000', perCall: '100' } };

beforeAll(async () => {
  gateway = await TestGateway.start();
  buyer = await gateway.agent(10_000);
  seller = await gateway.agent(0);
  app = http.createServer((request, response) => {
    if (request.url === '/broken') response.writeHead(500);
    if (request.url === '/missing') response.writeHead(404);
    response.write(`${request.method} ${request.url} ${request.headers['x-mark'] ?? ''} `);
    request.pipe(response);
  });
  const port = await listen(app, { host: '127.0.0.1', port: 0 });
  process.env.AGNT2_MACHINE_KEY = hex(seller.secret);
  shop = new Sidecar(
    readConfig({
      gateway: gateway.url,
      agent: formatId(seller.id),
      name: 'shop',
      app: `http://127.0.0.1:${port}`,
      services: [{ name: 'echo', defaultPrice: 7, free: ['/free'] }],
      listen: '127.0.0.1:0',
      admin: '127.0.0.1:0',
      stateDir: join(folder(), 'state'),
    }),
  );
  await shop.start();
});
afterAll(async () => {
  await shop.stop();
  app.closeAllConnections();
  app.close();
  gateway.stop();
});

describe('the command line', () => {
  test('every command has a page of help; unknown ones and options are usage errors', async () => {
    const cwd = folder();
    const overview = await agnt2([], { cwd });
    expect(overview.code).toBe(0);
    for (const { name, summary, load } of COMMANDS) {
      expect(overview.stdout).toContain(`${name} `);
      expect(overview.stdout).toContain(summary);
      const { raw, options = {} } = await load();
      if (raw !== true) for (const { help } of Object.values(options)) expect(help.length).toBeGreaterThan(5);
    }
    const page = await agnt2(['pay', '--help'], { cwd });
    expect(page.code).toBe(0);
    for (const part of ['--max UNITS', 'Exit codes', '-X, --request METHOD', 'agnt2 pay http://'])
      expect(page.stdout).toContain(part);
    expect(await agnt2(['dance'], { cwd })).toMatchObject({ code: 2, stdout: '' });
    const option = await agnt2(['status', '--nonsense'], { cwd });
    expect(option).toMatchObject({ code: 2, stdout: '' });
    expect(option.stderr).toContain("'agnt2 status --help' says how");
  });

  test('what fails says its code and what mends it, to people and to programs', async () => {
    const cwd = folder();
    const plain = await agnt2(['status'], { cwd });
    expect(plain).toMatchObject({ code: 1, stdout: '' });
    expect(plain.stderr).toMatch(/^no_config: there is no .*\n {2}mend: agnt2 init\n$/);
    const { code, stdout, stderr } = await agnt2(['status', '--json'], { cwd });
    expect([code, stderr]).toEqual([1, '']);
    expect(JSON.parse(stdout)).toMatchObject({ ok: false, error: { code: 'no_config', mend: 'agnt2 init' } });
  });

  test('colours are for terminals that want them', () => {
    const painted = (isTTY: boolean, env: NodeJS.ProcessEnv): string => {
      const stream = Object.assign(new PassThrough(), { isTTY });
      return new Output(false, env, { stdout: stream, stderr: stream }).paint('red', 'x');
    };
    expect(painted(true, {})).toBe('\u001b[31mx\u001b[0m');
    expect(painted(true, { NO_COLOR: '1' })).toBe('x');
    expect(painted(true, { TERM: 'dumb' })).toBe('x');
    expect(painted(false, {})).toBe('x');
  });

  test('bash completes commands, their options and words', async () => {
    const { stdout: script } = await agnt2(['completion', 'bash'], { cwd: folder() });
    const complete = (...words: string[]): string[] => {
      const line = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _agnt2; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return spawnSync('bash', ['-c', `${script}\n${line}`], { encoding: 'utf8' })
        .stdout.trim()
        .split('\n');
    };
    expect(complete('agnt2', 'wi')).toEqual(['withdraw']);
    expect(complete('agnt2', 'session', 'o')).toEqual(['open']);
    expect(complete('agnt2', 'pay', '--m')).toEqual(['--max']);
    for (const shell of ['zsh', 'fish']) {
      const other = await agnt2(['completion', shell], { cwd: folder() });
      expect(other.code).toBe(0);
      for (const { name } of COMMANDS) expect(other.stdout).toContain(name);
      const has = spawnSync(shell, ['-c', 'true']).status === 0;
      if (has) expect(spawnSync(shell, ['-n'], { input: other.stdout }).status).toBe(0);
    }
    expect((await agnt2(['completion', 'csh'], { cwd: folder() })).code).toBe(2);
  });
});

describe('init', () => {
  test('makes a key only its owner can read and a config, says how to register, and registers out of a sponsor', async () => {
    const cwd = folder();
    const args = ['init', '--gateway', gateway.url, '--name', 'fresh', '--price', '3', '--budget', '500', '--json'];
    const first = await agnt2(args, { cwd });
    expect(first.code).toBe(3);
    expect(json(first)).toMatchObject({ registered: false, chainId: 31337, deposit: '100000' });
    expect((json(first).commands as string[])[1]).toMatch(
      /register\(uint8,bytes32,bytes32,uint64\)" 0 0x[0-9a-f]{64} 0x/,
    );
    const key = join(cwd, 'machine.key');
    expect(statSync(key).mode & 0o777).toBe(0o600);
    const secret = readFileSync(key, 'utf8');

    const payer = setUp(gateway, buyer, BUDGET);
    const second = await agnt2(['init', '--sponsor', join(payer, 'agnt2.json'), '--deposit', '50', '--json'], { cwd });
    expect(second.code).toBe(0);
    const { agent, publicKey } = json(second);
    expect(json(second)).toMatchObject({ registered: true, balance: '50', publicKey: json(first).publicKey });
    expect(publicKey).toMatch(/^0x[0-9a-f]{128}$/);
    expect(readFileSync(key, 'utf8')).toBe(secret);
    const config = JSON.parse(readFileSync(join(cwd, 'agnt2.json'), 'utf8')) as Record<string, unknown>;
    expect(config).toMatchObject({ agent, name: 'fresh', app: 'http://127.0.0.1:0', policy: { perDay: '500' } });
    // Whoever reads the config learns no secret; the output told none either.
    for (const text of [JSON.stringify(config), first.stdout, second.stdout]) expect(text).not.toContain(secret.trim());
  });

  test('a gateway that is not there leaves nothing behind', async () => {
    const cwd = folder();
    const { code, stderr } = await agnt2(['init', '--gateway', `http://127.0.0.1:${await freePort()}`], { cwd });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^gateway_unavailable: /);
    expect(existsSync(join(cwd, 'machine.key')) || existsSync(join(cwd, 'agnt2.json'))).toBe(false);
  });
});

describe('pay', () => {
  test('one call without a running sidecar: body to stdout, price to stderr', async () => {
    const cwd = setUp(gateway, buyer, BUDGET);
    const before = gateway.balance(seller);
    const args = ['pay', 'shop/run?x=1', '-X', 'PUT', '-d', '@-', '-H', 'x-mark: here'];
    const paid = await agnt2(args, { cwd, input: 'hello' });
    expect(paid).toMatchObject({ code: 0, stdout: 'PUT /run?x=1 here hello' });
    expect(paid.stderr).toContain(`paid 7 base units to ${formatId(seller.id)}`);
    await expect.poll(() => gateway.balance(seller)).toBe(before + 7);
    const free = await agnt2(['pay', 'http://shop.agnt2/free', '--json', '--max', '0'], { cwd });
    expect(json(free)).toMatchObject({ ok: true, price: '0', status: 200, body: 'GET /free  ' });
  });

  test('nothing is paid above --max, above the budget, or for what is not there', async () => {
    const before = gateway.balance(buyer);
    const cwd = setUp(gateway, buyer, BUDGET);
    const code = async (dir: string, ...args: string[]): Promise<unknown> => {
      const ran = await agnt2(['pay', ...args, '--json'], { cwd: dir });
      expect(ran.code).toBe(1);
      return (json(ran).error as { code: string }).code;
    };
    expect(await code(cwd, 'shop/run', '--max', '6')).toBe('over_price');
    expect(await code(cwd, 'nobody/run')).toBe('unknown_name');
    expect(await code(setUp(gateway, buyer, { policy: { perDay: '6' } }), 'shop/run')).toBe('over_day_cap');
    expect(gateway.balance(buyer)).toBe(before);
  });

  test('what is no call to an agent is wrong usage', async () => {
    const cwd = folder();
    expect((await agnt2(['pay', 'https://example.com/'], { cwd })).code).toBe(2);
    expect((await agnt2(['pay', 'shop/../x'], { cwd })).code).toBe(2);
  });

  test("an app's own failure is told by the exit code, and costs nothing when it is the app's fault", async () => {
    const cwd = setUp(gateway, buyer, BUDGET);
    const broken = await agnt2(['pay', 'shop/broken', '--json'], { cwd });
    expect([broken.code, json(broken).price, json(broken).status]).toEqual([4, '0', 500]);
    const missing = await agnt2(['pay', 'shop/missing', '-i', '-o', 'body'], { cwd });
    expect(missing.code).toBe(4);
    expect(missing.stdout).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
    expect(readFileSync(join(cwd, 'body'), 'utf8')).toBe('GET /missing  ');
  });
});

/** An agent that listens where it is told, answers, and calls others. */
const SERVER = `
import http from 'node:http';
http.createServer(async (request, response) => {
  if (request.url === '/buy') http.get('http://shop.agnt2/sold', (sold) => sold.pipe(response));
  else if (request.url === '/fetch') response.end(await (await fetch('http://shop.agnt2/fetched')).text());
  else response.end(JSON.stringify({ caller: request.headers['agnt2-caller'], key: process.env.AGNT2_MACHINE_KEY ?? null }));
}).listen(process.env.PORT, '127.0.0.1', () => console.log('up'));
process.on('SIGTERM', () => process.exit(7));
process.on('SIGUSR1', () => console.log('usr1'));
`;

/** The process whose arguments are like this. */
function processOf(args: RegExp): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return Number(
    pids.find((pid) => {
      try {
        return args.test(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
      } catch {
        // Ended meanwhile.
        return false;
      }
    }),
  );
}

describe('run', () => {
  let agent: TestAgent;
  let cwd: string;
  let customer: string;
  let listenPort: number;
  let running: Running;
  const said = async (...args: string[]): Promise<Record<string, unknown>> =>
    json(await agnt2([...args, '--json'], { cwd }));

  beforeAll(async () => {
    agent = await gateway.agent(1000);
    const admin = await freePort();
    listenPort = await freePort();
    cwd = setUp(gateway, agent, {
      ...BUDGET,
      name: 'ran',
      app: 'http://127.0.0.1:0',
      services: [{ name: 'ran', defaultPrice: 2 }],
      listen: `127.0.0.1:${listenPort}`,
      admin: `127.0.0.1:${admin}`,
      session: { deposit: '100', auto: false },
    });
    customer = setUp(gateway, buyer, BUDGET);
    writeFileSync(join(cwd, 'server.mjs'), SERVER);
    running = begin(['run', '--', process.execPath, 'server.mjs'], { cwd });
    await running.said(/^up\n/m);
  }, 60_000);
  afterAll(() => running.child.kill('SIGKILL'));

  test('it sells and buys, where and how its environment says, and never sees the key', async () => {
    const sold = json(await agnt2(['pay', 'ran/', '--json'], { cwd: customer }));
    expect(JSON.parse(sold.body as string)).toEqual({ caller: formatId(buyer.id), key: null });
    // Bought through the proxy of its environment, by a plain request.
    expect((await agnt2(['pay', 'ran/buy'], { cwd: customer })).stdout).toBe('GET /sold  ');
    // Node's own fetch asks for a tunnel.
    expect((await agnt2(['pay', 'ran/fetch'], { cwd: customer })).stdout).toBe('GET /fetched  ');
    // The running sidecar is the way of an operator's own call too.
    expect(await said('pay', 'shop/through')).toMatchObject({ ok: true, price: '7' });
    const capped = await fetch(`http://127.0.0.1:${listenPort}/agents/shop/x`, { headers: { 'agnt2-max-price': '6' } });
    expect([capped.status, ((await capped.json()) as { code: string }).code]).toEqual([402, 'over_price']);
  });

  test('its sidecar is asked how it is, for its sessions, and what waits for a person', async () => {
    expect(await said('status')).toMatchObject({ ok: true, name: 'ran', sidecar: { ready: true } });
    expect(await said('session', 'open', 'shop')).toEqual({ ok: true });
    const { sessions } = (await said('session', 'list')) as { sessions: { session: string }[] };
    expect(sessions).toMatchObject([{ peer: formatId(seller.id), role: 'a', state: 'ready' }]);
    expect(await said('session', 'close', sessions[0].session)).toEqual({ ok: true });
    expect(await said('approve', 'list')).toEqual({ ok: true, approvals: [] });
    expect(await said('approve', 'grant', 'abc')).toMatchObject({ ok: false, error: { code: 'unknown_approval' } });
    const second = await agnt2(['run', '--', 'true'], { cwd });
    expect([second.code, second.stderr.split(':')[0]]).toEqual([125, 'already_running']);
  });

  test('a sidecar that dies is started again; signals and the exit code are the command’s', async () => {
    const readies = async (): Promise<number> =>
      (await agnt2(['logs', '-n', '1000'], { cwd })).stdout.split(' ready ').length - 1;
    const before = await readies();
    // Bundled, in the place of the process that checked its config.
    process.kill(processOf(new RegExp(`sidecar\\.mjs --with-parent --config ${cwd}`)), 'SIGKILL');
    await expect.poll(readies, { timeout: 20_000 }).toBe(before + 1);
    running.child.kill('SIGUSR1');
    await running.said(/^usr1\n/m);
    running.child.kill('SIGTERM');
    const { code, stdout } = await running.ended;
    expect(code).toBe(7);
    // Its output is its own.
    expect(stdout).toBe('up\nusr1\n');
    expect((await agnt2(['status'], { cwd })).code).toBe(3);
  });

  test.each([
    [9, ['--', 'sh', '-c', 'exit 9']],
    [137, ['--', 'sh', '-c', 'kill -9 $$']],
    [127, ['--', '/nowhere/at/all']],
    [126, ['--', tmpdir()]],
    [2, []],
  ])('what can not run is told apart from what ran and failed: %i', async (code, args) => {
    expect((await agnt2(['run', ...args], { cwd: setUp(gateway, buyer, BUDGET) })).code).toBe(code);
  });

  test('a sidecar that can not start says why, and the command is not run', async () => {
    const wrong = setUp(gateway, buyer, { agent: formatId(seller.id) });
    const { code, stdout, stderr } = await agnt2(['run', '--', 'echo', 'ran'], { cwd: wrong });
    expect([code, stdout]).toEqual([125, '']);
    expect(stderr).toMatch(/^wrong_key: .*\n {2}mend: /);
  });
});

test('withdraw takes it off the balance, and says what is to be done at L1', async () => {
  const agent = await gateway.agent(500);
  const cwd = setUp(gateway, agent);
  const ran = await agnt2(['withdraw', '120', '--json'], { cwd });
  expect(ran.code).toBe(3);
  expect(json(ran)).toMatchObject({ ok: true, final: false, paid: false });
  expect(json(ran).next).toMatch(/^L1_KEY=0x… agnt2 withdraw --claim 0:\d+\/0:\d+ --wait --l1 URL$/);
  expect(gateway.balance(agent)).toBe(380);
  const more = await agnt2(['withdraw', '381', '--json'], { cwd });
  expect(json(more)).toMatchObject({
    ok: false,
    error: { code: 'insufficient_balance', mend: 'agnt2 deposit AMOUNT' },
  });
});

test('deploy checks an edge agent and bundles it, without a network', async () => {
  const cwd = folder();
  const example = fileURLToPath(new URL('../../examples/edge', import.meta.url));
  const dry = await agnt2(['deploy', example, '--dry-run', '--json'], { cwd });
  expect([dry.code, json(dry)]).toEqual([0, { ok: true, worker: 'agnt2-example-edge', dryRun: true }]);
  const codes = async (): Promise<unknown> =>
    (json(await agnt2(['deploy', '--json'], { cwd })).error as { code: string }).code;
  expect(await codes()).toBe('no_worker');
  cpSync(join(example, 'agnt2.json'), join(cwd, 'agnt2.json'));
  const toml = readFileSync(join(example, 'wrangler.toml'), 'utf8');
  writeFileSync(join(cwd, 'wrangler.toml'), `${toml}\n[vars]\nAGNT2_MACHINE_KEY = "0x00"\n`);
  expect(await codes()).toBe('key_exposed');
  writeFileSync(join(cwd, 'wrangler.toml'), toml.replace('"nodejs_compat"', ''));
  expect(await codes()).toBe('no_nodejs_compat');
  writeFileSync(join(cwd, 'wrangler.toml'), toml);
  // Its key is nowhere: nothing is sent.
  expect(await codes()).toBe('bad_config');
});

test('compose does not take a file with a proxy for one without', async () => {
  const cwd = folder();
  mkdirSync(join(cwd, 'shop'));
  cpSync(
    fileURLToPath(new URL('../../examples/compose/compose.yaml', import.meta.url)),
    join(cwd, 'shop/compose.yaml'),
  );
  const ran = await agnt2(['compose', 'shop', '--image', 'nginx', '--transparent', '--json'], { cwd });
  expect([ran.code, json(ran)]).toMatchObject([
    1,
    { error: { code: 'not_transparent', mend: expect.stringMatching(/^rm shop/) } },
  ]);
  expect(readdirSync(join(cwd, 'shop'))).toEqual(['compose.yaml']);
});

describe('docker agnt2', () => {
  const plugin = fileURLToPath(new URL('docker-agnt2.mjs', import.meta.url));

  test('the plugin says what it is, and is the same program', () => {
    const run = (...args: string[]): string =>
      spawnSync(process.execPath, [plugin, ...args], { encoding: 'utf8' }).stdout;
    expect(JSON.parse(run('docker-cli-plugin-metadata'))).toMatchObject({ SchemaVersion: '0.1.0', Vendor: 'AGNT2' });
    expect(run('agnt2', '--version')).toMatch(/^agnt2 \d+\.\d+\.\d+\n$/);
  });

  const docker = spawnSync('docker', ['--version'], { encoding: 'utf8' });
  if (docker.status !== 0) console.warn('no docker client on PATH: the plugin is not tried with it');
  test.skipIf(docker.status !== 0)('the docker client lists and runs it, without an engine', async () => {
    const home = folder();
    const env = { DOCKER_CONFIG: home };
    expect((await agnt2(['docker', 'status'], { cwd: home, env })).code).toBe(3);
    expect((await agnt2(['docker', 'install'], { cwd: home, env })).code).toBe(0);
    const run = (...args: string[]): string =>
      spawnSync('docker', args, { encoding: 'utf8', env: { ...process.env, ...env } }).stdout;
    expect(run('--help')).toMatch(/agnt2\*\s+Containers that call and pay each other/);
    expect(run('agnt2', '--version')).toMatch(/^agnt2 \d/);
    expect((await agnt2(['docker', 'uninstall'], { cwd: home, env })).code).toBe(0);
    mkdirSync(join(home, 'cli-plugins', 'docker-agnt2'));
    expect((await agnt2(['docker', 'install'], { cwd: home, env })).stderr).toMatch(/^not_ours/);
  });
});
