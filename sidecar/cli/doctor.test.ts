import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import http, { type RequestListener } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { until } from '../../local/process.ts';
import { readConfig } from '../config.ts';
import { Sidecar } from '../sidecar.ts';
import { holdKey } from '../signer/hold.ts';
import { openStore } from '../sqlite.ts';
import { type TestAgent, TestGateway } from '../testing/gateway.ts';
import { CHECKS, type Facts, type Finding } from './checks.ts';
import { freePort } from './ports.ts';
import { agnt2, folder, setUp } from './testing.ts';

let gateway: TestGateway;
let rich: TestAgent;
let poor: TestAgent;
let other: TestAgent;
const servers: net.Server[] = [];
const sidecars: Sidecar[] = [];

beforeAll(async () => {
  gateway = await TestGateway.start();
  rich = await gateway.agent(10_000);
  poor = await gateway.agent(0);
  other = await gateway.agent(10);
});
afterAll(async () => {
  await Promise.all(sidecars.map((sidecar) => sidecar.stop()));
  gateway.stop();
  for (const server of servers) server.close();
});

/** Somebody who takes connections and says nothing. */
async function occupied(): Promise<number> {
  const server = net.createServer((socket) => socket.destroy());
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as net.AddressInfo).port;
}

/** A web server that is something else than a gateway. */
async function website(listener: RequestListener): Promise<string> {
  const server = http.createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

/** A sidecar as {@link setUp} would have it run, and its ports for the config that the doctor sees. */
async function runningSidecar(more: Record<string, unknown> = {}): Promise<[Sidecar, Record<string, string>]> {
  const ports = { listen: `127.0.0.1:${await freePort()}`, admin: `127.0.0.1:${await freePort()}` };
  const dir = setUp(gateway, rich);
  const keyFile = join(dir, 'machine.key');
  const agent = formatId(rich.id);
  const own = { gateway: gateway.url, agent, keyFile, stateDir: join(dir, 'state'), ...BUDGET, ...ports };
  const sidecar = new Sidecar(readConfig({ ...own, ...more }), () => {}, {}, holdKey);
  sidecars.push(sidecar);
  return [sidecar, ports];
}

/** Runs something with the rights of a user who has none; where this process has no others, as it is. */
async function unprivileged<T>(run: () => Promise<T>): Promise<T> {
  if (process.getuid!() !== 0) return run();
  process.seteuid!(NOBODY);
  try {
    return await run();
  } finally {
    process.seteuid!(0);
  }
}

async function examine(dir: string, facts: Partial<Facts> = {}): Promise<Finding[]> {
  const all: Facts = { file: join(dir, 'agnt2.json'), env: {}, docker: false, node: process.versions.node, ...facts };
  const findings: Finding[] = [];
  for (const check of CHECKS) findings.push(...(await check(all)));
  return findings;
}

const NOBODY = 65_534;
const BUDGET = { policy: { perDay: '100' } };

/** Each breaks one thing; the doctor names it, and nothing else, and says what mends it. */
const BROKEN: readonly [code: string, mend: RegExp, arrange: () => Promise<[dir: string, facts?: Partial<Facts>]>][] = [
  ['node_too_old', /npm install node/, async () => [setUp(gateway, rich, BUDGET), { node: '20.11.1' }]],
  ['no_config', /^agnt2 init --config /, async () => [folder()]],
  [
    'bad_config',
    /^edit .*agnt2\.json/,
    async () => [setUp(gateway, rich, { ...BUDGET, polici: {}, session: { exitDelay: -1 } })],
  ],
  ['not_registered', /^agnt2 init/, async () => [setUp(gateway, rich, { agent: undefined })]],
  ['no_key', /keyFile/, async () => [setUp(gateway, rich, { ...BUDGET, keyFile: 'elsewhere.key' })]],
  [
    'key_exposed',
    /^chmod 600 .*machine\.key$/,
    async () => {
      const dir = setUp(gateway, rich, BUDGET);
      chmodSync(join(dir, 'machine.key'), 0o644);
      return [dir];
    },
  ],
  [
    'bad_key',
    /copy|rotate/,
    async () => {
      const dir = setUp(gateway, rich, BUDGET);
      writeFileSync(join(dir, 'machine.key'), 'half a ke');
      return [dir];
    },
  ],
  [
    'state_unwritable',
    /stateDir/,
    async () => {
      const dir = setUp(gateway, rich, BUDGET);
      writeFileSync(join(dir, 'state'), 'a file where a folder should be');
      return [dir];
    },
  ],
  [
    'gateway_unreachable',
    /agnt2 up/,
    async () => [setUp(gateway, rich, { ...BUDGET, gateway: `http://127.0.0.1:${await freePort()}` })],
  ],
  [
    'wrong_network',
    /stateDir/,
    async () => {
      const dir = setUp(gateway, rich, BUDGET);
      const store = openStore(join(dir, 'state'));
      store.setFact('network', `1 0x${'ab'.repeat(20)} ${hex(gateway.sequencerKey)}`);
      store.close();
      return [dir];
    },
  ],
  ['unknown_agent', /^agnt2 init/, async () => [setUp(gateway, rich, { ...BUDGET, agent: '0:77' })]],
  ['wrong_key', /"agent": "/, async () => [setUp(gateway, rich, { ...BUDGET, agent: formatId(other.id) })]],
  ['no_balance', /^agnt2 deposit 1000 --local$/, async () => [setUp(gateway, poor, BUDGET)]],
  [
    'app_not_listening',
    /agnt2 run/,
    async () => [setUp(gateway, rich, { ...BUDGET, app: `http://127.0.0.1:${await freePort()}` })],
  ],
  [
    'port_taken',
    /ss -ltnp/,
    async () => [setUp(gateway, rich, { ...BUDGET, listen: `127.0.0.1:${await occupied()}` })],
  ],
  [
    'name_taken',
    /'name'/,
    async () => {
      gateway.claim('popular', poor);
      return [setUp(gateway, rich, { ...BUDGET, name: 'popular' })];
    },
  ],
  [
    'docker_missing',
    /systemctl start docker/,
    async () => [setUp(gateway, rich, BUDGET), { docker: true, env: { DOCKER_HOST: 'unix:///nowhere/docker.sock' } }],
  ],
  [
    'docker_unreachable',
    /DOCKER_HOST/,
    async () => [
      setUp(gateway, rich, BUDGET),
      { docker: true, env: { DOCKER_HOST: `tcp://127.0.0.1:${await freePort()}` } },
    ],
  ],
];

describe('doctor', () => {
  test('finds nothing wrong with what is right', async () => {
    const findings = await examine(setUp(gateway, rich, BUDGET));
    expect(findings.filter(({ level }) => level !== 'ok')).toEqual([]);
    expect(findings.length).toBeGreaterThan(7);
  });

  test.each(BROKEN)('%s', async (code, mend, arrange) => {
    const [dir, facts] = await arrange();
    const wrong = (await examine(dir, facts)).filter(({ level }) => level !== 'ok');
    expect(wrong.map((finding) => finding.code)).toEqual([code]);
    expect(wrong[0].level).toBe('fault');
    expect(wrong[0].what.length).toBeGreaterThan(20);
    expect(wrong[0].mend).toMatch(mend);
  });

  test('clock_skew, both ways', async () => {
    const dir = setUp(gateway, rich, BUDGET);
    for (const [skew, way] of [
      [300, 'behind'],
      [-300, 'ahead'],
    ] as const) {
      gateway.skew = skew;
      const wrong = (await examine(dir)).filter(({ level }) => level !== 'ok');
      expect(wrong.map(({ code }) => code)).toEqual(['clock_skew']);
      expect(wrong[0].what).toContain(way);
    }
    gateway.skew = 0;
  });

  test('a key of nobody, a server that is no gateway, a damaged store', async () => {
    const dir = setUp(gateway, rich, BUDGET);
    writeFileSync(join(dir, 'machine.key'), hex(MachineKey.randomSecret()));
    expect((await examine(dir)).find(({ code }) => code === 'wrong_key')?.mend).toContain('rotate');
    const elsewhere = setUp(gateway, rich, { ...BUDGET, gateway: `${gateway.url}` });
    mkdirSync(join(elsewhere, 'state'));
    writeFileSync(join(elsewhere, 'state', 'sidecar.sqlite'), 'x'.repeat(5000));
    expect((await examine(elsewhere)).map(({ code }) => code)).toContain('state_damaged');
    const silent = setUp(gateway, rich, { ...BUDGET, gateway: `http://127.0.0.1:${await occupied()}` });
    expect((await examine(silent)).map(({ code }) => code)).toContain('gateway_unreachable');
  });

  test.each<[string, RequestListener]>([
    ['a page', (_, response) => response.setHeader('content-type', 'text/html').end('<h1>It works!</h1>')],
    ['nothing there', (_, response) => response.writeHead(404).end('not found')],
    ['JSON of another API', (_, response) => response.end('{"status":"ok"}')],
    ['a way elsewhere', (_, response) => response.writeHead(301, { location: `${gateway.url}/status` }).end()],
  ])('not_a_gateway: %s', async (_, listener) => {
    const dir = setUp(gateway, rich, { ...BUDGET, gateway: await website(listener) });
    const wrong = (await examine(dir)).filter(({ level }) => level !== 'ok');
    expect(wrong.map(({ code }) => code)).toEqual(['not_a_gateway']);
    expect(wrong[0].mend).toMatch(/'gateway'/);
  });

  test('not_ready: a sidecar that was started before its config was mended, and one whose key has expired', async () => {
    const [waiting, ports] = await runningSidecar({ gateway: `http://127.0.0.1:${await occupied()}` });
    void waiting.start().catch(() => {});
    const mended = setUp(gateway, rich, { ...BUDGET, ...ports });
    const seen = (dir: string): Promise<Finding[]> =>
      examine(dir).then((findings) => findings.filter(({ level }) => level !== 'ok'));
    await until('the sidecar to run', async () => (await seen(mended)).length > 0, { everyMs: 50 });
    expect(await seen(mended)).toMatchObject([
      {
        level: 'fault',
        code: 'not_ready',
        what: expect.stringContaining('has not heard'),
        mend: expect.stringContaining('agnt2 logs'),
      },
    ]);

    const [late, others] = await runningSidecar({ signer: { expires: '2026-01-31T00:00:00Z' } });
    await late.start();
    const expired = setUp(gateway, rich, { ...BUDGET, ...others });
    expect(await seen(expired)).toMatchObject([{ code: 'not_ready', what: expect.stringContaining('key expired') }]);
    expect((await seen(expired))[0].mend).toMatch(/signer\.expires/);
  });

  test('docker_denied: a socket that others may use', async () => {
    const dir = folder();
    chmodSync(dir, 0o755);
    const socket = join(dir, 'docker.sock');
    const server = net.createServer();
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    const facts = { docker: true, env: { DOCKER_HOST: `unix://${socket}` } };
    expect((await examine(setUp(gateway, rich, BUDGET), facts)).at(-1)).toMatchObject({ level: 'ok' });
    chmodSync(socket, 0);
    const asked = { file: '', node: '', ...facts };
    const [denied] = await unprivileged(async () => CHECKS.at(-1)!(asked));
    expect(denied).toMatchObject({ level: 'fault', code: 'docker_denied' });
    expect(denied.mend).toContain('usermod -aG docker');
  });

  test('as a command: a warning is no fault', async () => {
    const { code, stdout } = await agnt2(['doctor'], { cwd: setUp(gateway, rich) });
    expect(stdout).toMatch(/warn no_budget: .*\n {5}mend: "policy": /);
    expect(stdout).toMatch(/all is well\n$/);
    expect(code).toBe(0);
  });

  test('as a command: what is wrong, what mends it, and an exit code', async () => {
    const dir = setUp(gateway, poor, BUDGET);
    const plain = await agnt2(['doctor'], { cwd: dir });
    expect(plain.code).toBe(1);
    expect(plain.stdout).toMatch(/FAIL no_balance: .*\n {5}mend: agnt2 deposit 1000 --local\n/);
    expect(plain.stdout).toMatch(/1 to mend\n$/);
    // Colours are for terminals.
    expect(plain.stdout).not.toContain('\u001b');
    rmSync(join(dir, 'machine.key'));
    const json = await agnt2(['doctor', '--json'], { cwd: dir });
    expect(json.code).toBe(1);
    const { ok, findings } = JSON.parse(json.stdout) as { ok: boolean; findings: Finding[] };
    expect(ok).toBe(false);
    expect(findings.filter(({ level }) => level === 'fault').map(({ code }) => code)).toEqual(['no_key', 'no_balance']);
  });
});
