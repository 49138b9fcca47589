/**
 * Services that others wrote, in containers on a real Docker engine, each behind the sidecar's own image by the compose file of
 * `examples/compose/`: they trade, their apps try to get out and to spend more, containers die in the middle, and the money is counted.
 */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { drawUpBooks } from '../../local/accounting.ts';
import { until } from '../../local/process.ts';
import { Discovery } from '../../sidecar/discover/discover.ts';
import { Engine } from '../../sidecar/discover/engine.ts';
import { type Attempt, SPOOFED, UNREACHABLE, get, outside, refusals } from '../support/docker/attempts.ts';
import type { Part } from '../support/docker/agents.ts';
import { NoEngine, dockerMissing } from '../support/docker/engine.ts';
import { Internet } from '../support/docker/internet.ts';
import { BOUNDLESS, DEARER, SPENT, type Tried, UNPOLICED, mixed, risen } from '../support/docker/limits.ts';
import { IMAGES } from '../support/docker/images.ts';
import { FETCH, MCP } from '../support/docker/programs.ts';
import { readme } from '../support/docker/readme.ts';
import { Town } from '../support/docker/town.ts';
import { Traffic } from '../support/docker/traffic.ts';
import { WALKS, nowhere, walks } from '../support/docker/walks.ts';

const missing = dockerMissing();
if (missing !== null) console.warn(`Containers are not tested: ${missing}.`);

const POLICY = { perCall: '100', perDay: '50000' };
const PRICE = { page: 2, dear: 11, paper: 4, tool: 5, commit: 6, stream: 3 };
/** Far below what the calls come to. */
const TIGHT = { perCall: '10', perPeer: '12', perHour: '1000', perDay: '16', priceRise: 10 };

/** What an app that keeps notes has, told in the words of `firestore.ts`. */
const NOTES = {
  committed: [1, 2, 1],
  refused: { code: 6, details: expect.stringContaining('entity already exists') as string },
  got: ['a=note a', 'b=note b', 'x is missing'],
  found: ['a=note a', 'b=note b', 'c=note c', 'd=note d'],
  ended: [0, 0],
};

/** What Python's client says of an answer that breaks off, by how much of it had come. */
const BROKEN_OFF = /^(?:IncompleteRead|RemoteDisconnected|ConnectionResetError)/;

describe.skipIf(missing !== null)('containers', () => {
  let town: Town;
  /** Calls of each kind that somebody got an answer to. */
  const acknowledged = { page: 0, paper: 0, tool: 0, commit: 0, stream: 0, dear: 0 };
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

  test('they pay each other, through Core and through sessions', async () => {
    const papers = town.get('papers');
    const pages = await town.attempt(
      'papers',
      Array.from({ length: 6 }, () => get('http://web.agnt2/')),
    );
    expect(pages.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 200));
    expect(pages[0].body).toContain('Welcome to nginx!');
    acknowledged.page += pages.length;
    expect(await papers.exec('app', MCP, 'python3', '-')).toContain('from a container');
    acknowledged.tool += 2;
    const fetched = await town.get('tools').exec('app', FETCH, 'node', '--input-type=module', '-');
    expect(fetched).toMatch(/^200 \d+\n200 900\n$/);
    acknowledged.page += 1;
    acknowledged.paper += 1;
    const web = town.get('web').agent.id;
    await until('a session with web', async () =>
      (await papers.sessions()).some(({ peer, state }) => peer === web && state === 'ready'),
    );
    const inside = await town.attempt(
      'papers',
      Array.from({ length: 4 }, () => get('http://web.agnt2/')),
    );
    expect(inside.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    acknowledged.page += 4;
    expect(await papers.admin('GET', '/metrics')).toMatch(/^agnt2_calls_out_total\{route="session"\} [1-9]/m);
  });

  test('gRPC, paid call by call: streams and trailers come through, by Core and by a session', async () => {
    const tools = town.get('tools');
    // What the service itself refuses was answered, and is paid.
    expect(await town.keepNotes('tools', 'notes', 'first')).toEqual({ ...NOTES, heard: [] });
    acknowledged.commit += 4;
    acknowledged.stream += 2;
    const notes = town.get('notes').agent.id;
    await until('a session with notes', async () =>
      (await tools.sessions()).some(({ peer, state }) => peer === notes && state === 'ready'),
    );
    const { heard, ...kept } = await town.keepNotes('tools', 'notes', 'second', 'listening');
    expect(kept).toEqual({ ...NOTES, committed: [1, 2, 1, 1] });
    expect(heard.slice(0, 4)).toEqual(['note a', 'note b', 'note c', 'note d']);
    expect(heard.at(-1)).toBe('note e');
    acknowledged.commit += 5;
    acknowledged.stream += 2;
  });

  /** Has an app try all ways there are past its sidecar, `more` among them. */
  const comesNowhere = async (name: string, more: readonly Attempt[]): Promise<void> => {
    const heard: string[] = [];
    const listener = createSocket('udp4').on('message', (_, { address }) => heard.push(address));
    listener.bind(0, town.gateway.host);
    await once(listener, 'listening');
    const attempts = outside(new URL(town.gateway.url), new URL(town.l1.url), listener.address().port);
    // From where nothing holds it back all of it works: what fails below fails for the reason meant.
    expect(await town.attemptOutside(attempts)).toEqual(attempts.map(() => ({ reached: true })));
    await until('the datagrams', () => heard.length > 0);
    heard.length = 0;
    const before = town.l1.callers.length;
    const all = [...attempts, ...more];
    const results = await town.attempt(name, all, true);
    // Nobody says whether a datagram came: who it was for has not seen it, nor L1 a connection.
    const isDatagram = (attempt: Attempt): boolean => attempts.includes(attempt) && attempt.kind === 'udp';
    expect(all.filter((attempt, i) => results[i].error === undefined && !isDatagram(attempt))).toEqual([]);
    await town.attemptOutside(attempts.slice(0, 1));
    expect(heard).toEqual([]);
    expect(town.l1.callers.length).toBe(before);
    listener.close();
  };

  test('an app comes nowhere but to its sidecar', () => comesNowhere('guest', UNREACHABLE));

  test('an app that knows of no proxy pays all the same, and comes nowhere but to its sidecar', async () => {
    const { docker } = town;
    const walker = town.get('walker');
    const [{ body: environment }] = await town.attempt('walker', [{ kind: 'environment' }]);
    expect(environment).not.toMatch(/proxy|agnt2/i);
    const sidecar = await walker.container('sidecar');
    const internet = await Internet.reach(docker, `${town.bridge}out`, sidecar, `${walker.project}_outside`);
    await walker.configure(WALKS);

    const asked = walks(walker.address);
    const results = await town.attempt(
      'walker',
      asked.map(({ attempt }) => attempt),
    );
    const seen = results.map(({ status, code, body, addresses, error }, i) => ({
      what: asked[i].what,
      attempt: asked[i].attempt,
      ...(error !== undefined && {
        error: asked[i].error !== undefined && error.includes(asked[i].error) ? asked[i].error : error,
      }),
      ...(status !== undefined && { status }),
      ...(code != null && { code }),
      ...(asked[i].body !== undefined && { body }),
      ...(addresses !== undefined && { addresses }),
    }));
    expect(seen).toEqual(asked);
    acknowledged.page += 3;
    const said = await walker.logs('sidecar');
    for (const line of ['example.com:443 is not on egress.allow', 'TLS without a server name', 'is not public'])
      expect(said).toContain(line);

    await comesNowhere('walker', nowhere(town.gateway.host));
    await internet.end(sidecar);
  });

  test('whatever an app asks its sidecar for beyond its rights is refused, and costs nothing', async () => {
    const guest = town.get('guest');
    const table = refusals(town.gateway.url, town.l1.url);
    const before = town.l1.callers.length;
    const results = await town.attempt(
      'guest',
      table.map(({ attempt }) => attempt),
    );
    expect(results.map(({ status, code, error }, i) => ({ name: table[i].name, status, code, error }))).toEqual(
      table.map(({ name, status, code }) => ({ name, status, code, error: undefined })),
    );
    expect(town.l1.callers.length).toBe(before);
    expect(JSON.parse(await guest.admin('GET', '/admin/status'))).toMatchObject({ spent: { day: '0' } });
    expect(await town.get('web').logs('app')).not.toMatch(/dear|other\.agnt2/);
  });

  test('no cap gives way: not for headers, not for many at once, not for a label', async () => {
    const guest = town.get('guest');
    const over = (code: string, setting: string, limit: number) => ({
      status: 402,
      code,
      body: expect.stringContaining(`policy.${setting} = ${limit} of`),
    });
    const [page, dear, paper] = ['web.agnt2/', 'web.agnt2/dear', 'papers.agnt2/paper.txt'].map((to) =>
      get(`http://${to}`),
    );
    expect(await town.attempt('guest', [dear])).toMatchObject([over('over_hour_cap', 'perHour', 5)]);
    // Every cap but the one that a label lowered stays what the file says, though labels now ask for more.
    guest.label(Object.fromEntries(['call', 'hour', 'day', 'peer'].map((cap) => [`agnt2.budget.${cap}`, '1000000'])));
    await guest.reloads(() => guest.compose('up', '--detach'));
    const [plain, spoofed] = await town.attempt('guest', [dear, get('http://web.agnt2/dear', SPOOFED)]);
    for (const refused of [plain, spoofed]) expect(refused).toMatchObject(over('over_call_cap', 'perCall', 10));
    // Twelve units to one peer are six pages, however many are asked for at once.
    const crowd = await town.attempt(
      'guest',
      Array.from({ length: 12 }, () => page),
      true,
    );
    const paid = crowd.filter(({ status }) => status === 200).length;
    expect(paid).toBe(6);
    acknowledged.page += paid;
    for (const refused of crowd.filter(({ status }) => status !== 200))
      expect(refused).toMatchObject(over('over_peer_cap', 'perPeer', 12));
    // Four more to another are one paper; the day holds sixteen.
    const [first, second] = await town.attempt('guest', [paper, paper]);
    expect(first.status).toBe(200);
    acknowledged.paper += 1;
    expect(second).toMatchObject(over('over_day_cap', 'perDay', 16));
    expect(JSON.parse(await guest.admin('GET', '/admin/status'))).toMatchObject({ spent: { day: '16' } });
  });

  test('no limit that a person set gives way to the app: what waits for a person, what fails, what is outside', async () => {
    const { docker } = town;
    const [guest, web, papers] = ['guest', 'web', 'papers'].map((name) => town.get(name));
    const tries = async (tried: readonly Tried[]): Promise<void> => {
      const results = await town.attempt(
        'guest',
        tried.map(({ attempt }) => attempt),
      );
      const seen = results.map(({ status, code, body, error }, i) => ({
        what: tried[i].what,
        ...(tried[i].error === undefined
          ? { status, code: code ?? undefined }
          : { error: BROKEN_OFF.test(error ?? '') }),
        says: body?.includes(tried[i].says ?? '') === true ? tried[i].says : body,
      }));
      expect(seen).toEqual(tried.map(({ what, status, code, says, error }) => ({ what, status, code, says, error })));
    };
    const sidecar = await guest.container('sidecar');
    const internet = await Internet.reach(docker, `${town.bridge}out`, sidecar, `${guest.project}_outside`);
    const { config, tried } = mixed(new URL(town.gateway.url));
    await guest.configure(config);
    await tries(tried);
    const { approvals } = JSON.parse(await guest.admin('GET', '/admin/approvals')) as {
      approvals: { approval: string }[];
    };
    expect(approvals).toMatchObject([{ peer: web.agent.id, amount: String(PRICE.dear) }]);
    await guest.admin('POST', `/admin/approvals/${approvals[0].approval}/grant`);
    // What a person granted is good for one call.
    await tries([{ ...tried[1], status: 404, code: undefined, says: undefined }, tried[1]]);
    acknowledged.page += 1;
    acknowledged.dear += 1;

    await guest.configure(UNPOLICED.config);
    await tries(UNPOLICED.tried);
    await internet.end(sidecar);
    await guest.configure(SPENT.config);
    await tries(SPENT.tried);
    acknowledged.page += 1;
    acknowledged.paper += 1;
    papers.label(DEARER);
    await papers.reloads(() => papers.compose('up', '--detach'));
    await tries(risen(papers.agent.id));
    await guest.restart(BOUNDLESS.config);
    await tries(BOUNDLESS.tried);
    acknowledged.page += 1;
  });

  test('kills of apps and sidecars lose no answer that was paid for, and charge nobody twice', async () => {
    const [papers, web] = [town.get('papers'), town.get('web')];
    const callers: Traffic[] = [];
    const start = async (): Promise<Traffic> => {
      const traffic = new Traffic(await papers.container('app'), 'http://web.agnt2/', 100_000 * (callers.length + 1));
      callers.push(traffic);
      return traffic;
    };
    /** Who is killed: parts of the callee, and of the caller, whose calls end with its app. */
    const deaths: readonly (readonly [callee: readonly Part[], caller: readonly Part[]])[] = [
      [['app'], []],
      [['sidecar'], []],
      [[], ['sidecar']],
      [['app', 'sidecar'], ['sidecar']],
      [[], ['app']],
      [[], ['app', 'sidecar']],
    ];
    let traffic = await start();
    for (const [callee, caller] of deaths) {
      await traffic.more(6);
      await Promise.all([web.kill(...callee), papers.kill(...caller)]);
      if (caller.includes('app')) await traffic.end();
      await Promise.all([web.start(...callee), papers.start(...caller)]);
      await Promise.all([callee.length > 0 && web.ready(), caller.length > 0 && papers.ready()]);
      if (caller.includes('app')) traffic = await start();
    }
    await traffic.more(6);
    await traffic.end();
    const answered = callers.flatMap((each) => [...each.answered]);
    acknowledged.page += answered.length;
    const numbers = [...(await web.logs('app')).matchAll(/GET \/\?n=(\d+) /g)].map(([, n]) => Number(n));
    expect(numbers.length).toBe(new Set(numbers).size);
    expect(numbers).toEqual(expect.arrayContaining(answered.slice(0, 3)));
  }, 300_000);

  test('labels are followed on the engine, and refused when they are not clear', async () => {
    const { docker } = town;
    const dir = mkdtempSync(join(tmpdir(), 'agnt2-labels-'));
    const project = `agnt2labels${process.pid}`;
    const said: string[] = [];
    const discovery = new Discovery(new Engine(docker.socket), dir, project, (event, { container, code, name }) =>
      said.push([event, container, code ?? name].filter(Boolean).join(' ')),
    );
    const stop = new AbortController();
    const following = discovery.follow(stop.signal);
    const made: string[] = [];
    const create = async (name: string, labels: Record<string, string>, ...more: string[]): Promise<void> => {
      const own = { 'agnt2.enable': 'true', 'com.docker.compose.project': project, ...labels };
      const flags = Object.entries(own).flatMap(([label, value]) => ['--label', `${label}=${value}`]);
      made.push(`${project}-${name}`);
      await docker.run('create', '--name', `${project}-${name}`, ...flags, ...more, IMAGES.python);
    };
    const hears = (what: string): Promise<unknown> =>
      until(what, () => said.includes(what.replaceAll('@', `${project}-`)), { timeoutMs: 15_000 });
    try {
      await create('one', { 'agnt2.name': 'one', 'agnt2.price': '*=7' });
      await hears('labelled @one one');
      expect(JSON.parse(readFileSync(join(dir, 'one.json'), 'utf8'))).toMatchObject({
        app: `http://${project}-one:8000`,
      });
      await create('several', { 'agnt2.name': 'several', 'agnt2.price': '*=7' }, '--expose=81');
      await hears('refused @several ambiguous_port');
      await create('typo', { 'agnt2.name': 'typo', 'agnt2.price': '*=7', 'agnt2.buget.day': '1' });
      await hears('refused @typo unknown_label');
      await create('path', { 'agnt2.name': '../../etc/cron.d/x', 'agnt2.price': '*=7' });
      await hears('refused @path bad_label');
      // Two of one name: neither is it, whoever came first.
      await create('twin', { 'agnt2.name': 'one', 'agnt2.price': '*=1' });
      await hears('refused @one ambiguous_name');
      await hears('refused @twin ambiguous_name');
      expect(readdirSync(dir)).toEqual([]);
      await docker.run('rm', `${project}-twin`);
      made.splice(made.indexOf(`${project}-twin`), 1);
      await until('one again', () => readdirSync(dir).join() === 'one.json');
    } finally {
      stop.abort();
      await docker.run('rm', '--force', ...made);
      await following;
    }
  });

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
