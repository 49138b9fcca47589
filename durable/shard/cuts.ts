/**
 * Cuts: where each batch's part of this shard ends, with the root there and the withdrawals it is the first to hold.
 *
 * Every shard makes every cut, also one without frames, and a cut once made stays: its number is the shard's **epoch**. What
 * makes the cuts of one number, on all shards, consistent although each is made at a moment of its own:
 *
 * - A message sent after cut n of its sender is taken only by a receiver that has made cut n (incoming.ts), so it is received
 *   after that: never before a cut n and sent after one. In the other direction the same goes for what the receiver says it
 *   has: it is acknowledged only once the sender has made the receiver's cut (outgoing.ts).
 * - Cut n + 1 is asked for only when every shard has received all that was sent to it by the cuts n. That never becomes untrue, so
 *   whoever died after the first of the cuts n + 1 left only shards that can make theirs. Were one cut made before all are
 *   ready, another shard could wait for messages that it may not take any more: those wait for its own cut.
 *
 * A batch that must be made anew, because it leaves out what L1 by now insists on, takes one more cut with the same batch: it
 * ends there. No cut is taken back, so no message that waited for one was let through in vain, and it does not matter how far
 * each shard has come when a pass dies.
 */
import { Reader, Writer, concat } from '../../protocol/bytes.ts';
import { Head, META_INBOX, Inbox, Outbox, Peer, Region, get, getBytes, slotOf } from '../../protocol/cells.ts';
import type { Engine } from '../../protocol/engine.ts';
import { makeId } from '../../protocol/ids.ts';
import { SHARD_DEPTH, ZERO_HASHES } from '../../protocol/trie.ts';
import { type Cut, type CutWithdrawal, type Failure, type Standing, failure } from './api.ts';
import type { Log } from './log.ts';

type Row = Record<string, SqlStorageValue>;
const bytesOf = (value: SqlStorageValue): Uint8Array => new Uint8Array(value as ArrayBuffer);

/** Messages sent to, and received from, every shard. */
interface Traffic {
  readonly sent: number[];
  readonly received: number[];
}

export class Cuts {
  readonly #sql: SqlStorage;
  readonly #engine: Engine;
  readonly #log: Log;
  /** The newest cut: asked for with every message. */
  #newest: Row | undefined;

  constructor(sql: SqlStorage, engine: Engine, log: Log) {
    this.#sql = sql;
    this.#engine = engine;
    this.#log = log;
    sql.exec(`CREATE TABLE IF NOT EXISTS cuts (
      number INTEGER PRIMARY KEY, batch INTEGER NOT NULL, fromSeq INTEGER NOT NULL, toSeq INTEGER NOT NULL, root BLOB NOT NULL,
      timeFrom INTEGER NOT NULL, timeTo INTEGER NOT NULL, inboxCursor INTEGER NOT NULL, inboxAccumulator BLOB NOT NULL,
      steps INTEGER NOT NULL, bytes INTEGER NOT NULL, outbox INTEGER NOT NULL, traffic BLOB NOT NULL)`);
    sql.exec(`CREATE TABLE IF NOT EXISTS withdrawals (
      number INTEGER, id INTEGER, amount INTEGER NOT NULL, cell BLOB NOT NULL, siblings BLOB NOT NULL, PRIMARY KEY (number, id)) WITHOUT ROWID`);
    this.#newest = this.#row('SELECT * FROM cuts ORDER BY number DESC LIMIT 1');
  }

  #row(sql: string, ...args: number[]): Row | undefined {
    return [...this.#sql.exec(sql, ...args)][0];
  }
  #at(number: number): Row | undefined {
    return this.#row('SELECT * FROM cuts WHERE number = ?', number);
  }

  /** Number of the first cut for which a column is at least `value`: columns that never fall. */
  #first(column: 'toSeq' | 'batch', value: number): number {
    let [low, high] = [1, this.newest().number + 1];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const row = this.#row(`SELECT ${column} AS v FROM cuts WHERE number = ?`, middle);
      if ((row!.v as number) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The newest cut, zeros before the first. */
  newest(): { number: number; toSeq: number } {
    return { number: (this.#newest?.number as number) ?? 0, toSeq: (this.#newest?.toSeq as number) ?? 0 };
  }

  /** What settlement asks before it has anything cut. */
  standing(): Standing {
    const cut = this.newest();
    return { cut, hasWork: this.#log.hasWork(cut.toSeq), received: this.#traffic().received };
  }

  /** The batch whose cut holds a frame. */
  ofFrame(seq: number): number | undefined {
    return this.#at(this.#first('toSeq', seq + 1))?.batch as number | undefined;
  }

  /** The shard's root under a batch. */
  rootAt(batch: number): Uint8Array {
    const row = this.#at(this.#first('batch', batch + 1) - 1);
    return row ? bytesOf(row.root) : ZERO_HASHES[SHARD_DEPTH].slice();
  }

  /** Cut `number`; null when it was not made yet. */
  at(number: number): Cut | null {
    const row = this.#at(number);
    return row ? this.#toCut(row) : null;
  }

  cut(number: number, batch: number, mustReceive: readonly number[]): Cut | Failure {
    const known = this.#at(number);
    if (known && known.batch === batch) return this.#toCut(known);
    const [newest, newestBatch] = [this.newest(), (this.#newest?.batch as number) ?? 0];
    if (known || number !== newest.number + 1 || batch < 1 || batch > newestBatch + 1) {
      return failure(
        'bad_cut',
        `the newest cut is ${newest.number}, for batch ${newestBatch}: ${number} for batch ${batch} is none that follows`,
      );
    }
    const traffic = this.#traffic();
    const peer = mustReceive.findIndex((least, from) => (traffic.received[from] ?? 0) < least);
    if (peer >= 0) {
      const detail = `${traffic.received[peer]} of ${mustReceive[peer]} messages of shard ${peer} have been received`;
      return failure('not_ready', detail);
    }
    this.#make(number, batch, traffic);
    return this.#toCut(this.#newest!);
  }

  #make(number: number, batch: number, traffic: Traffic): void {
    const { trie, machine, seq } = this.#engine;
    // A batch that is made anew takes in whatever was cut for it before, and for those after it.
    const last = this.#at(this.#first('batch', batch) - 1);
    this.#sql.exec('UPDATE cuts SET batch = ? WHERE batch > ?', batch, batch);
    this.#sql.exec('DELETE FROM withdrawals WHERE number >= ?', batch);
    const fromSeq = (last?.toSeq as number) ?? 0;
    const outbox = get(machine.head(), Head.outbox);
    const root = trie.root();
    for (let serial = ((last?.outbox as number) ?? 0) + 1; serial <= outbox; serial++) this.#withdrawal(batch, serial);
    const { steps, bytes, timeFrom, timeTo } = this.#log.measure(fromSeq, seq);
    const inbox = trie.read(Region.meta, META_INBOX);
    this.#sql.exec(
      'INSERT INTO cuts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
      number,
      batch,
      fromSeq,
      seq,
      root,
      timeFrom ?? machine.time,
      timeTo ?? machine.time,
      get(inbox, Inbox.cursor),
      getBytes(inbox, Inbox.accumulator),
      steps,
      bytes,
      outbox,
      packTraffic(traffic),
    );
    this.#newest = this.#at(number);
  }

  #withdrawal(batch: number, serial: number): void {
    const { trie, shard } = this.#engine;
    const slot = slotOf(Region.outbox, serial);
    const cell = trie.read(Region.outbox, slot);
    this.#sql.exec(
      'INSERT INTO withdrawals VALUES (?, ?, ?, ?, ?)',
      batch,
      makeId(shard, serial),
      get(cell, Outbox.amount),
      cell,
      concat(...trie.proof(Region.outbox, slot)),
    );
  }

  /** As of now. */
  #traffic(): Traffic {
    const { machine } = this.#engine;
    const of = (field: typeof Peer.sent): number[] =>
      Array.from({ length: machine.shards }, (_, peer) => field.get(machine.cells, machine.peer(peer)));
    return { sent: of(Peer.sent), received: of(Peer.received) };
  }

  #toCut(row: Row): Cut {
    return {
      number: row.number as number,
      batch: row.batch as number,
      shard: this.#engine.shard,
      fromSeq: row.fromSeq as number,
      toSeq: row.toSeq as number,
      shardRoot: bytesOf(row.root),
      timeFrom: row.timeFrom as number,
      timeTo: row.timeTo as number,
      inboxCursor: row.inboxCursor as number,
      inboxAccumulator: bytesOf(row.inboxAccumulator),
      steps: row.steps as number,
      bytes: row.bytes as number,
      ...unpackTraffic(bytesOf(row.traffic), this.#engine.machine.shards),
    };
  }

  withdrawal(batch: number, id: number): CutWithdrawal | null {
    const row = this.#row('SELECT * FROM withdrawals WHERE number = ? AND id = ?', batch, id);
    if (!row) return null;
    const packed = bytesOf(row.siblings);
    const siblings = Array.from({ length: packed.length / 32 }, (_, i) => packed.slice(32 * i, 32 * i + 32));
    return { number: batch, id, cell: bytesOf(row.cell), siblings, shardRoot: this.rootAt(batch) };
  }

  /** All withdrawals ever: those of cuts from their rows, later ones from the outbox. */
  withdrawn(): number {
    const { trie, machine } = this.#engine;
    let sum = this.#sql.exec<{ sum: number }>('SELECT coalesce(sum(amount), 0) AS sum FROM withdrawals').one().sum;
    const outbox = get(machine.head(), Head.outbox);
    for (let serial = ((this.#newest?.outbox as number) ?? 0) + 1; serial <= outbox; serial++) {
      sum += get(trie.read(Region.outbox, slotOf(Region.outbox, serial)), Outbox.amount);
    }
    return sum;
  }
}

/** Only peers that anything went to or came from. */
function packTraffic({ sent, received }: Traffic): Uint8Array {
  const writer = new Writer();
  for (const [peer, count] of sent.entries())
    if (count > 0 || received[peer] > 0) writer.u8(peer).varint(count).varint(received[peer]);
  return writer.finish();
}

function unpackTraffic(bytes: Uint8Array, shards: number): Traffic {
  const reader = new Reader(bytes);
  const none = (): number[] => Array.from({ length: shards }, () => 0);
  const [sent, received] = [none(), none()];
  while (reader.left > 0) {
    const peer = reader.u8();
    sent[peer] = reader.varint();
    received[peer] = reader.varint();
  }
  return { sent, received };
}
