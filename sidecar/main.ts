/** `node sidecar/main.ts --config FILE`: runs one sidecar; one JSON line per event on stdout; SIGTERM or SIGINT ends it in good order. */
import { parseArgs } from 'node:util';
import '../protocol/keccak/install.ts';
import { Agnt2Error, codeOf } from '../protocol/errors.ts';
import { loadConfig } from './config.ts';
import { Sidecar } from './sidecar.ts';

const print = (event: string, fields: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify({ event, timeMs: Date.now(), ...fields })}\n`);
};

const fail = (error: unknown): never => {
  const detail = error instanceof Agnt2Error ? error.detail : error instanceof Error ? error.message : String(error);
  print('failed', { code: codeOf(error), detail });
  process.exit(1);
};

try {
  const { values } = parseArgs({ options: { config: { type: 'string', default: 'agnt2.json' } } });
  const sidecar = new Sidecar(loadConfig(values.config), print);
  let stopping = false;
  const stop = (): void => {
    stopping = true;
    sidecar.stop().then(() => process.exit(0), fail);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  await sidecar.start().catch((error: unknown) => {
    if (!stopping) throw error;
  });
} catch (error) {
  fail(error);
}
