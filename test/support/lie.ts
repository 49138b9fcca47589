/** A sequencer that lies, on a whole stack: the product posts no such batch, so the test does, with the sequencer's key. */
import { privateKeyToAccount } from 'viem/accounts';
import { gameAbi, rootAbi } from '../../contracts/abi.ts';
import type { L1 } from '../../local/l1.ts';
import { type Hex, concat, hex } from '../../protocol/bytes.ts';
import { segmentEnds } from '../../protocol/dispute.ts';
import { keccak } from '../../protocol/hash.ts';
import { type BatchHeader, batchHash, encodeChunkRecord, placeFrames, sealData } from '../../protocol/trace.ts';
import { Chain } from '../../workers/settlement/chain.ts';
import { Games, outcomeOf, playOf, playToWire, turnOf } from '../../workers/settlement/games.ts';
import { toWire } from '../../workers/settlement/sender.ts';

export interface Lie {
  readonly number: number;
  readonly hash: Hex;
}

/** What the sequencer says where a step of its lie comes to. */
const invented = (step: number): Hex => hex(keccak(Uint8Array.of(step >> 8, step, 99)));

/**
 * Posts one frame that means nothing and takes so many steps (2 … 257), and says that they come to a state that nobody knows. Tries again when
 * the real poster was faster.
 */
export async function lie(l1: L1, steps: number): Promise<Lie> {
  const account = privateKeyToAccount(l1.posterKey);
  const records = [{ shard: 0, firstSeq: 0, frames: [Uint8Array.of(0x10, steps - 2)] }];
  for (let left = 20; ; left--) {
    const chain = new Chain(l1.rpc, l1.root);
    const { head, tip, latest } = await chain.look();
    const header: BatchHeader = {
      number: head + 1,
      prev: tip.batchHash,
      pre: tip.post,
      post: invented(steps),
      steps,
      timeFrom: latest.timestamp - 1,
      timeTo: latest.timestamp,
      inboxCursor: tip.inboxCursor,
      dataRoot: hex(sealData(placeFrames(records)).dataRoot),
      da: 0,
    };
    try {
      const args = [toWire(header), hex(concat(...records.map(encodeChunkRecord)))] as const;
      await l1.write(account, { address: l1.root, abi: rootAbi, functionName: 'postBatch', args });
      return { number: header.number, hash: batchHash(header) };
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

/** Keeps a lie alive in the games about it, by inventing more, until the batch is gone. */
export async function insist(l1: L1, { number, hash }: Lie): Promise<void> {
  const account = privateKeyToAccount(l1.posterKey);
  const chain = new Chain(l1.rpc, l1.root);
  const games = new Games(chain, l1.game);
  while ((await chain.posted(number)).batchHash === hash) {
    const latest = await chain.block();
    for (let id = 1; id <= (await games.count()); id++) {
      const game = await games.record(id, 0, latest);
      if (!game || outcomeOf(game) !== null) continue;
      const play = playOf(game);
      if (play.batchHash !== hash || turnOf(play) !== 'sequencer') continue;
      const commitments = segmentEnds(play.length)
        .slice(0, -1)
        .map((end) => invented(play.from + end));
      const call = { address: l1.game, abi: gameAbi, functionName: 'reveal', args: [playToWire(play), commitments] };
      // Another look may find it answered, or over.
      await l1.write(account, call).catch(() => {});
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
}
