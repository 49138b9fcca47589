/**
 * A client of the gateway that costs little beside what it measures: connections kept, bodies made beforehand, answers in binary, of which it reads whether
 * each bundle has its receipt. What the receipts say is for later.
 */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { sleep } from '../../local/process.ts';
import { Reader } from '../../protocol/bytes.ts';

const RECORDS = 'application/vnd.agnt2.receipts';
/** One socket for each agent, and some to spare. */
const agent = new Agent({ keepAlive: true, maxSockets: 64 });
/** Requests that had to be sent again. */
let again = 0;

export const putOff = (): number => again;

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const send = (url: string, body: Uint8Array): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const headers = {
      'content-type': 'application/vnd.agnt2.bundles',
      'content-length': body.length,
      accept: RECORDS,
    };
    const sent = request(`${url}/bundles`, { method: 'POST', agent, headers }, (answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => {
        const all = parts.length === 1 ? parts[0] : Buffer.concat(parts);
        resolve({ status: answer.statusCode!, headers: answer.headers, body: all });
      });
    });
    sent.on('error', (error: NodeJS.ErrnoException) => {
      // A kept socket that the server had closed in a pause: nothing was read from it, and no bundle can run twice.
      if (sent.reusedSocket && error.code === 'ECONNRESET') send(url, body).then(resolve, reject);
      else reject(error);
    });
    sent.end(body);
  });

/** The records of receipts, and the codes of what was refused. */
function read({ headers, body }: Answer): { receipts: Uint8Array[]; codes: Set<string> } {
  const receipts: Uint8Array[] = [];
  const codes = new Set<string>();
  if (headers['content-type'] !== RECORDS) {
    const { code } = JSON.parse(body.toString()) as { code: string };
    return { receipts, codes: codes.add(code) };
  }
  for (const reader = new Reader(body); reader.left > 0;) {
    const isRefused = reader.u8() !== 0;
    const length = reader.u32();
    const at = reader.skip(length);
    const part = body.subarray(at, at + length);
    if (isRefused) codes.add((JSON.parse(part.toString()) as { error: { code: string } }).error.code);
    else receipts.push(part);
  }
  return { receipts, codes };
}

/**
 * Posts until every bundle has its receipt: what a busy shard puts off is sent again when it says, as any client would. Returns the receipts' records as far
 * as they came: of a bundle that had run when it was sent again there is none.
 */
export async function post(url: string, body: Uint8Array): Promise<Uint8Array[]> {
  const had: Uint8Array[] = [];
  for (;;) {
    const answer = await send(url, body);
    const { receipts, codes } = read(answer);
    had.push(...receipts);
    if (codes.size === 0) return had;
    // Behind one that is put off, the others of its agent have a nonce too far; before it, they are done.
    const isPutOff = codes.has('overloaded') || codes.has('replayed');
    if (![...codes].every((code) => ['overloaded', 'bad_nonce', 'replayed'].includes(code)) || !isPutOff)
      throw new Error(`a bundle was refused: ${answer.status} ${[...codes].join(', ')}`);
    if (codes.size === 1 && codes.has('replayed')) return had;
    again += 1;
    await sleep(1000 * Number(answer.headers['retry-after'] ?? 0));
  }
}
