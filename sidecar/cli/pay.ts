/** `agnt2 pay URL`: one paid call, with curl's flags. */
import { createWriteStream, readFileSync } from 'node:fs';
import http, { type IncomingMessage } from 'node:http';
import { finished } from 'node:stream/promises';
import { formatId } from '../../protocol/ids.ts';
import { Core } from '../core.ts';
import { MAX_PRICE } from '../outbound.ts';
import { Peers } from '../peers.ts';
import { offerOf } from '../prices.ts';
import { type Destination, readDestination } from '../target.ts';
import { CONFIG, type Command, EXIT, Failure, type Invocation, UsageError, countOf } from './command.ts';
import { Admin, type Setup, readSetup, urlOf } from './setup.ts';

export const pay: Command = {
  usage: 'URL',
  about: [
    'URL is http://NAME.agnt2/path, or NAME/path, with a name of the directory or an id like 0:7. The call goes through the running sidecar of the config, else through one that lives as long as the call. The budget in the config holds; --max can only lower it.',
  ],
  options: {
    config: CONFIG,
    request: { type: 'string', short: 'X', value: 'METHOD', help: 'method (default: GET, with --data POST)' },
    data: { type: 'string', short: 'd', value: 'TEXT', help: 'body; @FILE for what a file holds, @- for stdin' },
    header: {
      type: 'string',
      short: 'H',
      value: "'NAME: VALUE'",
      multiple: true,
      help: 'a header, as often as needed',
    },
    max: { type: 'string', short: 'm', value: 'UNITS', help: 'refuses, before anything is paid, what costs more' },
    include: { type: 'boolean', short: 'i', help: 'status and headers before the body' },
    output: { type: 'string', short: 'o', value: 'FILE', help: 'where the body goes' },
    timeout: { type: 'string', value: 'SECONDS', default: '60', help: 'for the answer to begin' },
  },
  exits: { 4: 'answered and paid for, with a status of 400 or more' },
  examples: [
    'agnt2 pay http://archive.agnt2/papers/1',
    `agnt2 pay archive/notes -d '{"text":"hello"}' -H 'content-type: application/json' --max 10`,
  ],
  run,
};

interface Call {
  readonly destination: Destination;
  readonly method: string;
  readonly headers: readonly string[];
  readonly body: Uint8Array | null;
  readonly timeoutMs: number;
}

/** Who and what a URL means. */
function destinationOf(url: string): Destination {
  const isWhole = /^https?:/i.test(url);
  try {
    const found = readDestination(isWhole ? url : `/agents/${url}`);
    if (found !== null) return found;
  } catch (error) {
    throw new UsageError(`${url}: ${(error as { detail?: string }).detail ?? 'not a URL'}`);
  }
  throw new UsageError(`${url} is no http://NAME.agnt2/path`);
}

function bodyOf(data: string | undefined): Uint8Array | null {
  if (data === undefined) return null;
  if (!data.startsWith('@')) return Buffer.from(data);
  try {
    return readFileSync(data === '@-' ? 0 : data.slice(1));
  } catch {
    throw new UsageError(`can't read ${data.slice(1)}`);
  }
}

function headersOf(lines: readonly string[], max: number | null): string[] {
  const out = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    if (colon < 1) throw new UsageError(`${JSON.stringify(line)} is no 'NAME: VALUE'`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
  return max === null ? out : [...out, MAX_PRICE, String(max)];
}

/** A way through a sidecar: the one that runs, or one for this call alone. */
async function way({ config }: Setup): Promise<{ url: string; close: () => Promise<void> }> {
  const running = await new Admin(config).status();
  if (running?.ready === true) return { url: urlOf(config.listen), close: async () => {} };
  if (running !== null) throw new Failure('not_ready', `the sidecar at ${urlOf(config.admin)} is not ready`);
  const { Sidecar } = await import('../sidecar.ts');
  const any = { host: '127.0.0.1', port: 0 };
  const { session } = config;
  const sidecar = new Sidecar({
    ...config,
    app: undefined,
    services: [],
    name: undefined,
    listen: any,
    admin: any,
    session: { ...session, auto: false },
  });
  try {
    await sidecar.start();
  } catch (error) {
    await sidecar.stop();
    throw error;
  }
  return { url: urlOf({ ...any, port: sidecar.ports.listen }), close: () => sidecar.stop() };
}

const send = (url: string, { destination, method, headers, body, timeoutMs }: Call): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const request = http.request({
      hostname,
      port,
      method,
      path: `/agents/${destination.peer}${destination.target}`,
      headers: [
        'host',
        `${hostname}:${port}`,
        ...headers,
        ...(body === null ? [] : ['content-length', String(body.length)]),
      ],
    });
    const timer = setTimeout(
      () => request.destroy(new Failure('timeout', `no answer within ${timeoutMs / 1000} s; it may still be paid`)),
      timeoutMs,
    );
    request.on('error', (error) => {
      clearTimeout(timer);
      reject(error instanceof Failure ? error : new Failure('not_running', `the sidecar at ${url} hung up`));
    });
    request.on('response', (response) => {
      clearTimeout(timer);
      resolve(response);
    });
    request.end(body ?? undefined);
  });

async function gather(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const isOurs = ({ headers }: IncomingMessage): boolean => headers['content-type'] === 'application/problem+json';

/** A refusal of AGNT2's own; null for the app's problems. */
function refused(body: Buffer): Failure | null {
  try {
    const { type, code, detail } = JSON.parse(body.toString()) as { type?: string; code?: string; detail?: string };
    if (type?.startsWith('urn:agnt2:problem:') && code !== undefined) return new Failure(code, detail ?? code);
  } catch {
    // Somebody else's document.
  }
  return null;
}

async function run(invocation: Invocation): Promise<number> {
  const { text, texts, flag, out, args } = invocation;
  if (args.length !== 1) throw new UsageError('what shall be called? agnt2 pay URL');
  const destination = destinationOf(args[0]);
  const max = text('max') === undefined ? null : countOf(text('max')!, '--max');
  const body = bodyOf(text('data'));
  const call: Call = {
    destination,
    method: (text('request') ?? (body === null ? 'GET' : 'POST')).toUpperCase(),
    headers: headersOf(texts('header'), max),
    body,
    timeoutMs: 1000 * countOf(text('timeout')!, '--timeout', 86_400),
  };
  const setup = readSetup(invocation);
  const peer = await new Peers(new Core(setup.config.gateway)).resolve(destination.peer);
  const offer = offerOf(peer.services, call.method, destination.target);
  if (offer === null) throw new Failure('unknown_service', `${destination.peer} offers no service`);
  // A counted call costs as much as it is let: the sidecar says whether that is enough.
  const isCounted = offer.rate !== undefined;
  if (max !== null && offer.price > max && !isCounted)
    throw new Failure('over_price', `the call costs ${offer.price} base units, at most ${max} were allowed`);
  const { url, close } = await way(setup);
  try {
    const response = await send(url, call);
    const status = response.statusCode!;
    let gathered: Buffer | null = null;
    if (isOurs(response)) {
      gathered = await gather(response);
      const failure = refused(gathered);
      if (failure !== null) throw failure;
    }
    // As both sides have it: an app's own failure costs nothing.
    const price = status >= 500 ? 0 : isCounted && max !== null ? Math.min(max, offer.price) : offer.price;
    const receipt = { peer: formatId(peer.agent), service: formatId(offer.service), price: String(price), status };
    if (out.isJson) {
      const bytes = gathered ?? (await gather(response));
      const isText = Buffer.from(bytes.toString()).equals(bytes);
      out.result({
        ok: status < 400,
        ...receipt,
        ...(isCounted && { counted: true }),
        headers: response.headers,
        ...(isText ? { body: bytes.toString() } : { bodyBase64: bytes.toString('base64') }),
      });
    } else {
      if (flag('include')) await out.write(Buffer.from(headOf(response)));
      await save(response, gathered, text('output'), (bytes) => out.write(bytes));
      out.note(
        out.paint(
          'dim',
          `paid ${isCounted ? 'up to ' : ''}${price} base units to ${receipt.peer}, service ${receipt.service}: ${status}`,
          'stderr',
        ),
      );
    }
    return status < 400 ? EXIT.done : 4;
  } finally {
    await close();
  }
}

function headOf({ statusCode, statusMessage, rawHeaders }: IncomingMessage): string {
  let head = `HTTP/1.1 ${statusCode} ${statusMessage}\r\n`;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) head += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  return `${head}\r\n`;
}

/** Streams the body on; a cut one is an error. */
async function save(
  response: IncomingMessage,
  gathered: Buffer | null,
  file: string | undefined,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const sink = file === undefined ? null : createWriteStream(file);
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (sink === null) return write(bytes);
    await new Promise<void>((resolve, reject) => sink.write(bytes, (error) => (error ? reject(error) : resolve())));
  };
  try {
    if (gathered !== null) await put(gathered);
    else for await (const chunk of response) await put(chunk as Buffer);
  } catch {
    throw new Failure('peer_failed', 'the answer broke off; what came of it is charged');
  } finally {
    if (sink !== null) {
      sink.end();
      await finished(sink);
    }
  }
}
