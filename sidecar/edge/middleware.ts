/** Hono middleware that makes a Worker an agent: it tells the app who paid, refuses what nobody paid for, and brings `pay`. */
import type { Context, MiddlewareHandler } from 'hono';
import { problemOf, refusal } from '../errors.ts';
import { MAX_PRICE } from '../outbound.ts';
import { offerOf } from '../prices.ts';
import { normaliseTarget } from '../target.ts';
import { type PaidCall, type Pay, knownCall } from './calls.ts';
import { type EdgeEnv, type RuntimeRpc, type RuntimeStatus, edgeConfig } from './runtime.ts';

/** What the app finds under `c.get('agnt2')`. */
export interface AgentContext {
  /** How the call came; null for one that came from the open Internet to a free path. */
  readonly call: PaidCall | null;
  readonly pay: Pay;
  /** How the agent is. */
  status(): Promise<RuntimeStatus>;
}

export interface AgentVariables {
  agnt2: AgentContext;
}

/** As much of a namespace of Durable Objects as is needed. */
interface Namespace {
  getByName(name: string): unknown;
}

export interface MiddlewareOptions<Env> {
  /** Parsed config file: the same that the runtime has. */
  readonly config: unknown;
  /** The binding of the runtime's class. */
  readonly runtime: (env: Env) => Namespace;
}

const NAME = 'agent';

/** The one runtime of this Worker. */
export const runtimeOf = (namespace: Namespace): RuntimeRpc => namespace.getByName(NAME) as RuntimeRpc;

export function agnt2<Env extends EdgeEnv>({
  config,
  runtime,
}: MiddlewareOptions<Env>): MiddlewareHandler<{
  Bindings: Env;
  Variables: AgentVariables;
}> {
  return async (c, next) => {
    const stub = runtimeOf(runtime(c.env));
    const status = (): Promise<RuntimeStatus> => stub.status();
    const known = knownCall(c.req.raw);
    if (known !== undefined) {
      c.set('agnt2', { call: known.call, pay: known.pay, status });
      return next();
    }
    // Whoever asks the Worker wakes its agent.
    waitUntil(
      c,
      status().catch(() => {}),
    );
    const refused = unpaid(edgeConfig(config, c.env), c.req.raw);
    if (refused !== null) return refused;
    const pay: Pay = (input, init = {}) => {
      const { maxPrice, ...rest } = init;
      const url = typeof input === 'string' && input.startsWith('/') ? `http://agnt2${input}` : input;
      const request = new Request(url, rest);
      if (maxPrice !== undefined) request.headers.set(MAX_PRICE, String(maxPrice));
      return stub.fetch(request);
    };
    c.set('agnt2', { call: null, pay, status });
    return next();
  };
}

/** The execution context, where there is one: tests of an app call it without. */
function waitUntil(c: Context, promise: Promise<unknown>): void {
  try {
    c.executionCtx.waitUntil(promise);
  } catch {
    // It runs anyway.
  }
}

/** The refusal of a request from the open Internet to what is sold; null where it is free. */
function unpaid({ agent, name, services }: ReturnType<typeof edgeConfig>, request: Request): Response | null {
  const { pathname, search } = new URL(request.url);
  let price: number;
  try {
    const tables = services.map((table, id) => ({ id: id + 1, table }));
    price = offerOf(tables, request.method, normaliseTarget(pathname + search))?.price ?? 0;
  } catch (error) {
    return problem(error, {});
  }
  if (price === 0) return null;
  const who = name ?? agent;
  const error = refusal(
    'payment_required',
    `this costs ${price} base units: call it through AGNT2, as http://${who}.agnt2`,
  );
  return problem(error, { price: String(price), agent: who });
}

function problem(error: unknown, more: Record<string, unknown>): Response {
  const { status, ...document } = problemOf(error);
  return Response.json(
    { ...document, status, ...more },
    { status, headers: { 'content-type': 'application/problem+json' } },
  );
}
