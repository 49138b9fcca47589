/** What shard 0 has written down of batches, brought in line with what L1 has. */
import type { ShardRpc } from '../../durable/shard/api.ts';
import type { Chain, Look } from './chain.ts';
import type { Log } from './log.ts';
import { Diverged, reconcile } from './plan.ts';

/** Records looked at in every pass, newest first: no reorg is deeper. */
const RECENT = 16;

/** `finalized`: the batch up to which all were final at the last look; `window`: seconds. Throws {@link Diverged} where L1 has another batch, or voided ours. */
export async function bringInLine(
  chain: Chain,
  shard: ShardRpc,
  look: Look,
  finalized: number,
  window: number,
  log: Log,
): Promise<void> {
  const recent = await shard.batches({ newest: true, limit: RECENT });
  const older =
    finalized < look.finalized ? await shard.batches({ after: finalized, limit: look.finalized - finalized }) : [];
  const records = new Map([...older, ...recent].map((record) => [record.number, record]));
  for (const record of records.values()) {
    if (record.state === 'final' && record.number <= look.finalized) continue;
    const posted = await chain.posted(record.number);
    const changed = reconcile(record, look, posted, window);
    if (!changed) continue;
    if (changed.state === 'pending' && (await chain.isVoided(record.number, record.block ?? 0, look.latest))) {
      await shard.recordBatch({ ...record, state: 'invalid' });
      throw new Diverged(
        `batch ${record.number} was shown to be wrong: posting it again would only lose the bond again`,
      );
    }
    const where = changed.state === 'pending' ? null : await chain.postedIn(record.number, posted, look.latest);
    await shard.recordBatch({ ...changed, ...where });
    log('batch', {
      batch: record.number,
      state: changed.state,
      was: record.state,
      frames: changed.ranges.reduce((n, r) => n + r.frames, 0),
    });
  }
}
