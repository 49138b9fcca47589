/** Games at L1 as their events tell them, and whose turn it is in each. */
import type { Abi } from 'viem';
import { gameAbi } from '../../contracts/abi.ts';
import type { GameMove, GameOutcome, GameRecord, Play } from '../../durable/verifier/api.ts';
import type { Hex } from '../../protocol/bytes.ts';
import type { Opening } from '../../protocol/verifier.ts';
import type { Block, Chain } from './chain.ts';
import type { L1Call } from './sender.ts';

/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000;
const OUTCOMES: readonly GameOutcome[] = ['challengerWon', 'challengerLost', 'batchGone'];
const NONE = `0x${'00'.repeat(32)}`;

type WirePlay = { readonly [K in keyof Play]: Play[K] extends number ? bigint : Play[K] };

const fromWire = (play: WirePlay): Play => ({
  ...play,
  challenger: play.challenger.toLowerCase() as Hex,
  id: Number(play.id),
  number: Number(play.number),
  from: Number(play.from),
  length: Number(play.length),
  deadline: Number(play.deadline),
});
export const playToWire = (play: Play): WirePlay => ({
  ...play,
  id: BigInt(play.id),
  number: BigInt(play.number),
  from: BigInt(play.from),
  length: BigInt(play.length),
  deadline: BigInt(play.deadline),
});
export const openingToWire = ({ firstStep, seq, index, frames, ...rest }: Opening): Record<string, unknown> => ({
  ...rest,
  firstStep: BigInt(firstStep),
  seq: BigInt(seq),
  index: BigInt(index),
  frames: BigInt(frames),
});

/** Who has to move next. */
export const turnOf = ({ length, reveals }: Play): 'sequencer' | 'challenger' =>
  length > 1 && reveals === NONE ? 'sequencer' : 'challenger';

export const playOf = ({ moves }: GameRecord): Play => moves.at(-1)!.play;
export const outcomeOf = ({ moves }: GameRecord): GameOutcome | null => {
  const last = moves.at(-1)!;
  return last.kind === 'closed' ? last.outcome : null;
};
/** What the sequencer revealed of the segment that is now in dispute. */
export function revealedOf({ moves }: GameRecord): readonly Hex[] {
  const last = moves.at(-1)!;
  return last.kind === 'revealed' ? last.commitments : [];
}

export class Games {
  readonly #chain: Chain;
  readonly address: Hex;

  constructor(chain: Chain, address: Hex) {
    this.#chain = chain;
    this.address = address;
  }

  get #at(): { address: Hex; abi: typeof gameAbi } {
    return { address: this.address, abi: gameAbi };
  }

  call(functionName: string, args: readonly unknown[], value?: bigint): L1Call {
    return {
      address: this.address,
      abi: gameAbi as Abi,
      functionName,
      args,
      ...(value === undefined ? {} : { value }),
    };
  }

  async terms(): Promise<{ readonly challengeBond: bigint; readonly moveWindow: number }> {
    const { client } = this.#chain;
    const [challengeBond, moveWindow] = await Promise.all([
      client.readContract({ ...this.#at, functionName: 'challengeBond' }),
      client.readContract({ ...this.#at, functionName: 'moveWindow' }),
    ]);
    return { challengeBond, moveWindow: Number(moveWindow) };
  }
  async credits(account: Hex): Promise<bigint> {
    return this.#chain.client.readContract({ ...this.#at, functionName: 'credits', args: [account] });
  }
  /** How many were ever opened. */
  async count(): Promise<number> {
    return Number(await this.#chain.client.readContract({ ...this.#at, functionName: 'games' }));
  }
  /** Which of these are open. */
  async open(ids: readonly number[]): Promise<number[]> {
    const standing = await Promise.all(
      ids.map((id) => this.#chain.client.readContract({ ...this.#at, functionName: 'standing', args: [BigInt(id)] })),
    );
    return ids.filter((_, i) => standing[i] !== NONE);
  }

  /** All moves of a game; null when its opening is not shown. Looks back as far as needed, no further than `fromBlock`. */
  async record(id: number, fromBlock: number, latest: Block): Promise<GameRecord | null> {
    const moves: GameMove[] = [];
    for (let to = latest.number; to >= fromBlock; to -= LOG_BLOCKS) {
      const from = Math.max(fromBlock, to - LOG_BLOCKS + 1);
      moves.unshift(...(await this.#moves(id, from, to)));
      if (moves[0]?.kind === 'opened') return { id, moves };
    }
    return null;
  }

  async #moves(id: number, from: number, to: number): Promise<GameMove[]> {
    const range = { fromBlock: BigInt(from), toBlock: BigInt(to), strict: true, args: { id: BigInt(id) } } as const;
    const { client } = this.#chain;
    const [opened, revealed, picked, closed] = await Promise.all([
      client.getContractEvents({ ...this.#at, eventName: 'Opened', ...range }),
      client.getContractEvents({ ...this.#at, eventName: 'Revealed', ...range }),
      client.getContractEvents({ ...this.#at, eventName: 'Picked', ...range }),
      client.getContractEvents({ ...this.#at, eventName: 'Closed', ...range }),
    ]);
    const moves = [
      ...opened.map((log) => ({ log, kind: 'opened' as const })),
      ...revealed.map((log) => ({ log, kind: 'revealed' as const, commitments: log.args.commitments })),
      ...picked.map((log) => ({ log, kind: 'picked' as const, segment: Number(log.args.segment) })),
      ...closed.map((log) => ({ log, kind: 'closed' as const, outcome: OUTCOMES[log.args.outcome] })),
    ].toSorted((a, b) => Number(a.log.blockNumber - b.log.blockNumber) || a.log.logIndex - b.log.logIndex);
    return Promise.all(
      moves.map(async ({ log, ...move }) => {
        const block = Number(log.blockNumber);
        const { timestamp: at } = await this.#chain.block(log.blockNumber);
        return { ...move, play: fromWire(log.args.play), tx: log.transactionHash, block, at };
      }),
    );
  }
}
