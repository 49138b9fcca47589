import { expect, test } from 'vitest';
import { PacketType, encodeHello } from '../../protocol/packet.ts';
import { presenceIn } from './presence.ts';
import { Pipe } from './testing.ts';
import type { Role } from './types.ts';

const HELLO = encodeHello({ halves: [], credit: 0 });

/** A party that only writes down what it hears. */
function listen(pipe: Pipe, role: Role) {
  const heard: string[] = [];
  const socket = pipe.socket(role);
  socket.listen(
    (packet) => heard.push(presenceIn(packet) ?? (packet[0] === PacketType.hello ? 'hello' : '?')),
    () => heard.push('closed'),
  );
  return { socket, heard };
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** As the relay has it, and as the endpoints count on (docs/protocol.md §8): found by a schedule in which they never met. */
test('a hello said to who was there before, or of a pairing that is over, reaches nobody who came since', async () => {
  const pipe = new Pipe();
  const before = listen(pipe, 'a');
  const b = listen(pipe, 'b');
  await turn();
  // On its way to the one, when another comes in its place.
  b.socket.send(HELLO);
  pipe.cut('a');
  const after = listen(pipe, 'a');
  await turn();
  // Due to that one, and said when a third is there that b has not heard of.
  pipe.cut('a');
  const last = listen(pipe, 'a');
  b.socket.send(HELLO);
  await turn();
  b.socket.send(HELLO);
  await turn();
  expect(before.heard).toEqual(['peer_online', 'closed']);
  expect(after.heard).toEqual(['peer_online', 'closed']);
  expect(last.heard).toEqual(['peer_online', 'hello']);
  expect(b.heard).toEqual(['peer_online', 'peer_offline', 'peer_online', 'peer_offline', 'peer_online']);
});
