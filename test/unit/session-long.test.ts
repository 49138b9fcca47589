/** A session of very many calls: neither side's memory grows with them, and every call can still be proved. LONG=1: a million. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { encodeCallRecord } from '../../protocol/call.ts';
import { leafHash, sha, verifyInclusion } from '../../protocol/log.ts';
import { openDatabase } from '../../sidecar/sqlite.ts';
import { SessionFile } from '../../sidecar/session/store-sqlite.ts';
import { Pipe, collect, endpoint, parties, request } from '../../sidecar/session/testing.ts';

const CALLS = process.env.LONG ? 1_000_000 : 20_001;
/** By then nearly everything that is made once is made. */
const WARM = Math.floor(CALLS / 3);
/** Bytes a call may leave behind in JavaScript on both sides together; its two records are 180. Of few calls, what V8 still compiles is 30 each. */
const PER_CALL = process.env.LONG ? 24 : 60;
const IN_FLIGHT = 64;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
function heldByAll(): number {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

test(`${CALLS} calls in one session`, { timeout: 3_600_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-long-'));
  const { a, b, facts } = await parties();
  const files = { a: new SessionFile(join(dir, 'a.sqlite')), b: new SessionFile(join(dir, 'b.sqlite')) };
  const rich = { ...facts, depositA: 10_000_000 };
  const extra = { credit: 100_000, quote: () => 1 };
  const left = endpoint('a', { ...a, store: files.a.storeOf(facts.session) }, rich, extra);
  const right = endpoint('b', { ...b, store: files.b.storeOf(facts.session) }, rich, extra);
  try {
    const pipe = new Pipe();
    void left.attach(pipe.socket('a'));
    void right.attach(pipe.socket('b'));
    let made = 0;
    const upTo = (calls: number): Promise<unknown> =>
      Promise.all(
        Array.from({ length: IN_FLIGHT }, async () => {
          while (made < calls) {
            made += 1;
            const { response, record } = await left.call(request('POST', `/${made % 100}`, 'x'), { maxPrice: 1 });
            await collect(response.body);
            await record;
          }
        }),
      );
    // What the journal has and the SQLite has not is in memory, for half a second: how much is a matter of when one looks.
    const held = (): number => {
      for (const file of Object.values(files)) file.settle();
      return heldByAll();
    };
    await upTo(WARM);
    await left.flush();
    const before = held();
    await upTo(CALLS);
    await left.flush();
    expect((held() - before) / (CALLS - WARM)).toBeLessThan(PER_CALL);

    for (const [role, file] of Object.entries(files)) {
      file.settle();
      const db = openDatabase(join(dir, `${role}.sqlite`));
      const count = (sql: string): number => Number(Object.values(db.prepare(sql).get() as object)[0]);
      // One row a direction, and the records a window at a time.
      expect(count('SELECT count(*) FROM session_direction')).toBeLessThanOrEqual(2);
      expect([role, count('SELECT sum(n) FROM session_records')]).toEqual([role, CALLS]);
      db.close();
    }
    for (const side of [left, right]) {
      for (const index of [0, CALLS >> 1, CALLS - 1]) {
        const { record, half, path } = side.proveCall(index, 0);
        expect([record.index, half.half.calls, half.payee !== undefined]).toEqual([index, CALLS, true]);
        expect(path.length).toBeLessThanOrEqual(20);
        const leaf = leafHash(sha, encodeCallRecord(record));
        expect(verifyInclusion(sha, half.half.root, CALLS, index, leaf, path)).toBe(true);
        expect(verifyInclusion(sha, half.half.root, CALLS, index ^ 1, leaf, path)).toBe(false);
      }
      expect(side.halves().receipts.pays ?? side.halves().receipts.earns).toMatchObject({ half: { paid: CALLS } });
    }
  } finally {
    left.close();
    right.close();
    for (const file of Object.values(files)) file.close();
    rmSync(dir, { recursive: true });
  }
});
