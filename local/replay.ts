/** The whole trace, executed again from nothing by the state transition alone: what nobody has to be trusted for. */
import { decodeBundle } from '../protocol/bundle.ts';
import { Signing } from '../protocol/eip712.ts';
import { Engine, FrameKind } from '../protocol/engine.ts';
import type { Outcome } from '../protocol/status.ts';
import { StateTree } from '../protocol/trie.ts';
import { Verdicts } from '../protocol/verdicts.ts';
import type { Gateway } from './gateway.ts';

export interface Executed {
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly outcomes: readonly Outcome[];
}

export interface Replay {
  readonly engine: Engine;
  readonly executed: readonly Executed[];
  readonly stateRoot: Uint8Array;
}

/** Executes frames of one shard in order. */
export async function replayFrames(
  shard: number,
  domain: { chainId: number; root: `0x${string}` },
  frames: Iterable<Uint8Array>,
): Promise<Replay> {
  const verdicts = new Verdicts();
  const engine = new Engine(shard, new Signing(domain), { verify: verdicts.verify });
  const executed: Executed[] = [];
  for (const frame of frames) {
    if (frame[0] === FrameKind.bundle) {
      try {
        await verdicts.prefetch(engine.machine, decodeBundle(frame));
      } catch {
        // A frame that is no bundle gets its status from the engine.
      }
    }
    const { seq } = engine;
    executed.push({ seq, frame, outcomes: engine.execute(seq, frame) });
  }
  return { engine, executed, stateRoot: new StateTree([[shard, engine.trie.root()]]).root() };
}

/** Fetches and executes all that shard 0 ever did. */
export async function replay(gateway: Gateway, domain: { chainId: number; root: `0x${string}` }): Promise<Replay> {
  const records = await gateway.frames(0);
  return replayFrames(
    0,
    domain,
    records.flatMap(({ frames }) => frames),
  );
}
