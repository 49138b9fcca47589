/** L1's inbox into shard 0, in order. */
import { type ShardRpc, isFailure } from '../../durable/shard/api.ts';
import { hex } from '../../protocol/bytes.ts';
import type { Chain, Look } from './chain.ts';
import type { Log } from './log.ts';
import { Inconsistent } from './order.ts';

/** Items one pass takes in; the rest waits for the next. */
const MAX_ITEMS = 2_000;
/** A shard's clock may lag this far behind when it takes in items: their records' times come from it. */
const MAX_CLOCK_LAG_SECONDS = 60;

/** Takes in what is `confirmations` deep. Returns the cursor after it. */
export async function feed(
  chain: Chain,
  shard: ShardRpc,
  confirmations: number,
  deadline: number,
  log: Log,
): Promise<number> {
  const latest = await chain.block();
  const safe = confirmations === 0 ? latest : await chain.block(BigInt(Math.max(0, latest.number - confirmations)));
  const length = await chain.inboxLengthAt(safe.number);
  let { inboxCursor: cursor } = await shard.head();
  const from = cursor;
  if (cursor < length) await shard.tickIfDue(MAX_CLOCK_LAG_SECONDS);
  while (cursor < length && cursor - from < MAX_ITEMS && Date.now() < deadline) {
    const items = await chain.inboxItems(cursor, Math.min(length, from + MAX_ITEMS), safe);
    if (items.length === 0) break;
    const answer = await shard.inbox(items);
    if (isFailure(answer)) throw new Inconsistent(`inbox: ${answer.error.code}, ${answer.error.detail}`);
    log('inbox', { from: cursor, to: answer.cursor, waiting: length - answer.cursor });
    cursor = answer.cursor;
  }
  return cursor;
}

/**
 * Whether shard 0 consumed exactly what L1 now says it should have. False after a reorg deeper than the confirmations: until L1 holds the
 * same items again, a batch would be provably wrong.
 */
export async function inboxAgrees(chain: Chain, shard: ShardRpc, look: Pick<Look, 'inboxLength'>): Promise<boolean> {
  const { inboxCursor, inboxAccumulator } = await shard.head();
  return inboxCursor <= look.inboxLength && hex(inboxAccumulator) === (await chain.accumulator(inboxCursor));
}
