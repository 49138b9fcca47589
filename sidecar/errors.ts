/** What the sidecar answers when it, not the app, has to: RFC 9457 problem details with stable codes. */
import { Agnt2Error, codeOf } from '../protocol/errors.ts';

/** HTTP status of each code that may reach a caller; any other code is 502 from a peer's side and 500 from ours. */
const HTTP_STATUS: Readonly<Record<string, number>> = {
  bad_target: 400,
  bad_request: 400,
  malformed: 400,
  body_mismatch: 400,
  over_call_cap: 402,
  over_hour_cap: 402,
  over_day_cap: 402,
  over_peer_cap: 402,
  over_service_cap: 402,
  over_new_peer_cap: 402,
  over_ceiling: 402,
  insufficient_balance: 402,
  payment_required: 402,
  escrow_too_small: 402,
  over_price: 402,
  egress_denied: 403,
  egress_unreachable: 502,
  egress_failed: 502,
  egress_too_large: 502,
  connect_denied: 403,
  approval_needed: 403,
  price_rise: 403,
  not_operator: 403,
  not_party: 403,
  unknown_agent: 404,
  unknown_name: 404,
  unknown_service: 404,
  not_found: 404,
  unknown_approval: 404,
  escrow_used: 409,
  session_required: 409,
  not_rotatable: 409,
  busy: 429,
  upgrade_unsupported: 501,
  app_unavailable: 502,
  app_failed: 502,
  gateway_failed: 502,
  bad_receipt: 502,
  peer_failed: 502,
  frame_mismatch: 409,
  workflow_refused: 409,
  agent_offline: 503,
  circuit_open: 503,
  gateway_unavailable: 503,
  not_ready: 503,
  draining: 503,
  congested: 503,
  not_arrived: 503,
  unknown_outcome: 504,
  outcome_pending: 504,
  timeout: 504,
  cancelled: 499,
  internal: 500,
};

/** All of them. */
export const CODES: readonly string[] = Object.keys(HTTP_STATUS);

export const httpStatusOf = (code: string): number => HTTP_STATUS[code] ?? 502;

/** What a caller may need to act on a refusal, beside its code. */
export interface Hints {
  /** Seconds after which it may come again. */
  readonly retryAfter?: number;
  /** The approval the operator may grant. */
  readonly approval?: string;
}

class Refusal extends Agnt2Error {
  readonly hints: Hints;
  constructor(code: string, detail: string, cause: unknown, hints: Hints) {
    super(code, detail, cause === undefined ? undefined : { cause });
    this.hints = hints;
  }
}

/** A refusal with a stable code; `detail` says what happened and what to do, for people. */
export const refusal = (code: string, detail: string, cause?: unknown, hints?: Hints): Agnt2Error =>
  hints === undefined
    ? new Agnt2Error(code, detail, cause === undefined ? undefined : { cause })
    : new Refusal(code, detail, cause, hints);

export interface Problem extends Hints {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

/**
 * The problem document of anything thrown. Only {@link Agnt2Error}s speak for themselves: the message of any other
 * error may name what lies behind the sidecar, so it becomes `internal` and nothing more.
 */
export function problemOf(error: unknown): Problem {
  const known = error instanceof Agnt2Error;
  const code = known ? codeOf(error) : 'internal';
  const detail = known ? error.detail : 'something went wrong inside the sidecar; its log says what';
  return {
    type: `urn:agnt2:problem:${code}`,
    title: code.replaceAll('_', ' '),
    status: httpStatusOf(code),
    code,
    detail,
    ...(error instanceof Refusal && error.hints),
  };
}
