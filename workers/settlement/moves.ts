/** The next move in a game, from what the verifier knows of the batch. Neither side ever has a choice to make: there is one right move. */
import type { GameRecord, VerifierRpc } from '../../durable/verifier/api.ts';
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { RevealTree, segmentEnds } from '../../protocol/dispute.ts';
import { type Games, openingToWire, playOf, playToWire, revealedOf, turnOf } from './games.ts';
import type { L1Call } from './sender.ts';

/** The commitments inside the segment in dispute, and the one at its end, as they should be. */
async function commitments(verifier: VerifierRpc, game: GameRecord): Promise<Uint8Array[]> {
  const { number, from, length } = playOf(game);
  return verifier.commitments(
    number,
    segmentEnds(length).map((end) => from + end),
  );
}

/** What the sequencer answers, if the batch is its own and good. */
export async function reveal(verifier: VerifierRpc, games: Games, game: GameRecord): Promise<L1Call> {
  const play = playOf(game);
  const right = await commitments(verifier, game);
  return games.call('reveal', [playToWire(play), right.slice(0, -1).map(hex)]);
}

/** The first part of the segment whose end is not what it should be. */
export function firstWrong(claimed: readonly Hex[], right: readonly Uint8Array[]): number {
  const wrong = claimed.findIndex((commitment, i) => commitment !== hex(right[i]));
  // The last one ends where the segment does, which the challenger denied when it picked that.
  return wrong < 0 ? right.length - 1 : wrong;
}

/** What the challenger does when it is its turn. */
export async function challenge(verifier: VerifierRpc, games: Games, game: GameRecord): Promise<L1Call> {
  const play = playOf(game);
  if (turnOf(play) !== 'challenger') throw new RangeError(`it is the sequencer's turn in game ${play.id}`);
  if (play.length === 1) {
    const { opening, witness } = await verifier.step(play.number, play.from);
    return games.call('step', [playToWire(play), openingToWire(opening), witness]);
  }
  const claimed = [...revealedOf(game), play.post];
  const ends = segmentEnds(play.length);
  const segment = firstWrong(claimed, await commitments(verifier, game));
  const tree = new RevealTree(claimed.map((commitment) => unhex(commitment)));
  const [first, length] = [ends[segment - 1] ?? 0, ends[segment] - (ends[segment - 1] ?? 0)];
  const args = [
    playToWire(play),
    BigInt(segment),
    segment === 0 ? play.pre : claimed[segment - 1],
    segment === 0 ? [] : tree.path(segment - 1).map(hex),
    claimed[segment],
    tree.path(segment).map(hex),
  ];
  if (length > 1) return games.call('pick', args);
  const { opening, witness } = await verifier.step(play.number, play.from + first);
  return games.call('pickAndStep', [...args, openingToWire(opening), witness]);
}
