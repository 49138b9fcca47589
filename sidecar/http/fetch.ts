/**
 * Requests that are asked and answered in JSON, by a client that is there anyhow: Node's `fetch` takes 17 MB of a process as soon as it is
 * called once.
 */
import { Whole } from '../../protocol/whole.ts';
import type { Fetch } from '../core.ts';
import { refusal } from '../errors.ts';
import type { HttpClient } from './client.ts';

/** The longest answer that is read: a thousand times what a gateway has to say. */
const MAX_BYTES = 16 * 2 ** 20;

async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    // Leaving the loop ends the connection.
    if (length > MAX_BYTES) throw refusal('gateway_failed', `an answer of more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** {@link Fetch} to the client's own origin, whichever the URL names. */
export const fetchBy =
  (client: Pick<HttpClient, 'send'>): Fetch =>
  async (url, { method = 'GET', headers = {}, body, signal }) => {
    const { pathname, search } = new URL(url);
    const fields = Object.entries(headers);
    if (body !== undefined) fields.push(['content-length', String(body.length)]);
    const request = {
      method,
      target: pathname + search,
      headers: fields,
      body: new Whole(body ?? new Uint8Array(0)),
      signal,
    };
    const { status, body: answer } = await client.send(request);
    return {
      status,
      ok: status >= 200 && status < 300,
      json: async () => JSON.parse(await textOf(answer)) as unknown,
    };
  };
