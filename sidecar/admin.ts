/** The operator's port, loopback by default: health, metrics, and what may be done to a running sidecar. Never the app's. */
import http, { type Server, type ServerResponse } from 'node:http';
import { codeOf } from '../protocol/errors.ts';
import { parseId } from '../protocol/ids.ts';
import { refusal } from './errors.ts';
import { writeProblem } from './http/server.ts';
import type { Metrics } from './metrics.ts';

export interface AdminActions {
  /** Whether calls can be taken and made. */
  ready(): boolean;
  status(): Promise<Record<string, unknown>>;
  sessions(): unknown[];
  openSession(peer: string): Promise<void>;
  closeSession(session: number): Promise<void>;
}

const json = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

export function createAdminServer(actions: AdminActions, metrics: Metrics): Server {
  const answer = async (method: string, path: string, response: ServerResponse): Promise<void> => {
    if (method === 'GET' || method === 'HEAD') {
      switch (path) {
        case '/healthz':
          return json(response, 200, { ok: true });
        case '/readyz':
          return json(response, actions.ready() ? 200 : 503, { ready: actions.ready() });
        case '/metrics':
          response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(metrics.text());
          return;
        case '/admin/status':
          return json(response, 200, await actions.status());
        case '/admin/sessions':
          return json(response, 200, { sessions: actions.sessions() });
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
    throw refusal('not_found', 'no such page');
  };
  return http.createServer((request, response) => {
    // A page in somebody's browser must not be able to close sessions: browsers mark what they send across origins.
    if (request.headers.origin !== undefined)
      return writeProblem(response, refusal('connect_denied', 'not for browsers'));
    answer(request.method ?? 'GET', (request.url ?? '/').split('?')[0], response).catch((error: unknown) => {
      if (codeOf(error) === 'internal') console.error(error);
      writeProblem(response, error);
    });
  });
}
