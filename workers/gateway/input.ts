/** What comes from outside: parsed here or refused, before anything else runs. */
import { MAX_MESSAGE_WAIT_MS } from '../../durable/shard/api.ts';
import { type Hex, unhex } from '../../protocol/bytes.ts';
import { codeOf } from '../../protocol/errors.ts';
import { parseId, serialOf } from '../../protocol/ids.ts';
import type { Ctx } from './env.ts';
import { problem } from './problem.ts';

const MAX_LIMIT = 100;

export function idFrom(text: string, what: string): number {
  try {
    return parseId(text);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    throw problem('malformed', `${what}: expected an id like 0:7`);
  }
}

export const idParam = (c: Ctx, name = 'id'): number => idFrom(c.req.param(name) ?? '', name);

export function countFrom(text: string, what: string, max = Number.MAX_SAFE_INTEGER): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : -1;
  if (value < 0 || value > max) throw problem('malformed', `${what}: expected a whole number from 0 to ${max}`);
  return value;
}

export const countParam = (c: Ctx, name: string, max?: number): number => countFrom(c.req.param(name) ?? '', name, max);

export function countQuery(c: Ctx, name: string, max?: number): number | undefined {
  const text = c.req.query(name);
  return text === undefined ? undefined : countFrom(text, name, max);
}

export const limitQuery = (c: Ctx): number => Math.min(Math.max(countQuery(c, 'limit') ?? 20, 1), MAX_LIMIT);

export function idQuery(c: Ctx, name: string): number | undefined {
  const text = c.req.query(name);
  return text === undefined ? undefined : idFrom(text, name);
}

/** Milliseconds that an answer may wait for what is still to come, 0 without; more than a bound is that bound. */
export const waitQuery = (c: Ctx): number => Math.min(countQuery(c, 'wait') ?? 0, MAX_MESSAGE_WAIT_MS);

/** Names from a list, joined by commas; undefined without. */
export function namesQuery<const T extends string>(c: Ctx, name: string, known: readonly T[]): T[] | undefined {
  return c.req
    .query(name)
    ?.split(',')
    .map((text) => {
      const found = known.find((one) => one === text);
      if (found === undefined) throw problem('malformed', `${name}: expected ${known.join(', ')}, joined by commas`);
      return found;
    });
}

/** `after` of a list of records: an id, or a bare serial of shard 0. */
export function afterQuery(c: Ctx): { shard: number; serial: number } {
  const text = c.req.query('after');
  if (text === undefined) return { shard: 0, serial: 0 };
  if (/^\d+$/.test(text)) return { shard: 0, serial: countFrom(text, 'after') };
  const id = idFrom(text, 'after');
  return { shard: id % 256, serial: serialOf(id) };
}

export function hexQuery(c: Ctx, name: string, bytes: number): Hex | undefined {
  const text = c.req.query(name);
  if (text === undefined) return undefined;
  bytesFrom(text, name, bytes);
  return text.toLowerCase() as Hex;
}

export function bytesFrom(text: string, what: string, length: number): Uint8Array {
  try {
    return unhex(text, length);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    throw problem('malformed', `${what}: expected ${length} bytes as 0x hex`);
  }
}

/** The whole body, at most `max` bytes: `too_large` before more than that is held. */
export async function readBody(request: Request, max: number): Promise<Uint8Array> {
  const tooLarge = () => problem('too_large', `the body may have ${max} bytes`);
  if (Number(request.headers.get('content-length') ?? 0) > max) throw tooLarge();
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = request.body?.getReader();
  for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
    const bytes = part.value as Uint8Array;
    size += bytes.length;
    if (size > max) {
      await reader?.cancel();
      throw tooLarge();
    }
    parts.push(bytes);
  }
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The request's media type, one of those allowed: else `unsupported_media_type`. */
export function mediaType<const T extends string>(request: Request, allowed: readonly T[]): T {
  const type = (request.headers.get('content-type') ?? '').split(';')[0].trim().toLowerCase();
  const found = allowed.find((known) => known === type);
  if (!found) throw problem('unsupported_media_type', `expected ${allowed.join(' or ')}`);
  return found;
}
