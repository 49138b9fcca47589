/** The signer as a process: what it signs is good, what it must not sign it doesn't, and nobody else gets to ask. */
import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { afterAll, afterEach, expect, test } from 'vitest';
import { decodeBundle, signBundle } from '../../protocol/bundle.ts';
import { equal, hex } from '../../protocol/bytes.ts';
import { codeOf } from '../../protocol/errors.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey, ownerAddress, signOwner, verifyP256 } from '../../protocol/keys.ts';
import { Pair, ask, eventually, viaProxy } from '../testing/pair.ts';
import { RemoteKey, type SpawnOptions, spawnSigner } from './client.ts';
import { holdKey } from './hold.ts';
import { openKeyFile } from './keys.ts';
import { Signer } from './server.ts';
import { Kind, encodeFrame } from './wire.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-signer-'));
const keys: RemoteKey[] = [];
const children: ChildProcess[] = [];
afterEach(() => {
  for (const key of keys.splice(0)) key.close();
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(dir, { recursive: true }));

const DOMAIN = { chainId: 31337, root: '0x00000000000000000000000000000000000000aa' } as const;
const AGENT = 7 * 256;
let files = 0;
const newFile = (secret = MachineKey.randomSecret()): string => {
  const file = join(dir, `key-${files++}`);
  writeFileSync(file, `${hex(secret)}\n`, { mode: 0o600 });
  return file;
};
const spawned = async (options: SpawnOptions): Promise<RemoteKey> => {
  const key = await spawnSigner(options);
  keys.push(key);
  return key;
};
const half = (seq: number, more: object = {}) =>
  ({ session: 256, dir: 0, seq, calls: seq, paid: seq, root: new Uint8Array(32).fill(3), ...more }) as const;
const code = (promise: Promise<unknown>): Promise<string> => promise.then(() => 'ok', codeOf);

test('a process of its own signs all that a sidecar signs, and the signatures are good', async () => {
  const key = await spawned({ key: { file: newFile() } });
  const signing = await key.signing(DOMAIN, AGENT);
  const nonce = new Uint8Array(32);
  const timeMs = Date.now();
  const root = new Uint8Array(32);
  for (const preimage of [
    signing.half(half(1)),
    signing.connect({ agent: AGENT, room: '/agents/0:7/socket', timeMs, nonce }),
    signing.announce({ agent: AGENT, contentHash: root, timeMs }),
    signing.pairing({ session: 512, party: 1, key: new Uint8Array(64).fill(1), peerKey: new Uint8Array(64).fill(2) }),
    signing.close({ session: 512, paidAB: 1, paidBA: 2, callsAB: 3, callsBA: 4, rootAB: root, rootBA: nonce }),
  ])
    expect(await verifyP256(key.publicKey, preimage, await key.sign(preimage))).toBe(true);
  const header = { actor: AGENT, nonce: 0, expiry: Math.floor(Date.now() / 1000) + 60 };
  const frame = await signBundle(key, signing, header, [{ op: 'invoke', service: 256, amount: 5 }]);
  const { body, signature } = decodeBundle(frame);
  expect(await verifyP256(key.publicKey, signing.bundle(body), signature)).toBe(true);
  // A preimage of somebody else's making, or of what the sidecar has no business to sign.
  expect(await code(key.sign(new Uint8Array(66)))).toBe('untyped');
  expect(await code(key.sign(signing.rotate({ agent: AGENT, epoch: 0, key: new Uint8Array(64) })))).toBe('untyped');
  expect(await code(signBundle(key, signing, header, [{ op: 'transfer', to: 256, amount: 5 }]))).toBe('op_denied');
  expect(await code(key.sign(signing.half(half(1, { paid: 9 }))))).toBe('half_conflict');
  expect(await code(key.signing({ ...DOMAIN, chainId: 1 }, AGENT))).toBe('wrong_domain');
  expect(await code(key.signing(DOMAIN, AGENT + 256))).toBe('wrong_domain');
});

test('hundreds of requests in one turn are answered each by its own signature', async () => {
  const key = await spawned({ key: { secret: hex(MachineKey.randomSecret()) } });
  const signing = await key.signing(DOMAIN, AGENT);
  const preimages = Array.from({ length: 500 }, (_, i) => signing.half(half(i + 1)));
  const signatures = await Promise.all(preimages.map((preimage) => key.sign(preimage)));
  const good = await Promise.all(preimages.map((preimage, i) => verifyP256(key.publicKey, preimage, signatures[i])));
  expect(good.every(Boolean)).toBe(true);
  expect(await code(key.next())).toBe('not_rotatable');
});

test('the child has the key in no argument and no environment, dumps no core, and ends with its parent', async () => {
  const secret = hex(MachineKey.randomSecret());
  const key = await spawned({ key: { secret } });
  const [pid] = signersOfOurs();
  expect(proc(pid, 'cmdline') + proc(pid, 'environ')).not.toContain(secret.slice(2));
  expect(proc(pid, 'limits')).toMatch(/Max core file size +0 /);
  // What ends the group does not end it before its parent.
  process.kill(Number(pid), 'SIGTERM');
  process.kill(Number(pid), 'SIGINT');
  const signing = await key.signing(DOMAIN, AGENT);
  expect(await key.sign(signing.half(half(1)))).toHaveLength(64);
  key.close();
  await eventually(() => proc(pid, 'cmdline') === '', 'the signer ends');
});

test('a signer that dies says so to all who wait, and to who runs the sidecar', async () => {
  const key = await spawned({ key: { file: newFile() } });
  const gone = new Promise<string>((resolve) => (key.onGone = (error) => resolve(error.code)));
  const signing = await key.signing(DOMAIN, AGENT);
  process.kill(Number(signersOfOurs()[0]), 'SIGKILL');
  expect(await code(key.sign(signing.half(half(1))))).toBe('signer_gone');
  expect(await gone).toBe('signer_gone');
  expect(await code(key.sign(signing.half(half(2))))).toBe('signer_gone');
});

const proc = (pid: string, what: string): string => {
  try {
    return readFileSync(`/proc/${pid}/${what}`, 'latin1');
  } catch {
    return '';
  }
};
/** Process ids of the signers that this process started. */
const signersOfOurs = (): string[] =>
  readdirSync('/proc').filter(
    (name) =>
      /^\d+$/.test(name) &&
      proc(name, 'stat').split(') ')[1]?.split(' ')[1] === String(process.pid) &&
      proc(name, 'cmdline').includes('agnt2-signer'),
  );

/** Two ends of a stream in memory. */
function pipe(): [Duplex, Duplex] {
  const ends: Duplex[] = [];
  for (const i of [0, 1])
    ends[i] = new Duplex({
      read() {},
      write(chunk: Buffer, _, done) {
        ends[1 - i].push(chunk);
        done();
      },
      destroy(error, done) {
        if (!ends[1 - i].destroyed) ends[1 - i].destroy();
        done(error);
      },
    });
  return [ends[0], ends[1]];
}

test('any bytes on the socket get refusals or a closed door, never a signature', async () => {
  const signer = new Signer(await openKeyFile(newFile()));
  signer.start(DOMAIN.chainId, DOMAIN.root, AGENT);
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc
      .record({
        kind: fc.integer({ min: 1, max: 255 }).filter((k) => k !== Kind.next),
        content: fc.uint8Array({ maxLength: 200 }),
      })
      .map(({ kind, content }) => encodeFrame({ id: 1, kind, content })),
    fc
      .record({ kind: fc.constantFrom(4, 5, 6, 8), json: fc.json() })
      .map(({ kind, json }) => encodeFrame({ id: 1, kind, content: Buffer.from(json) })),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 5 }), async (messages) => {
      const [left, right] = pipe();
      signer.serve(right);
      const answers: Buffer[] = [];
      left.on('data', (chunk: Buffer) => answers.push(chunk));
      left.on('error', () => {});
      for (const bytes of messages) if (!left.destroyed) left.write(bytes);
      await new Promise((resolve) => setImmediate(resolve));
      const text = Buffer.concat(answers);
      for (let at = 0; at + 9 <= text.length; at += 4 + text.readUInt32BE(at)) expect(text[at + 8]).toBe(0);
      left.destroy();
    }),
    { numRuns: 200 },
  );
});

test('over a socket it serves its own user alone, one signer a socket, and a new sidecar finds it as it was', async () => {
  const path = join(dir, 'signer.sock');
  const run = (more: string[] = []): ChildProcess => {
    const args = [join(import.meta.dirname, 'main.ts'), '--key', file, '--socket', path, '--per-hour', '10', ...more];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    children.push(child);
    return child;
  };
  const file = newFile();
  // Left by one that was killed.
  const stale = net.createServer().listen(path);
  await new Promise((resolve) => stale.once('listening', resolve));
  stale.close();
  run();
  await eventually(() => existsSync(path), 'the socket');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  const config = { signer: { socket: path, expires: null, perHour: null, perDay: null } };
  const first = await holdKey(config);
  const signing = await first.signing(DOMAIN, AGENT);
  await first.sign(signing.half(half(5)));
  const second = run();
  expect(await new Promise((resolve) => second.on('exit', resolve))).toBe(1);
  first.close();
  const again = await holdKey(config);
  keys.push(again);
  const anew = await again.signing(DOMAIN, AGENT);
  expect(await code(again.sign(anew.half(half(5, { paid: 99 }))))).toBe('half_conflict');
  expect(await code(again.signing({ ...DOMAIN, chainId: 5 }, AGENT))).toBe('wrong_domain');
  const header = { actor: AGENT, nonce: 0, expiry: Math.floor(Date.now() / 1000) + 60 };
  expect(await code(signBundle(again, anew, header, [{ op: 'invoke', service: 256, amount: 11 }]))).toBe(
    'over_ceiling',
  );
  expect(await code(holdKey({ signer: { ...config.signer, socket: join(dir, 'nobody') } }))).toBe('signer_gone');
});

test('a bad key file is said as what it is', async () => {
  const open = newFile();
  chmodSync(open, 0o644);
  await expect(spawnSigner({ key: { file: open } })).rejects.toThrow(/chmod 600/);
  await expect(spawnSigner({ key: { file: join(dir, 'none') } })).rejects.toThrow(/can't read the machine key/);
  await expect(spawnSigner({ key: { secret: '0x12' } })).rejects.toThrow(/64 hex digits/);
});

test('a key past its end signs nothing, and its sidecar is not ready', async () => {
  const key = await spawned({ key: { file: newFile() }, expires: 1_600_000_000 });
  expect(key.expires).toBe(1_600_000_000);
  const signing = await key.signing(DOMAIN, AGENT);
  expect(await code(key.sign(signing.half(half(1))))).toBe('key_expired');
});

test('a key is rotated under way: the signer makes it, the owner signs it, sessions of the old one are closed by it', async () => {
  const pair = await Pair.start({ rotationMs: 20 });
  try {
    await pair.bob();
    const ownerSecret = new Uint8Array(32).fill(9);
    const agent = await pair.gateway.agent(10_000, 0, ownerAddress(ownerSecret));
    const keyFile = newFile(agent.secret);
    const stateDir = join(pair.dir, 'rotating');
    const config = { keyFile, stateDir, policy: { perDay: 1000 }, session: { deposit: 500, exitDelay: 600 } };
    const alices = await pair.sidecar('alice', agent, config, holdKey);
    const { ports } = alices;
    const RUN = { method: 'POST', url: 'http://bob.agnt2/run' };
    await ask(ports.admin, '/admin/sessions/bob/open', { method: 'POST' });
    expect((await viaProxy(ports.listen, RUN)).status).toBe(200);
    const authorization = `Bearer ${readFileSync(join(stateDir, 'admin-token'), 'utf8')}`;
    expect((await ask(ports.admin, '/admin/keys/next', { method: 'POST' })).problem?.code).toBe('not_operator');
    const next = async (): Promise<Uint8Array> => {
      const { body } = await ask(ports.admin, '/admin/keys/next', { method: 'POST', headers: { authorization } });
      const { x, y } = JSON.parse(body) as { x: string; y: string };
      return new Uint8Array(Buffer.from(x.slice(2) + y.slice(2), 'hex'));
    };
    const nextKey = await next();
    expect(await next()).toEqual(nextKey);
    const preimage = pair.gateway.signing.rotate({ agent: agent.id, epoch: 0, key: nextKey });
    const rotate = {
      op: 'rotate',
      agent: agent.id,
      key: nextKey,
      ownerSignature: signOwner(ownerSecret, preimage),
    } as const;
    const sender = await pair.gateway.agent(0);
    const header = { actor: sender.id, nonce: 0, expiry: Math.floor(Date.now() / 1000) + 60 };
    const frame = await signBundle(sender.key, pair.gateway.signing, header, [rotate]);
    const { status } = await fetch(`${pair.gateway.url}/bundles`, { method: 'POST', body: Buffer.from(frame) });
    expect(status).toBe(200);
    await eventually(() => pair.events.some(({ event }) => event === 'key_rotated'), 'the key in use');
    await eventually(
      async () => !(await ask(ports.admin, '/admin/sessions')).body.includes(formatId(256)),
      'old session closed',
    );
    expect(pair.gateway.balance(agent)).toBe(10_000 - 10);
    // The file holds the new key now, and the old one is nowhere.
    expect(existsSync(`${keyFile}.next`)).toBe(false);
    expect(equal((await openKeyFile(keyFile)).key.publicKey, nextKey)).toBe(true);
    expect((await viaProxy(ports.listen, RUN)).status).toBe(200);
    await alices.stop();
    const after = await pair.sidecar('alice', agent, config, holdKey);
    expect((await viaProxy(after.ports.listen, RUN)).status).toBe(200);
  } finally {
    await pair.stop();
  }
});
