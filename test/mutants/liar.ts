/** The sequencer of a wrong batch, in games about it: says what keeps its lie alive as long as it can. */
import { gameAbi } from '../../contracts/abi.ts';
import type { GameRecord } from '../../durable/verifier/api.ts';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { segmentEnds } from '../../protocol/dispute.ts';
import { keccak } from '../../protocol/hash.ts';
import { playOf, playToWire, turnOf } from '../../workers/settlement/games.ts';
import type { DisputeWorld } from './world.ts';

/**
 * What it reveals: the truth up to a step and then something else (`parted`), the truth but for the end (`late`), nothing true (`wild`), or
 * nothing at all (`silent`).
 */
export const MANNERS = ['parted', 'late', 'wild', 'silent'] as const;
export type Manner = (typeof MANNERS)[number];

/** What it needs of the world it lies in. */
export type LiarsWorld = Pick<DisputeWorld, 'l1' | 'sequencer' | 'later'>;

export class Liar {
  readonly #world: LiarsWorld;
  readonly #manner: Manner;
  /** The true commitment after each step. */
  readonly #truth: readonly Hex[];
  readonly #parting: number;

  constructor(world: LiarsWorld, manner: Manner, truth: readonly Hex[], seed: number) {
    this.#world = world;
    this.#manner = manner;
    this.#truth = truth;
    this.#parting = seed % truth.length;
  }

  /** Its claim of the commitment after so many steps of the batch. */
  #claim(done: number): Hex {
    const isTrue = this.#manner === 'late' || (this.#manner === 'parted' && done <= this.#parting);
    return isTrue ? this.#truth[done - 1] : hex(keccak(Uint8Array.of(done >> 8, done, 7)));
  }

  /** Answers in every game in which it is its turn; when it has nothing to say, lets its time pass. True when there was one. */
  async answer(games: readonly GameRecord[]): Promise<boolean> {
    const waiting = games.map(playOf).filter((play) => turnOf(play) === 'sequencer');
    for (const play of waiting) {
      if (this.#manner === 'silent') {
        await this.#world.later(play.deadline - Math.floor(Date.now() / 1000) + 20_000);
        return true;
      }
      const commitments = segmentEnds(play.length)
        .slice(0, -1)
        .map((end) => this.#claim(play.from + end));
      const { game: address } = this.#world.l1;
      await this.#world.sequencer({
        address,
        abi: gameAbi,
        functionName: 'reveal',
        args: [playToWire(play), commitments],
      });
    }
    return waiting.length > 0;
  }
}
