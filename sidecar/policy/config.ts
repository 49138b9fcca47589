/** The `policy` of the config file: what this agent may spend, and on what terms. */
import { Fields } from '../fields.ts';
import type { BreakerConfig } from './breaker.ts';

export interface PolicyConfig {
  /** Base units a single call may cost. */
  readonly perCall: number;
  /** Base units in any 60 minutes. */
  readonly perHour: number;
  /** Base units in any 24 hours. */
  readonly perDay: number;
  /** Base units to one peer in any 24 hours. */
  readonly perPeer: number;
  /** Base units to one service in any 24 hours. */
  readonly perService: number;
  /** Base units in any 24 hours to a peer that was never paid, or first paid less than `seconds` ago. */
  readonly newPeer: { readonly seconds: number; readonly cap: number } | null;
  readonly breaker: BreakerConfig | null;
  /** Base units above which a call waits for a person. */
  readonly approveAbove: number | null;
  /** Seconds a granted approval may be used in. */
  readonly approvalSeconds: number;
  /** Percent by which a service may get dearer before a person has to accept it. */
  readonly priceRise: number | null;
}

const NONE = { newPeer: null, breaker: null, approveAbove: null, approvalSeconds: 3600, priceRise: null };

function readNewPeer(value: unknown, faults: string[]): PolicyConfig['newPeer'] {
  if (value === undefined) return null;
  const fields = new Fields(value, 'policy.newPeer', faults);
  const newPeer = { seconds: fields.integer('seconds', 3600, 1, 86_400), cap: fields.amount('cap') };
  fields.done();
  return newPeer;
}

function readBreaker(value: unknown, faults: string[]): BreakerConfig | null {
  if (value === undefined) return null;
  const fields = new Fields(value, 'policy.breaker', faults);
  const breaker = {
    failures: fields.integer('failures', 5, 1, 1_000_000),
    share: fields.integer('share', 50, 1, 100),
    calls: fields.integer('calls', 20, 1, 1_000_000),
    windowSeconds: fields.integer('windowSeconds', 60, 1, 86_400),
    openSeconds: fields.integer('openSeconds', 30, 1, 86_400),
  };
  fields.done();
  return breaker;
}

/** Without a policy nothing may be spent. */
export function readPolicy(value: unknown, faults: string[]): PolicyConfig {
  if (value === undefined) return { perCall: 0, perHour: 0, perDay: 0, perPeer: 0, perService: 0, ...NONE };
  const fields = new Fields(value, 'policy', faults);
  const perDay = fields.amount('perDay');
  const perPeer = fields.amount('perPeer', perDay);
  const policy: PolicyConfig = {
    perDay,
    perHour: fields.amount('perHour', perDay),
    perCall: fields.amount('perCall', perDay),
    perPeer,
    perService: fields.amount('perService', perPeer),
    newPeer: readNewPeer(fields.get('newPeer'), faults),
    breaker: readBreaker(fields.get('breaker'), faults),
    approveAbove: fields.get('approveAbove') === undefined ? NONE.approveAbove : fields.amount('approveAbove'),
    approvalSeconds: fields.integer('approvalSeconds', NONE.approvalSeconds, 1, 86_400 * 30),
    priceRise: fields.get('priceRise') === undefined ? NONE.priceRise : fields.integer('priceRise', 0, 0, 1_000_000),
  };
  fields.done();
  return policy;
}
