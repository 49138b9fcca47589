/**
 * Services that others wrote, in containers on a real Docker engine, each behind the sidecar's own image by the compose file of
 * `examples/compose/`: they trade, their apps try to get out and to spend more, containers die in the middle, and the money is counted.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { drawUpBooks } from '../../local/accounting.ts';
import { until } from '../../local/process.ts';
import { NoEngine, dockerMissing } from '../support/docker/engine.ts';
import { readme } from '../support/docker/readme.ts';
import { Town } from '../support/docker/town.ts';
import { testApps } from './docker/apps.ts';
import { testLabels } from './docker/labels.ts';
import { PRICE, type Scene } from './docker/scene.ts';
import { testDeaths, testTrade } from './docker/trade.ts';

const missing = dockerMissing();
if (missing !== null) console.warn(`Containers are not tested: ${missing}.`);

const POLICY = { perCall: '100', perDay: '50000' };
/** Far below what the calls come to. */
const TIGHT = { perCall: '10', perPeer: '12', perHour: '1000', perDay: '16', priceRise: 10 };

describe.skipIf(missing !== null)('containers', () => {
  let town: Town;
  const acknowledged = { page: 0, paper: 0, tool: 0, commit: 0, stream: 0, dear: 0 };
  const scene: Scene = {
    get town() {
      return town;
    },
    acknowledged,
  };
  const FIRESTORE = 'POST /google.firestore.v1.Firestore';

  let noEngine: string | null = null;

  beforeAll(async () => {
    const building = Town.build([
      { name: 'web', image: 'nginx', price: `GET /=${PRICE.page}; GET /dear=${PRICE.dear}; *=3`, policy: POLICY },
      { name: 'papers', image: 'python', price: `GET /*=${PRICE.paper}; *=9`, policy: POLICY },
      {
        name: 'tools',
        image: 'mcp',
        price: `POST /mcp=${PRICE.tool}; GET /mcp=0; DELETE /mcp=0; GET /dearest=300000; *=200000`,
        policy: POLICY,
      },
      {
        name: 'notes',
        image: 'firestore',
        price: `${FIRESTORE}/Commit=${PRICE.commit}; ${FIRESTORE}/*=${PRICE.stream}; *=9`,
        policy: POLICY,
        labels: { 'agnt2.protocol': 'h2c' },
      },
      { name: 'walker', image: 'python', price: '*=1', policy: { ...POLICY, perCall: '10' }, transparent: true },
      { name: 'guest', image: 'python', price: '*=1', policy: TIGHT, labels: { 'agnt2.budget.hour': '5' } },
    ]);
    try {
      town = await building;
    } catch (error) {
      if (!(error instanceof NoEngine)) throw error;
      noEngine = error.message;
      console.warn(`Containers are not tested: ${noEngine}`);
    }
  }, 600_000);
  beforeEach(({ skip }) => {
    if (noEngine !== null) skip(noEngine);
  });
  afterAll(() => town?.end(), 240_000);

  test('the sidecar has nothing to lose but its key', async () => {
    const { docker } = town;
    const web = town.get('web');
    const [facts] = JSON.parse(await docker.run('inspect', await web.container('sidecar'))) as {
      State: { Health: { Status: string } };
      Config: { User: string };
      HostConfig: { ReadonlyRootfs: boolean; CapDrop: string[]; Memory: number; PidsLimit: number };
      Mounts: { Destination: string; RW: boolean }[];
    }[];
    await until('a healthy sidecar', async () => {
      const format = '{{.State.Health.Status}}';
      return (await docker.run('inspect', '--format', format, await web.container('sidecar'))).trim() === 'healthy';
    });
    expect(facts.Config.User).toBe('65532:65532');
    expect(facts.HostConfig).toMatchObject({ ReadonlyRootfs: true, CapDrop: ['ALL'], PidsLimit: 64 });
    expect(facts.HostConfig.Memory).toBe(256 * 2 ** 20);
    const writable = facts.Mounts.filter(({ RW }) => RW).map(({ Destination }) => Destination);
    expect(writable).toEqual(['/var/lib/agnt2']);
    expect(facts.Mounts.map(({ Destination }) => Destination).join()).not.toContain('docker.sock');
    // Nor has one that takes the ports of HTTP, TLS and DNS.
    for (const one of [web, town.get('walker')]) {
      const status = await one.exec(
        'sidecar',
        '',
        'node',
        '-p',
        'require("fs").readFileSync("/proc/1/status", "utf8")',
      );
      expect(status).toMatch(/^Uid:(?:\s65532){4}$/m);
      expect(status).toMatch(/^CapEff:\s0+$/m);
      expect(status).toMatch(/^CapBnd:\s0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\s1$/m);
    }
    expect(
      await web.exec(
        'sidecar',
        '',
        'node',
        '-p',
        'require("fs").readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8")',
      ),
    ).toMatch(/^0/);
    // No shell, no dependencies, nothing but Node and one file for each program.
    await expect(web.exec('sidecar', '', 'sh', '-c', 'true')).rejects.toThrow(/not found|no such file/);
    const [, discover] = JSON.parse(
      await docker.run('inspect', await web.container('app'), await web.container('discover')),
    ) as { Mounts: { Destination: string }[]; HostConfig: { NetworkMode: string } }[];
    expect(discover.HostConfig.NetworkMode).toBe('none');
    expect(discover.Mounts.map(({ Destination }) => Destination).join()).not.toMatch(/secret|var\/lib\/agnt2/);
  });

  testTrade(scene);
  testApps(scene);
  testDeaths(scene);
  testLabels(scene);

  test('the books: every answer was paid for once, everything is on L1, all money reconciles', async () => {
    const { net } = town;
    const all = [...town.agents.values()];
    await Promise.all(all.map((one) => one.stopSidecar()));
    // Whoever comes back finds what a peer left open meanwhile, and closes it.
    await until(
      'every session to be closed',
      async () => (await net.gateway.sessions()).every(({ status }) => status === 'closed'),
      { timeoutMs: 120_000, everyMs: 500 },
    );
    await until('the newest frames to be on L1', () => net.gateway.isOnL1(), { timeoutMs: 120_000, everyMs: 500 });
    const books = await drawUpBooks(
      net.gateway,
      net.l1,
      all.map(({ agent }) => agent),
    );
    expect(books.checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(books.reconciled).toBe(true);
    expect(books.counts.sessionCalls).toBeGreaterThan(0);
    expect(books.counts.coreCalls).toBeGreaterThan(0);
    const earned = (name: string): number => books.agents.find((agent) => agent.name === name)!.earned;
    const served = async (name: string, pattern: RegExp): Promise<number> =>
      [...(await town.get(name).logs('app')).matchAll(pattern)].length;
    // At least what was acknowledged, at most what was done: a call whose answer was lost on the way may be either.
    const pages = await served('web', /"GET \/(?:\?n=\d+)? HTTP/g);
    const dear = PRICE.dear * acknowledged.dear;
    expect(earned('web') - dear).toBeGreaterThanOrEqual(PRICE.page * acknowledged.page);
    expect(earned('web') - dear).toBeLessThanOrEqual(PRICE.page * Math.max(pages, acknowledged.page));
    expect(earned('papers')).toBe(PRICE.paper * acknowledged.paper);
    expect(earned('tools')).toBe(PRICE.tool * acknowledged.tool);
    // Who hung up on a call that went both ways pays for what had passed, or not, as it came to be told.
    const kept = PRICE.commit * acknowledged.commit + PRICE.stream * acknowledged.stream;
    expect([kept, kept + PRICE.stream]).toContain(earned('notes'));
  }, 300_000);

  test("the README's four commands, from an empty folder to a paid call", async () => {
    const { docker, net } = town;
    const said = await readme(docker, net);
    expect(said.page).toContain('Welcome to nginx!');
    expect(said.earned).toBe(2 * 5);
  }, 300_000);
});
