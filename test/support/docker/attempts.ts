/** What an app tries against its own sidecar, and what has to come of it. Each line is one attempt from inside the app's container. */

/** An attempt as `client.py` takes it. */
export type Attempt = { readonly kind: string } & Readonly<Record<string, unknown>>;

export interface Result {
  readonly status?: number;
  readonly code?: string | null;
  readonly body?: string;
  readonly reached?: boolean;
  readonly error?: string;
  readonly addresses?: readonly string[];
}

export interface Refusal {
  readonly name: string;
  readonly attempt: Attempt;
  readonly status: number;
  readonly code: string;
}

const PROXY = 'agnt2:8402';

/** A request of Python's own client, through HTTP_PROXY. */
export const get = (url: string, headers: Readonly<Record<string, string>> = {}): Attempt => ({
  kind: 'http',
  url,
  headers,
});

/** Bytes to the sidecar's port as they are. */
const raw = (
  target: string,
  fields: readonly string[] = [],
  body = '',
  method = 'GET',
  host = 'web.agnt2',
): Attempt => ({
  kind: 'raw',
  data: [`${method} ${target} HTTP/1.1`, `host: ${host}`, ...fields, '', body].join('\r\n'),
});
/** A call of a peer by its id, to the sidecar itself. */
export const getOf = (agent: string, path: string): Attempt => raw(`/agents/${agent}${path}`);
const denied = (name: string, url: string): Refusal => ({
  name,
  attempt: get(url),
  status: 403,
  code: 'egress_denied',
});
export const tunnelTo = (to: string): Attempt => raw(to, [], '', 'CONNECT', to);
/** A handshake for a WebSocket, as a proxy is asked for it. */
export const webSocketTo = (host: string): Attempt => {
  const fields = ['connection: upgrade', 'upgrade: websocket', 'sec-websocket-version: 13'];
  return raw(`http://${host}/`, [...fields, 'sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=='], '', 'GET', host);
};
const tunnel = (name: string, to: string): Refusal => ({
  name,
  attempt: tunnelTo(to),
  status: 403,
  code: 'egress_denied',
});
const trick = (name: string, target: string): Refusal => ({
  name,
  attempt: raw(target),
  status: 400,
  code: 'bad_target',
});
const smuggled = (name: string, attempt: Attempt): Refusal => ({ name, attempt, status: 400, code: 'bad_request' });

/** Refused before anything is paid, whatever the caps are. `gateway` and `l1` are URLs that a sidecar can reach and its app must not. */
export const refusals = (gateway: string, l1: string): readonly Refusal[] => [
  { name: 'a name nobody holds', attempt: get('http://nobody.agnt2/'), status: 404, code: 'unknown_name' },
  { name: 'an id nobody has', attempt: get(`http://${PROXY}/agents/0:4000/`), status: 403, code: 'egress_denied' },
  { name: 'the same, asked directly', attempt: raw('/agents/0:4000/'), status: 404, code: 'unknown_service' },
  { name: 'itself', attempt: get('http://guest.agnt2/'), status: 502, code: 'self_dealing' },
  denied('the machine that clouds tell secrets at', 'http://169.254.169.254/latest/meta-data/'),
  denied('the same as one number', 'http://2852039166/'),
  denied('the same inside IPv6', 'http://[::ffff:169.254.169.254]/'),
  denied('loopback of the sidecar, its admin port', 'http://127.1:8403/admin/sessions'),
  denied('the same by IPv6', 'http://[::1]:8403/metrics'),
  denied('the same by its name', 'http://agnt2:8403/admin/status'),
  denied('the sidecar through itself', `http://${PROXY}/agents/web/`),
  denied('the gateway', `${gateway}/status`),
  denied('L1', l1),
  denied('a name with a user before it', 'http://web.agnt2:80@10.0.0.1/'),
  denied('a name that only ends like ours', 'http://web.agnt2.example.com/'),
  denied('a name with a port', 'http://web.agnt2:8403/'),
  { name: 'a path of the admin port', attempt: raw('/admin/status'), status: 404, code: 'not_found' },
  tunnel('a tunnel', 'example.com:443'),
  tunnel('a tunnel to where clouds tell secrets', '169.254.169.254:80'),
  tunnel("a tunnel to the sidecar's admin port", '127.0.0.1:8403'),
  tunnel('a tunnel to the gateway', new URL(gateway).host),
  tunnel('a tunnel to L1', new URL(l1).host),
  tunnel('a tunnel to a peer, at a port that is not its', 'web.agnt2:8403'),
  {
    name: 'a tunnel inside a tunnel',
    attempt: { ...tunnelTo('169.254.169.254:80'), tunnel: 'web.agnt2:80' },
    status: 403,
    code: 'connect_denied',
  },
  trick('a dot segment', 'http://web.agnt2/free/../dear'),
  trick('an escaped dot segment', 'http://web.agnt2/%2e%2e/dear'),
  trick('an escaped slash', 'http://web.agnt2/free%2f..%2fdear'),
  trick('an empty segment', 'http://web.agnt2//dear'),
  trick('a backslash', 'http://web.agnt2/free\\..\\dear'),
  trick('an overlong dot', 'http://web.agnt2/%c0%ae%c0%ae/dear'),
  trick('a broken escape', 'http://web.agnt2/%zz'),
  trick("the sidecars' own paths", 'http://web.agnt2/.agnt2/close'),
  smuggled('another Host than the target', raw('http://web.agnt2/', [], '', 'GET', 'other.agnt2')),
  smuggled('two Hosts', raw('http://web.agnt2/', ['host: web.agnt2'])),
  smuggled(
    'a length and chunks',
    raw('http://web.agnt2/', ['content-length: 4', 'transfer-encoding: chunked'], '0\r\n\r\n', 'POST'),
  ),
  smuggled('two lengths', raw('http://web.agnt2/', ['content-length: 1', 'content-length: 2'], 'ab', 'POST')),
  smuggled('a folded field', raw('http://web.agnt2/', ['x: a', ' b'])),
];

/** Words that only AGNT2 may say: from an app they end at its sidecar. */
export const SPOOFED: Readonly<Record<string, string>> = {
  'agnt2-caller': '0:1',
  'agnt2-route': 'session',
  'agnt2-price': '0',
  'agnt2-budget': '999999999',
  'agnt2-escrow': '0:1',
  'payment-signature': 'x',
  'x-payment': 'x',
  signature: 'x',
  'x-forwarded-for': '127.0.0.1',
};

/** Where an app must not come to without its sidecar. */
export const outside = (gateway: URL, l1: URL, udpPort: number): readonly Attempt[] => [
  { kind: 'tcp', host: gateway.hostname, port: Number(gateway.port) },
  { kind: 'tcp', host: l1.hostname, port: Number(l1.port) },
  { kind: 'udp', host: gateway.hostname, port: udpPort },
  { kind: 'icmp', host: gateway.hostname },
];

/** The same, where nobody of ours listens: an error, or it is refused. */
export const UNREACHABLE: readonly Attempt[] = [
  { kind: 'tcp', host: '169.254.169.254', port: 80 },
  { kind: 'tcp', host: '1.1.1.1', port: 443 },
  { kind: 'tcp', host: '2606:4700:4700::1111', port: 443 },
  { kind: 'udp', host: '2606:4700:4700::1111', port: 53 },
  { kind: 'udp', host: 'ff02::1', port: 5353 },
  { kind: 'tcp', host: 'host.docker.internal', port: 80 },
  { kind: 'tcp', host: 'agnt2', port: 8403 },
  { kind: 'resolve', name: 'deb.debian.org' },
  { kind: 'resolve', name: 'c2VjcmV0.example.com' },
  { kind: 'bare' },
  { kind: 'read', path: '/run/secrets/machine_key' },
  { kind: 'read', path: '/var/lib/agnt2/sidecar.sqlite' },
  { kind: 'read', path: '/run/agnt2/guest.json' },
  { kind: 'read', path: '/var/run/docker.sock' },
];
