/** Logs that come back to who lost them: however long, a piece at a time; and false ones are built on by nobody. */
import { describe, expect, test } from 'vitest';
import { CALL_RECORD_BYTES, encodeCallRecord } from '../../protocol/call.ts';
import { leafHash, sha, Frontier, verifyInclusion } from '../../protocol/log.ts';
import { PacketType, decodeRecords, encodeRecords } from '../../protocol/packet.ts';
import { HIGH_WATER } from '../../protocol/parts.ts';
import { READ_RECORDS } from './ledger.ts';
import { type DirectionSnapshot, MemoryStore } from './store.ts';
import { type Party, Pipe, endpoint, parties, request, signing, text, until } from './testing.ts';
import type { PacketSocket } from './types.ts';

const PRICE = 2;
/** More than the pieces that fit into what a socket holds back. */
const CALLS = 8 * READ_RECORDS + 1;

/** Counts what is handed out at once, and how far its log is ahead of the frontier, which is what a ledger has in memory. */
class CountingStore extends MemoryStore {
  mostRead = 0;
  mostAhead = 0;
  override records(...args: Parameters<MemoryStore['records']>): Uint8Array[] {
    const records = super.records(...args);
    this.mostRead = Math.max(this.mostRead, records.length);
    return records;
  }
  override save(dir: 0 | 1, snapshot: DirectionSnapshot): void {
    super.save(dir, snapshot);
    this.mostAhead = Math.max(this.mostAhead, this.count(dir) - snapshot.leaves);
  }
}

/** What both stores have after so many calls of a to b, without making them. */
async function called(a: Party, b: Party, session: number, calls: number): Promise<void> {
  const frontier = new Frontier(sha);
  const records = Array.from({ length: calls }, (_, index) => {
    const hash = sha(Uint8Array.of(index, index >> 8, index >> 16));
    const record = { index, requestHash: hash, responseHash: hash, price: PRICE, status: 200, timeMs: index };
    const bytes = encodeCallRecord(record);
    frontier.append(bytes);
    return bytes;
  });
  const half = { session, dir: 0 as const, seq: 1, calls, paid: calls * PRICE, root: frontier.root() };
  const signed = {
    half,
    payer: await a.key.sign(signing.half(half)),
    payee: await b.key.sign(signing.half(half)),
  };
  for (const { store } of [a, b]) {
    store.append(0, 0, records);
    const { stack, size } = frontier;
    store.save(0, { half: signed, receipt: signed, stack, leaves: size, sum: half.paid, allowance: 0 });
  }
}

/** A socket that takes its time: no records before it has more than enough of them, then a packet a turn of the clock. */
function slow(socket: PacketSocket) {
  const queue: Uint8Array[] = [];
  const seen = { bytes: 0, most: 0 };
  let full = false;
  const next = (): void => {
    full ||= seen.bytes > HIGH_WATER || queue.some(([type]) => type === PacketType.bind);
    if (full || queue[0][0] !== PacketType.records) {
      const packet = queue.shift()!;
      seen.bytes -= packet.length;
      socket.send(packet);
    }
    if (queue.length > 0) setTimeout(next, 5);
  };
  const slowed: PacketSocket = {
    ...socket,
    send: (packet) => {
      queue.push(packet);
      seen.bytes += packet.length;
      seen.most = Math.max(seen.most, seen.bytes);
      if (queue.length === 1) setTimeout(next, 5);
    },
    buffered: () => seen.bytes,
  };
  return { slowed, seen };
}

const PIECE_BYTES = READ_RECORDS * CALL_RECORD_BYTES + 2;

describe.each(['a', 'b'] as const)('a log that %s lost', (loser) => {
  test('comes back in pieces, as fast as the socket takes them, and again from the start after a cut', async () => {
    const { a, b, facts } = await parties();
    const party = { a, b };
    const keeper = loser === 'a' ? 'b' : 'a';
    const kept = (party[keeper].store = new CountingStore());
    await called(a, b, facts.session, CALLS);
    const back = (party[loser].store = new CountingStore());
    const pipe = new Pipe();
    const ends = { a: endpoint('a', a, facts), b: endpoint('b', b, facts) };
    let pieces = 0;
    const states: string[] = [];
    pipe.tap = (_, packet) => {
      if (packet[0] === PacketType.records && (pieces += 1) === 2) {
        states.push(ends.a.state, ends.b.state);
        pipe.cut(loser);
        void ends[loser].attach(pipe.socket(loser));
      }
      return packet;
    };
    const { slowed, seen } = slow(pipe.socket(keeper));
    void ends[keeper].attach(slowed);
    void ends[loser].attach(pipe.socket(loser));
    await until(() => ends.a.state === 'ready' && ends.b.state === 'ready' && pieces > 2);
    expect(states).toEqual(['resuming', 'resuming']);
    expect(pieces).toBeGreaterThanOrEqual(2 + 9);
    expect(back.count(0)).toBe(CALLS);
    // What is read at once, what waits in the socket, and what the other has in memory.
    expect(kept.mostRead).toBe(READ_RECORDS);
    expect(seen.most).toBeGreaterThan(HIGH_WATER);
    expect(seen.most).toBeLessThanOrEqual(HIGH_WATER + 2 * PIECE_BYTES);
    expect(back.mostRead).toBeLessThanOrEqual(READ_RECORDS);
    expect(back.mostAhead).toBe(0);
    const { response, record } = await ends.a.call(request('POST', '/more', 'body'), { maxPrice: PRICE });
    expect(await text(response)).toBe('body');
    await record;
    await ends.a.flush();
    for (const end of [ends.a, ends.b]) {
      const { half, path, ...proved } = end.proveCall(1, 0);
      const leaf = leafHash(sha, encodeCallRecord(proved.record));
      expect([half.half.calls, half.half.paid]).toEqual([CALLS + 1, (CALLS + 1) * PRICE]);
      expect(verifyInclusion(sha, half.half.root, half.half.calls, 1, leaf, path)).toBe(true);
      end.close();
    }
  });

  test('and that is another one stops the session, also for the processes after', async () => {
    const { a, b, facts } = await parties();
    await called(a, b, facts.session, 3);
    const lost = { key: { a, b }[loser].key, store: new MemoryStore() };
    const pipe = new Pipe();
    pipe.tap = (from, packet) => {
      if (from === loser || packet[0] !== PacketType.records) return packet;
      // The last one was far dearer.
      const { dir, records } = decodeRecords(packet);
      records[2] = encodeCallRecord({
        index: 2,
        requestHash: sha(Uint8Array.of(2)),
        responseHash: sha(Uint8Array.of(2)),
        price: 500_000,
        status: 200,
        timeMs: 2,
      });
      return encodeRecords(dir, records);
    };
    const keeper = loser === 'a' ? 'b' : 'a';
    const other = endpoint(keeper, { a, b }[keeper], facts);
    const victim = endpoint(loser, lost, facts);
    void other.attach(pipe.socket(keeper));
    void victim.attach(pipe.socket(loser));
    await until(() => victim.state === 'stopped');
    expect(victim.error?.code).toBe('log_conflict');
    victim.close();
    const again = endpoint(loser, lost, facts);
    void again.attach(pipe.socket(loser));
    expect([again.state, again.error?.code]).toEqual(['stopped', 'log_conflict']);
    // What was signed still settles.
    expect([again.halves().pays, again.halves().earns].map((signed) => signed?.half.paid)).toContain(3 * PRICE);
    await expect(again.call(request('POST', '/more'), { maxPrice: PRICE })).rejects.toMatchObject({
      code: 'session_stopped',
    });
    again.close();
    other.close();
  });
});
