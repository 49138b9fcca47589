/** One session as its sidecar holds it, and the sidecars' own calls inside it. */
import type { Close } from '../protocol/eip712.ts';
import type { SessionFacts as SessionCell } from './core.ts';
import { refusal } from './errors.ts';
import { EMPTY } from './http/body.ts';
import type { SessionEndpoint, SessionFacts } from './session/index.ts';
import { CONTROL } from './target.ts';

export interface Live {
  readonly id: number;
  readonly peer: number;
  readonly role: 'a' | 'b';
  /** The peer's key as the session pinned it. */
  readonly peerKey: Uint8Array;
  readonly endpoint: SessionEndpoint;
  readonly link: AbortController;
  /** Calls go point to point, not by the relay. */
  direct: boolean;
  /** No new calls either way; set when either side starts to close it. */
  closing: boolean;
  /** We signed a close: nothing may be served above what it counts, ever. */
  signed: boolean;
  /** Our own control call is in flight. */
  asking: boolean;
  funding: Promise<void> | null;
  /** The whole of leaving, once begun; null again when it failed. */
  left: Promise<void> | null;
}

export const CLOSE: string = `${CONTROL}close`;
export const REFRESH: string = `${CONTROL}refresh`;
export const CONTROL_MS = 10_000;
const MAX_CONTROL_BYTES = 4096;

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Whether `reached` came true within `ms`. */
export async function until(reached: () => boolean, ms: number): Promise<boolean> {
  for (const end = performance.now() + ms; !reached(); await wait(5)) if (performance.now() > end) return false;
  return true;
}

/** The whole of a control call's body. Throws `bad_request` for a long one. */
export async function readSmall(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_CONTROL_BYTES) throw refusal('bad_request', 'a control call is small');
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

/** Makes a control call to the peer's sidecar; its answer's body. */
export async function control(live: Live, target: string): Promise<Uint8Array> {
  const request = { method: 'POST', target, headers: [], body: EMPTY, signal: AbortSignal.timeout(CONTROL_MS) };
  const { response } = await live.endpoint.call(request, { maxPrice: 0, deadlineMs: CONTROL_MS });
  const body = await readSmall(response.body);
  if (response.status >= 300) throw refusal('peer_failed', `the peer answered ${response.status} to ${target}`);
  return body;
}

/** Throws `not_party`. */
export function roleOf(cell: SessionCell, agent: number): 'a' | 'b' {
  if (cell.a === agent) return 'a';
  if (cell.b === agent) return 'b';
  throw refusal('not_party', 'the session is between others');
}

/** What an endpoint relies on: the cell, and the keys it pinned. */
export const factsOf = (
  { id, a, b, depositA, depositB, exitDelay }: SessionCell,
  keys: { readonly a: Uint8Array; readonly b: Uint8Array },
): SessionFacts => ({ session: id, a, b, keyA: keys.a, keyB: keys.b, depositA, depositB, exitDelay });

const NO_ROOT = new Uint8Array(32);

/** Both directions as their newest halves say. */
export function closeOf({ id, role, endpoint }: Live): Close {
  const { pays, earns } = endpoint.halves();
  const [ab, ba] = role === 'a' ? [pays?.half, earns?.half] : [earns?.half, pays?.half];
  return {
    session: id,
    paidAB: ab?.paid ?? 0,
    paidBA: ba?.paid ?? 0,
    callsAB: ab?.calls ?? 0,
    callsBA: ba?.calls ?? 0,
    rootAB: ab?.root ?? NO_ROOT,
    rootBA: ba?.root ?? NO_ROOT,
  };
}
