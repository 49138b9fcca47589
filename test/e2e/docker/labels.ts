/** Labels on the engine, as `discover` follows them. */
import { mkdtempSync, readFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { until } from '../../../local/process.ts';
import { Discovery } from '../../../sidecar/discover/discover.ts';
import { Engine } from '../../../sidecar/discover/engine.ts';
import { IMAGES } from '../../support/docker/images.ts';
import type { Scene } from './scene.ts';

export function testLabels(scene: Scene): void {
  test('labels are followed on the engine, and refused when they are not clear', async () => {
    const { docker } = scene.town;
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
}
