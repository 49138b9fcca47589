/** A service's price table: the metadata document whose hash its cell holds, read the same by payer and payee. */
import { utf8 } from '../protocol/bytes.ts';
import { sha } from '../protocol/hash.ts';
import { type Rate, UNITS } from '../protocol/meter.ts';
import { refusal } from './errors.ts';
import { pathOf } from './target.ts';

export interface Route {
  /** An HTTP method, or `*`. */
  readonly method: string;
  /** An exact path, or a prefix when it ends in `*`. */
  readonly path: string;
  /** Base units a call costs at most. */
  readonly price: number;
  /** How a call is counted that does not always cost the same; without, it costs `price`. */
  readonly per?: Rate;
}

export interface PriceTable {
  readonly routes: readonly Route[];
  /** What a call costs that no route names. Unknown routes are paid, never free. */
  readonly defaultPrice: number;
  /** Paths (prefixes with a trailing `*`) that cost nothing. */
  readonly free: readonly string[];
}

export interface ServiceDocument extends PriceTable {
  readonly name: string;
  readonly description: string;
}

const matches = (pattern: string, path: string): boolean =>
  pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern;

/** A HEAD is priced as the GET it stands for, unless a route names HEAD itself. */
const rank = (route: Route, method: string): number => {
  if (route.method === method) return 3;
  if (method === 'HEAD' && route.method === 'GET') return 2;
  return route.method === '*' ? 1 : 0;
};

/** Price of a normalised target: 0 when free, else the most specific route's, else the default. */
export const priceOf = (table: PriceTable, method: string, target: string): number =>
  termsOf(table, method, target).price;

/** {@link priceOf}, and how the call is counted. */
export function termsOf(table: PriceTable, method: string, target: string): Pick<Route, 'price' | 'per'> {
  const path = pathOf(target);
  if (table.free.some((pattern) => matches(pattern, path))) return { price: 0 };
  let best: Route | undefined;
  let bestRank = 0;
  for (const route of table.routes) {
    const r = rank(route, method);
    if (r === 0 || !matches(route.path, path)) continue;
    const longer = best === undefined || route.path.length > best.path.length;
    if (longer || (route.path.length === best!.path.length && r > bestRank)) {
      best = route;
      bestRank = r;
    }
  }
  return best ?? { price: table.defaultPrice };
}

/** The most any call to the service can cost: what its ceiling on chain must allow. */
export const ceilingOf = (table: PriceTable): number =>
  table.routes.reduce((max, { price }) => Math.max(max, price), table.defaultPrice);

/** The document as bytes: key order fixed, amounts as decimal strings, so the same table has the same hash everywhere. */
export const encodeDocument = (doc: ServiceDocument): Uint8Array =>
  utf8(
    JSON.stringify({
      name: doc.name,
      description: doc.description,
      routes: doc.routes.map(({ method, path, price, per }) => ({
        method,
        path,
        price: String(price),
        ...(per !== undefined && { per: { ...per, price: String(per.price), base: String(per.base) } }),
      })),
      defaultPrice: String(doc.defaultPrice),
      free: doc.free,
    }),
  );

export const documentHash = (bytes: Uint8Array): Uint8Array => sha(bytes);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A decimal string (or, leniently, a number) of base units, 0 … 2^53−1; null for anything else. */
export function readAmount(value: unknown): number | null {
  if (typeof value === 'string' && !/^(?:0|[1-9]\d{0,15})$/.test(value)) return null;
  if (typeof value !== 'string' && typeof value !== 'number') return null;
  const amount = Number(value);
  return Number.isSafeInteger(amount) && amount >= 0 ? amount : null;
}

const fail = (why: string): Error => refusal('bad_document', `the service's metadata ${why}`);

/** What a call is counted by. Throws `bad_document`; also for a rate that its route's price has no room for. */
function readRate(value: unknown, most: number): Rate {
  const per = isObject(value) ? value : {};
  const unit = UNITS.find((name) => name === per.unit);
  const [price, base, each] = [readAmount(per.price), readAmount(per.base ?? '0'), per.each ?? 1];
  const isCount = typeof each === 'number' && Number.isSafeInteger(each) && each > 0;
  if (unit === undefined || price === null || price === 0 || base === null || base > most || !isCount)
    throw fail('has a route that is counted by nothing known');
  return { unit, each, price, base };
}

/** Reads somebody else's document. Total: throws `bad_document` for anything a price can't be read from. */
export function readDocument(value: unknown): ServiceDocument {
  if (!isObject(value)) throw fail('is not an object');
  const { name = '', description = '', routes = [], free = [] } = value;
  const defaultPrice = readAmount(value.defaultPrice);
  if (typeof name !== 'string' || typeof description !== 'string')
    throw fail('has a name or description that is not text');
  if (defaultPrice === null) throw fail('has no defaultPrice');
  if (!Array.isArray(routes) || routes.length > 1000) throw fail('has no list of routes');
  if (!Array.isArray(free) || !free.every((path): path is string => typeof path === 'string'))
    throw fail('has a bad list of free paths');
  return {
    name,
    description,
    defaultPrice,
    free,
    routes: routes.map((route: unknown): Route => {
      const price = isObject(route) ? readAmount(route.price) : null;
      if (!isObject(route) || typeof route.method !== 'string' || typeof route.path !== 'string' || price === null)
        throw fail('has a route without method, path or price');
      const { method, path } = route;
      return route.per === undefined
        ? { method, path, price }
        : { method, path, price, per: readRate(route.per, price) };
    }),
  };
}

/** A service as both sides know it: its id on chain and its price table. */
export interface PricedService {
  readonly id: number;
  readonly table: PriceTable;
}

export interface Offer {
  readonly service: number;
  /** Base units the call costs at most. */
  readonly price: number;
  /** How it is counted, if it is. */
  readonly rate?: Rate;
}

/** Length of the longest pattern of the table that names the path, -1 when none does. */
function claim(table: PriceTable, method: string, path: string): number {
  let longest = -1;
  for (const pattern of table.free) if (matches(pattern, path)) longest = Math.max(longest, pattern.length);
  for (const route of table.routes)
    if (rank(route, method) > 0 && matches(route.path, path)) longest = Math.max(longest, route.path.length);
  return longest;
}

/**
 * Which of an agent's services answers a target, and at what price: the one that names it most closely, else the first
 * by id. Both sides decide by this, so that nobody can pay the cheaper of two services for the dearer's work.
 */
export function offerOf(services: readonly PricedService[], method: string, target: string): Offer | null {
  if (services !== last.services || method !== last.method || target !== last.target)
    last = { services, method, target, offer: findOffer(services, method, target) };
  return last.offer;
}

/** What was asked for last: calls come in runs of the same method and target. */
let last: { services: readonly PricedService[] | null; method: string; target: string; offer: Offer | null } = {
  services: null,
  method: '',
  target: '',
  offer: null,
};

function findOffer(services: readonly PricedService[], method: string, target: string): Offer | null {
  const path = pathOf(target);
  let best: PricedService | undefined;
  let bestClaim = -2;
  for (const service of services) {
    const length = claim(service.table, method, path);
    if (length > bestClaim || (length === bestClaim && service.id < best!.id)) {
      best = service;
      bestClaim = length;
    }
  }
  if (best === undefined) return null;
  const { price, per } = termsOf(best.table, method, target);
  return per === undefined ? { service: best.id, price } : { service: best.id, price, rate: per };
}
