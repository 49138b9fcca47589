/** `node sidecar/main.ts --config FILE`: runs one sidecar; one JSON line per event on stdout; SIGTERM or SIGINT ends it in good order. */
import { parseArgs } from 'node:util';
import '../protocol/keccak/install.ts';
import { Agnt2Error, codeOf } from '../protocol/errors.ts';
import { type Config, loadConfig } from './config.ts';
import { Sidecar } from './sidecar.ts';
import type { RemoteKey } from './signer/client.ts';
import { holdKey } from './signer/hold.ts';

const print = (event: string, fields: Record<string, unknown>): void => {
  process.stdout.write(`${JSON.stringify({ event, timeMs: Date.now(), ...fields })}\n`);
};

const fail = (error: unknown): never => {
  const detail = error instanceof Agnt2Error ? error.detail : error instanceof Error ? error.message : String(error);
  print('failed', { code: codeOf(error), detail });
  process.exit(1);
};

/** Without the process that signs, this one is of no use: whoever runs it starts both again. */
const hold = async (config: Config): Promise<RemoteKey> => {
  const key = await holdKey(config);
  key.onGone = fail;
  return key;
};

try {
  const { values } = parseArgs({ options: { config: { type: 'string', default: 'agnt2.json' } } });
  const sidecar = new Sidecar(loadConfig(values.config), print, {}, hold);
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
