/** `node health.mjs [page]`: the image's health check. Exit code 0 if the sidecar of this container says it is well, or `/readyz` if asked for that. */
import { parseArgs } from 'node:util';
import { http } from './http/node.ts';

const { values, positionals } = parseArgs({
  options: { admin: { type: 'string', default: 'http://127.0.0.1:8403' } },
  allowPositionals: true,
});
const [page = '/healthz'] = positionals;
process.exitCode = 1;
http
  .get(values.admin + page, { signal: AbortSignal.timeout(2000) }, (answer) => {
    process.exitCode = answer.statusCode === 200 ? 0 : 1;
    answer.destroy();
  })
  .on('error', () => {});
