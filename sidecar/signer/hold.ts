/** Where the sidecar's machine key is held: in a process of its own, started for it or already there. */
import type { Config } from '../config.ts';
import { loadSecretText } from '../config.ts';
import { RemoteKey, spawnSigner } from './client.ts';

/** Connects to the signer that the config names, else starts one. Rejects with `bad_config` or `signer_gone`. */
export function holdKey(config: Pick<Config, 'keyFile' | 'signer'>): Promise<RemoteKey> {
  const { socket, expires, perHour, perDay } = config.signer;
  if (socket !== null) return RemoteKey.at(socket);
  const key = config.keyFile === undefined ? { secret: loadSecretText(config) } : { file: config.keyFile };
  return spawnSigner({ key, expires, perHour, perDay });
}
