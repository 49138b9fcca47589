/** The machine key as the sidecar has it: a socket to the process that knows it. */
import { type ChildProcess, spawn } from 'node:child_process';
import net from 'node:net';
import type { Duplex } from 'node:stream';
import { existsSync } from 'node:fs';
import { dirname, resolve as resolvePath } from 'node:path';
import { fileURLToPath } from 'node:url';
import { unhex } from '../../protocol/bytes.ts';
import { type Announce, type Close, type Connect, type Domain, type Pairing, Signing } from '../../protocol/eip712.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { type Half, encodeHalf } from '../../protocol/half.ts';
import { MALLOC_ENV } from '../flags.ts';
import type { ShownKey } from '../identity.ts';
import {
  Frames,
  type Hello,
  Kind,
  Writing,
  decodeJson,
  decodeRefusal,
  encodeAnnounce,
  encodeClose,
  encodeConnect,
  encodeJson,
  encodePairing,
} from './wire.ts';

type Content = () => Uint8Array;

/** Preimages that remember what they are of, for the signer to make them itself. */
class TypedSigning extends Signing {
  readonly #typed: WeakMap<Uint8Array, readonly [Kind, Content]>;

  constructor(domain: Domain, typed: WeakMap<Uint8Array, readonly [Kind, Content]>) {
    super(domain);
    this.#typed = typed;
  }

  #remember(preimage: Uint8Array, kind: Kind, content: Content): Uint8Array {
    this.#typed.set(preimage, [kind, content]);
    return preimage;
  }
  override bundle(body: Uint8Array): Uint8Array {
    return this.#remember(super.bundle(body), Kind.bundle, () => body);
  }
  override half(half: Half): Uint8Array {
    return this.#remember(super.half(half), Kind.half, () => encodeHalf(half));
  }
  override close(close: Close): Uint8Array {
    return this.#remember(super.close(close), Kind.close, () => encodeClose(close));
  }
  override connect(connect: Connect): Uint8Array {
    return this.#remember(super.connect(connect), Kind.connect, () => encodeConnect(connect));
  }
  override pairing(pairing: Pairing): Uint8Array {
    return this.#remember(super.pairing(pairing), Kind.pairing, () => encodePairing(pairing));
  }
  override announce(announce: Announce): Uint8Array {
    return this.#remember(super.announce(announce), Kind.announce, () => encodeAnnounce(announce));
  }
}

interface Waiting {
  readonly resolve: (content: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
}

export class RemoteKey implements ShownKey {
  readonly #stream: Duplex;
  readonly #writing: Writing;
  readonly #waiting = new Map<number, Waiting>();
  readonly #typed = new WeakMap<Uint8Array, readonly [Kind, Content]>();
  #id = 0;
  #publicKey: Uint8Array = new Uint8Array(0);
  #nextKey: Uint8Array | null = null;
  #expires: number | null = null;
  #gone: Agnt2Error | null = null;
  /** Told once when the signer is gone without having been closed. */
  onGone: (error: Agnt2Error) => void = () => {};

  private constructor(stream: Duplex) {
    this.#stream = stream;
    this.#writing = new Writing((bytes) => void (this.#gone === null && stream.write(bytes)));
    const frames = new Frames();
    stream.on('data', (chunk: Buffer) => {
      try {
        for (const { id, kind, content } of frames.push(chunk)) {
          const waiting = this.#waiting.get(id);
          this.#waiting.delete(id);
          if (kind === 1) waiting?.resolve(content);
          else waiting?.reject(decodeRefusal(content));
        }
      } catch {
        stream.destroy();
      }
    });
    stream.on('error', () => {});
    stream.on('close', () => this.#lost());
  }

  /** Over a stream to a signer. Rejects with `signer_gone`. */
  static async over(stream: Duplex): Promise<RemoteKey> {
    const key = new RemoteKey(stream);
    key.#learn(await key.#ask(Kind.hello, new Uint8Array(0)));
    return key;
  }

  /** At a unix socket. Rejects with `signer_gone`. */
  static at(path: string): Promise<RemoteKey> {
    return RemoteKey.over(net.connect(path));
  }

  /** x ‖ y, of the key that bundles and sockets are signed with now. */
  get publicKey(): Uint8Array {
    return this.#publicKey;
  }
  /** The key to rotate to, if one was made. */
  get nextKey(): Uint8Array | null {
    return this.#nextKey;
  }
  /** Unix seconds; null for never. */
  get expires(): number | null {
    return this.#expires;
  }

  /** Tells the signer what it signs for, and makes the preimages that {@link sign} takes. */
  async signing(domain: Domain, agent: number): Promise<Signing> {
    this.#learn(await this.#ask(Kind.start, encodeJson({ ...domain, agent })));
    return new TypedSigning(domain, this.#typed);
  }

  /** Signs a preimage of {@link signing}'s. Rejects with the signer's refusal, `signer_gone`, or `untyped`. */
  sign(preimage: Uint8Array): Promise<Uint8Array> {
    const typed = this.#typed.get(preimage);
    if (typed === undefined) return Promise.reject(new Agnt2Error('untyped', 'the signer signs only what it is shown'));
    return this.#ask(typed[0], typed[1]());
  }

  /** Makes the next key, or names the one there is: x ‖ y, for the owner to sign `Rotate` with. Rejects with `not_rotatable`. */
  async next(): Promise<Uint8Array> {
    return (this.#nextKey = await this.#ask(Kind.next, new Uint8Array(0)));
  }

  /** Takes the next key into use; these sessions keep the one they pinned. */
  async promote(sessions: readonly number[]): Promise<void> {
    this.#publicKey = await this.#ask(Kind.promote, encodeJson({ sessions }));
    this.#nextKey = null;
  }

  close(): void {
    this.onGone = () => {};
    this.#stream.destroy();
  }

  #learn(content: Uint8Array): void {
    const { publicKey, nextKey, expires } = decodeJson(content) as unknown as Hello;
    this.#publicKey = unhex(publicKey, 64);
    this.#nextKey = nextKey === null ? null : unhex(nextKey, 64);
    this.#expires = expires;
  }

  #ask(kind: Kind, content: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#gone !== null) return reject(this.#gone);
      this.#id = (this.#id + 1) >>> 0;
      this.#waiting.set(this.#id, { resolve, reject });
      this.#writing.push({ id: this.#id, kind, content });
    });
  }

  #lost(): void {
    this.#gone = new Agnt2Error('signer_gone', 'the process that holds the machine key is gone');
    for (const { reject } of this.#waiting.values()) reject(this.#gone);
    this.#waiting.clear();
    this.onGone(this.#gone);
  }
}

export interface SpawnOptions {
  /** The key: a file that the signer reads, or the secret itself, handed over by a pipe. */
  readonly key: { readonly file: string } | { readonly secret: string };
  readonly expires?: number | null;
  readonly perHour?: number | null;
  readonly perDay?: number | null;
}

/** No inspector, no addons, no code from strings, no other files, no children: what it does not need it does not have. */
const HARDENED = [
  '--permission',
  '--disable-sigusr1',
  '--disable-proto=delete',
  '--disallow-code-generation-from-strings',
  '--no-addons',
  '--max-old-space-size=64',
  '--disable-warning=ExperimentalWarning',
];
/** The program beside this file: as source, or bundled with a sidecar that is bundled. */
const isSource = import.meta.url.endsWith('.ts');
const PROGRAM = fileURLToPath(new URL(isSource ? 'main.ts' : 'signer.mjs', import.meta.url));
const ROOT = isSource ? dirname(dirname(dirname(PROGRAM))) : dirname(PROGRAM);

/** Starts a signer that serves this process alone, over an inherited pipe, and ends with it. */
export async function spawnSigner({ key, expires, perHour, perDay }: SpawnOptions): Promise<RemoteKey> {
  const args = [...HARDENED, `--allow-fs-read=${ROOT}`];
  if ('file' in key) {
    const file = resolvePath(key.file);
    for (const path of [file, `${file}.next`]) args.push(`--allow-fs-read=${path}`, `--allow-fs-write=${path}`);
  }
  if (!existsSync(PROGRAM)) throw new Agnt2Error('bad_config', `sidecar/signer/main.ts has to stand at ${PROGRAM}`);
  args.push(PROGRAM);
  args.push(...('file' in key ? ['--key', resolvePath(key.file)] : ['--key-stdin']));
  const optional = { expires, 'per-hour': perHour, 'per-day': perDay };
  for (const [name, value] of Object.entries(optional)) if (value != null) args.push(`--${name}`, String(value));
  // A core dump would hold the key. A shell that is not there sets no limit; then nothing is dumped unless the host says so.
  const shell = existsSync('/bin/sh') ? ['/bin/sh', '-c', 'ulimit -c 0; exec "$0" "$@"', process.execPath] : null;
  const [command, ...before] = shell ?? [process.execPath];
  const child: ChildProcess = spawn(command, [...before, ...args], {
    env: MALLOC_ENV,
    stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
  });
  child.on('error', () => {});
  child.stdin!.on('error', () => {});
  child.stdin!.end('secret' in key ? key.secret : undefined);
  child.unref();
  return RemoteKey.over(child.stdio[3] as Duplex);
}
