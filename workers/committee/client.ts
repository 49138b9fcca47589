/** Members of a committee as their callers see them: every answer is bounded in bytes and time, and believed by nobody until it was checked. */
import { type Hex, concat, hex, unhex } from '../../protocol/bytes.ts';
import { ADDRESS_BYTES, SIGNATURE_BYTES } from '../../protocol/da/certificate.ts';
import { type CellAnswer, MAX_CELLS, commitmentBytes, decodeCells } from '../../protocol/da/offer.ts';
import { Agnt2Error, malformed } from '../../protocol/errors.ts';

/** Where a member is. */
export interface MemberEndpoint {
  readonly address: Uint8Array;
  /** http(s), without a slash at its end. */
  readonly url: string;
}

/** As far as `fetch` is used: a Worker's, Node's, or a test's. */
export type Fetch = (url: string, init: RequestInit & { readonly signal: AbortSignal }) => Promise<Response>;

/** An answer of JSON, or a problem. */
const SMALL_BYTES = 4096;
/** Row, path and content of a cell at most, and the count before them. */
const CELLS_BYTES: number = 2 + MAX_CELLS * (5 + 32 * 32 + 1024);

/** `0xaddress=https://host,…`, in the order of the epoch's list. Throws `malformed`. */
export function parseMembers(text: string): MemberEndpoint[] {
  return text
    .split(/[\s,]+/)
    .filter((part) => part !== '')
    .map((part) => {
      const at = part.indexOf('=');
      const url = part.slice(at + 1).replace(/\/+$/, '');
      if (at < 0 || !/^https?:\/\/[^\s]+$/.test(url))
        throw malformed('expected 0xaddress=https://host, joined by commas');
      return { address: unhex(part.slice(0, at) as Hex, ADDRESS_BYTES), url };
    });
}

export class MemberClient {
  readonly #url: string;
  readonly #fetch: Fetch;

  constructor({ url }: Pick<MemberEndpoint, 'url'>, fetcher: Fetch = (at, init) => fetch(at, init)) {
    this.#url = url;
    this.#fetch = fetcher;
  }

  /** Offers a column. Answers with the 64 bytes that should be the member's signature. */
  async offer(head: Uint8Array, column: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const body = concat(head, column);
    const bytes = await this.#get('/columns', SMALL_BYTES, signal, { method: 'POST', body: body as BodyInit });
    const signature = fieldOf(bytes, 'signature');
    if (typeof signature !== 'string') throw malformed('an answer without a signature');
    return unhex(signature as Hex, SIGNATURE_BYTES);
  }

  /** What a dataRoot is said to be the hash of, in a committee of `n`. */
  commitment(dataRoot: Uint8Array, n: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#get(`/columns/${hex(dataRoot)}/commitment`, commitmentBytes(n), signal);
  }

  /** What is said to be its column, of `size` bytes. */
  async column(dataRoot: Uint8Array, size: number, signal: AbortSignal): Promise<Uint8Array> {
    const bytes = await this.#get(`/columns/${hex(dataRoot)}`, size, signal);
    if (bytes.length !== size) throw malformed(`a column of ${bytes.length} bytes instead of ${size}`);
    return bytes;
  }

  /** What are said to be cells of its column, at most {@link MAX_CELLS} of them. */
  async cells(dataRoot: Uint8Array, rows: readonly number[], signal: AbortSignal): Promise<CellAnswer[]> {
    return decodeCells(await this.#get(`/columns/${hex(dataRoot)}/cells?rows=${rows.join()}`, CELLS_BYTES, signal));
  }

  async #get(path: string, maxBytes: number, signal: AbortSignal, init: RequestInit = {}): Promise<Uint8Array> {
    const { answer, bytes } = await this.#ask(path, maxBytes, { ...init, signal, redirect: 'manual' });
    if (answer.ok) return bytes;
    throw new Agnt2Error(problemCode(bytes) ?? 'unavailable', `a member answered ${answer.status}`);
  }

  async #ask(
    path: string,
    maxBytes: number,
    init: RequestInit & { readonly signal: AbortSignal },
  ): Promise<{ readonly answer: Response; readonly bytes: Uint8Array }> {
    try {
      const answer = await this.#fetch(`${this.#url}${path}`, init);
      return { answer, bytes: await readAtMost(answer, answer.ok ? maxBytes : SMALL_BYTES) };
    } catch (error) {
      if (error instanceof Agnt2Error) throw error;
      throw new Agnt2Error('unreachable', `no answer from ${this.#url}`, { cause: error });
    }
  }
}

async function readAtMost(answer: Response, maxBytes: number): Promise<Uint8Array> {
  const reader = (answer.body as ReadableStream<Uint8Array> | null)?.getReader();
  const parts: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) return parts.length === 1 ? parts[0] : concat(...parts);
    length += value.length;
    parts.push(value);
    if (length <= maxBytes) continue;
    reader?.cancel().catch(() => {});
    throw malformed(`an answer of more than ${maxBytes} bytes`);
  }
}

/** A field of a JSON object; undefined of anything else. */
function fieldOf(bytes: Uint8Array, name: string): unknown {
  try {
    return (JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown> | null)?.[name];
  } catch {
    return undefined;
  }
}

function problemCode(bytes: Uint8Array): string | null {
  const code = fieldOf(bytes, 'code');
  return typeof code === 'string' && /^\w{1,40}$/.test(code) ? code : null;
}
