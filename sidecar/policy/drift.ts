/** Notices services that got dearer than the policy lets pass without a person: the table they were first paid by stays the measure until the newer one is accepted. */
import { formatId } from '../../protocol/ids.ts';
import { refusal } from '../errors.ts';
import { type PriceTable, type PricedService, encodeDocument, readDocument, termsOf } from '../prices.ts';
import type { PolicyStore } from './store.ts';

/** Services whose tables are remembered; past that many, the first seen stay. */
const MAX_TABLES = 10_000;

type Terms = ReturnType<typeof termsOf>;

interface Seen {
  readonly accepted: PriceTable;
  /** The dearer table that waits. */
  readonly newer: PriceTable | null;
}

/** A representative target of a pattern. */
const targetOf = (pattern: string): string => pattern.replace(/\*$/, '');

/** The steepest rise from `before` to `after`, in percent, over everything either of them names. */
export function riseOf(before: PriceTable, after: PriceTable): number {
  const probes: [method: string, target: string][] = [['*', '/']];
  for (const table of [before, after]) {
    for (const { method, path } of table.routes) probes.push([method, targetOf(path)]);
    for (const path of table.free) probes.push(['*', targetOf(path)]);
  }
  let rise = after.defaultPrice > before.defaultPrice ? percent(before.defaultPrice, after.defaultPrice) : 0;
  for (const [method, target] of probes)
    rise = Math.max(rise, riseOfTerms(termsOf(before, method, target), termsOf(after, method, target)));
  return rise;
}

/** Of the most a call costs, and of what each unit of a counted one does. */
function riseOfTerms(before: Terms, after: Terms): number {
  const rise = percent(before.price, after.price);
  if (before.per === undefined || after.per === undefined || before.per.unit !== after.per.unit) return rise;
  return Math.max(
    rise,
    percent(before.per.price / before.per.each, after.per.price / after.per.each),
    percent(before.per.base, after.per.base),
  );
}
const percent = (before: number, after: number): number =>
  after <= before ? 0 : before === 0 ? Infinity : ((after - before) / before) * 100;

const textOf = (table: PriceTable): string =>
  new TextDecoder().decode(encodeDocument({ name: '', description: '', ...table }));

export class PriceDrift {
  readonly #store: PolicyStore;
  readonly #seen = new Map<number, Seen>();

  constructor(store: PolicyStore) {
    this.#store = store;
    for (const { service, document, newer } of store.tables())
      this.#seen.set(service, {
        accepted: readDocument(JSON.parse(document)),
        newer: newer === null ? null : readDocument(JSON.parse(newer)),
      });
  }

  /** Looks at a service's table as it is now. `limit` is in percent. */
  see({ id, table }: PricedService, limit: number): void {
    const seen = this.#seen.get(id);
    if (seen === undefined) {
      if (this.#seen.size < MAX_TABLES) this.#set(id, { accepted: table, newer: null });
      return;
    }
    const text = textOf(table);
    // What passes is no new measure: many small rises are held against the first price.
    if (text === textOf(seen.accepted) || riseOf(seen.accepted, table) <= limit) {
      if (seen.newer !== null) this.#set(id, { accepted: seen.accepted, newer: null });
    } else if (seen.newer === null || text !== textOf(seen.newer)) this.#set(id, { ...seen, newer: table });
  }

  /** Whether the service waits for its newer prices to be accepted. */
  waits(service: number): boolean {
    return this.#seen.get(service)?.newer != null;
  }

  /** Takes the newer prices for good. Throws `not_found` when none wait. */
  accept(service: number): void {
    const newer = this.#seen.get(service)?.newer;
    if (newer == null) throw refusal('not_found', `no newer prices of ${formatId(service)} wait to be accepted`);
    this.#set(service, { accepted: newer, newer: null });
  }

  list(): { service: string; rise: number | null }[] {
    return [...this.#seen].flatMap(([service, { accepted, newer }]) => {
      if (newer === null) return [];
      const rise = riseOf(accepted, newer);
      return [{ service: formatId(service), rise: rise === Infinity ? null : Math.round(rise) }];
    });
  }

  #set(service: number, seen: Seen): void {
    this.#seen.set(service, seen);
    this.#store.saveTable(service, textOf(seen.accepted), seen.newer === null ? null : textOf(seen.newer));
  }
}
