/** What session objects and the settlement's cron ask of the watchtower, and what a session's object shows it. */
import type { Half, SignedHalf } from '../../protocol/half.ts';
import type { Namespace, SessionFacts } from '../shard/api.ts';

/** A half with its payer's signature: all that settling takes. */
export interface TowerRow {
  readonly half: Half;
  readonly signature: Uint8Array;
}

/**
 * What came of a row: `ok` (the chain has it), `sent` (it travels to the session's shard), a status of docs/protocol.md §9 with which it was refused,
 * `no_agent` (the deployment has no watchtower's agent), `unavailable` (worth another try later).
 */
export type TowerAnswer = string;

export interface WatchtowerRpc {
  /**
   * Brings halves on chain, many to a bundle; one that can't be settled holds up no other. Idempotent: whoever is not sure that a row arrived gives it
   * again. Answers in order.
   */
  answer(rows: readonly TowerRow[]): Promise<TowerAnswer[]>;
}

/** The watchtower of the deployment: one object. */
export const watchtowerStub = (namespace: Namespace): WatchtowerRpc =>
  namespace.getByName('watchtower') as WatchtowerRpc;

/** Of a session's newest halves those that say more than the chain has. */
export function unsettled(halves: readonly (SignedHalf | null)[], facts: SessionFacts): TowerRow[] {
  return halves.flatMap((signed) => {
    if (signed === null) return [];
    const { half, payer } = signed;
    const [paid, calls] = half.dir === 0 ? [facts.paidAB, facts.callsAB] : [facts.paidBA, facts.callsBA];
    return half.paid > paid || half.calls > calls ? [{ half, signature: payer }] : [];
  });
}
