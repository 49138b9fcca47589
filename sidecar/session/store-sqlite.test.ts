/** A sidecar's sessions on disk: what a write returned for outlives the process, wherever it dies; a power cut goes back to one point, for all sessions. */
import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import type { Direction } from '../../protocol/half.ts';
import { SessionFile } from './store-sqlite.ts';
import { type DirectionSnapshot, MemoryStore, type SessionStore } from './store.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-store-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
const fresh = (): string => join(dir, `${files++}.sqlite`);

/** What a process that dies now leaves behind, under another name. */
function remains(path: string): string {
  const copy = fresh();
  for (const suffix of ['', '-wal', '.ahead'])
    if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
  return copy;
}

const record = (n: number): Uint8Array => new Uint8Array(90).fill(n);
const snapshot = (leaves: number): DirectionSnapshot => ({
  half: null,
  receipt: null,
  stack: [record(leaves).slice(0, 32)],
  leaves,
  sum: leaves,
  allowance: 0,
});
const SESSIONS = [256, 512];
const DIRS: readonly Direction[] = [0, 1];

/** All that the stores have. */
const content = (storeOf: (session: number) => SessionStore) =>
  SESSIONS.flatMap((session) =>
    DIRS.map((way) => {
      const store = storeOf(session);
      return { count: store.count(way), records: store.records(way, 0, 1e6), snapshot: store.load(way) };
    }),
  );

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      session: fc.constantFrom(...SESSIONS),
      way: fc.constantFrom(...DIRS),
      records: fc.integer({ min: 0, max: 3 }),
      saves: fc.boolean(),
      together: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('settle' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('read' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('large' as const), session: fc.constantFrom(...SESSIONS) }) },
);

/** The same on disk and in memory. */
function write(store: SessionStore, model: SessionStore, way: Direction, n: number, saves: boolean, together: boolean) {
  const run = (into: SessionStore) => () => {
    const from = into.count(way);
    if (n > 0)
      into.append(
        way,
        from,
        Array.from({ length: n }, (_, i) => record((from + i) % 256)),
      );
    if (saves) into.save(way, snapshot(into.count(way)));
  };
  for (const into of [store, model]) {
    if (together) into.transaction(run(into));
    else run(into)();
  }
}

describe('SessionFile', () => {
  test('keeps what memory keeps, whenever the process dies', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        let path = fresh();
        let file = new SessionFile(path);
        const models = new Map(SESSIONS.map((session) => [session, new MemoryStore()]));
        const old: SessionFile[] = [];
        for (const each of steps) {
          if (each.kind === 'settle') file.settle();
          else if (each.kind === 'read') content((session) => file.storeOf(session));
          else if (each.kind === 'die') {
            old.push(file);
            path = remains(path);
            file = new SessionFile(path);
          } else {
            const store = file.storeOf(each.session);
            const model = models.get(each.session)!;
            if (each.kind === 'large') write(store, model, 0, 12_000, true, true);
            else write(store, model, each.way, each.records, each.saves, each.together);
          }
        }
        expect(content((session) => file.storeOf(session))).toEqual(content((session) => models.get(session)!));
        for (const each of [...old, file]) each.close();
      }),
      { numRuns: 8 },
    );
  });

  test('a transaction that throws leaves nothing', () => {
    const path = fresh();
    const file = new SessionFile(path);
    const store = file.storeOf(256);
    store.append(0, 0, [record(1)]);
    const fail = (): void =>
      store.transaction(() => {
        store.append(0, 1, [record(2)]);
        store.save(0, snapshot(2));
        throw new Error('no');
      });
    expect(fail).toThrow('no');
    expect(() => store.append(0, 2, [record(3)])).toThrow('append at 2, have 1');
    const again = new SessionFile(remains(path));
    for (const each of [file, again]) {
      expect(each.storeOf(256).records(0, 0, 9)).toEqual([record(1)]);
      expect(each.storeOf(256).load(0)).toBeNull();
      each.close();
    }
  });

  test('where the SQLite has lost what a journal follows, the journal is not taken for it', () => {
    const path = fresh();
    let file = new SessionFile(path);
    file.storeOf(256).append(0, 0, [record(1)]);
    file.close();
    const lost = remains(path);
    file = new SessionFile(path);
    file.storeOf(256).append(0, 1, [record(2)]);
    file.settle();
    file.storeOf(256).append(0, 2, [record(3)]);
    // As after a power cut: the older SQLite, the newer journal.
    copyFileSync(`${path}.ahead`, `${lost}.ahead`);
    const again = new SessionFile(lost);
    expect(again.storeOf(256).records(0, 0, 9)).toEqual([record(1)]);
    for (const each of [file, again]) each.close();
  });

  test('while the SQLite takes nothing, what is written is safe; somebody is told, and it is tried again', async () => {
    const path = fresh();
    const failed = Promise.withResolvers<unknown>();
    const file = new SessionFile(path, failed.resolve);
    const store = file.storeOf(256);
    const other = new DatabaseSync(path);
    other.exec('ALTER TABLE session_records RENAME TO elsewhere');
    store.append(0, 0, [record(1)]);
    expect(String(await failed.promise)).toContain('session_records');
    store.append(0, 1, [record(2)]);
    other.exec('ALTER TABLE elsewhere RENAME TO session_records');
    other.close();
    const again = new SessionFile(remains(path));
    for (const each of [file, again]) {
      expect(each.storeOf(256).records(0, 0, 9)).toEqual([record(1), record(2)]);
      each.close();
    }
  });

  test('what was acknowledged is there after kill -9', async () => {
    const path = fresh();
    const script = `
      const { SessionFile } = await import(${JSON.stringify(new URL('./store-sqlite.ts', import.meta.url).href)});
      const file = new SessionFile(${JSON.stringify(path)});
      const store = file.storeOf(256);
      for (let i = 0; ; i++) {
        store.append(0, i, [new Uint8Array(90).fill(i % 256)]);
        if (i % 97 === 0) file.settle();
        process.stdout.write(i + '\\n');
        if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
      }`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let acknowledged = -1;
    const lines = createInterface({ input: child.stdout });
    for await (const line of lines) {
      acknowledged = Number(line);
      if (acknowledged === 500) child.kill('SIGKILL');
    }
    expect(acknowledged).toBeGreaterThanOrEqual(500);
    const file = new SessionFile(path);
    const records = file.storeOf(256).records(0, 0, 1e6);
    expect(records.length).toBeGreaterThan(acknowledged);
    expect(records).toEqual(Array.from({ length: records.length }, (_, i) => record(i % 256)));
    file.close();
  });
});
