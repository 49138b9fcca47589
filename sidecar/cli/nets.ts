/** Private networks of this machine: which are in use, and one that is not. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { Failure } from './command.ts';

/** Where ours are looked for: 10.84.0.0/16, in pieces of 256 addresses. */
const PREFIX = '10.84';
const PIECES = 256;
const BITS = 24;

/** The first `bits` of an IPv4 address, as a number. */
const first = (address: string, bits: number): number =>
  Math.floor(address.split('.').reduce((all, byte) => all * 256 + Number(byte), 0) / 2 ** (32 - bits));

/** Whether two networks, `a.b.c.d/n`, have an address in common. Those of IPv6 have none with any here. */
export function overlap(one: string, other: string): boolean {
  const [[a, m], [b, n]] = [one.split('/'), other.split('/')];
  if (a.includes(':') || b.includes(':')) return false;
  const bits = Math.min(Number(m), Number(n));
  return first(a, bits) === first(b, bits);
}

/** The first three bytes of a network of 256 addresses that none of `used` has; for one name the same, while it can. Throws `no_net`. */
export function freeNet(name: string, used: readonly string[]): string {
  const start = createHash('sha256').update(name).digest()[0];
  for (let i = 0; i < PIECES; i++) {
    const net = `${PREFIX}.${(start + i) % PIECES}`;
    if (!used.some((other) => overlap(`${net}.0/${BITS}`, other))) return net;
  }
  throw new Failure(
    'no_net',
    `all of ${PREFIX}.0.0/16 is in use here`,
    'put AGNT2_NET into .env: three bytes of a private network',
  );
}

/** Networks of Docker's and of this machine's own interfaces, `a.b.c.d/n`. */
export async function usedNets(): Promise<string[]> {
  const own = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).flatMap(({ cidr }) => cidr ?? []));
  const docker = async (...args: string[]): Promise<string[]> =>
    (await promisify(execFile)('docker', ['network', ...args])).stdout.split(/\s+/).filter((word) => word !== '');
  try {
    const ids = await docker('ls', '--quiet');
    return [...own, ...(await docker('inspect', '--format', '{{range .IPAM.Config}}{{.Subnet}} {{end}}', ...ids))];
  } catch {
    // One may be gone by the time it is asked for. What collides is refused by the engine, and changes nothing.
    return own;
  }
}
