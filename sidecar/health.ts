/** `node health.mjs [page]`: the image's health check. Exit code 0 if the sidecar of this container says it is well, or `/readyz` if asked for that. */
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  options: { admin: { type: 'string', default: 'http://127.0.0.1:8403' } },
  allowPositionals: true,
});
const [page = '/healthz'] = positionals;
const answer = await fetch(values.admin + page, { signal: AbortSignal.timeout(2000) }).catch(() => null);
process.exitCode = answer?.ok === true ? 0 : 1;
