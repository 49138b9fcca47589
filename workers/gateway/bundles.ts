/** POST /bundles: signatures are verified here, where it scales out; everything else the shard decides. */
import { type Bundle, MAX_FRAME_BYTES, decodeBundle } from '../../protocol/bundle.ts';
import { Agnt2Error } from '../../protocol/errors.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { receiptToJson } from '../../protocol/receipt.ts';
import { type Failure, type SubmitResult, type Submission, failure, isFailure } from '../../durable/shard/api.ts';
import { type Env, shardCount, shardNumbered, signingOf } from './env.ts';
import { mediaType, readBody } from './input.ts';
import { isCached, machineKey, rememberKey } from './keys.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const ONE = 'application/octet-stream';
const MANY = 'application/vnd.agnt2.bundles';
const MAX_BODY = 1024 * 1024;
const MAX_BUNDLES = 1024;

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

interface Checked extends Submission {
  readonly bundle: Bundle;
}

/** Decodes and verifies; a cached key that does not fit is fetched again once. */
async function check(env: Env, frame: Uint8Array): Promise<Checked | Failure> {
  if (frame.length > MAX_FRAME_BYTES) return failure('too_large', `a bundle is at most ${MAX_FRAME_BYTES} bytes`);
  let bundle: Bundle;
  try {
    bundle = decodeBundle(frame);
  } catch (error) {
    if (error instanceof Agnt2Error) return failure(error.code, error.detail);
    throw error;
  }
  const { actor, body, signature } = bundle;
  if (shardOf(actor) >= shardCount(env))
    return failure('wrong_shard', `there are ${shardCount(env)} shards: none holds ${formatId(actor)}`);
  const preimage = signingOf(env).bundle(body);
  const cached = isCached(actor);
  let key = await machineKey(env, actor);
  if (!key) return failure('unknown_agent', `there is no agent ${formatId(actor)}`);
  let valid = await verifyP256(key, preimage, signature);
  if (!valid && cached) {
    key = (await machineKey(env, actor, true)) ?? key;
    valid = await verifyP256(key, preimage, signature);
  }
  return valid
    ? { bundle, frame, key }
    : failure('bad_signature', `not signed by the machine key of ${formatId(actor)} for this chain and Root`);
}

/** Sends each shard its own, in the order given; results in that order too. */
async function submit(env: Env, items: readonly (Checked | Failure)[]): Promise<(SubmitResult | Failure)[]> {
  const results: (SubmitResult | Failure)[] = items.map((item) =>
    isFailure(item) ? item : failure('unavailable', 'no answer'),
  );
  const byShard = Map.groupBy(items.keys(), (i) => {
    const item = items[i];
    return isFailure(item) ? -1 : shardOf(item.bundle.actor);
  });
  byShard.delete(-1);
  await Promise.all(
    [...byShard].map(async ([shard, places]) => {
      const own = places.map((i) => items[i] as Checked);
      const answers = await shardNumbered(env, shard).submit(own.map(({ frame, key }) => ({ frame, key })));
      places.forEach((place, n) => (results[place] = answers[n]));
    }),
  );
  return results;
}

const isStale = (result: SubmitResult): boolean => isFailure(result) && result.error.code === 'stale_key';

async function submitAll(env: Env, frames: readonly Uint8Array[]): Promise<SubmitResult[]> {
  const items = await Promise.all(frames.map((frame) => check(env, frame)));
  const results = await submit(env, items);
  const stale = [...results.keys()].filter((i) => isStale(results[i]));
  if (stale.length === 0) return results;
  // A key rotated under us: verify those again under the key the shard names, once.
  for (const i of stale) {
    const { key } = (results[i] as Failure).error;
    rememberKey((items[i] as Checked).bundle.actor, key as Uint8Array);
  }
  const again = await submit(env, await Promise.all(stale.map((i) => check(env, frames[i]))));
  stale.forEach(
    (place, n) =>
      (results[place] = isStale(again[n])
        ? failure('stale_key', 'the machine key is changing: send the bundle again')
        : again[n]),
  );
  return results;
}

const resultJson = (result: SubmitResult): unknown =>
  isFailure(result) ? result : { receipt: receiptToJson(result.receipt) };

export const bundleRoutes: readonly Route[] = [
  {
    method: 'post',
    path: '/bundles',
    summary:
      'Submits one bundle or many; each is ordered, executed and answered with a signed receipt, or refused and changes nothing.',
    body: { [ONE]: 'one bundle (docs/protocol.md §4)', [MANY]: 'each bundle as u16 length ‖ bytes' },
    answer: { description: '{results: [{receipt} or {error: {code, detail}}]}, in order' },
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
      'overloaded',
    ],
    handle: async (c) => {
      const type = mediaType(c.req.raw, [ONE, MANY]);
      const body = await readBody(c.req.raw, type === ONE ? MAX_FRAME_BYTES : MAX_BODY);
      const results = await submitAll(c.env, type === ONE ? [body] : splitBundles(body));
      const [first] = results;
      if (results.length === 1 && isFailure(first)) {
        const { code, detail, ...extra } = first.error;
        throw problem(code, detail, extra);
      }
      return c.json({ results: results.map(resultJson) });
    },
  },
];
