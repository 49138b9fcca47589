/** RFC 9457 problem details: every answer that is not what was asked for. */
import { STATUS_TEXTS, type HttpStatus } from './statuses.ts';
import { Agnt2Error } from '../../protocol/errors.ts';

const BY_CODE: Readonly<Record<string, HttpStatus>> = {
  malformed: 400,
  bad_signature: 401,
  unauthorized: 401,
  forbidden: 403,
  not_a_member: 403,
  not_found: 404,
  wrong_shard: 404,
  unknown_agent: 404,
  unknown_service: 404,
  unknown_session: 404,
  unknown_escrow: 404,
  unknown_capability: 404,
  unknown_workflow: 404,
  method_not_allowed: 405,
  too_slow: 408,
  bad_nonce: 409,
  replayed: 409,
  not_final: 409,
  name_taken: 409,
  hash_mismatch: 409,
  session_closed: 409,
  nonce_used: 409,
  stale_key: 409,
  too_early: 409,
  expired: 410,
  too_costly: 413,
  too_large: 413,
  unsupported_media_type: 415,
  upgrade_required: 426,
  rate_limited: 429,
  agent_offline: 503,
  overloaded: 503,
  unavailable: 503,
  storage_full: 507,
};

/** Seconds after which a 503 or 429 is worth another try, where nobody knows better. */
const RETRY_AFTER = 1;
const RETRIED: ReadonlySet<number> = new Set([429, 503]);

export type Extra = Readonly<Record<string, unknown>>;

/** Thrown by handlers, answered as a problem. */
export class Problem extends Agnt2Error {
  readonly status: HttpStatus;
  readonly extra: Extra;

  constructor(code: string, detail: string, extra: Extra = {}) {
    super(code, detail);
    this.status = statusOf(code);
    this.extra = extra;
  }
}

export const problem = (code: string, detail: string, extra: Extra = {}): Problem => new Problem(code, detail, extra);

/** The HTTP status of a code; a code without one of its own is a conflict with the state as it is. */
export const statusOf = (code: string): HttpStatus => BY_CODE[code] ?? 409;

export const problemCodes = (): string[] => Object.keys(BY_CODE);

/** The answer's body: `type` names the code, `code` is what programs switch on. */
export function problemResponse(
  { code, detail, status, extra }: Problem,
  headers: Record<string, string> = {},
): Response {
  const body = { type: `urn:agnt2:problem:${code}`, title: STATUS_TEXTS[status], status, code, detail, ...extra };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      'content-type': 'application/problem+json',
      ...(RETRIED.has(status) ? { 'retry-after': String(extra.retryAfter ?? RETRY_AFTER) } : {}),
      ...headers,
    },
  });
}
