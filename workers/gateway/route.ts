/** One table of routes: Hono is wired from it and the OpenAPI document is written from it, so they can't say different things. */
import type { Ctx } from './env.ts';

export interface Route {
  readonly method: 'get' | 'post' | 'put';
  /** OpenAPI's form, as in `/agents/{id}`. */
  readonly path: string;
  readonly summary: string;
  /** Query parameters and request headers, by name, with what they mean. */
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Media types of the body, with what they hold. */
  readonly body?: Readonly<Record<string, string>>;
  /** What a success answers. */
  readonly answer: { readonly status?: 101 | 200; readonly type?: string; readonly description: string };
  /** Codes of the problems it may answer, besides `unavailable`. */
  readonly problems?: readonly string[];
  readonly handle: (c: Ctx) => Promise<Response> | Response;
}

export const honoPath = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1');
