/** The host of a request as one reader only can read it, and the patterns of the config that allow or deny it. */
import { isIPv4, isIPv6 } from 'node:net';

export interface HostPort {
  /** A name in lower case, a dotted IPv4 address, or an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
}

const NAME = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;
/** What some resolvers take for an IPv4 address: decimal, octal, hexadecimal, in one to four parts. */
const NUMERIC = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;

/** Reads `host[:port]`; null for anything that two readers could read differently: users, odd numbers, zones, trailing dots. */
export function readHostPort(authority: string, defaultPort: number): HostPort | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(authority);
  if (!match) return null;
  const [, v6, other, digits] = match;
  const port = digits === undefined ? defaultPort : Number(digits);
  if (port < 1 || port > 65535 || (digits ?? '').startsWith('0')) return null;
  if (v6 !== undefined) return isIPv6(v6) ? { host: canonical(v6), port } : null;
  const host = other.toLowerCase();
  if (isIPv4(host)) return { host, port };
  return NAME.test(host) && !NUMERIC.test(host) ? { host, port } : null;
}

/** One spelling of an IPv6 address. */
const canonical = (address: string): string => new URL(`http://[${address}]`).hostname.slice(1, -1);

/** A pattern of the config: a host or `*.` and a domain, with a port or for the scheme's own. */
export interface Pattern {
  readonly host: string;
  /** Stands for what is under the domain, not for the domain. */
  readonly isWild: boolean;
  readonly port: number | null;
}

/** Reads `api.x.com`, `*.y.com`, `api.x.com:8443`, `203.0.114.7`; null for anything else. */
export function readPattern(text: string): Pattern | null {
  const isWild = text.startsWith('*.');
  const bare = isWild ? text.slice(2) : text;
  const read = readHostPort(bare, 1);
  if (read === null || (isWild && (isIPv4(read.host) || isIPv6(read.host)))) return null;
  return { host: read.host, isWild, port: /:\d+$/.test(bare.replace(/^\[.*\]/, '')) ? read.port : null };
}

export const matches = ({ host, isWild, port }: Pattern, target: HostPort, defaultPort: number): boolean =>
  (isWild ? target.host.endsWith(`.${host}`) : target.host === host) && target.port === (port ?? defaultPort);
