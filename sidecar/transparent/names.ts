/**
 * A name server to which every name is the sidecar: the whole of what leads an app without a proxy setting to it. It asks nobody, so that a name
 * carries nothing out. Answers fit one datagram; there is no TCP. Total: any bytes get an answer or none.
 * @see https://www.rfc-editor.org/rfc/rfc1035#section-4
 */
import dgram, { type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';

const HEADER = 12;
const MAX_NAME = 255;
const IN = 1;
const TYPE = { A: 1, PTR: 12, AAAA: 28, ANY: 255 };
const NO_ERROR = 0;
const FORMAT_ERROR = 1;
const NO_SUCH_NAME = 3;
const NOT_IMPLEMENTED = 4;
const REFUSED = 5;
/** Seconds: nothing ever changes here. */
const TTL = 60;

/** Where the one question of a message ends; null when it is none. */
function questionEnd(query: Buffer): number | null {
  let at = HEADER;
  for (;;) {
    if (at >= query.length) return null;
    const length = query[at];
    at += 1;
    if (length === 0) break;
    // Nothing stands before the first name that a pointer could point to.
    if (length > 63) return null;
    at += length;
  }
  return at - HEADER > MAX_NAME || at + 4 > query.length ? null : at + 4;
}

/** The bytes of an address, as records hold it. */
function bytesOf(address: string): Buffer {
  if (!isIPv6(address)) return Buffer.from(address.split('.').map(Number));
  // Of any spelling, the one with all its groups.
  const [head, tail] = new URL(`http://[${address}]`).hostname
    .slice(1, -1)
    .split('::')
    .map((half) => half.split(':').filter((group) => group !== ''));
  const zeros = tail === undefined ? [] : Array<string>(8 - head.length - tail.length).fill('0');
  return Buffer.from([...head, ...zeros, ...(tail ?? [])].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** The answer to a query where every name has `address`; null for what gets none. */
export function answerTo(query: Buffer, address: string): Buffer | null {
  // Answers are never answered: two servers would talk for ever.
  if (query.length < HEADER || (query[2] & 0x80) !== 0) return null;
  const end = query.readUInt16BE(4) === 1 ? questionEnd(query) : null;
  const reply = (code: number, records: readonly Buffer[] = []): Buffer => {
    const header = Buffer.alloc(HEADER);
    query.copy(header, 0, 0, 2);
    // An answer, of whom the name belongs to, to the same operation; recursion as it was wished, and available.
    header[2] = 0x84 | (query[2] & 0x79);
    header[3] = 0x80 | code;
    header.writeUInt16BE(end === null ? 0 : 1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, query.subarray(HEADER, end ?? HEADER), ...records]);
  };
  if ((query[2] & 0x78) !== 0) return reply(NOT_IMPLEMENTED);
  if (end === null) return reply(FORMAT_ERROR);
  if (query.readUInt16BE(end - 2) !== IN) return reply(REFUSED);
  const type = query.readUInt16BE(end - 4);
  if (type === TYPE.PTR) return reply(NO_SUCH_NAME);
  const own = isIPv6(address) ? TYPE.AAAA : TYPE.A;
  if (type !== own && type !== TYPE.ANY) return reply(NO_ERROR);
  const data = bytesOf(address);
  const record = Buffer.alloc(HEADER);
  // The name of the question.
  record.writeUInt16BE(0xc000 | HEADER, 0);
  record.writeUInt16BE(own, 2);
  record.writeUInt16BE(IN, 4);
  record.writeUInt32BE(TTL, 6);
  record.writeUInt16BE(data.length, 10);
  return reply(NO_ERROR, [Buffer.concat([record, data])]);
}

/** Answers at an address, with that address. Resolves with the socket once it listens; rejects when it can't. */
export function serveNames(address: string, port: number, onError: (error: unknown) => void): Promise<Socket> {
  const socket = dgram.createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  socket.on('message', (query, { address: from, port: to }) => {
    const answer = answerTo(query, address);
    // Who asks and does not wait for it has lost it, as with any datagram.
    if (answer !== null) socket.send(answer, to, from, () => {});
  });
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => {
      socket.off('error', reject);
      socket.on('error', onError);
      resolve(socket);
    });
  });
}
