/** Brings a trace to rest: all messages delivered, all deadlines passed, all legs told. */
import { Writer } from '../../protocol/bytes.ts';
import { ESCROW_STATUS, HEAD, PEER, be } from './cells.ts';
import type { Trace } from './generate.ts';
import { survey } from './survey.ts';
import { place } from './world.ts';

/** First time no tick may have. */
const TIME_ENDS = 0xf0000000;

const LIVE = new Set<bigint>([
  ESCROW_STATUS.open,
  ESCROW_STATUS.held,
  ESCROW_STATUS.contested,
  ESCROW_STATUS.waiting,
  ESCROW_STATUS.sent,
]);

/** Delivers every message and acknowledges it, until none is left. */
export function deliver(trace: Trace): void {
  for (let moved = true; moved;) {
    moved = false;
    for (let from = 0; from < trace.shards; from++)
      for (let to = 0; to < trace.shards; to++) {
        if (from === to) continue;
        for (let { payload } = trace.pending(from, to); payload; { payload } = trace.pending(from, to)) {
          const before = trace.pending(from, to).number;
          trace.give(to, Uint8Array.of(0x03, from, ...payload));
          if (trace.pending(from, to).number === before) break;
          moved = true;
        }
        const { world } = trace.reference;
        const { received } = world.read(place.peer(to, from), PEER);
        if (received > world.read(place.peer(from, to), PEER).acked) {
          trace.give(from, Uint8Array.of(0x04, to, ...be(6, received)));
          moved = true;
        }
      }
  }
}

/** Lets time pass and does what anybody may until nothing is open, held, waiting or untold; false when time ends first. */
export function settle(trace: Trace): boolean {
  const { world } = trace.reference;
  for (let left = 12; left > 0; left--) {
    deliver(trace);
    const { escrows, workflows } = survey(world);
    const live = escrows.filter(({ record }) => LIVE.has(record.status));
    const untold = workflows.filter(({ record }) => record.done !== record.told);
    if (live.length === 0 && untold.length === 0) return true;
    const dues = [...live, ...untold].map(({ record }) => record.deadline);
    const due = Number(dues.reduce((most, time) => (time > most ? time : most), 0n)) + 1;
    if (due >= TIME_ENDS) return false;
    for (let shard = 0; shard < trace.shards; shard++)
      if (due > Number(world.read(place.head(shard), HEAD).time))
        trace.give(shard, new Writer().u8(1).u32(due).finish());
    for (const { id, shard, record } of untold)
      for (let leg = 0; leg < Number(record.legs); leg++)
        trace.give(shard, Uint8Array.of(0x06, ...be(7, BigInt(id)), leg));
    for (const { id, shard } of live) trace.give(shard, Uint8Array.of(0x05, ...be(7, BigInt(id))));
  }
  throw new Error('something never ends');
}
