/**
 * The limits of a sidecar's config that `attempts.ts` does not come to, each tried by the app inside its container: what its operator writes into
 * the file, what the app then asks for, and what has to come of it. In the order of a day: what was spent before counts.
 */
import { type Attempt, SPOOFED, get, getOf, tunnelTo, webSocketTo } from './attempts.ts';
import { INNER, SILENT_PORT, SITE } from './internet.ts';

/** An attempt of the app, and what comes of it. */
export interface Tried {
  /** The limit; or what shows that it is the limit, and nothing else, that the next one runs into. */
  readonly what: string;
  readonly attempt: Attempt;
  readonly status?: number;
  readonly code?: string;
  /** What the refusal's text names. */
  readonly says?: string;
  /** Whether the answer breaks off. */
  readonly error?: true;
}

/** Where nobody listens at the site. */
const DEAD_PORT = 82;
const PAGE = 'http://web.agnt2/';
const DEAR = 'http://web.agnt2/dear';
const PAPER = 'http://papers.agnt2/paper.txt';
const fails: Attempt = { kind: 'http', url: PAPER, method: 'POST', body: '' };

export interface Round {
  /** What the operator sets, of the whole config. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly tried: readonly Tried[];
}

/** What waits for a person, what fails, what is outside. The config allows the gateway and what is not public too: they are refused all the same. */
export const mixed = (gateway: URL): Round => ({
  config: {
    policy: {
      perDay: '1000',
      approveAbove: '10',
      breaker: { failures: 2, openSeconds: 600 },
    },
    egress: {
      allow: [
        SITE,
        `${SITE}:${SILENT_PORT}`,
        `${SITE}:${DEAD_PORT}`,
        '44.128.0.66',
        INNER,
        gateway.host,
        '169.254.169.254',
        'agnt2:8403',
      ],
      deny: ['44.128.0.66'],
      maxBytes: '2000',
      maxSeconds: 1,
    },
  },
  tried: [
    { what: 'a call that needs nobody', attempt: get(PAGE), status: 200 },
    ...[{}, { ...SPOOFED, 'agnt2-approval': 'granted' }].map((headers) => ({
      what: 'policy.approveAbove',
      attempt: get(DEAR, headers),
      status: 403,
      code: 'approval_needed',
      says: 'policy.approveAbove = 10',
    })),
    { what: "an app's own most", attempt: get(PAGE, { 'agnt2-max-price': '1' }), status: 402, code: 'over_price' },
    { what: 'the first failure', attempt: fails, status: 501 },
    { what: 'the second', attempt: fails, status: 501 },
    {
      what: 'policy.breaker',
      attempt: get(PAPER),
      status: 503,
      code: 'circuit_open',
      says: 'policy.breaker',
    },
    { what: 'a host that is allowed', attempt: get(`http://${SITE}/`), status: 200 },
    ...[
      ['egress.deny', 'http://44.128.0.66/', 'egress.deny'],
      ['another port of it', `http://${SITE}:8080/`, 'egress.allow'],
      ['a redirect', `http://${SITE}/away`, 'not public'],
      ['an allowed name that leads inside', `http://${INNER}/`, 'not public'],
      ['an allowed address that is not public', 'http://169.254.169.254/', 'not public'],
      ['the gateway, allowed', `${gateway.origin}/status`, 'by the sidecar alone'],
      ["its own sidecar's admin port, allowed", 'http://agnt2:8403/admin/status', 'not public'],
    ].map(([what, url, says]) => ({ what, attempt: get(url), status: 403, code: 'egress_denied', says })),
    { what: 'egress.maxBytes', attempt: get(`http://${SITE}/large`), error: true },
    {
      what: 'egress.maxBytes of an upload',
      attempt: { kind: 'http', url: `http://${SITE}/`, method: 'POST', body: 'x'.repeat(2001) },
      status: 502,
      code: 'egress_too_large',
      says: 'egress.maxBytes = 2000',
    },
    {
      what: 'an upload that is not',
      attempt: { kind: 'http', url: `http://${SITE}/`, method: 'POST', body: 'x' },
      status: 200,
    },
    { what: 'a host that answers no HTTP', attempt: get(`http://${SITE}/garbled`), status: 502, code: 'egress_failed' },
    {
      what: 'egress.maxSeconds',
      attempt: get(`http://${SITE}:${SILENT_PORT}/`),
      status: 504,
      code: 'timeout',
      says: 'egress.maxSeconds = 1',
    },
    { what: 'a tunnel to a port of plain HTTP', attempt: tunnelTo(`${SITE}:80`), status: 403, code: 'egress_denied' },
    { what: 'nobody there', attempt: tunnelTo(`${SITE}:${DEAD_PORT}`), status: 502, code: 'egress_unreachable' },
    { what: 'a WebSocket outside', attempt: webSocketTo(SITE), status: 501, code: 'upgrade_unsupported' },
  ],
});

/** Nothing may be spent, and a place outside may be tunnelled to: as often as there are tunnels. */
export const UNPOLICED: Round = {
  config: {
    policy: undefined,
    egress: { allow: [`${SITE}:${SILENT_PORT}`], maxSeconds: 60 },
  },
  tried: [
    ...[{}, SPOOFED].map((headers) => ({
      what: 'no policy',
      attempt: get(PAGE, headers),
      status: 402,
      code: 'over_day_cap',
      says: 'policy.perDay = 0',
    })),
    {
      what: 'one tunnel beside 256',
      attempt: { kind: 'tunnels', to: `${SITE}:${SILENT_PORT}`, count: 256 },
      status: 429,
      code: 'busy',
      says: '256 tunnels',
    },
  ],
};

/** What was paid before counts: 25 units to the pages' service, at most 22 to the papers'. */
export const SPENT: Round = {
  config: {
    policy: { perDay: '1000000', perService: '28', newPeer: { seconds: 3600, cap: '30' }, priceRise: 10 },
    session: { auto: false },
  },
  tried: [
    { what: 'a page that its service has room for', attempt: get(PAGE), status: 200 },
    ...[{}, SPOOFED].map((headers) => ({
      what: 'policy.perService',
      attempt: get(PAGE, headers),
      status: 402,
      code: 'over_service_cap',
      says: 'policy.perService = 28',
    })),
    { what: 'another service', attempt: get(PAPER), status: 200 },
    ...[
      ['a peer first paid minutes ago', DEAR],
      ['a peer never paid', 'http://tools.agnt2/'],
    ].map(([what, url]) => ({
      what: `policy.newPeer, of ${what}`,
      attempt: get(url, SPOOFED),
      status: 402,
      code: 'over_new_peer_cap',
      says: 'policy.newPeer.cap = 30',
    })),
    {
      what: 'a WebSocket without a session',
      attempt: webSocketTo('notes.agnt2'),
      status: 409,
      code: 'session_required',
      says: 'session.deposit',
    },
  ],
};

/** Labels of the papers' app by which a paper costs ten times as much. */
export const DEARER: Readonly<Record<string, string>> = { 'agnt2.price': 'GET /*=40; *=90' };

/** And what comes of calling it, asked for anew by its id or as it is remembered by its name. `papers` is that id. */
export const risen = (papers: string): readonly Tried[] =>
  [getOf(papers, '/paper.txt'), get(PAPER), get(PAPER, SPOOFED)].map((attempt) => ({
    what: 'policy.priceRise',
    attempt,
    status: 403,
    code: 'price_rise',
    says: 'policy.priceRise = 10',
  }));

/** A policy beyond what there is, and what the process with the key says to it. */
export const BOUNDLESS: Round = {
  config: { policy: { perDay: '1000000' }, signer: { perDay: '250000' } },
  tried: [
    {
      what: 'signer.perDay',
      attempt: get('http://tools.agnt2/dearest'),
      status: 402,
      code: 'over_ceiling',
      says: "the signer's ceiling is 250000",
    },
    { what: "the agent's own balance", attempt: get('http://tools.agnt2/'), status: 402, code: 'insufficient_balance' },
    { what: 'a page', attempt: get(PAGE), status: 200 },
  ],
};
