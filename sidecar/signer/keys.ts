/** The key file of the signer, and the next key beside it until the chain knows it. */
import { closeSync, constants, openSync, readFileSync, renameSync, statSync, writeSync } from 'node:fs';
import { hex, unhex } from '../../protocol/bytes.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { MachineKey } from '../../protocol/keys.ts';

const { O_CREAT, O_SYNC, O_TRUNC, O_WRONLY } = constants;

/** Where secrets are kept; null: nowhere, they came through a pipe and can't be rotated. */
export interface KeyFile {
  readonly path: string | null;
  readonly key: MachineKey;
  readonly next: MachineKey | null;
}

const bad = (detail: string): Agnt2Error => new Agnt2Error('bad_config', detail);
const nextOf = (path: string): string => `${path}.next`;

/** 32 bytes of `0x` and 64 hex digits. Throws `bad_config`. */
export function parseSecret(text: string): Uint8Array {
  try {
    return unhex(text.trim(), 32);
  } catch {
    throw bad('the machine key must be 0x and 64 hex digits');
  }
}

/** Throws `bad_config`. */
export const readSecret = (text: string): Promise<MachineKey> => MachineKey.import(parseSecret(text));

/** Reads a secret only its owner can read. Throws `bad_config`. */
export function readKeyFile(path: string): string {
  try {
    if ((statSync(path).mode & 0o077) !== 0) throw bad(`${path} is readable by others; chmod 600 it`);
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Agnt2Error) throw cause;
    throw new Agnt2Error('bad_config', `can't read the machine key ${path}`, { cause });
  }
}

export async function openKeyFile(path: string): Promise<KeyFile> {
  const key = await readSecret(readKeyFile(path));
  // One that a crash cut off was never told to anybody.
  const next = await Promise.resolve(nextOf(path))
    .then(readKeyFile)
    .then(readSecret)
    .catch(() => null);
  return { path, key, next };
}

/** Makes the next key, on disk before anybody hears of it. Throws `not_rotatable`. */
export async function makeNext({ path }: KeyFile): Promise<MachineKey> {
  if (path === null)
    throw new Agnt2Error('not_rotatable', 'the machine key is in no file that a next one could lie beside');
  const secret = MachineKey.randomSecret();
  try {
    // Written through to the disk by its flag: a process under Node's permissions has no fsync.
    const file = openSync(nextOf(path), O_WRONLY | O_CREAT | O_TRUNC | O_SYNC, 0o600);
    try {
      writeSync(file, `${hex(secret)}\n`);
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    throw new Agnt2Error('not_rotatable', `can't write ${nextOf(path)}`, { cause });
  }
  return MachineKey.import(secret);
}

/** The next key takes the place of the key. */
export function promoteNext({ path }: KeyFile): void {
  renameSync(nextOf(path!), path!);
}
