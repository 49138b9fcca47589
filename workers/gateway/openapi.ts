/** The OpenAPI 3.1 document, written from the routes themselves. */
import { statusOf } from './problem.ts';
import type { Route } from './route.ts';
import { STATUS_TEXTS } from './statuses.ts';
import { VERSION } from './status.ts';

type Json = Record<string, unknown>;

const PROBLEM = { $ref: '#/components/schemas/Problem' };

const parameter =
  (where: string, required: boolean) =>
  (name: string, description?: string): Json => ({
    name,
    in: where,
    required,
    ...(description ? { description } : {}),
    schema: { type: 'string' },
  });

function responses({ answer, problems = [] }: Route): Json {
  const { status = 200, type = 'application/json', description } = answer;
  const out: Json = { [status]: { description, ...(status === 200 ? { content: { [type]: {} } } : {}) } };
  for (const code of [...problems, 'unavailable']) {
    const refused = statusOf(code);
    const known = out[refused] as { description: string } | undefined;
    out[refused] = {
      description: known ? `${known.description}, ${code}` : `${STATUS_TEXTS[refused]}: ${code}`,
      content: { 'application/problem+json': { schema: PROBLEM } },
    };
  }
  return out;
}

function operation(route: Route): Json {
  const names = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
  const parameters = [
    ...names.map((name) => parameter('path', true)(name)),
    ...Object.entries(route.query ?? {}).map(([name, text]) => parameter('query', false)(name, text)),
    ...Object.entries(route.headers ?? {}).map(([name, text]) => parameter('header', false)(name, text)),
  ];
  const content = Object.entries(route.body ?? {}).map(([type, description]) => [type, { schema: { description } }]);
  return {
    operationId: `${route.method}${route.path.replaceAll(/[^a-zA-Z]+(\w?)/g, (_, next: string) => next.toUpperCase())}`,
    summary: route.summary,
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(content.length > 0 ? { requestBody: { required: true, content: Object.fromEntries(content) as Json } } : {}),
    responses: responses(route),
  };
}

export function openApi(routes: readonly Route[]): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) (paths[route.path] ??= {})[route.method] = operation(route);
  return {
    openapi: '3.1.0',
    info: { title: 'AGNT2 gateway', version: VERSION, description: 'docs/api.md says the same for people.' },
    paths,
    components: {
      schemas: {
        Problem: {
          description: 'RFC 9457. `code` is stable; some codes carry more members (`expected`, `place`, `finalAt`).',
          type: 'object',
          required: ['type', 'title', 'status', 'code', 'detail'],
          properties: {
            type: { type: 'string' },
            title: { type: 'string' },
            status: { type: 'integer' },
            code: { type: 'string' },
            detail: { type: 'string' },
          },
        },
      },
    },
  };
}
