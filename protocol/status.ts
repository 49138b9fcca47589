/** Statuses of steps (docs/protocol.md §9). The position is the code; twin of contracts/src/Status.sol. */
export const STATUSES = [
  'ok',
  'malformed',
  'out_of_order',
  'stale_time',
  'wrong_shard',
  'unknown_agent',
  'bad_nonce',
  'expired',
  'bad_signature',
  'bundle_refused',
  'insufficient_balance',
  'region_full',
  'zero_amount',
  'bad_duration',
  'unknown_service',
  'not_provider',
  'unsupported',
  'service_inactive',
  'over_ceiling',
  'self_dealing',
  'unknown_escrow',
  'not_payee',
  'escrow_not_open',
  'deadline_passed',
  'over_price',
  'not_due',
  'unknown_session',
  'session_not_open',
  'not_party',
  'session_closed',
  'stale_half',
  'session_not_exiting',
  'epoch_exhausted',
  'not_owner',
  'unknown_capability',
  'capability_revoked',
  'not_grantor',
  'not_grantee',
  'wrong_service',
  'over_limit',
  'dependency_failed',
  'arbitrated',
  'not_payer',
  'not_arbiter',
  'escrow_not_held',
  'escrow_not_contested',
  'unknown_workflow',
  'workflow_closed',
  'wrong_leg',
  'not_planner',
  'nothing_to_tell',
  'not_settled',
  'already_attested',
  'no_conflict',
  'already_slashed',
  'no_stake',
  'congested',
  'no_message',
  'stale_ack',
  'not_received',
] as const;

export type StatusName = (typeof STATUSES)[number];

/** Code of each status: `Status.ok === 0`. */
export const Status = Object.fromEntries(STATUSES.map((name, code) => [name, code])) as {
  readonly [K in StatusName]: number;
};

/** What one step came to: a status code and the id or number it made (0 if none). */
export interface Outcome {
  readonly status: number;
  readonly value: number;
}
