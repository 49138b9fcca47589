/** What a Worker's app is told of a call, and how it makes its own. Requests are known by themselves: no header can look like a paid call. */
import { formatId } from '../../protocol/ids.ts';

/** How a call came. */
export interface PaidCall {
  /** The agent that pays, like `0:7`; null for a free call of somebody unknown. */
  readonly caller: string | null;
  readonly route: 'core' | 'session' | 'free';
}

export interface PayOptions {
  /** Base units this call may cost at most; the policy holds anyway. */
  readonly maxPrice?: number;
}

/** Calls another agent, `http://<name or id>.agnt2/path` or `/agents/<name or id>/path`, within the policy. A refusal of AGNT2's own is an RFC 9457 problem with a `code`. */
export type Pay = (input: string | Request, init?: RequestInit & PayOptions) => Promise<Response>;

interface Known {
  readonly call: PaidCall;
  readonly pay: Pay;
}

const known = new WeakMap<Request, Known>();

/** Marks a request as a call that the runtime has admitted. */
export function admit(request: Request, caller: number, route: PaidCall['route'], pay: Pay): void {
  known.set(request, { call: { caller: caller === 0 ? null : formatId(caller), route }, pay });
}

export const knownCall = (request: Request): Known | undefined => known.get(request);
