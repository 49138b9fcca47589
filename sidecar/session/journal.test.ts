/** The journal: whole entries of one generation, from the start, whatever happened to the file. */
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Journal } from './journal.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-journal-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
const fresh = (): string => join(dir, String(files++));
const body = (n: number, length = 90): Uint8Array => new Uint8Array(length).fill(n + 1);

/** What a process that comes after finds. */
function found(path: string, generation: number): Uint8Array[] {
  const journal = Journal.open(path);
  try {
    return journal.read(generation);
  } finally {
    journal.close();
  }
}

describe('Journal', () => {
  test('has what was appended, for its owner alone', () => {
    const path = fresh();
    const journal = Journal.open(path);
    journal.begin(1);
    expect(journal.append([body(1), body(2)])).toBe(true);
    expect(journal.append([])).toBe(true);
    expect(journal.append([body(3, 9000)])).toBe(true);
    expect(found(path, 1)).toEqual([new Uint8Array([...body(1), ...body(2)]), new Uint8Array(0), body(3, 9000)]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    journal.close();
  });

  test('says when it is full, and is of that size from the beginning', () => {
    const path = fresh();
    const journal = Journal.open(path);
    const { size } = statSync(path);
    journal.begin(1);
    let appended = 0;
    while (journal.append([body(appended % 200, 40_000)])) appended += 1;
    expect(appended).toBe(Math.floor(size / 40_016));
    expect(found(path, 1).length).toBe(appended);
    expect(journal.append([new Uint8Array(size)])).toBe(false);
    expect(statSync(path).size).toBe(size);
    journal.close();
  });

  test('a generation ends where the one before shows through, and is not taken for another', () => {
    const path = fresh();
    const journal = Journal.open(path);
    journal.begin(1);
    for (let i = 0; i < 5; i++) journal.append([body(i)]);
    journal.begin(2);
    expect(found(path, 1).length).toBe(5);
    journal.append([body(7)]);
    expect(found(path, 2)).toEqual([body(7)]);
    for (const other of [0, 1, 3, 2 ** 32 + 2]) expect(found(path, other)).toEqual([]);
    journal.close();
  });

  test('broken somewhere, it has all before that and nothing behind it', () => {
    const path = fresh();
    const journal = Journal.open(path);
    journal.begin(3);
    const bodies = Array.from({ length: 20 }, (_, i) => body(i));
    for (const each of bodies) journal.append([each]);
    journal.close();
    const whole = readFileSync(path);
    for (let at = 0; at < 20 * 106; at += 53) {
      const broken = Buffer.from(whole);
      broken[at] ^= 1 + (at % 255);
      writeFileSync(path, broken);
      expect(found(path, 3), `byte ${at}`).toEqual(bodies.slice(0, Math.floor(at / 106)));
      writeFileSync(path, whole);
      truncateSync(path, at);
      expect(found(path, 3), `cut at ${at}`).toEqual(bodies.slice(0, Math.floor(at / 106)));
    }
  });
});
