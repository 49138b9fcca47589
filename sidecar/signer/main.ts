/**
 * `node sidecar/signer/main.ts --key FILE --socket PATH`: the process that alone knows the machine key. Without `--socket`
 * it serves its parent over fd 3 and ends with it; with `--key-stdin` the key comes through a pipe and is in no file.
 */
import { existsSync, readFileSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { parseArgs } from 'node:util';
import '../../protocol/keccak/install.ts';
import { Agnt2Error, codeOf } from '../../protocol/errors.ts';
import { type KeyFile, openKeyFile, readSecret } from './keys.ts';
import { WORKING_OPS } from './rules.ts';
import { Signer } from './server.ts';
import { encodeFrame, encodeRefusal } from './wire.ts';

/** Connections at once: the sidecar, its successor while it restarts, and somebody who rotates. */
const MAX_CONNECTIONS = 4;

const fail = (error: unknown): void => {
  process.exitCode = 1;
  if (isChild) {
    // The answer to the parent's first question, hello.
    new net.Socket({ fd: 3 }).end(encodeFrame({ id: 1, kind: 0, content: encodeRefusal(error) }));
    return;
  }
  const detail = error instanceof Agnt2Error ? error.detail : 'the signer failed';
  process.stderr.write(`${JSON.stringify({ event: 'signer_failed', code: codeOf(error), detail })}\n`);
  process.exit();
};
let isChild = false;

/** A whole number of at least 0; undefined when the option is not given. */
function amount(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new Agnt2Error('bad_config', `--${option} must be a whole number`);
  return value;
}

async function openKey(path: string | undefined, fromStdin: boolean): Promise<KeyFile> {
  if (fromStdin === (path !== undefined)) throw new Agnt2Error('bad_config', 'give --key FILE or --key-stdin');
  if (path !== undefined) return openKeyFile(path);
  return { path: null, key: await readSecret(readFileSync(0, 'utf8')), next: null };
}

/** Listens for this user alone. A socket file nobody listens on is of a signer that was killed. */
async function listenAt(path: string, signer: Signer): Promise<void> {
  if (existsSync(path)) {
    const taken = await new Promise<boolean>((resolve) => {
      const probe = net.connect(path, () => resolve(true));
      probe.on('error', () => resolve(false));
      probe.unref();
    });
    if (taken) throw new Agnt2Error('bad_config', `another signer listens at ${path}`);
    unlinkSync(path);
  }
  const server = net.createServer((stream) => signer.serve(stream));
  server.maxConnections = MAX_CONNECTIONS;
  process.umask(0o177);
  server.on('error', fail);
  server.listen(path, () => process.stdout.write(`${JSON.stringify({ event: 'signer_ready', socket: path })}\n`));
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => {
      server.close();
      process.exit(0);
    });
}

function serveParent(signer: Signer): void {
  const stream = new net.Socket({ fd: 3 });
  // What ends the whole group must not end this before the sidecar has signed its last halves: it ends with its parent.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  stream.on('close', () => process.exit(0));
  signer.serve(stream);
}

try {
  process.title = 'agnt2-signer';
  const { values } = parseArgs({
    options: {
      key: { type: 'string' },
      'key-stdin': { type: 'boolean', default: false },
      socket: { type: 'string' },
      ops: { type: 'string', default: WORKING_OPS.join() },
      'per-hour': { type: 'string' },
      'per-day': { type: 'string' },
      /** Unix seconds. */
      expires: { type: 'string' },
    },
  });
  isChild = values.socket === undefined;
  const signer = new Signer(await openKey(values.key, values['key-stdin']), {
    ops: values.ops.split(','),
    perHour: amount(values['per-hour'], 'per-hour'),
    perDay: amount(values['per-day'], 'per-day'),
    expires: amount(values.expires, 'expires'),
  });
  if (values.socket === undefined) serveParent(signer);
  else await listenAt(values.socket, signer);
} catch (error) {
  fail(error);
}
