#!/usr/bin/env node
/**
 * `docker agnt2 …`: the same commands as a plugin of the Docker CLI, which calls it with its own name before the arguments.
 * @see https://github.com/docker/cli/blob/master/cli-plugins/metadata/metadata.go
 */
import { readFileSync } from 'node:fs';

if (process.argv[2] === 'docker-cli-plugin-metadata') {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const ShortDescription = 'Containers that call and pay each other';
  process.stdout.write(
    `${JSON.stringify({ SchemaVersion: '0.1.0', Vendor: 'AGNT2', Version: version, ShortDescription })}\n`,
  );
} else {
  if (process.argv[2] === 'agnt2') process.argv.splice(2, 1);
  await import('./agnt2.mjs');
}
