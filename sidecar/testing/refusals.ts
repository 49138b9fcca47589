/**
 * Every limit of a policy, as calls of an app that tries to pass it: data, so that the same table runs in one process
 * and from inside a container. The peer is named `bob` and offers {@link WORK} with an app that answers 500 to `/fail`.
 */

export interface AppCall {
  readonly method: string;
  /** As the app asks its proxy for it: absolute form. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Refusal {
  /** The setting that is tried. */
  readonly limit: string;
  /** The caller's config beside its gateway, agent and key. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Made first, one after the other; what they come to does not matter. */
  readonly before: readonly AppCall[];
  /** Each of these is refused. */
  readonly refused: readonly AppCall[];
  readonly status: number;
  readonly code: string;
  /** What the refusal's text says, so that its reader knows which line of the config to look at. */
  readonly says: string;
}

export const WORK = {
  name: 'work',
  routes: [
    { method: 'POST', path: '/run', price: 10 },
    { method: 'POST', path: '/fail', price: 1 },
    { method: 'GET', path: '/cheap/*', price: 1 },
  ],
  free: ['/free'],
};

const RUN: AppCall = { method: 'POST', url: 'http://bob.agnt2/run' };
const CHEAP: AppCall = { method: 'GET', url: 'http://bob.agnt2/cheap/x' };
const FAIL: AppCall = { method: 'POST', url: 'http://bob.agnt2/fail' };
const FREE: AppCall = { method: 'GET', url: 'http://bob.agnt2/free' };

/** What an app may try to say about its own limits: none of it is heard. */
const SLY: readonly AppCall[] = [
  { ...RUN, headers: { 'agnt2-budget': '1000000' } },
  { ...RUN, headers: { 'agnt2-max-price': '1000000', 'x-agnt2-approval': 'granted' } },
  { ...RUN, headers: { 'agnt2-caller': '0:1', authorization: 'Bearer admin' } },
  { ...RUN, headers: { 'x-forwarded-for': '127.0.0.1', forwarded: 'for=127.0.0.1' } },
  { ...RUN, url: `${RUN.url}?price=0&budget=1000000` },
  { ...RUN, url: 'http://BOB.AGNT2/run' },
];

const policy = (settings: Record<string, unknown>): { policy: Record<string, unknown> } => ({
  policy: { perDay: 1000, ...settings },
});

export const POLICY_REFUSALS: readonly Refusal[] = [
  { limit: 'policy (none)', config: {}, code: 'over_day_cap', says: 'policy.perDay = 0', before: [] },
  { limit: 'policy.perCall', config: policy({ perCall: 9 }), code: 'over_call_cap', says: 'policy.perCall = 9' },
  { limit: 'policy.perHour', config: policy({ perHour: 25 }), code: 'over_hour_cap', says: 'policy.perHour = 25' },
  {
    limit: 'policy.perDay',
    config: { policy: { perDay: 25, perHour: 100, perPeer: 100 } },
    code: 'over_day_cap',
    says: 'policy.perDay = 25',
  },
  { limit: 'policy.perPeer', config: policy({ perPeer: 25 }), code: 'over_peer_cap', says: 'policy.perPeer = 25' },
  {
    limit: 'policy.perService',
    config: policy({ perService: 25 }),
    code: 'over_service_cap',
    says: 'policy.perService = 25',
  },
  {
    limit: 'policy.newPeer',
    config: policy({ newPeer: { seconds: 3600, cap: 25 } }),
    code: 'over_new_peer_cap',
    says: 'policy.newPeer.cap = 25',
  },
  {
    limit: 'policy.breaker',
    config: policy({ breaker: { failures: 2, openSeconds: 600 } }),
    before: [FAIL, FAIL],
    refused: [CHEAP, FREE],
    status: 503,
    code: 'circuit_open',
    says: 'policy.breaker',
  },
  {
    limit: 'policy.approveAbove',
    config: policy({ approveAbove: 9 }),
    before: [CHEAP],
    status: 403,
    code: 'approval_needed',
    says: 'policy.approveAbove = 9',
  },
].map((refusal) => ({ before: [RUN, RUN], refused: [RUN, ...SLY], status: 402, ...refusal }));

/** What of the outside the lists of {@link EGRESS_REFUSALS} allow. */
export const EGRESS = {
  allow: ['api.example.com', '*.example.org', 'api.example.net:8443'],
  deny: ['bad.example.org'],
};

/** Hosts that an app under {@link EGRESS} asks its proxy for, plainly and by CONNECT, and none of which it gets to. */
export const EGRESS_REFUSALS: readonly string[] = [
  'example.com',
  'example.org',
  'bad.example.org',
  'x.bad.example.com',
  'api.example.com.evil.example',
  'evil-api.example.com',
  'api.example.com:22',
  'api.example.com:0',
  'api.example.com:65536',
  'api.example.com:080',
  'api.example.com:',
  'api.example.net',
  'api.example.com.',
  'api.example.com@127.0.0.1',
  'user:pass@api.example.com',
  '127.0.0.1',
  'localhost',
  '2130706433',
  '0x7f000001',
  '0177.0.0.1',
  '127.1',
  '0',
  '169.254.169.254',
  '10.0.0.1',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[fe80::1]',
  '[fd00::1]',
  '[64:ff9b::7f00:1]',
  '[::]',
  'metadata.google.internal',
];
