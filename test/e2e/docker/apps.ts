/** What apps try to get out, and to spend more (docs/limits.md). */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { until } from '../../../local/process.ts';
import { type Attempt, SPOOFED, UNREACHABLE, get, outside, refusals } from '../../support/docker/attempts.ts';
import { Internet } from '../../support/docker/internet.ts';
import { BOUNDLESS, DEARER, SPENT, type Tried, UNPOLICED, mixed, risen } from '../../support/docker/limits.ts';
import { WALKS, nowhere, walks } from '../../support/docker/walks.ts';
import { PRICE, type Scene } from './scene.ts';

/** What Python's client says of an answer that breaks off, by how much of it had come. */
const BROKEN_OFF = /^(?:IncompleteRead|RemoteDisconnected|ConnectionResetError)/;

export function testApps(scene: Scene): void {
  const { acknowledged } = scene;

  /** Has an app try all ways there are past its sidecar, `more` among them. */
  const comesNowhere = async (name: string, more: readonly Attempt[]): Promise<void> => {
    const { town } = scene;
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
    const { town } = scene;
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
    const { town } = scene;
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
    const { town } = scene;
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
    const { town } = scene;
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
}
