/** Games at L1 as their events tell them, and whose turn it is in each. */
import { type Abi, encodeAbiParameters, keccak256 } from 'viem';
import { gameAbi } from '../../contracts/abi.ts';
import type { GameMove, GameOutcome, GameRecord, Play, VerifierRpc } from '../../durable/verifier/api.ts';
import type { Hex } from '../../protocol/bytes.ts';
import type { Opening } from '../../protocol/verifier.ts';
import type { Block, Chain, Look } from './chain.ts';
import type { L1Call } from './sender.ts';

/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000;
const GAMES_AT_ONCE = 32;
/** Games closed so long ago are not looked at any more. */
const REORG_BLOCKS = 64;
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

const TIMEOUT = gameAbi.find((item) => item.type === 'function' && item.name === 'timeout')!.inputs;
/** What L1 keeps of a game. */
const standingOf = (play: Play): Hex => keccak256(encodeAbiParameters(TIMEOUT, [playToWire(play)]));

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

export interface GameTerms {
  readonly challengeBond: bigint;
  /** Seconds that a move may take. */
  readonly moveWindow: number;
}

export class Games {
  readonly #chain: Chain;
  #terms: GameTerms | null = null;
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

  /** Never change, so they are asked for once. */
  async terms(): Promise<GameTerms> {
    if (this.#terms) return this.#terms;
    const { client } = this.#chain;
    const [challengeBond, moveWindow] = await Promise.all([
      client.readContract({ ...this.#at, functionName: 'challengeBond' }),
      client.readContract({ ...this.#at, functionName: 'moveWindow' }),
    ]);
    return (this.#terms = { challengeBond, moveWindow: Number(moveWindow) });
  }
  async credits(account: Hex): Promise<bigint> {
    return this.#chain.client.readContract({ ...this.#at, functionName: 'credits', args: [account] });
  }
  /** How many were ever opened. */
  async count(): Promise<number> {
    return Number(await this.#chain.client.readContract({ ...this.#at, functionName: 'games' }));
  }
  /** What L1 keeps of each of these; {@link NONE} when it is over. */
  async standing(ids: readonly number[]): Promise<Hex[]> {
    const { client } = this.#chain;
    const at = { ...this.#at, functionName: 'standing' } as const;
    const standing: Hex[] = [];
    for (let i = 0; i < ids.length; i += GAMES_AT_ONCE) {
      const some = ids.slice(i, i + GAMES_AT_ONCE);
      standing.push(...(await Promise.all(some.map((id) => client.readContract({ ...at, args: [BigInt(id)] })))));
    }
    return standing;
  }

  /**
   * Whether a game's batch stands as it did when the last move was made. One that was void and posted again since is another, though its
   * hash be the same: then the game can only be dissolved.
   */
  async isAlive({ number, batchHash, deadline }: Play, look: Pick<Look, 'head'>): Promise<boolean> {
    if (number > look.head) return false;
    const posted = await this.#chain.posted(number);
    return posted.batchHash === batchHash && posted.postedAt + (await this.terms()).moveWindow <= deadline;
  }

  /** All moves of a game; null when its opening is not shown. Looks back as far as needed, no further than `fromBlock`. */
  async record(id: number, fromBlock: number, latest: Block): Promise<GameRecord | null> {
    return (await this.records([id], fromBlock, latest))[0];
  }

  /** The same of many games, some at a time: hundreds asked for at once take a node too long. */
  async records(ids: readonly number[], fromBlock: number, latest: Block): Promise<(GameRecord | null)[]> {
    const found: (GameRecord | null)[] = [];
    for (let at = 0; at < ids.length; at += GAMES_AT_ONCE) {
      const some = ids.slice(at, at + GAMES_AT_ONCE);
      const moves = new Map(some.map((id) => [id, [] as GameMove[]]));
      const isWhole = (id: number): boolean => moves.get(id)![0]?.kind === 'opened';
      for (let to = latest.number; to >= fromBlock && !some.every(isWhole); to -= LOG_BLOCKS) {
        const earlier = await this.#moves(some, Math.max(fromBlock, to - LOG_BLOCKS + 1), to);
        for (const move of earlier.toReversed()) moves.get(move.play.id)!.unshift(move);
      }
      found.push(...some.map((id) => (isWhole(id) ? { id, moves: moves.get(id)! } : null)));
    }
    return found;
  }

  /** Moves of these games in these blocks, in order. */
  async #moves(ids: readonly number[], from: number, to: number): Promise<GameMove[]> {
    const args = { id: ids.map(BigInt) };
    const range = { fromBlock: BigInt(from), toBlock: BigInt(to), strict: true, args } as const;
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
    const times = new Map<bigint, number>();
    for (const { log } of moves) {
      if (times.has(log.blockNumber)) continue;
      times.set(log.blockNumber, (await this.#chain.block(log.blockNumber)).timestamp);
    }
    return moves.map(({ log, ...move }) => ({
      ...move,
      play: fromWire(log.args.play),
      tx: log.transactionHash,
      block: Number(log.blockNumber),
      at: times.get(log.blockNumber)!,
    }));
  }
}

/**
 * Games that are open at L1, as they stand: who has least time left first. However many there are, none is left out, or it would be lost.
 * Notes what it finds of any game with the verifier, so that only what changed is looked for in L1's logs.
 */
export async function openGames(
  games: Games,
  verifier: VerifierRpc,
  { latest }: Pick<Look, 'latest'>,
): Promise<GameRecord[]> {
  const ids = await verifier.unsettledGames(await games.count(), latest.number - REORG_BLOCKS);
  const standing = await games.standing(ids);
  const [same, changed]: [GameRecord[], number[]] = [[], []];
  for (const [i, id] of ids.entries()) {
    const record = await verifier.game(id);
    // Had a reorg closed one in another way, only who looks it up would be told the wrong one.
    if (record && standing[i] === (outcomeOf(record) === null ? standingOf(playOf(record)) : NONE)) same.push(record);
    else changed.push(id);
  }
  const found = await games.records(changed, 0, latest);
  for (const record of found) if (record) await verifier.recordGame(record);
  const records = [...same, ...found];
  return records
    .filter((record) => record !== null)
    .filter((record) => outcomeOf(record) === null)
    .toSorted((a, b) => playOf(a).deadline - playOf(b).deadline);
}
