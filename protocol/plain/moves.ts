/** What several operations do in their plain form. */
import type { UintField } from '../field.ts';
import { LARGE_SERIALS, SMALL_SERIALS } from '../ids.ts';
import { type Cell, type Num, type Plain, add, and, atLeast, get, is, isNot, serialOf, shardOf, shl } from './code.ts';

/** An agent or service of this shard, whether it exists or not. */
export function small(plain: Plain, region: number, id: Num): Cell {
  plain.leaveIf(isNot(shardOf(id), plain.shard));
  const serial = plain.keep(serialOf(id));
  plain.leaveIf(atLeast(serial, SMALL_SERIALS));
  plain.leaveIf(is(serial, 0));
  return plain.cell(region, serial);
}

/** An agent or service of this shard that has these flags, that it exists among them. */
export function existing(plain: Plain, region: number, id: Num, field: UintField, flags: number): Cell {
  const cell = small(plain, region, id);
  plain.leaveIf(isNot(and(get(field, cell), flags), flags));
  return cell;
}

/** The serial that comes after `last`. */
export function nextSerial(plain: Plain, last: Num): Num {
  const serial = plain.keep(add(last, 1));
  plain.leaveIf(atLeast(serial, LARGE_SERIALS));
  return serial;
}

export const makeId = (plain: Plain, serial: Num): Num => add(shl(serial, 8), plain.shard);
