/** W3C trace context, as far as a span needs it. @see https://www.w3.org/TR/trace-context/ */

export interface TraceParent {
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** Reads a `traceparent`; null for what is none (§3.2.2.3 says to begin a new trace then). */
export function parseTraceParent(text: string): TraceParent | null {
  const match = TRACEPARENT.exec(text.trim());
  if (!match) return null;
  const [, version, traceId, spanId, flags, more] = match;
  if (version === 'ff' || (version === '00' && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId, isSampled: (parseInt(flags, 16) & 1) === 1 };
}

/** A call's place in a trace. */
export interface Span {
  readonly parent: TraceParent | null;
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
}

/** Under the parent that a `traceparent` names, by its decision; else of a new trace, sampled by its id: everybody with the same ratio decides alike. */
export function beginSpan(traceparent: string | null, ratio: number): Span {
  const parent = traceparent === null ? null : parseTraceParent(traceparent);
  const traceId = parent?.traceId ?? randomTraceId();
  const isSampled = parent?.isSampled ?? parseInt(traceId.slice(-8), 16) < ratio * 2 ** 32;
  return { parent, traceId, spanId: randomSpanId(), isSampled };
}

export const traceParentOf = ({ traceId, spanId, isSampled }: Span): string =>
  `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;

// Ids have to differ, not to be secret.
const digits = (): string =>
  Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');
export const randomSpanId = (): string => {
  const id = digits() + digits();
  return /^0+$/.test(id) ? '0000000000000001' : id;
};
export const randomTraceId = (): string => randomSpanId() + digits() + digits();
