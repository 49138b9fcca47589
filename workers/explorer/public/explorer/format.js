/** Values as people read them. Everything takes strings or numbers and never throws. */

const THIN = '\u2009';
const group = (digits) => digits.replace(/\B(?=(\d{3})+$)/g, THIN);

/** @returns {bigint} 0 for what is no integer */
export function big(value) {
  try {
    return BigInt(value ?? 0);
  } catch {
    return 0n;
  }
}

/** @returns {[string, string]} whole token units and six decimals */
export function units(value) {
  const v = big(value);
  const abs = v < 0n ? -v : v;
  return [`${v < 0n ? '−' : ''}${group(String(abs / 1_000_000n))}`, String(abs % 1_000_000n).padStart(6, '0')];
}

export const amountText = (value) => units(value).join('.');
export const count = (value) => group(String(big(value)));
export const plural = (value, word, words = `${word}s`) => `${count(value)} ${big(value) === 1n ? word : words}`;
export const short = (hex, head = 6, tail = 4) =>
  String(hex).length > head + tail + 4 ? `${String(hex).slice(0, head + 2)}…${String(hex).slice(-tail)}` : String(hex);
export const words = (name) => String(name ?? '').replaceAll('_', ' ');

/** `shard:serial` of an id in either form, null for none. */
export function idText(value) {
  if (typeof value === 'string' && value.includes(':')) return value.endsWith(':0') ? null : value;
  const v = big(value);
  return v >> 8n === 0n ? null : `${v & 255n}:${v >> 8n}`;
}

export function idNumber(value) {
  if (typeof value === 'string' && value.includes(':')) {
    const [shard, serial] = value.split(':');
    return big(serial) * 256n + big(shard);
  }
  return big(value);
}

export const shardOfId = (id) => Number(String(id).split(':')[0]);
export const serialOf = (id) => Number(String(id).split(':').at(-1));

/** How long, in one unit. */
export function span(seconds) {
  const s = Math.abs(seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

export function ago(ms) {
  const s = (Date.now() - ms) / 1000;
  if (s < -1.5) return `in ${span(s)}`;
  return s < 1.5 ? 'now' : `${span(s)} ago`;
}

export function percent(part, whole) {
  const w = Number(whole);
  return w > 0 ? Math.min(100, Math.max(0, (100 * Number(part)) / w)) : 0;
}

/** A bounded figure for something too large or small to be read whole: 1.2 k, 3.4 M. */
export function brief(value) {
  const v = Number(value);
  if (v < 10_000) return v < 10 && v % 1 ? v.toFixed(1) : group(String(Math.round(v)));
  const [n, unit] = v < 1e6 ? [v / 1e3, 'k'] : v < 1e9 ? [v / 1e6, 'M'] : [v / 1e9, 'G'];
  return `${n < 100 ? n.toFixed(1) : Math.round(n)}${THIN}${unit}`;
}

/** Names for numbers, where an answer has the number (docs/protocol.md §2, §9). */
export const STATUS = (
  'ok malformed out_of_order stale_time wrong_shard unknown_agent bad_nonce expired bad_signature bundle_refused insufficient_balance region_full zero_amount bad_duration ' +
  'unknown_service not_provider unsupported service_inactive over_ceiling self_dealing unknown_escrow not_payee escrow_not_open deadline_passed over_price not_due ' +
  'unknown_session session_not_open not_party session_closed stale_half session_not_exiting epoch_exhausted not_owner unknown_capability capability_revoked not_grantor ' +
  'not_grantee wrong_service over_limit dependency_failed arbitrated not_payer not_arbiter escrow_not_held escrow_not_contested unknown_workflow workflow_closed wrong_leg ' +
  'not_planner nothing_to_tell not_settled already_attested no_conflict already_slashed no_stake congested no_message stale_ack not_received'
).split(' ');
export const SESSION_STATUS = ['empty', 'open', 'exiting', 'closed'];
export const ESCROW_STATUS = 'empty open held fulfilled refunded expired contested waiting sent'.split(' ');
const OPS = (
  ' register rotate transfer withdraw publish invoke respond expire contest rule grant revoke open fund settle exit finalize close ' +
  'plan abort attest slash stake unstake tell'
).split(' ');

export const named = (value, names) =>
  typeof value === 'number' || /^\d+$/.test(String(value))
    ? (names[Number(value)] ?? String(value))
    : String(value ?? '');
export const opName = (op) => named(op, OPS);
export const statusName = (status) => named(status, STATUS);
