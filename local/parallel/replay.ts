/** One shard's frames executed again on several threads: as `protocol/replay.ts` does it on one, for a deployment of one shard. */
import { decodeBundle } from '../../protocol/bundle.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, FrameKind } from '../../protocol/engine.ts';
import { ShardTrie } from '../../protocol/trie.ts';
import { Verdicts } from '../../protocol/verdicts.ts';
import type { Executed } from '../../protocol/replay.ts';
import { ParallelExecutor } from './executor.ts';

/** Frames whose signatures are checked together, before they run. */
const AHEAD = 1024;

/** The engine it returns has the state for itself, on one thread; the root over it is already known. */
export async function executeParallel(
  domain: { readonly chainId: number; readonly root: `0x${string}` },
  frames: readonly Uint8Array[],
  threads: number,
): Promise<{ readonly engine: Engine; readonly executed: readonly Executed[]; readonly root: Uint8Array }> {
  const signing = new Signing(domain);
  const verdicts = new Verdicts();
  const executor = new ParallelExecutor(0, signing, { verify: verdicts.verify, threads });
  const executed: Executed[] = [];
  try {
    for (let first = 0; first < frames.length; first += AHEAD) {
      const some = frames.slice(first, first + AHEAD);
      await Promise.all(some.map((frame) => prefetch(verdicts, executor.engine, frame)));
      for (const [i, outcomes] of executor.execute(some).entries())
        executed.push({ seq: first + i, frame: some[i], outcomes });
    }
    const root = executor.root();
    const trie = new ShardTrie();
    for (const page of executor.pages()) trie.load(page);
    return { engine: new Engine(0, signing, { verify: verdicts.verify, trie }), executed, root };
  } finally {
    await executor.close();
  }
}

/** What the key is by then, where it changes in between, is found out when it is asked for. */
async function prefetch(verdicts: Verdicts, { machine }: Engine, frame: Uint8Array): Promise<void> {
  if (frame[0] !== FrameKind.bundle) return;
  try {
    await verdicts.prefetch(machine, decodeBundle(frame));
  } catch {
    // A frame that is no bundle gets its status from the engine.
  }
}
