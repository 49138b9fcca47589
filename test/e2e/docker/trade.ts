/** They trade, and die while they do. */
import { expect, test } from 'vitest';
import { until } from '../../../local/process.ts';
import type { Part } from '../../support/docker/agents.ts';
import { get } from '../../support/docker/attempts.ts';
import { FETCH, MCP } from '../../support/docker/programs.ts';
import { Traffic } from '../../support/docker/traffic.ts';
import type { Scene } from './scene.ts';

/** What an app that keeps notes has, told in the words of `firestore.ts`. */
const NOTES = {
  committed: [1, 2, 1],
  refused: { code: 6, details: expect.stringContaining('entity already exists') as string },
  got: ['a=note a', 'b=note b', 'x is missing'],
  found: ['a=note a', 'b=note b', 'c=note c', 'd=note d'],
  ended: [0, 0],
};

export function testTrade(scene: Scene): void {
  const { acknowledged } = scene;

  test('they pay each other, through Core and through sessions', async () => {
    const { town } = scene;
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
    const { town } = scene;
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
}

export function testDeaths(scene: Scene): void {
  const { acknowledged } = scene;

  test('kills of apps and sidecars lose no answer that was paid for, and charge nobody twice', async () => {
    const { town } = scene;
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
}
