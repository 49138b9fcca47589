/** What a fuzz has seen, as people read it. */
import type { Seen } from '../reference/differential.ts';

/** One line for each operation, message, item or frame: how often it ran, and what it came to. */
export function table(seen: Seen): string {
  const rows = new Map<string, Map<string, number>>();
  for (const [key, { count }] of seen) {
    const at = key.lastIndexOf(' ');
    const [what, status] = [key.slice(0, at), key.slice(at + 1)];
    const row = rows.get(what) ?? new Map<string, number>();
    rows.set(what, row);
    row.set(status, (row.get(status) ?? 0) + count);
  }
  const width = Math.max(0, ...[...rows.keys()].map((what) => what.length));
  const total = (row: ReadonlyMap<string, number>): number => [...row.values()].reduce((sum, count) => sum + count, 0);
  return [...rows]
    .toSorted(([one], [two]) => (one < two ? -1 : 1))
    .map(([what, row]) => {
      const statuses = [...row]
        .toSorted(([, one], [, two]) => two - one)
        .map(([status, count]) => `${status} ${count}`);
      return `${what.padEnd(width)}  ${total(row).toLocaleString('en').padStart(9)}  ${statuses.join(', ')}`;
    })
    .join('\n');
}
