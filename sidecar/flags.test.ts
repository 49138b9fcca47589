import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { NODE_FLAGS, OPTION_FLAGS } from './flags.ts';

const dockerfile = readFileSync(new URL('Dockerfile', import.meta.url), 'utf8');

test('the image starts Node with every flag: by its environment what that takes, by its entry point the rest', () => {
  const entry = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)![1]) as string[];
  expect(entry).toEqual(['node', ...NODE_FLAGS.slice(OPTION_FLAGS.length), '/opt/agnt2/sidecar.mjs']);
  const env = { ...process.env, NODE_OPTIONS: OPTION_FLAGS.join(' ') };
  const { status, stderr } = spawnSync(process.execPath, [...entry.slice(1, -1), '-e', ''], { env, encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});
