/**
 * The name that a TLS client asks for, read from its ClientHello and from nothing else of the connection. Total: any bytes are a name, too few, or a
 * coded error. With ECH (or its grease) it is the outer name that is read: the one that is looked up, checked and connected to.
 * @see https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2 https://www.rfc-editor.org/rfc/rfc6066#section-3
 */
import { refusal } from '../errors.ts';

/** First byte of a TLS record that holds a handshake; no request of HTTP begins so. */
export const HANDSHAKE = 0x16;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
/** Largest record (RFC 8446 §5.1), and most bytes of a hello that are read: those with post-quantum shares have two thousand. */
const MAX_RECORD = 16_384;
const MAX_HELLO = 16_384;

const bad = (what: string): Error => refusal('bad_request', `this is no TLS that can be read: ${what}`);

/** Reads numbers and vectors one after the other. Throws `bad_request` past the end. */
class Cursor {
  readonly #bytes: Buffer;
  #at = 0;
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }
  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }
  take(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw bad('a length goes past the end');
    return this.#bytes.subarray(this.#at, (this.#at += length));
  }
  number(size: number): number {
    return this.take(size).readUIntBE(0, size);
  }
  /** A vector, behind its length of `size` bytes. */
  vector(size: number): Buffer {
    return this.take(this.number(size));
  }
}

/** The ClientHello out of the records it came in; null while it is not whole. */
function gatherHello(bytes: Buffer): Buffer | null {
  const parts: Buffer[] = [];
  let gathered = 0;
  for (let at = 0; bytes.length >= at + 5;) {
    const length = bytes.readUInt16BE(at + 3);
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3) throw bad('it begins with no handshake');
    if (length === 0 || length > MAX_RECORD) throw bad('a record is empty or too long');
    const part = bytes.subarray(at + 5, at + 5 + length);
    parts.push(part);
    gathered += part.length;
    at += 5 + length;
    if (gathered < 4) continue;
    const all = Buffer.concat(parts);
    if (all[0] !== CLIENT_HELLO) throw bad('it begins with no ClientHello');
    const end = 4 + all.readUIntBE(1, 3);
    if (end > MAX_HELLO) throw bad('its ClientHello is too long');
    if (gathered >= end) return all.subarray(4, end);
  }
  // Records may be as small as a byte, and a hello as slow as the connection may be.
  if (bytes.length > 2 * MAX_HELLO) throw bad('its ClientHello is too long');
  return null;
}

/** The name in a `server_name` extension. */
function readName(extension: Buffer): string {
  const list = new Cursor(new Cursor(extension).vector(2));
  const type = list.number(1);
  const name = list.vector(2).toString('latin1');
  if (type !== HOST_NAME || name === '' || !list.isAtEnd) throw bad('its server name is not one name of a host');
  return name;
}

/**
 * The host that a connection of TLS asks for, as it wrote it; null while its ClientHello is not whole. Throws `bad_request` for what is no
 * ClientHello, `egress_denied` for one that names nobody.
 */
export function readServerName(bytes: Buffer): string | null {
  const body = gatherHello(bytes);
  if (body === null) return null;
  const hello = new Cursor(body);
  hello.take(2 + 32);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  const extensions = hello.isAtEnd ? null : new Cursor(hello.vector(2));
  if (!hello.isAtEnd) throw bad('its ClientHello is longer than it says');
  let name: string | null = null;
  while (extensions?.isAtEnd === false) {
    const type = extensions.number(2);
    const extension = extensions.vector(2);
    if (type !== SERVER_NAME) continue;
    if (name !== null) throw bad('it names two servers');
    name = readName(extension);
  }
  if (name === null)
    throw refusal('egress_denied', 'TLS without a server name (SNI) goes nowhere: nobody knows whom it is for');
  return name;
}
