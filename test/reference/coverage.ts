/**
 * Every status each kind of step can come to, after docs/protocol.md: what a fuzz must have seen to be believed. Left out is
 * what no trace reaches, because whoever sends a message has seen to it.
 */
import { ACTS } from './reference.ts';

const OPENING = `
frame: malformed out_of_order
tick: ok malformed stale_time
bundle: ok malformed wrong_shard unknown_agent bad_nonce expired bad_signature
ack: ok malformed stale_ack not_received
receive: malformed no_message
receive call: congested
receive invoke: congested
receive leg: congested
receive verdict: congested
receive slash: congested
inbox: malformed wrong_shard`;

const INBOX = `
register: ok wrong_shard congested region_full
deposit: ok wrong_shard congested unknown_agent
withdraw: ok wrong_shard congested unknown_agent not_owner zero_amount insufficient_balance region_full
rotate: ok wrong_shard congested unknown_agent not_owner epoch_exhausted
act: ok wrong_shard congested unknown_agent not_owner malformed unsupported`;

const EXPIRE = 'ok unknown_escrow escrow_not_open not_due congested';
const TELL = 'ok unknown_workflow not_due nothing_to_tell congested';

/** Operations without a mark. */
const AT_HOME = `
register: ok insufficient_balance region_full
rotate: ok wrong_shard unknown_agent epoch_exhausted bad_signature
withdraw: ok zero_amount insufficient_balance region_full
publish: ok bad_duration wrong_shard unknown_service not_provider region_full
respond: ok wrong_shard unknown_escrow not_payee escrow_not_open deadline_passed over_price congested
grant: ok expired self_dealing region_full
revoke: ok wrong_shard unknown_capability not_grantor capability_revoked
plan: ok bad_duration region_full
stake: ok zero_amount insufficient_balance
unstake: ok no_stake not_due
advance: malformed wrong_shard ${EXPIRE}
tell frame: malformed wrong_shard ${TELL}`;

/** Operations with a mark: what they can come to before it | and after, there. At home both, and a shard that isn't or has no room. */
const MARKED = `
transfer: insufficient_balance | unknown_agent
invoke: unsupported unknown_workflow unknown_escrow dependency_failed | unknown_capability capability_revoked not_grantee expired wrong_service over_limit wrong_shard unknown_service service_inactive over_ceiling arbitrated self_dealing insufficient_balance region_full congested
expire: | unknown_escrow escrow_not_open not_due congested
contest: | unknown_escrow not_payer escrow_not_held deadline_passed
rule: | unknown_escrow not_arbiter escrow_not_contested deadline_passed over_price congested
open: self_dealing zero_amount bad_duration insufficient_balance | unknown_agent region_full
fund: zero_amount insufficient_balance | unknown_session session_not_open not_party
settle: | unknown_session session_closed bad_signature stale_half
exit: | unknown_session session_not_open not_party
finalize: | unknown_session session_not_exiting not_due congested
close: | unknown_session session_closed not_party bad_signature
abort: | unknown_workflow workflow_closed not_planner
attest: unknown_escrow not_payer | unknown_session not_party not_settled already_attested
slash: | unknown_session already_slashed no_conflict bad_signature congested
tell: | unknown_workflow not_due nothing_to_tell congested`;

const MESSAGES = `
invoke: ok unknown_service service_inactive over_ceiling arbitrated region_full
report: ok
credit: ok
leg: ok unknown_workflow workflow_closed wrong_leg
verdict: ok congested
rating: ok
slash: ok congested`;

const ITEMS = `
register: ok region_full
deposit: ok unknown_agent
withdraw: ok unknown_agent not_owner zero_amount insufficient_balance region_full
rotate: ok unknown_agent not_owner epoch_exhausted
act: unknown_agent not_owner malformed unsupported`;

const rows = (text: string): [name: string, statuses: string][] =>
  text
    .trim()
    .split('\n')
    .map((row) => row.split(': ') as [string, string]);
const words = (text: string): string[] => text.split(' ').filter((word) => word !== '' && word !== '|');

/** `step status`, as the reference counts them. */
export const REACHABLE: readonly string[] = [
  ...rows(OPENING).flatMap(([name, statuses]) => words(statuses).map((status) => `${name} ${status}`)),
  ...rows(INBOX).flatMap(([name, statuses]) => words(statuses).map((status) => `inbox ${name} ${status}`)),
  ...rows(AT_HOME).flatMap(([name, statuses]) => words(statuses).map((status) => `${name} ${status}`)),
  ...rows(MARKED).flatMap(([name, statuses]) => {
    const here = new Set(['ok', 'wrong_shard', 'congested', ...words(statuses)]);
    const there = ['ok', ...words(statuses.slice(statuses.indexOf('|')))];
    return [...[...here].map((status) => `${name} ${status}`), ...there.map((status) => `call ${name} ${status}`)];
  }),
  ...rows(MESSAGES).flatMap(([name, statuses]) => words(statuses).map((status) => `message ${name} ${status}`)),
  ...rows(ITEMS).flatMap(([name, statuses]) => words(statuses).map((status) => `item ${name} ${status}`)),
  ...ACTS.map((name) => `act ${name} ok`),
];

/** Whether a step may be seen at all: an act comes to what its operation may come to. */
export const isReachable = (step: string): boolean => REACHABLE.includes(step.replace(/^act /, ''));
