/**
 * A WebAssembly module that multiplies runs of bytes by one element of GF(2^8) and adds them to others, sixteen at a time: a product is that of
 * the low four bits, looked up by a swizzle, and that of the high four.
 */
import {
  I32,
  MAGIC_AND_VERSION,
  V128,
  func,
  i32,
  local,
  loop,
  section,
  simd,
  text,
  v128,
  vector,
} from '../keccak/assembler.ts';
import { MEMORY_PAGES } from './kernel.ts';

const shiftRightBytes = simd(0x6d);
const and = simd(0x4e);

/** (target, source, length, table): `length` is a positive multiple of 16; the table is the sixteen products of the low bits, then of the high. */
function addProduct(): readonly number[] {
  const [TARGET, SOURCE, LENGTH, TABLE, LOW, HIGH, BYTES] = [0, 1, 2, 3, 4, 5, 6];
  const advance = (name: number): readonly number[] => [
    ...local.get(name),
    ...i32.const(16),
    ...i32.add,
    ...local.set(name),
  ];
  const low = [...local.get(LOW), ...local.get(BYTES), ...v128.const(Array.from({ length: 16 }, () => 15)), ...and];
  const high = [...local.get(HIGH), ...local.get(BYTES), ...i32.const(4), ...shiftRightBytes];
  const product = [...low, ...v128.swizzle, ...high, ...v128.swizzle, ...v128.xor];
  return func(
    [V128, V128, V128],
    [
      ...local.get(TABLE),
      ...v128.load(0),
      ...local.set(LOW),
      ...local.get(TABLE),
      ...v128.load(16),
      ...local.set(HIGH),
      ...loop(
        [...local.get(SOURCE), ...v128.load(0), ...local.set(BYTES)],
        [...local.get(TARGET), ...local.get(TARGET), ...v128.load(0), ...product, ...v128.xor, ...v128.store(0)],
        advance(TARGET),
        advance(SOURCE),
        [...local.get(LENGTH), ...i32.const(16), ...i32.sub, ...local.tee(LENGTH)],
      ),
    ],
  );
}

/** The module's bytes; `kernel.wasm` holds them for where a module must not be made from bytes. */
export function kernelModule(): Uint8Array<ArrayBuffer> {
  return Uint8Array.from([
    ...MAGIC_AND_VERSION,
    ...section(1, vector([0x60, ...vector([I32], [I32], [I32], [I32]), ...vector()])),
    ...section(3, vector([0])),
    ...section(5, vector([0x00, MEMORY_PAGES])),
    ...section(7, vector([...text('memory'), 2, 0], [...text('addProduct'), 0, 0])),
    ...section(10, vector(addProduct())),
  ]);
}
