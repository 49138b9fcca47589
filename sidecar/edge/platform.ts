/** Sockets and requests to the gateway by the platform's own `fetch`. */
import { abortSignalOf } from '../../protocol/aborts.ts';
import type { ExchangeRequest, ExchangeResponse } from '../../protocol/exchange.ts';
import { refusal } from '../errors.ts';
import { type Header, checkHeaders } from '../http/headers.ts';
import { type Dial, socketUrl } from '../identity.ts';
import { packetSocket } from '../session/index.ts';
import { chunksOf } from '../../protocol/streams.ts';
import { bodyOf, headersOf } from './bodies.ts';

/** A socket as an answer brings it: silent until it is accepted. */
type Upgraded = Response & { readonly webSocket: (WebSocket & { accept(): void }) | null };

/** {@link Dial} of a Worker. */
export const dial: Dial = async (base, room, identity) => {
  const url = await socketUrl(base, room, identity);
  let answer: Upgraded;
  try {
    answer = (await fetch(url, { headers: { upgrade: 'websocket' } })) as Upgraded;
  } catch (cause) {
    throw refusal('gateway_unavailable', `the gateway can't be reached for the socket ${room}`, cause);
  }
  const { webSocket, status } = answer;
  if (webSocket === null || webSocket === undefined) {
    await answer.body?.cancel();
    throw refusal('gateway_unavailable', `the gateway refused the socket ${room}: ${status}`);
  }
  const socket = packetSocket(webSocket as unknown as Parameters<typeof packetSocket>[0]);
  return {
    ...socket,
    listen: (onPacket, onClose) => {
      socket.listen(onPacket, onClose);
      webSocket.accept();
    },
  };
};

/** Streams one exchange to the gateway and back. Rejects with a coded error; a body that breaks off throws `peer_failed`. */
export async function send(base: string, request: ExchangeRequest): Promise<ExchangeResponse> {
  checkHeaders(request.headers);
  const failure = (code: string, cause: unknown): Error =>
    request.signal.aborted
      ? refusal('cancelled', 'the caller went away', cause)
      : refusal(
          code,
          code === 'peer_failed' ? 'the gateway broke off the exchange' : "the gateway can't be reached",
          cause,
        );
  const init = {
    method: request.method,
    headers: request.headers.map(([name, value]): [string, string] => [name, value]),
    body: bodyOf(request),
    signal: abortSignalOf(request.signal),
    redirect: 'manual',
    duplex: 'half',
  } as const;
  let answer: Response;
  try {
    answer = await fetch(base + request.target, init as RequestInit);
  } catch (cause) {
    throw failure('gateway_unavailable', cause);
  }
  const body = {
    async *[Symbol.asyncIterator]() {
      try {
        yield* chunksOf(answer.body);
      } catch (cause) {
        throw failure('peer_failed', cause);
      }
    },
  };
  const headers: readonly Header[] = headersOf(answer.headers);
  return { status: answer.status, headers, body };
}
