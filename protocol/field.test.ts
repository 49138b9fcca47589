import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readUint, writeUint } from './bytes.ts';
import { type BytesField, type UintField, fieldAt } from './field.ts';
import { type Edit, Memory } from './memory.ts';

const CELL = 64 as Edit;

test('a number in memory is the big-endian one, and touches nothing beside it', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(1, 2, 4, 6, 7),
      fc.nat(40),
      fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER)),
      (width, at, some) => {
        const value = some % 256 ** width;
        const field = fieldAt(at, width, 'uint') as UintField;
        const memory = new Memory(256);
        memory.bytes.fill(0xa5);
        const expected = memory.bytes.slice();
        writeUint(expected, CELL + at, width, value);
        field.set(memory, CELL, value);
        expect(memory.bytes).toEqual(expected);
        expect(field.get(memory, CELL)).toBe(readUint(expected, CELL + at, width));
      },
    ),
  );
});

test('bytes come from where they start in their source, and out as a copy', () => {
  const field = fieldAt(4, 3, 'bytes') as BytesField;
  const memory = new Memory(128);
  field.set(memory, CELL, Uint8Array.of(9, 1, 2, 3, 9), 1);
  const copy = field.get(memory, CELL);
  memory.bytes.fill(0);
  expect([...copy]).toEqual([1, 2, 3]);
});

test('no number has a width that is not laid out', () => {
  expect(() => fieldAt(0, 5, 'uint')).toThrow(RangeError);
});

test('handles outlive growth', () => {
  const field = fieldAt(0, 7, 'amount') as UintField;
  const memory = new Memory(128);
  field.set(memory, CELL, 2 ** 50 + 1);
  memory.grow(4096);
  expect(field.get(memory, CELL)).toBe(2 ** 50 + 1);
  expect(memory.bytes[4095]).toBe(0);
});
