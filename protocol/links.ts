/**
 * What ties a shard's frames to other shards' frames (schedule.ts), written down with every chunk: settlement puts
 * the trace in order by these, without executing anything.
 */
import { Reader, Writer } from './bytes.ts';
import { Peer } from './cells.ts';
import type { Machine } from './machine.ts';
import { type SentMessage, SystemFrame } from './messages.ts';
import type { Link } from './schedule.ts';
import { Status } from './status.ts';

const KINDS = ['sent', 'received', 'congested', 'acked'] as const satisfies readonly Link['kind'][];

/** Links of the frame that has just run on `machine`: `status` of its first step, `sent` the messages it sent. */
export function linksOf(
  machine: Machine,
  seq: number,
  frame: Uint8Array,
  status: number,
  sent: readonly SentMessage[],
): Link[] {
  const links: Link[] = [];
  if (frame[0] === SystemFrame.receive && isFound(machine, frame, status)) {
    const received = Peer.received.get(machine.cells, machine.peer(frame[1]));
    const isLeft = status === Status.congested;
    const kind = isLeft ? 'congested' : 'received';
    links.push({ seq, kind, peer: frame[1], number: isLeft ? received + 1 : received });
  } else if (frame[0] === SystemFrame.ack && status === Status.ok) {
    links.push({ seq, kind: 'acked', peer: frame[1], number: new Reader(frame, 2).uint(6) });
  }
  // The last to each peer says it for all.
  const last = new Map(sent.map(({ to, number }) => [to, number]));
  for (const [peer, number] of last) links.push({ seq, kind: 'sent', peer, number });
  return links;
}

/** Whether a receive frame found its message: a payload that nobody can have written is `malformed` and received, a frame from nowhere only malformed. */
function isFound({ shard, shards }: Machine, frame: Uint8Array, status: number): boolean {
  if (status === Status.no_message || status === Status.out_of_order) return false;
  return frame.length > 1 && frame[1] !== shard && frame[1] < shards;
}

/** Links of frames from `firstSeq` on, in the order of the log: four or five bytes each. */
export function encodeLinks(firstSeq: number, links: readonly Link[]): Uint8Array {
  const writer = new Writer();
  const numbers = new Map<number, number>();
  let at = firstSeq;
  for (const { seq, kind, peer, number } of links) {
    const which = KINDS.indexOf(kind) * 256 + peer;
    writer
      .varint(seq - at)
      .u8(KINDS.indexOf(kind))
      .u8(peer)
      // Numbers of one kind and peer only grow.
      .varint(number - (numbers.get(which) ?? 0));
    numbers.set(which, number);
    at = seq;
  }
  return writer.finish();
}

/** Inverse of {@link encodeLinks}. */
export function decodeLinks(firstSeq: number, bytes: Uint8Array): Link[] {
  const reader = new Reader(bytes);
  const numbers = new Map<number, number>();
  const links: Link[] = [];
  let seq = firstSeq;
  while (reader.left > 0) {
    seq += reader.varint();
    const kind = reader.u8();
    const peer = reader.u8();
    const number = (numbers.get(kind * 256 + peer) ?? 0) + reader.varint();
    numbers.set(kind * 256 + peer, number);
    links.push({ seq, kind: KINDS[kind], peer, number });
  }
  return links;
}
