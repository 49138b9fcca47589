/** `CONNECT host:port` at the port of HTTP: the first bytes of a connection say whether it is one, and what follows its head is the tunnel's. */
import { STATUS_CODES } from '../http/node.ts';
import type { Server, Socket } from 'node:net';
import { codeOf } from '../../protocol/errors.ts';
import { problemOf, refusal } from '../errors.ts';
import { divert, gather } from '../http/divert.ts';
import { tunnels } from '../http/tunnels.ts';
import { ESTABLISHED, type Egress } from './egress.ts';

const METHOD = 'CONNECT ';
const MAX_HEAD = 8192;
const END = Buffer.from('\r\n\r\n');
/** RFC 9112 §3.2.3, and nothing after it that would frame a body: a CONNECT has none. */
const HEAD = /^CONNECT ([^\s]+) HTTP\/1\.[01]\r\n((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*)\r\n$/;
/** A peer, by its name, for plain HTTP: some clients (Node's own fetch, gRPC's) tunnel that as well. */
const PEER = /^([A-Za-z0-9-]{1,63}\.agnt2):80$/i;
const FRAMED = /^(?:content-length|transfer-encoding):/im;

/** Has the tunnels of a server's clients opened by `egress`; those to peers, and every other connection, go where they would have gone. */
export function acceptTunnels(server: Server, egress: Egress, onError: (error: unknown) => void = () => {}): void {
  divert(server, {
    isOurs: (bytes) => {
      const first = bytes.toString('latin1', 0, METHOD.length);
      return first === METHOD || (METHOD.startsWith(first) ? null : false);
    },
    open: (socket, take) => open(socket, egress, take, onError),
    close: () => egress.close(),
  });
}

/** `take` reads a connection as HTTP. */
function open(socket: Socket, egress: Egress, take: () => void, onError: (error: unknown) => void): void {
  const refuse = (error: unknown): void => {
    if (codeOf(error) === 'internal') onError(error);
    const problem = problemOf(error);
    const body = JSON.stringify(problem);
    socket.on('error', () => socket.destroy());
    socket.end(
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}\r\ncontent-type: application/problem+json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    );
    socket.resume();
  };
  gather(
    socket,
    (bytes) => bytes.includes(END) || bytes.length > MAX_HEAD,
    (bytes) => {
      const end = bytes.indexOf(END) + END.length;
      const head = HEAD.exec(bytes.toString('latin1', 0, end));
      if (!head || end > MAX_HEAD || FRAMED.test(head[2]))
        return refuse(refusal('bad_request', 'this CONNECT is not valid HTTP/1.1'));
      const peer = PEER.exec(head[1])?.[1];
      if (peer === undefined) return void egress.tunnel(head[1], socket, bytes.subarray(end)).catch(refuse);
      // Such a tunnel ends here, and what comes through it is read as any request.
      tunnels.set(socket, peer.toLowerCase());
      socket.write(ESTABLISHED);
      if (bytes.length > end) socket.unshift(bytes.subarray(end));
      take();
    },
  );
}
