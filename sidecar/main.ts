/**
 * `node sidecar/main.ts --config FILE [--labels DIR]`: runs one sidecar; one JSON line per event on stdout; SIGTERM or SIGINT ends it in good order.
 * With `--labels` it adds what its container's labels say (`discover/`), waits until they are found, and follows them.
 * With `--with-parent` it ends in good order when the process that started it does.
 */
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import '../protocol/keccak/install.ts';
import { Agnt2Error, codeOf } from '../protocol/errors.ts';
import { type Config, loadConfig, parseConfig, readConfig } from './config.ts';
import { labelsFor, parseLabels, withLabels } from './labels.ts';
import { follow } from './reload.ts';
import { Sidecar } from './sidecar.ts';
import type { RemoteKey } from './signer/client.ts';
import { holdKey } from './signer/hold.ts';

/** How often the labels are looked at, which come over a volume, where not every file system tells of changes; and the parent. */
const LOOK_MS = 500;

// Whoever reads the log may go; the sidecar goes on.
process.stdout.on('error', () => {});

const print = (event: string, fields: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify({ event, timeMs: Date.now(), ...fields })}\n`);
};
const say = (event: string, error: unknown): void => {
  const detail = error instanceof Agnt2Error ? error.detail : error instanceof Error ? error.message : String(error);
  print(event, { code: codeOf(error), detail });
};
const fail = (error: unknown): never => {
  say('failed', error);
  process.exit(1);
};

/** Without the process that signs, this one is of no use: whoever runs it starts both again. */
const hold = async (config: Config): Promise<RemoteKey> => {
  const key = await holdKey(config);
  key.onGone = fail;
  return key;
};

const stopping = new AbortController();
const pause = (): Promise<void> => setTimeout(LOOK_MS, undefined, { signal: stopping.signal }).catch(() => {});

/** The config with each version of itself and of its labels, from the first that can be read on. Throws for a file that is bad at the start. */
async function* configs(path: string, labels: string): AsyncGenerator<Config> {
  labelsFor(parseConfig(path), labels);
  let [last, complaint] = ['', ''];
  for (let waiting = false; !stopping.signal.aborted; await pause()) {
    try {
      const file = parseConfig(path);
      const text = labelsFor(file, labels);
      // Gone is not changed: a container that is being replaced is away for a moment.
      if (text === null && last === '' && !waiting)
        print('waiting', { detail: `for the labels of this agent's container` });
      waiting = true;
      if (text === null) continue;
      const merged = withLabels(file, parseLabels(text));
      const now = JSON.stringify(merged);
      if (now === last) continue;
      const config = readConfig(merged);
      [last, complaint] = [now, ''];
      yield config;
    } catch (error) {
      // What ran goes on as it was, and each mistake is said once.
      if (complaint !== String(error)) say('error', error);
      complaint = String(error);
    }
  }
}

try {
  const { values } = parseArgs({
    options: {
      config: { type: 'string', default: 'agnt2.json' },
      labels: { type: 'string' },
      'with-parent': { type: 'boolean' },
    },
  });
  let sidecar: Sidecar | null = null;
  const stop = (): void => {
    stopping.abort();
    (sidecar?.stop() ?? Promise.resolve()).then(() => process.exit(0), fail);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  if (values['with-parent']) {
    const parent = process.ppid;
    const timer = setInterval(() => {
      if (process.ppid === parent) return;
      clearInterval(timer);
      stop();
    }, LOOK_MS);
    timer.unref();
  }
  const run = async (config: Config): Promise<void> => {
    const before: Sidecar | null = sidecar;
    // What can change while it runs does; for the rest it is begun anew.
    if (before?.ready === true) {
      try {
        await before.reload(config);
        return;
      } catch (error) {
        if (codeOf(error) !== 'needs_restart') throw error;
      }
    }
    // In good order, as at any end: sessions are signed and closed, nothing in flight is cut.
    await before?.stop();
    if (stopping.signal.aborted) return;
    sidecar = new Sidecar(config, print, {}, hold);
    await sidecar.start().catch((error: unknown) => {
      if (!stopping.signal.aborted) throw error;
    });
  };
  if (values.labels === undefined) {
    await run(loadConfig(values.config));
    const onBad = (code: string, detail: string): void => print('reload_refused', { code, detail });
    const follower = follow(sidecar!, () => loadConfig(values.config), onBad);
    process.on('SIGHUP', () => void follower.look());
  } else for await (const config of configs(values.config, values.labels)) await run(config);
} catch (error) {
  fail(error);
}
