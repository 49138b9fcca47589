/** The journal: whole entries of one generation, from the start, whatever happened to the file. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Journal } from './journal.ts';

const dir = mkdtempSync(join(tmpdir(), 'agnt2-journal-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let files = 0;
const fresh = (): string => join(dir, String(files++));
const body = (n: number, length = 90): Uint8Array => new Uint8Array(length).fill(n + 1);

const append = (journal: Journal, bytes: Uint8Array): boolean =>
  journal.append(bytes.length, (into, at) => into.set(bytes, at));
/** What a process that comes after finds. */
const found = Journal.read;

describe('Journal', () => {
  test('has what was appended, for its owner alone', () => {
    const path = fresh();
    const journal = Journal.create(path, 1);
    const bodies = [body(1), new Uint8Array(0), body(2, 9000), body(3)];
    for (const each of bodies) expect(append(journal, each)).toBe(true);
    expect(found(path, 1)).toEqual(bodies);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    journal.close();
  });

  test('says when it is full, and is of that size from the beginning', () => {
    const path = fresh();
    const journal = Journal.create(path, 1);
    const { size } = statSync(path);
    let appended = 0;
    while (append(journal, body(appended % 200, 40_000))) appended += 1;
    expect(appended).toBe(Math.floor(size / 40_016));
    expect(found(path, 1).length).toBe(appended);
    expect(append(journal, new Uint8Array(size))).toBe(false);
    expect(statSync(path).size).toBe(size);
    journal.close();
  });

  test('none there is none of, and one made anew has nothing', () => {
    const path = fresh();
    expect(found(path, 1)).toEqual([]);
    const journal = Journal.create(path, 1);
    append(journal, body(1));
    journal.close();
    Journal.create(path, 1).close();
    expect(found(path, 1)).toEqual([]);
  });

  test('a generation ends where the one before shows through, and is not taken for another', () => {
    const path = fresh();
    const journal = Journal.create(path, 1);
    for (let i = 0; i < 5; i++) append(journal, body(i));
    journal.begin(2);
    expect(found(path, 1).length).toBe(5);
    append(journal, body(7));
    expect(found(path, 2)).toEqual([body(7)]);
    for (const other of [0, 1, 3, 2 ** 32 + 2]) expect(found(path, other)).toEqual([]);
    journal.close();
  });

  test('broken somewhere, it has all before that and nothing behind it', () => {
    const path = fresh();
    const journal = Journal.create(path, 3);
    const bodies = Array.from({ length: 20 }, (_, i) => body(i));
    for (const each of bodies) append(journal, each);
    journal.close();
    const whole = readFileSync(path).subarray(0, 4096);
    for (let at = 0; at < 20 * 106; at += 23) {
      const broken = Buffer.from(whole);
      broken[at] ^= 1 + (at % 255);
      writeFileSync(path, broken);
      expect(found(path, 3), `byte ${at}`).toEqual(bodies.slice(0, Math.floor(at / 106)));
      writeFileSync(path, whole.subarray(0, at));
      expect(found(path, 3), `cut at ${at}`).toEqual(bodies.slice(0, Math.floor(at / 106)));
    }
  });
});
