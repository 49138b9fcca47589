/** The operator's port, loopback by default: health, metrics, and what may be done to a running sidecar. Never the app's. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { http } from './http/node.ts';
import { hex } from '../protocol/bytes.ts';
import { codeOf } from '../protocol/errors.ts';
import { parseId } from '../protocol/ids.ts';
import { refusal } from './errors.ts';
import { writeProblem } from './http/problem.ts';
import type { Metrics } from './metrics.ts';
import type { Policy } from './policy/policy.ts';

export interface AdminActions {
  /** What the `Authorization: Bearer` of a decision about money must say. */
  readonly token: string;
  readonly policy: Pick<Policy, 'approvals' | 'grant' | 'deny' | 'priceRises' | 'acceptPrices'>;
  /** Why calls can't be taken and made; null when they can. */
  unready(): string | null;
  /** The machine key to rotate to, x ‖ y. */
  nextKey(): Promise<Uint8Array>;
  status(): Promise<Record<string, unknown>>;
  sessions(): unknown[];
  halves(): unknown[];
  openSession(peer: string): Promise<void>;
  closeSession(session: number): Promise<void>;
}

/** The token in `file`, made when missing and readable by the sidecar's user alone. */
export function adminToken(file: string): string {
  try {
    const token = readFileSync(file, 'utf8').trim();
    // A crash may have left a file with nothing in it, and nothing is what everybody knows.
    if (/^\S{32,}$/.test(token)) return token;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  const fresh = randomBytes(24).toString('hex');
  rmSync(file, { force: true });
  writeFileSync(file, fresh, { mode: 0o600, flag: 'wx' });
  return fresh;
}

/** Where the app can reach this port (one host, one network), only who reads the state directory decides about its money. */
function checkToken(request: IncomingMessage, token: string): void {
  const given = Buffer.from(/^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '');
  const wanted = Buffer.from(token);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted))
    throw refusal('not_operator', 'this needs Authorization: Bearer with the admin-token of the state directory');
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

export function createAdminServer(actions: AdminActions, metrics: Metrics): Server {
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = 'GET' } = request;
    const path = (request.url ?? '/').split('?')[0];
    if (method === 'GET' || method === 'HEAD') {
      switch (path) {
        case '/healthz':
          return json(response, 200, { ok: true });
        case '/readyz': {
          const reason = actions.unready();
          return json(response, reason === null ? 200 : 503, {
            ready: reason === null,
            ...(reason !== null && { reason }),
          });
        }
        case '/metrics':
          response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metrics.text());
          return;
        case '/admin/status':
          return json(response, 200, await actions.status());
        case '/admin/sessions':
          return json(response, 200, { sessions: actions.sessions() });
        case '/admin/halves':
          return json(response, 200, actions.halves());
        case '/admin/approvals':
          return json(response, 200, { approvals: actions.policy.approvals() });
        case '/admin/prices':
          return json(response, 200, { rises: actions.policy.priceRises() });
      }
    }
    const close = /^\/admin\/sessions\/([\d:]+)\/close$/.exec(path);
    if (method === 'POST' && close) {
      await actions.closeSession(parseId(close[1]));
      return json(response, 200, { ok: true });
    }
    const open = /^\/admin\/sessions\/([a-z\d:-]+)\/open$/.exec(path);
    if (method === 'POST' && open) {
      await actions.openSession(open[1]);
      return json(response, 200, { ok: true });
    }
    const approval = /^\/admin\/approvals\/([0-9a-f]+)\/(grant|deny)$/.exec(path);
    if (method === 'POST' && approval) {
      checkToken(request, actions.token);
      actions.policy[approval[2] as 'grant' | 'deny'](approval[1]);
      return json(response, 200, { ok: true });
    }
    const prices = /^\/admin\/prices\/([\d:]+)\/accept$/.exec(path);
    if (method === 'POST' && prices) {
      checkToken(request, actions.token);
      actions.policy.acceptPrices(parseId(prices[1]));
      return json(response, 200, { ok: true });
    }
    if (method === 'POST' && path === '/admin/keys/next') {
      checkToken(request, actions.token);
      const key = await actions.nextKey();
      return json(response, 200, { x: hex(key.subarray(0, 32)), y: hex(key.subarray(32)) });
    }
    throw refusal('not_found', 'no such page');
  };
  return http.createServer((request, response) => {
    // A page in somebody's browser must not be able to close sessions: browsers mark what they send across origins.
    if (request.headers.origin !== undefined)
      return writeProblem(response, refusal('connect_denied', 'not for browsers'));
    answer(request, response).catch((error: unknown) => {
      if (codeOf(error) === 'internal') console.error(error);
      writeProblem(response, error);
    });
  });
}
