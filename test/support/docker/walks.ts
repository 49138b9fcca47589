/** What an app without a word of a proxy tries, from inside its container, under the compose file for such apps; and what has to come of it. */
import { type Attempt, type Result, SPOOFED, UNREACHABLE, get } from './attempts.ts';
import { INNER, NAMED, NOBODY, SITE } from './internet.ts';

/** What its operator allows it outside; not all of it is public. */
export const WALKS = { egress: { allow: [NAMED, SITE, INNER, NOBODY, '169.254.169.254'] } };

/** An attempt, and what comes of it; of an `error` a part of its text. */
export interface Walk extends Pick<Result, 'status' | 'body' | 'addresses' | 'error'> {
  readonly what: string;
  readonly attempt: Attempt;
  readonly code?: string;
}

/** A request by hand, to the sidecar by a name of no meaning. */
const raw = (data: string, port = 80): Attempt => ({ kind: 'raw', host: 'any.name.at.all', port, data });
const to = (host: string, port?: number): Attempt => raw(`GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`, port);
const tls = (host: string, name?: string): Attempt => ({ kind: 'tls', host, name });
const DENIED = { status: 403, code: 'egress_denied' };
const BAD = { status: 400, code: 'bad_request' };
const ALERT = { error: 'ACCESS_DENIED' };
/** Bytes in hex at the port of TLS, and the alert `decode_error` (RFC 8446 §6.2). */
const garbled = (data: string) => ({
  attempt: { kind: 'alert', host: NAMED, data } as Attempt,
  body: '15030300020232',
});
const question = (server: string, type: number): Attempt => ({
  kind: 'query',
  server,
  name: 'c2VjcmV0.example.com',
  type,
});

/** What it asks its sidecar for, which is at `address`. */
export const walks = (address: string): readonly Walk[] => [
  { what: 'a peer', attempt: get('http://web.agnt2/'), status: 200 },
  { what: 'a peer by its Host alone', attempt: get('http://any.name.at.all/', { host: 'web.agnt2' }), status: 200 },
  { what: 'a peer, with claims', attempt: get('http://web.agnt2/', SPOOFED), status: 200 },
  { what: 'a host that is allowed', attempt: get(`http://${NAMED}/`), status: 200, body: 'xxxxxxxxxx' },
  { what: 'the same by TLS', attempt: tls(NAMED, NAMED), body: 'over TLS' },
  { what: 'TLS under the name of another', attempt: tls('example.com', NAMED), body: 'over TLS' },
  { what: 'any name', attempt: { kind: 'resolve', name: 'c2VjcmV0.example.com' }, addresses: [address] },

  { what: 'a dearer page', attempt: get('http://web.agnt2/dear'), status: 402, code: 'over_call_cap' },
  { what: 'a name nobody holds', attempt: get('http://nobody.agnt2/'), status: 404, code: 'unknown_name' },
  { what: 'a host that is not allowed', attempt: get('http://example.com/'), ...DENIED },
  { what: 'the same under an allowed name', attempt: to('example.com'), ...DENIED },
  { what: 'an allowed name that leads inside', attempt: get(`http://${INNER}/`), ...DENIED },
  { what: 'an allowed address that is not public', attempt: to('169.254.169.254'), ...DENIED },
  { what: "the sidecar's own name", attempt: get('http://agnt2/agents/web/'), ...DENIED },
  { what: "the sidecar's admin port", attempt: to('127.0.0.1:8403'), ...BAD },
  { what: 'a host twice', attempt: to('web.agnt2\r\nhost: example.com'), ...BAD },
  { what: 'plain HTTP at the port of TLS', attempt: to(`${NAMED}:443`, 443), ...DENIED },
  {
    what: 'a tunnel',
    attempt: raw(`CONNECT ${NAMED}:443 HTTP/1.1\r\nhost: ${NAMED}\r\n\r\n`),
    status: 403,
    code: 'connect_denied',
  },
  { what: 'what is no HTTP', attempt: raw('SSH-2.0-OpenSSH_9.2\r\n\r\n'), ...BAD },
  { what: 'TLS to a host that is not allowed', attempt: tls(NAMED, 'example.com'), ...ALERT },
  { what: 'TLS to a peer', attempt: tls('web.agnt2', 'web.agnt2'), ...ALERT },
  { what: 'TLS to nobody by name', attempt: tls(NAMED), ...ALERT },
  { what: 'a handshake that is no ClientHello', ...garbled('16030100040200002a') },
  { what: 'a record of another version', ...garbled('16020000040100002a') },
  { what: 'a ClientHello of one byte too many', ...garbled('160301000401003ffd') },
  { what: 'extensions past the end', ...garbled(`160301002f0100002b0303${'00'.repeat(32)}000002c02f01000005`) },
  {
    what: 'a client that breaks off while its tunnel is opened',
    attempt: { kind: 'leave', host: NAMED, address: NOBODY },
    body: 'reset',
  },
  { what: 'the next one', attempt: tls(NAMED, NAMED), body: 'over TLS' },
  { what: 'text in a question', attempt: question('127.0.0.11', 16), code: '0', body: '0' },
];

/** Where it has no way, its sidecar included. `machine` is an address of the machine. */
export const nowhere = (machine: string): readonly Attempt[] => [
  ...UNREACHABLE.filter(({ kind, host }) => kind !== 'resolve' && host !== 'host.docker.internal'),
  ...[22, 81, 8080, 8403].map((port) => ({ kind: 'tcp', host: 'web.agnt2', port })),
  { kind: 'tls', host: SITE, name: NAMED },
  question('8.8.8.8', 1),
  question(machine, 1),
];
