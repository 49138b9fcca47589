/** POST /bundles: signatures are verified here, where it scales out; everything else the shard decides. */
import { Bundle, MAX_FRAME_BYTES } from '../../protocol/bundle.ts';
import { Reader, utf8, writeUint } from '../../protocol/bytes.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { receiptText } from '../../protocol/receipt.ts';
import { type Failure, type Submission, type SubmitResult, failure, isFailure } from '../../durable/shard/api.ts';
import { Lane } from '../../durable/shard/lane.ts';
import { type Ctx, type Env, shardCount, shardNumbered, signingOf } from './env.ts';
import { mediaType, readBody } from './input.ts';
import { cachedKey, fetchKeys, rememberKey } from './keys.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const ONE = 'application/octet-stream';
const MANY = 'application/vnd.agnt2.bundles';
/** Each result as u8 kind ‖ u32 length ‖ bytes: 0, a receipt's record (`encodeReceipt`), or 1, the JSON of what was refused. */
const RECORDS = 'application/vnd.agnt2.receipts';
const MAX_BODY = 1024 * 1024;
const MAX_BUNDLES = 1024;

/** Longest that bundles on their way to a shard may expect to take, this isolate's work and the shard's together. */
const MAX_WAIT_MS = 500;
/** Estimated microseconds a bundle takes here: a signature to verify, JSON to write. */
const BUNDLE_WORK = 200;
/** By shard: what this isolate has on its way to it. */
const lanes = new Map<number, Lane>();

function laneTo(shard: number): Lane {
  let lane = lanes.get(shard);
  if (!lane) lanes.set(shard, (lane = new Lane(MAX_WAIT_MS)));
  return lane;
}

/** Bundles of a request, each over a buffer of its own (RPC would send the whole one behind a view). */
function splitBundles(body: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < body.length;) {
    const length = at + 2 <= body.length ? body[at] * 256 + body[at + 1] : 0;
    if (length === 0 || at + 2 + length > body.length) throw problem('malformed', `no whole bundle at byte ${at}`);
    frames.push(body.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  if (frames.length === 0) throw problem('malformed', 'no bundle in the body');
  if (frames.length > MAX_BUNDLES) throw problem('too_large', `at most ${MAX_BUNDLES} bundles at once`);
  return frames;
}

const noAnswer = (shard: number, code = 'unavailable'): Failure =>
  failure(code, `shard ${shard} gave no answer: send the same bytes again, they can't run twice`, { retryAfter: 1 });

/** What is kept of a bundle while it is under way: what its fields decode to takes ten times as much, and only the shard needs it. */
interface Decoded {
  readonly bundle: Pick<Bundle, 'frame' | 'actor' | 'body' | 'signature'>;
}
interface Checked extends Decoded {
  /** Under which its signature is valid. */
  readonly key: Uint8Array;
}

/** One at a time, for the length of {@link decode}. */
const decoded = new Bundle();

function decode(env: Env, frame: Uint8Array): Decoded | Failure {
  if (frame.length > MAX_FRAME_BYTES) return failure('too_large', `a bundle is at most ${MAX_FRAME_BYTES} bytes`);
  try {
    decoded.decode(frame);
    const { actor, body, signature } = decoded;
    return shardOf(actor) < shardCount(env)
      ? { bundle: { frame, actor, body, signature } }
      : failure('wrong_shard', `there are ${shardCount(env)} shards: none holds ${formatId(actor)}`);
  } catch (error) {
    if (error instanceof Agnt2Error) return failure(error.code, error.detail);
    throw error;
  }
}

async function verify(env: Env, { bundle }: Decoded): Promise<Checked | Failure> {
  const { actor, body, signature } = bundle;
  const key = cachedKey(actor);
  if (!key) return failure('unknown_agent', `there is no agent ${formatId(actor)}`);
  return (await verifyP256(key, signingOf(env).bundle(body), signature))
    ? { bundle, key }
    : failure('bad_signature', `not signed by the machine key of ${formatId(actor)} for this chain and Root`);
}

/** Verifies under the keys as they were seen last; asks each shard once for those never seen, and once more for those that don't fit. */
async function check(env: Env, items: readonly (Decoded | Failure)[]): Promise<(Checked | Failure)[]> {
  const actors = items.flatMap((item) => (isFailure(item) ? [] : [item.bundle.actor]));
  const seen = new Set(actors.filter((actor) => cachedKey(actor) !== undefined));
  const { silent } = await fetchKeys(env, new Set(actors.filter((actor) => !seen.has(actor))));
  const checked = await Promise.all(
    items.map((item) => {
      if (isFailure(item)) return item;
      const { actor } = item.bundle;
      return silent.has(shardOf(actor)) && !seen.has(actor) ? noAnswer(shardOf(actor)) : verify(env, item);
    }),
  );
  const doubtful = [...checked.keys()].filter((i) => {
    const item = items[i];
    return isFailure(checked[i]) && !isFailure(item) && seen.has(item.bundle.actor);
  });
  if (doubtful.length === 0) return checked;
  const { found } = await fetchKeys(env, new Set(doubtful.map((i) => (items[i] as Decoded).bundle.actor)));
  for (const i of doubtful) {
    const item = items[i] as Decoded;
    if (found.has(item.bundle.actor)) checked[i] = await verify(env, item);
  }
  return checked;
}

/** The places of what is not a failure, by the shard of its actor. */
function byShard(items: readonly (Decoded | Failure)[]): Map<number, number[]> {
  const places = new Map<number, number[]>();
  for (const [i, item] of items.entries()) {
    if (isFailure(item)) continue;
    const shard = shardOf(item.bundle.actor);
    const own = places.get(shard);
    if (own) own.push(i);
    else places.set(shard, [i]);
  }
  return places;
}

/** Sends each shard its own, in the order given, all at the same time; results in that order too. */
async function submit(env: Env, items: readonly (Checked | Failure)[]): Promise<SubmitResult[]> {
  const results: SubmitResult[] = items.map((item) => (isFailure(item) ? item : failure('unavailable', 'no answer')));
  await Promise.all(
    [...byShard(items)].map(async ([shard, places]) => {
      const own: Submission[] = places.map((i) => {
        const { bundle, key } = items[i] as Checked;
        return { frame: bundle.frame, key };
      });
      try {
        const answers = await shardNumbered(env, shard).submit(own);
        places.forEach((place, n) => (results[place] = answers[n]));
      } catch (error) {
        // Another shard may have done its part: its receipts must get through.
        console.error(error);
        const code = (error as { overloaded?: unknown }).overloaded === true ? 'overloaded' : 'unavailable';
        for (const place of places) results[place] = noAnswer(shard, code);
      }
    }),
  );
  return results;
}

const isStale = (result: SubmitResult): boolean => isFailure(result) && result.error.code === 'stale_key';

async function submitAll(env: Env, items: readonly (Decoded | Failure)[]): Promise<SubmitResult[]> {
  const results = await submit(env, await check(env, items));
  const stale = [...results.keys()].filter((i) => isStale(results[i]));
  if (stale.length === 0) return results;
  // A key rotated under us: verify those again under the key the shard names, once.
  for (const i of stale) {
    const { key } = (results[i] as Failure).error;
    rememberKey((items[i] as Decoded).bundle.actor, key as Uint8Array);
  }
  const again = await submit(
    env,
    await check(
      env,
      stale.map((i) => items[i]),
    ),
  );
  stale.forEach(
    (place, n) =>
      (results[place] = isStale(again[n])
        ? failure('stale_key', 'the machine key is changing: send the bundle again')
        : again[n]),
  );
  return results;
}

/** Whose a bundle says it is: bytes that are none are as good as nobody's. */
function actorOf(frame: Uint8Array): number {
  try {
    return new Reader(frame, 3).varint();
  } catch {
    return 0;
  }
}

/** Takes a request in; what has no room on its way to its shard is refused before it costs anything. */
async function admit(env: Env, frames: readonly Uint8Array[]): Promise<SubmitResult[]> {
  const nowMs = Date.now();
  const items: (Decoded | Failure)[] = [];
  const taken: (() => void)[] = [];
  for (const [actor, places] of Map.groupBy(frames.keys(), (i) => actorOf(frames[i]))) {
    const lane = laneTo(Math.min(shardOf(actor), shardCount(env)));
    const work = places.length * BUNDLE_WORK;
    const retryAfter = lane.full(actor, work);
    if (retryAfter > 0) {
      const why = failure('overloaded', 'too much is on its way to this shard: nothing was done', { retryAfter });
      for (const i of places) items[i] = why;
      continue;
    }
    for (const i of places) items[i] = decode(env, frames[i]);
    lane.enter(actor, work, nowMs);
    taken.push(() => {
      lane.leave(actor, work);
      lane.done(work, Date.now());
    });
  }
  try {
    return await submitAll(env, items);
  } finally {
    for (const done of taken) done();
  }
}

const resultText = (result: SubmitResult): string =>
  isFailure(result) ? JSON.stringify(result) : `{"receipt":${receiptText(result.receipt)}}`;

/** Results as {@link RECORDS} has them. */
function resultRecords(results: readonly SubmitResult[]): Uint8Array {
  const parts = results.map((result) => (isFailure(result) ? utf8(JSON.stringify(result)) : result.receipt));
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + 5 + length, 0));
  let at = 0;
  for (const [i, part] of parts.entries()) {
    out[at] = isFailure(results[i]) ? 1 : 0;
    writeUint(out, at + 1, 4, part.length);
    out.set(part, at + 5);
    at += 5 + part.length;
  }
  return out;
}

/** Whether a client names a media type among what it takes. */
const accepts = (c: Ctx, type: string): boolean =>
  (c.req.header('accept') ?? '').split(',').some((range) => range.split(';')[0].trim().toLowerCase() === type);

/** Seconds after which what was refused for lack of room is worth another try; null when nothing was. */
function retryAfter(results: readonly SubmitResult[]): string | null {
  const waits = results.flatMap((result) => (isFailure(result) ? [Number(result.error.retryAfter ?? 0)] : []));
  const longest = Math.max(0, ...waits);
  return longest > 0 ? String(longest) : null;
}

export const bundleRoutes: readonly Route[] = [
  {
    method: 'post',
    path: '/bundles',
    summary:
      'Submits one bundle or many; each is ordered, executed and answered with a signed receipt, or refused and changes nothing.',
    body: { [ONE]: 'one bundle (docs/protocol.md §4)', [MANY]: 'each bundle as u16 length ‖ bytes' },
    answer: {
      description: `{results: [{receipt} or {error: {code, detail}}]}, in order; the same in binary for who accepts ${RECORDS} (docs/api.md)`,
    },
    problems: [
      'malformed',
      'too_large',
      'unsupported_media_type',
      'wrong_shard',
      'unknown_agent',
      'bad_signature',
      'bad_nonce',
      'replayed',
      'expired',
      'stale_key',
      'too_early',
      'too_costly',
      'rate_limited',
      'overloaded',
    ],
    handle: async (c) => {
      const type = mediaType(c.req.raw, [ONE, MANY]);
      const body = await readBody(c.req.raw, type === ONE ? MAX_FRAME_BYTES : MAX_BODY);
      const results = await admit(c.env, type === ONE ? [body] : splitBundles(body));
      const [first] = results;
      // One alone, or many with no room for any: the answer is the problem itself.
      const nothing = results.every((result) => isFailure(result) && result.error.code === 'overloaded');
      if (isFailure(first) && (results.length === 1 || nothing)) {
        const { code, detail, ...extra } = first.error;
        throw problem(code, detail, extra);
      }
      const wait = retryAfter(results);
      const [answer, answerType] = accepts(c, RECORDS)
        ? [resultRecords(results), RECORDS]
        : [`{"results":[${results.map(resultText).join(',')}]}`, 'application/json'];
      return new Response(answer as BodyInit, {
        headers: { 'content-type': answerType, vary: 'accept', ...(wait === null ? {} : { 'retry-after': wait }) },
      });
    },
  },
];
