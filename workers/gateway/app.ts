/** The gateway: routes, verifies, never decides. */
import { Hono } from 'hono';
import { agentRoutes } from './agents.ts';
import { batchRoutes } from './batches.ts';
import { bundleRoutes } from './bundles.ts';
import { directoryRoutes } from './directory.ts';
import { callRoutes } from './calls.ts';
import { disputeRoutes } from './disputes.ts';
import type { Env } from './env.ts';
import { graphRoutes } from './graph.ts';
import { openApi } from './openapi.ts';
import { Problem, problem, problemResponse } from './problem.ts';
import { proofRoutes } from './proofs.ts';
import { recordRoutes } from './records.ts';
import { type Route, honoPath } from './route.ts';
import { sessionRoutes } from './sessions.ts';
import { socketRoutes } from './sockets.ts';
import { stateRoutes } from './state.ts';
import { statusRoutes } from './status.ts';
import { traceRoutes } from './trace.ts';

const resources: readonly Route[] = [
  ...statusRoutes,
  ...bundleRoutes,
  ...agentRoutes,
  ...directoryRoutes,
  ...sessionRoutes,
  ...socketRoutes,
  ...callRoutes,
  ...stateRoutes,
  ...recordRoutes,
  ...proofRoutes,
  ...traceRoutes,
  ...graphRoutes,
  ...batchRoutes,
  ...disputeRoutes,
];

/** Every route there is. */
export const routes: readonly Route[] = [
  ...resources,
  {
    method: 'get',
    path: '/openapi.json',
    summary: 'This API, for programs.',
    answer: { description: 'an OpenAPI 3.1 document' },
    handle: (c) => c.json(openApi(routes)),
  },
];

/** What reads may be asked for from a page of another origin; writes are signed and come from programs. */
const CORS = { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'retry-after' };

export function createGateway(): Hono<{ Bindings: Env }> {
  const app = new Hono<{ Bindings: Env }>();

  app.use(async (c, next) => {
    await next();
    if ((c.req.method === 'GET' || c.req.method === 'HEAD') && c.res.status !== 101) {
      for (const [name, value] of Object.entries(CORS)) c.header(name, value);
    }
  });

  for (const { method, path, handle } of routes) app.on(method.toUpperCase(), honoPath(path), handle);
  for (const [path, own] of Map.groupBy(routes, (route) => route.path)) {
    const methods = own.map(({ method }) => method.toUpperCase());
    const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
    app.options(honoPath(path), () => preflight(allow, methods.includes('GET')));
    app.all(honoPath(path), () => problemResponse(problem('method_not_allowed', `allowed here: ${allow}`), { allow }));
  }

  app.notFound(() => problemResponse(problem('not_found', 'there is nothing at this path: see /openapi.json')));
  app.onError((error) => problemResponse(error instanceof Problem ? error : unexpected(error)));
  return app;
}

const preflight = (allow: string, open: boolean): Response =>
  new Response(null, {
    status: 204,
    headers: { allow, ...(open ? { ...CORS, 'access-control-allow-methods': 'GET, HEAD' } : {}) },
  });

/** An object that can't answer (restarting, overloaded) or a bug: the log has the truth, the client a code and a reason to try again. */
function unexpected(error: unknown): Problem {
  console.error(error);
  const overloaded = (error as { overloaded?: unknown }).overloaded === true;
  return overloaded
    ? problem('overloaded', 'too much at once: come back in a second')
    : problem('unavailable', 'the gateway could not get an answer: try again');
}
