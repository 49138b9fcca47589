/** Reading a config object: each mistake is named by its path, and what nobody asked for is one. */
import { readAmount } from './prices.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads one object's fields, naming each mistake by its path; `done` names fields nobody asked for. */
export class Fields {
  readonly #object: Json;
  readonly #path: string;
  readonly #faults: string[];
  readonly #seen = new Set<string>();

  constructor(value: unknown, path: string, faults: string[]) {
    this.#object = isObject(value) ? value : {};
    this.#path = path;
    this.#faults = faults;
    if (!isObject(value)) faults.push(`${path || 'the config'} must be an object`);
  }

  at(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }
  fault(key: string, why: string): void {
    this.#faults.push(`${this.at(key)} ${why}`);
  }
  get(key: string): unknown {
    this.#seen.add(key);
    return this.#object[key];
  }

  text(key: string, fallback?: string): string {
    const value = this.get(key) ?? fallback;
    if (typeof value === 'string' && (value !== '' || fallback === '')) return value;
    this.fault(key, value === undefined ? 'is missing' : 'must be text');
    return '';
  }
  amount(key: string, fallback?: number): number {
    const raw = this.get(key);
    if (raw === undefined && fallback !== undefined) return fallback;
    const value = readAmount(raw);
    if (value === null)
      this.fault(key, raw === undefined ? 'is missing' : 'must be a whole number of base units, 0 to 2^53-1');
    return value ?? 0;
  }
  integer(key: string, fallback: number, min: number, max: number): number {
    const value = this.get(key) ?? fallback;
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    this.fault(key, `must be a whole number from ${min} to ${max}`);
    return fallback;
  }
  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    if (typeof value === 'boolean') return value;
    this.fault(key, 'must be true or false');
    return fallback;
  }
  list(key: string): unknown[] {
    const value = this.get(key) ?? [];
    if (Array.isArray(value)) return value;
    this.fault(key, 'must be a list');
    return [];
  }
  /** An http(s) origin, without path, query or user; or, where it may be, an h2c one. */
  origin(key: string, h2c = false): string {
    const text = this.text(key);
    if (text === '') return '';
    try {
      const isH2c = h2c && /^h2c:/i.test(text);
      // Of a scheme it does not know URL has no default port and no normal form.
      const url = new URL(isH2c ? text.replace(/^h2c:/i, 'http:') : text);
      if (/^https?:$/.test(url.protocol) && url.pathname === '/' && !url.search && !url.hash && !url.username)
        return isH2c ? url.origin.replace('http:', 'h2c:') : url.origin;
    } catch {
      // Named below.
    }
    this.fault(key, 'must be an http or https origin like http://127.0.0.1:3000');
    return '';
  }
  endpoint(key: string, fallback: string): Endpoint {
    const match = /^(?:(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):)?(\d{1,5})$/.exec(this.text(key, fallback));
    const port = Number(match?.[2]);
    if (!match || port > 65535) {
      this.fault(key, 'must be host:port');
      return { host: '127.0.0.1', port: 0 };
    }
    return { host: (match[1] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port };
  }
  done(): void {
    for (const key of Object.keys(this.#object)) if (!this.#seen.has(key)) this.fault(key, 'is not a setting');
  }
}
