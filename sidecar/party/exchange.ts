/** Requests and answers of a program that has no HTTP. */
import { CallSignal } from '../../protocol/aborts.ts';
import { concat } from '../../protocol/bytes.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { Whole } from '../../protocol/whole.ts';

/** Bytes that are all here go with their head; a stream goes as it comes, and is asked for no more than the peer takes. */
export type Body = Uint8Array | AsyncIterable<Uint8Array>;

const bodyOf = (body: Body): AsyncIterable<Uint8Array> => (body instanceof Uint8Array ? new Whole(body) : body);

/** `signal` cancels the call; by default nothing does. */
export const request = (
  method: string,
  target: string,
  body: Body = new Uint8Array(0),
  signal: ExchangeRequest['signal'] = new CallSignal(),
): ExchangeRequest => ({ method, target, headers: [], body: bodyOf(body), signal });

export const answer = (
  status: number,
  body: Body = new Uint8Array(0),
  headers: ExchangeResponse['headers'] = [],
): ExchangeResponse => ({ status, headers, body: bodyOf(body) });

/** All of a body that is known to be small. */
export async function whole(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  if (body instanceof Whole) return body.take();
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return concat(...chunks);
}
