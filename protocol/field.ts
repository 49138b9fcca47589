/**
 * Fields of cells: big-endian numbers and byte strings at fixed places, read and written in a shard's memory by handle.
 * One class a width, so that what reads `Escrow.amount` runs straight to the two loads it takes.
 */
import type { Cell, Edit, Memory } from './memory.ts';

/** Place and form of a field. `id` reads as a number and prints as `shard:serial`; `bytes` prints as hex. */
export interface Field {
  readonly at: number;
  readonly width: number;
  readonly kind: 'uint' | 'amount' | 'id' | 'bytes';
}

/** A number. What is written must be an integer that fits. */
export interface UintField extends Field {
  get(memory: Memory, cell: Cell): number;
  set(memory: Memory, cell: Edit, value: number): void;
}

const HIGH = 2 ** 32;
/** Bits 32 and up. */
const high = (value: number): number => (value < HIGH ? 0 : Math.floor(value / HIGH));

class Place implements Field {
  readonly at: number;
  readonly width: number;
  readonly kind: Field['kind'];

  constructor(at: number, width: number, kind: Field['kind']) {
    this.at = at;
    this.width = width;
    this.kind = kind;
  }
}

class U8 extends Place implements UintField {
  get(memory: Memory, cell: Cell): number {
    return memory.view.getUint8(cell + this.at);
  }
  set(memory: Memory, cell: Edit, value: number): void {
    memory.view.setUint8(cell + this.at, value);
  }
}

class U16 extends Place implements UintField {
  get(memory: Memory, cell: Cell): number {
    return memory.view.getUint16(cell + this.at);
  }
  set(memory: Memory, cell: Edit, value: number): void {
    memory.view.setUint16(cell + this.at, value);
  }
}

class U24 extends Place implements UintField {
  get(memory: Memory, cell: Cell): number {
    const at = cell + this.at;
    return (memory.view.getUint16(at) << 8) | memory.view.getUint8(at + 2);
  }
  set(memory: Memory, cell: Edit, value: number): void {
    const at = cell + this.at;
    memory.view.setUint16(at, value >>> 8);
    memory.view.setUint8(at + 2, value);
  }
}

class U32 extends Place implements UintField {
  get(memory: Memory, cell: Cell): number {
    return memory.view.getUint32(cell + this.at);
  }
  set(memory: Memory, cell: Edit, value: number): void {
    memory.view.setUint32(cell + this.at, value);
  }
}

class U48 extends Place implements UintField {
  get(memory: Memory, cell: Cell): number {
    const at = cell + this.at;
    return memory.view.getUint16(at) * HIGH + memory.view.getUint32(at + 2);
  }
  set(memory: Memory, cell: Edit, value: number): void {
    const at = cell + this.at;
    memory.view.setUint16(at, high(value));
    memory.view.setUint32(at + 2, value | 0);
  }
}

class U56 extends Place implements UintField {
  get(memory: Memory, cell: Cell): number {
    const at = cell + this.at;
    return (memory.view.getUint32(at) >>> 8) * HIGH + memory.view.getUint32(at + 3);
  }
  set(memory: Memory, cell: Edit, value: number): void {
    const at = cell + this.at;
    const top = high(value);
    memory.view.setUint16(at, top >>> 8);
    memory.view.setUint8(at + 2, top);
    memory.view.setUint32(at + 3, value | 0);
  }
}

export class BytesField extends Place {
  /** A copy. */
  get(memory: Memory, cell: Cell): Uint8Array {
    const at = cell + this.at;
    return memory.bytes.slice(at, at + this.width);
  }
  /** Writes the bytes of `source` from `from` on. */
  set(memory: Memory, cell: Edit, source: Uint8Array, from = 0): void {
    const { bytes } = memory;
    const at = cell + this.at;
    for (let i = 0; i < this.width; i++) bytes[at + i] = source[from + i];
  }
  /** Copies another field of this width. */
  copy(memory: Memory, cell: Edit, field: BytesField, from: Cell): void {
    this.set(memory, cell, memory.bytes, from + field.at);
  }
}

const UINTS: Readonly<Record<number, new (at: number, width: number, kind: Field['kind']) => UintField>> = {
  1: U8,
  2: U16,
  3: U24,
  4: U32,
  6: U48,
  7: U56,
};

/** A field's reader and writer. Throws `RangeError` for a width no number has. */
export function fieldAt(at: number, width: number, kind: Field['kind']): UintField | BytesField {
  if (kind === 'bytes') return new BytesField(at, width, kind);
  const Uint = UINTS[width];
  if (!Uint) throw new RangeError(`a number of ${width} bytes`);
  return new Uint(at, width, kind);
}
