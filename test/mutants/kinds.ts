/**
 * Every kind of lie: what a sequencer may change in an honest batch before it posts it. A kind that does not fit a batch, or that by chance
 * changes nothing of what the batch comes to, answers null.
 */
import { type Hex, concat, hex, readUint, writeUint } from '../../protocol/bytes.ts';
import {
  Agent,
  Capability,
  Escrow,
  type Field,
  Head,
  Inbox,
  META_HEAD,
  META_INBOX,
  META_PEERS,
  MessageCell,
  OUTBOX_WITHDRAWAL,
  Outbox,
  Peer,
  REGION_SLOTS,
  Region,
  Service,
  Session,
  Workflow,
  get,
} from '../../protocol/cells.ts';
import { commitment, tickFrame } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { ackFrame, receiveFrame } from '../../protocol/messages.ts';
import { encodeBundleBody } from '../../protocol/bundle.ts';
import { Shards } from '../../protocol/shards.ts';
import type { Random } from '../reference/random.ts';
import { type Batch, type DisputeWorld, type Frame, SHARDS, placed } from './world.ts';

export interface Mutant extends Batch {
  /** The true commitment after each of its steps. */
  readonly truth: readonly Hex[];
  /** An honest batch to be posted before it. */
  readonly first?: Batch;
}
type Kind = (world: DisputeWorld, number: number, random: Random) => Mutant | null;

/** Frames are kept as places in the shards' logs: who inserts or drops one moves those behind it. */
function renumber(frames: readonly Frame[], honest: readonly Frame[]): Frame[] {
  const next = new Map<number, number>();
  for (const { shard, seq } of honest.toReversed()) next.set(shard, seq);
  return frames.map(({ shard, frame }) => {
    const seq = next.get(shard) ?? 0;
    next.set(shard, seq + 1);
    return { shard, seq, frame };
  });
}

/** Other data under the honest `post`. */
const data =
  (change: (frames: Frame[], random: Random) => readonly Frame[] | null): Kind =>
  (world, number, random) => {
    const honest = world.batches[number - 1];
    const frames = change([...honest.frames], random);
    if (!frames || frames.length === 0 || frames.some(({ frame }) => frame.length === 0)) return null;
    const { after } = world.run(world.before(number), frames);
    if (after.at(-1) === honest.header.post) return null;
    const { steps, dataRoot } = world.carriage.seal(placed(frames));
    return { frames, truth: after, header: { ...honest.header, steps, dataRoot: hex(dataRoot) } };
  };

/** Other data, and truly what it comes to: wrong by what L1 knows besides. */
const told =
  (change: (frames: Frame[], random: Random, world: DisputeWorld) => readonly Frame[] | null): Kind =>
  (world, number, random) => {
    const honest = world.batches[number - 1];
    const frames = change([...honest.frames], random, world);
    if (!frames || frames.length === 0) return null;
    const { shards, after } = world.run(world.before(number), frames);
    const header = world.header(number - 1, frames, after.at(-1)!, shards);
    return { frames, truth: after, header: { ...header, inboxCursor: honest.header.inboxCursor } };
  };

/** Honest data, and a state in which a field of a cell is another. */
const state =
  (
    region: number,
    field: Field,
    pick?: (world: DisputeWorld, shards: Shards, random: Random) => [number, number] | null,
  ): Kind =>
  (world, number, random) => {
    const honest = world.batches[number - 1];
    const { shards, after } = world.run(world.before(number), honest.frames);
    const place = pick ? pick(world, shards, random) : anyCell(shards, region, random);
    if (!place) return null;
    const [shard, slot] = place;
    const cell = shards.engine(shard).trie.edit(region, slot);
    const width = Math.min(field.width, 6);
    const at = field.at + field.width - width;
    writeUint(cell, at, width, (readUint(cell, at, width) + 1 + random.below(3)) % 256 ** width);
    return { ...honest, truth: after, header: { ...honest.header, post: hex(commitment(shards.tree().root())) } };
  };

/** A cell of a region that something was written to. */
function anyCell(shards: Shards, region: number, random: Random): [number, number] | null {
  const found: [number, number][] = [];
  for (const { shard, trie } of shards.engines)
    for (let slot = 0; slot < Math.min(512, REGION_SLOTS); slot++)
      if (trie.read(region, slot).some((byte) => byte !== 0)) found.push([shard, slot]);
  return found.length > 0 ? random.pick(found) : null;
}
const at =
  (slot: number, shards = SHARDS) =>
  (_world: DisputeWorld, _shards: Shards, random: Random): [number, number] => [random.below(shards), slot];

/** The honest batch under a header that says something else. */
const header =
  (change: (header: Batch['header'], random: Random, truth: readonly Hex[]) => Partial<Batch['header']> | null): Kind =>
  (world, number, random) => {
    const honest = world.batches[number - 1];
    const { after } = world.run(world.before(number), honest.frames);
    const changed = change(honest.header, random, after);
    return changed && { ...honest, truth: after, header: { ...honest.header, ...changed } };
  };

const indexOf = (frames: readonly Frame[], random: Random, fits: (frame: Uint8Array) => boolean): number => {
  const fitting = [...frames.keys()].filter((i) => fits(frames[i].frame));
  return fitting.length > 0 ? random.pick(fitting) : -1;
};
const isKind =
  (kind: number) =>
  (frame: Uint8Array): boolean =>
    frame[0] === kind;
const isTick = (frame: Uint8Array): boolean => frame[0] === 1 && frame.length === 5;
const TICK = 1;
const ITEM = 2;
const RECEIVE = 3;
const ACK = 4;
const BUNDLE = 0x10;

/** Changes the bytes of a random frame of a kind. */
const edited =
  (fits: (frame: Uint8Array) => boolean, edit: (frame: Uint8Array, random: Random) => Uint8Array | null) =>
  (frames: Frame[], random: Random): Frame[] | null => {
    const i = indexOf(frames, random, fits);
    const frame = i < 0 ? null : edit(frames[i].frame.slice(), random);
    return frame && frames.with(i, { ...frames[i], frame });
  };
const flip =
  (from: number) =>
  (frame: Uint8Array, random: Random): Uint8Array | null => {
    if (frame.length <= from) return null;
    frame[from + random.below(frame.length - from)] ^= 1 << random.below(8);
    return frame;
  };
const dropped =
  (fits: (frame: Uint8Array) => boolean) =>
  (frames: Frame[], random: Random): Frame[] | null => {
    const i = indexOf(frames, random, fits);
    return i < 0 ? null : renumber(frames.toSpliced(i, 1), frames);
  };
/** Adds a frame somewhere. */
const added =
  (make: (frames: readonly Frame[], random: Random) => { shard: number; frame: Uint8Array } | null) =>
  (frames: Frame[], random: Random): Frame[] | null => {
    const made = make(frames, random);
    return made && renumber(frames.toSpliced(random.below(frames.length + 1), 0, { ...made, seq: 0 }), frames);
  };
const again =
  (fits: (frame: Uint8Array) => boolean) =>
  (frames: Frame[], random: Random): Frame[] | null => {
    const i = indexOf(frames, random, fits);
    return i < 0 ? null : renumber(frames.toSpliced(i + 1, 0, frames[i]), frames);
  };

/** A bundle that nobody signed, and a state in which it was executed. */
const forged: Kind = (world, number) => {
  const honest = world.batches[number - 1];
  const before = world.before(number);
  const rich = 256;
  const { shards: known } = world.run(before, honest.frames);
  const { machine, seq } = known.engine(0);
  if (!machine.agentExists(rich) || machine.balance(rich) < 5) return null;
  const nonce = get(machine.readAgent(rich), Agent.nonce);
  const body = encodeBundleBody({ actor: rich, nonce, expiry: 0xf0000000 }, [
    { op: 'transfer', to: 2 * 256, amount: 5 },
  ]);
  const frames = [...honest.frames, { shard: 0, seq, frame: concat(body, new Uint8Array(64).fill(1)) }];
  const { after } = world.run(before, frames);
  const believing = new Shards({ shards: SHARDS, signing: world.signing, verify: () => true });
  for (const { shard, seq: place, frame } of [...before, ...frames]) believing.engine(shard).run(place, frame);
  const post = hex(commitment(believing.tree().root()));
  if (post === after.at(-1)) return null;
  const { steps, dataRoot } = world.carriage.seal(placed(frames));
  return { frames, truth: after, header: { ...honest.header, post, steps, dataRoot: hex(dataRoot) } };
};

/** A withdrawal that nobody earned. */
const unearned: Kind = (world, number, random) => {
  const honest = world.batches[number - 1];
  const { shards, after } = world.run(world.before(number), honest.frames);
  const shard = random.below(SHARDS);
  const serial = get(shards.engine(shard).machine.head(), Head.outbox) + 1;
  const cell = shards.engine(shard).trie.edit(Region.outbox, serial);
  writeUint(cell, Outbox.kind.at, Outbox.kind.width, OUTBOX_WITHDRAWAL);
  writeUint(cell, Outbox.serial.at, 6, serial);
  cell.set(random.bytes(20), Outbox.recipient.at);
  writeUint(cell, Outbox.amount.at, 7, 1_000);
  return { ...honest, truth: after, header: { ...honest.header, post: hex(commitment(shards.tree().root())) } };
};

/** A message sent by the end of one batch, and still not received at the end of the next. */
const late: Kind = (world, number, random) => {
  const honest = world.batches[number - 1];
  const received = indexOf(honest.frames, random, isKind(RECEIVE));
  if (received < 1) return null;
  const own = honest.frames.slice(0, received);
  const before = world.before(number);
  const one = world.run(before, own);
  const first = { frames: own, header: world.header(number - 1, own, one.after.at(-1)!, one.shards) };
  const shard = random.below(SHARDS);
  const frames = [{ shard, seq: one.shards.engine(shard).seq, frame: Uint8Array.of(0x77) }];
  const two = world.run([...before, ...own], frames);
  const next = world.header(number - 1, frames, two.after.at(-1)!, two.shards);
  return {
    first,
    frames,
    truth: two.after,
    header: { ...next, ...world.after(first.header), timeFrom: first.header.timeFrom, timeTo: first.header.timeTo },
  };
};

/** A batch that ends between the ticks of two shards, and calls the first's its earliest time. */
const clock: Kind = (world, number, random) => {
  const honest = world.batches[number - 1];
  const i = indexOf(honest.frames, random, isTick);
  if (i < 0) return null;
  const frames = honest.frames.slice(0, i + 1);
  const { shards, after } = world.run(world.before(number), frames);
  const time = readUint(honest.frames[i].frame, 1, 4);
  const isBehind = Array.from(shards.engines).some(({ machine, seq }) => seq > 0 && machine.time < time);
  const all = frames.filter(({ frame }) => isTick(frame)).map(({ frame }) => readUint(frame, 1, 4));
  if (!isBehind || all.some((other) => other < time)) return null;
  return {
    frames,
    truth: after,
    header: { ...world.header(number - 1, frames, after.at(-1)!, shards), timeFrom: time },
  };
};

const slot = { head: at(META_HEAD), inbox: at(META_INBOX, 1) };
const peer = (_world: DisputeWorld, _shards: Shards, random: Random): [number, number] => {
  const shard = random.below(SHARDS);
  return [shard, META_PEERS + (1 - shard)];
};

export const KINDS: Readonly<Record<string, Kind>> = {
  // --- the data is another than the state is of ---
  'a bit of a bundle': data(edited(isKind(BUNDLE), flip(1))),
  'a bit of a signature': data(edited(isKind(BUNDLE), (frame, random) => flip(frame.length - 64)(frame, random))),
  'a bit of an item': data(edited(isKind(ITEM), flip(1))),
  'a bit of a message': data(edited(isKind(RECEIVE), flip(1))),
  'a bit of an acknowledgement': data(edited(isKind(ACK), flip(1))),
  'the time of a tick': data(
    edited(isTick, (frame, random) => (writeUint(frame, 1, 4, readUint(frame, 1, 4) + 1 + random.below(9)), frame)),
  ),
  'a bundle cut short': data(edited(isKind(BUNDLE), (frame) => frame.slice(0, -1))),
  'a bundle with a byte more': data(edited(isKind(BUNDLE), (frame) => concat(frame, Uint8Array.of(0)))),
  'a bundle of another count': data(
    edited(isKind(BUNDLE), (frame, random) => ((frame[1] ^= 1 << random.below(8)), frame)),
  ),
  'a frame of no kind': data(
    edited(
      () => true,
      (_, random) => concat(Uint8Array.of(0x20), random.bytes(5)),
    ),
  ),
  'a bundle left out': data(dropped(isKind(BUNDLE))),
  'an item left out': data(dropped(isKind(ITEM))),
  'a message left out': data(dropped(isKind(RECEIVE))),
  'a tick left out': data(dropped(isKind(TICK))),
  'the end left out': data((frames, random) => frames.slice(0, 1 + random.below(frames.length - 1))),
  'a bundle invented': data(
    added((frames, random) => ({
      shard: 0,
      frame: concat(frames.find(({ frame }) => frame[0] === BUNDLE)?.frame ?? Uint8Array.of(9), random.bytes(1)),
    })),
  ),
  'a message invented': data(
    added((_, random) => ({ shard: 1, frame: receiveFrame(0, concat(Uint8Array.of(4), random.bytes(24))) })),
  ),
  'an acknowledgement invented': data(added((_, random) => ({ shard: 0, frame: ackFrame(1, 1 + random.below(500)) }))),
  'a tick invented': data(added((_, random) => ({ shard: random.below(SHARDS), frame: tickFrame(2_000_000_000) }))),
  'a bundle twice': data(again(isKind(BUNDLE))),
  'a message twice': data(again(isKind(RECEIVE))),
  'an item twice': data(again(isKind(ITEM))),
  'two frames in each other’s place': data((frames, random) => {
    const i = random.below(frames.length);
    const j = frames.findIndex(({ shard }, k) => k > i && shard === frames[i].shard);
    if (j < 0) return null;
    const [one, two] = [frames[i], frames[j]];
    return frames.with(i, { ...one, frame: two.frame }).with(j, { ...two, frame: one.frame });
  }),
  'a frame of another shard': data((frames, random) => {
    const i = random.below(frames.length);
    return frames.with(i, { ...frames[i], shard: 1 - frames[i].shard });
  }),
  'a frame of a shard that is not there': data((frames, random) => {
    const i = random.below(frames.length);
    return frames.with(i, { ...frames[i], shard: 2 + random.below(254) });
  }),
  'a frame at another place': data((frames, random) => {
    const i = random.below(frames.length);
    return frames.with(i, { ...frames[i], seq: frames[i].seq + 1 + random.below(3) });
  }),
  'a bundle that nobody signed': forged,
  // --- the data is true, and not what L1 knows ---
  'an item altered, and told': told(edited(isKind(ITEM), flip(30))),
  'an item left out, and told': told(dropped(isKind(ITEM))),
  'an item twice, and told': told(again(isKind(ITEM))),
  'a message received too late': late,
  'a clock left behind': clock,
  'a tick after the latest time': header(({ timeTo, timeFrom }) => (timeTo > timeFrom ? { timeTo: timeTo - 1 } : null)),
  'a tick before the earliest time': header(({ timeTo, timeFrom }) =>
    timeTo > timeFrom ? { timeFrom: timeFrom + 1 } : null,
  ),
  'items not consumed that it says are': header(({ inboxCursor }) => ({ inboxCursor: inboxCursor + 1 })),
  // --- the state is another than the data comes to ---
  'no state at all': header((_, random) => ({ post: hex(keccak(random.bytes(8))) })),
  'the state before': header(({ pre, post }) => (pre === post ? null : { post: pre })),
  'a state on the way': header((_, random, truth) => {
    const post = random.pick(truth);
    return post === truth.at(-1) ? null : { post };
  }),
  'a state inside a bundle': (world, number) => {
    const honest = world.batches[number - 1];
    const { shards, after } = world.run(world.before(number), honest.frames);
    return { ...honest, truth: after, header: { ...honest.header, post: hex(commitment(shards.tree().root(), 1)) } };
  },
  'a withdrawal never earned': unearned,
  'another balance': state(Region.agent, Agent.balance),
  'another stake': state(Region.agent, Agent.stake),
  'another nonce': state(Region.agent, Agent.nonce),
  'another owner': state(Region.agent, Agent.owner),
  'calls never completed': state(Region.agent, Agent.completed),
  'a failure forgotten': state(Region.agent, Agent.failed),
  'another rating': state(Region.agent, Agent.ratingSum),
  'another machine key': state(Region.key, { at: 0, width: 32 } as Field),
  'another ceiling': state(Region.service, Service.ceiling),
  'another limit': state(Region.capability, Capability.limit),
  'a budget not used': state(Region.capability, Capability.used),
  'another payment in a session': state(Region.session, Session.paidAB, quad(Region.session)),
  'another deposit of a session': state(Region.session, Session.depositB, quad(Region.session)),
  'another status of an escrow': state(Region.escrow, Escrow.status),
  'another amount of an escrow': state(Region.escrow, Escrow.amount),
  'another recipient of a withdrawal': state(Region.outbox, Outbox.recipient),
  'another amount of a withdrawal': state(Region.outbox, Outbox.amount),
  'another status of a workflow': state(Region.workflow, Workflow.status, quad(Region.workflow)),
  'another message': state(Region.message, MessageCell.hash),
  'another clock': state(Region.meta, Head.time, slot.head),
  'frames never run': state(Region.meta, Head.seq, slot.head),
  'serials never given': state(Region.meta, Head.escrows, slot.head),
  'money burned': state(Region.meta, Head.burned, slot.head),
  'items never consumed': state(Region.meta, Inbox.cursor, slot.inbox),
  'messages never sent': state(Region.meta, Peer.sent, peer),
  'messages never received': state(Region.meta, Peer.received, peer),
};

/** The first cell of a quad that holds a record. */
function quad(region: number): (world: DisputeWorld, shards: Shards, random: Random) => [number, number] | null {
  return (_world, shards, random) => {
    const place = anyCell(shards, region, random);
    return place && [place[0], place[1] - (place[1] % 4)];
  };
}
