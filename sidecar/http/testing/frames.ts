/** Test help: frames of HTTP/2 by hand (RFC 9113 §4, RFC 7541): what no well-meaning library would send. */
import net from 'node:net';

export const DATA = 0;
export const HEADERS = 1;
export const PRIORITY = 2;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const PING = 6;
export const GOAWAY = 7;
export const WINDOW_UPDATE = 8;
export const CONTINUATION = 9;
/** Flags: of SETTINGS it acknowledges. */
export const END = 1;
export const END_HEADERS = 4;

type Pairs = readonly (readonly [string, string])[];

export const frame = (type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array(0)): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
/** One setting. */
export const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.from([0, id]), u32(value)]);

/** A string of HPACK without Huffman, so that any byte can stand anywhere (RFC 7541 §5.2). */
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, 'latin1');
  if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  const length = [127];
  let rest = bytes.length - 127;
  for (; rest >= 128; rest >>= 7) length.push((rest & 127) | 128);
  return Buffer.concat([Buffer.from([...length, rest]), bytes]);
};
/** Fields as literals; `first` 0x40 has each remembered, so that one byte says it again. */
export const literals = (fields: Pairs, first = 0): Buffer =>
  Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([first]), text(name), text(value)]));
/** The field remembered last, so many times. */
export const again = (times: number): Buffer => Buffer.alloc(times, 0x80 | 62);

export const PREFACE: Buffer = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(SETTINGS, 0, 0)]);
export const HEAD: Pairs = [
  [':method', 'POST'],
  [':path', '/p'],
  [':scheme', 'http'],
  [':authority', 'x'],
];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  /** Of RST_STREAM and GOAWAY, else −1. */
  readonly code: number;
}

/** Frames out of bytes as they come. */
export function reader(onFrame: (frame: Frame) => void): (chunk: Buffer) => void {
  let data = Buffer.alloc(0);
  return (chunk) => {
    data = Buffer.concat([data, chunk]);
    while (data.length >= 9 && data.length >= 9 + data.readUIntBE(0, 3)) {
      const length = data.readUIntBE(0, 3);
      const [type, flags, stream] = [data[3], data[4], data.readUInt32BE(5)];
      const payload = data.subarray(9, 9 + length);
      const code = type === RST_STREAM ? payload.readUInt32BE(0) : type === GOAWAY ? payload.readUInt32BE(4) : -1;
      data = data.subarray(9 + length);
      onFrame({ type, flags, stream, code });
    }
  };
}

/** Frames of the server's answer to these bytes, until it hangs up, goes quiet, or has answered a stream. */
export function frames(port: number, bytes: readonly Buffer[]): Promise<Frame[]> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      for (const part of [PREFACE, ...bytes]) socket.write(part);
    });
    const got: Frame[] = [];
    const timer = setTimeout(() => socket.destroy(), 5000);
    const read = reader((one) => {
      got.push(one);
      const { type, flags } = one;
      if (type === RST_STREAM || type === GOAWAY || (type < 2 && (flags & END) === END)) socket.destroy();
    });
    socket.on('data', read);
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(got);
    });
  });
}
