/** Refusals as HTTP answers. */
import type { ServerResponse } from 'node:http';
import { type Problem, problemOf } from '../errors.ts';
import type { Header } from './headers.ts';

/** The fields and the body of a problem document. */
export function problemAnswer(problem: Problem): { headers: Header[]; body: Buffer } {
  const body = Buffer.from(JSON.stringify(problem));
  const headers: Header[] = [
    ['content-type', 'application/problem+json'],
    ['content-length', String(body.length)],
  ];
  if (problem.status === 503) headers.push(['retry-after', String(problem.retryAfter ?? 1)]);
  return { headers, body };
}

/** Answers a request of one of Node's own servers with what was thrown. */
export function writeProblem(response: ServerResponse, error: unknown): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const problem = problemOf(error);
  const { headers, body } = problemAnswer(problem);
  response.writeHead(problem.status, headers.flat()).end(response.req.method === 'HEAD' ? undefined : body);
}
