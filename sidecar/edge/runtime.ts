/**
 * An agent that is a Worker: the sidecar's core in a Durable Object, which holds the agent's socket, its sessions and its books, and asks the
 * Worker's app in the same isolate. One object an agent; an alarm keeps it awake, since a socket to elsewhere ends with its object.
 */
import { DurableObject } from 'cloudflare:workers';
import { unhex } from '../../protocol/bytes.ts';
import { codeOf } from '../../protocol/errors.ts';
import { formatId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { Agent } from '../agent.ts';
import { type Config, readConfig } from '../config.ts';
import { problemOf, refusal } from '../errors.ts';
import { type Header, endToEnd } from '../http/headers.ts';
import { Metrics } from '../metrics.ts';
import { MAX_PRICE } from '../outbound.ts';
import { SESSION_SCHEMA, SessionTables, SqlStore } from '../session/store-sql.ts';
import { Store } from '../store.ts';
import { EdgeApp, type Fetch } from './app.ts';
import { chunksOf, streamOf } from '../../protocol/streams.ts';
import { headersOf } from './bodies.ts';
import type { Pay } from './calls.ts';
import { durableDatabase } from './database.ts';
import { dial, send } from './platform.ts';

/** What the bindings of an edge agent hold. */
export interface EdgeEnv {
  /** The machine key's secret: 0x and 64 hex digits. A secret, never a var. */
  readonly AGNT2_MACHINE_KEY: string;
  /** Over the config's. */
  readonly AGNT2_GATEWAY?: string;
  readonly AGNT2_AGENT?: string;
}

/** How often the object is woken, ms: also how long an agent may be away after its object was moved. */
const AWAKE_MS = 20_000;

/** The config of an edge agent: the same file as a sidecar's (docs/cli.md); ports and paths mean nothing here. Throws `bad_config`. */
export function edgeConfig(file: unknown, env: EdgeEnv): Config {
  const sells = ((file as { services?: unknown[] }).services ?? []).length > 0;
  return readConfig({
    ...(file as object),
    ...(env.AGNT2_GATEWAY && { gateway: env.AGNT2_GATEWAY }),
    ...(env.AGNT2_AGENT && { agent: env.AGNT2_AGENT }),
    app: sells ? 'http://app.agnt2' : undefined,
  });
}

export interface RuntimeStatus {
  readonly ready: boolean;
  /** Why it does not run, by code. */
  readonly error: string | null;
  readonly [field: string]: unknown;
}

/** What the Worker asks of its runtime. */
export interface RuntimeRpc {
  status(): Promise<RuntimeStatus>;
  fetch(request: Request): Promise<Response>;
}

/** Extend it, and say which app and which config: see examples/edge. */
export abstract class AgentRuntime<Env extends EdgeEnv> extends DurableObject<Env> implements RuntimeRpc {
  /** Parsed config file. */
  abstract readonly config: unknown;
  /** The Worker's handler. */
  abstract readonly app: { fetch(request: Request, env: Env, ctx: never): Response | Promise<Response> };
  #agent: Agent | null = null;
  #started: Promise<void> | null = null;
  #error: string | null = null;

  /** Starts the agent, if it does not run; resolves when calls can be made and taken. Rejects with what only a person can mend. */
  #start(): Promise<void> {
    this.#started ??= this.#begin().catch((error: unknown) => {
      this.#error = codeOf(error);
      this.#log('failed', { code: this.#error, detail: problemOf(error).detail });
      // Tried again at the next look.
      this.#started = null;
      this.#agent = null;
      throw error;
    });
    return this.#started;
  }

  async #begin(): Promise<void> {
    const { env, ctx } = this;
    const config = edgeConfig(this.config, env);
    let key: MachineKey;
    try {
      key = await MachineKey.import(unhex(env.AGNT2_MACHINE_KEY.trim(), 32));
    } catch {
      throw refusal(
        'bad_config',
        'AGNT2_MACHINE_KEY must be 0x and 64 hex digits: wrangler secret put AGNT2_MACHINE_KEY',
      );
    }
    const db = durableDatabase(ctx.storage);
    db.exec(SESSION_SCHEMA);
    const tables = new SessionTables(db);
    const handle: Fetch = (request) => this.app.fetch(request, env, ctx as never);
    const agent = new Agent({
      config,
      store: new Store(db),
      storeOf: (session) => new SqlStore(tables, session),
      app: new EdgeApp(handle, this.pay),
      gateway: { send: (request) => send(config.gateway, request) },
      dial,
      metrics: new Metrics(),
      onEvent: (event, fields) => this.#log(event, fields),
    });
    this.#agent = agent;
    await agent.start(key);
    this.#error = null;
    this.#log('ready', { agent: formatId(config.agent), services: agent.services.map(formatId) });
  }

  #log(event: string, fields: Record<string, unknown>): void {
    console.log(JSON.stringify({ event, timeMs: Date.now(), ...fields }));
  }

  override async alarm(): Promise<void> {
    await this.ctx.storage.setAlarm(Date.now() + AWAKE_MS);
    // What it fails with is in the log and in the status.
    await this.#start().catch(() => {});
  }

  /** How the agent is; starts it when it does not run. */
  async status(): Promise<RuntimeStatus> {
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + AWAKE_MS);
    this.#start().catch(() => {});
    const status = (await this.#agent?.status()) ?? {};
    return { ...status, ready: this.#agent?.ready ?? false, error: this.#error };
  }

  /** A call to another agent, asked of the object: only the Worker can. */
  override fetch(request: Request): Promise<Response> {
    return this.pay(request);
  }

  readonly pay: Pay = async (input, init = {}) => {
    const { maxPrice, ...rest } = init;
    try {
      const url = typeof input === 'string' ? input : input.url;
      // The platform knows no URL without a host.
      const isPath = url.startsWith('/');
      const request = new Request(typeof input === 'string' && isPath ? `http://agnt2${url}` : input, rest);
      await this.#start();
      const cap = maxPrice === undefined ? request.headers.get(MAX_PRICE) : String(maxPrice);
      const fields: Header[] = cap === null ? [] : [[MAX_PRICE, cap]];
      const { pathname, search, hostname } = new URL(request.url);
      const asked = hostname === 'agnt2' ? pathname + search : request.url;
      const answer = await this.#agent!.outbound.handle({ url: asked, fields }, (target) => ({
        method: request.method,
        target,
        headers: endToEnd(headersOf(request.headers)),
        body: chunksOf(request.body),
        signal: request.signal,
      }));
      const bodiless = request.method === 'HEAD' || [204, 205, 304].includes(answer.status);
      const init2 = {
        status: answer.status,
        headers: endToEnd(answer.headers).map(([a, b]): [string, string] => [a, b]),
      };
      if (!bodiless) return new Response(streamOf(answer.body), init2);
      // Read to its end: the record of the call comes after it.
      for await (const _ of answer.body);
      return new Response(null, init2);
    } catch (error) {
      const problem = problemOf(error);
      if (problem.code === 'internal') this.#log('error', { code: codeOf(error), detail: String(error) });
      return Response.json(problem, {
        status: problem.status,
        headers: { 'content-type': 'application/problem+json' },
      });
    }
  };
}
