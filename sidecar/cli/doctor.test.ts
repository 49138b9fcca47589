import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
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

beforeAll(async () => {
  gateway = await TestGateway.start();
  rich = await gateway.agent(10_000);
  poor = await gateway.agent(0);
  other = await gateway.agent(10);
});
afterAll(() => {
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

async function examine(dir: string, facts: Partial<Facts> = {}): Promise<Finding[]> {
  const all: Facts = { file: join(dir, 'agnt2.json'), env: {}, docker: false, node: process.versions.node, ...facts };
  const findings: Finding[] = [];
  for (const check of CHECKS) findings.push(...(await check(all)));
  return findings;
}

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
