/** The sequencer's side of games. It needs L1 and the verifier alone, so that nothing that is amiss with a shard or with posting costs the bond. */
import type { VerifierRpc } from '../../durable/verifier/api.ts';
import type { Look } from './chain.ts';
import { type Games, openGames, playOf, playToWire, turnOf } from './games.ts';
import type { Log } from './log.ts';
import { reveal } from './moves.ts';
import type { L1Call } from './sender.ts';

/** What the sequencer has to say in all games as they stand, where least time is left first. */
export async function* answers(games: Games, verifier: VerifierRpc, look: Look, log: Log): AsyncGenerator<L1Call> {
  for (const game of await openGames(games, verifier, look)) {
    const play = playOf(game);
    const { id, number, batchHash, deadline } = play;
    const isOver = look.latest.timestamp > deadline;
    const isTheirs = turnOf(play) === 'challenger';
    if (isTheirs !== isOver || !(await games.isAlive(play, look))) continue;
    if (isTheirs) {
      yield games.call('timeout', [playToWire(play)]);
      continue;
    }
    const known = await verifier.batch(number);
    // Not taken in yet: the next look, or the next pass, will do.
    if (known?.hash !== batchHash) log('cannot_answer_yet', { game: id, batch: number });
    else if (known.verdict.fault !== null)
      log('cannot_defend', { game: id, batch: number, fault: known.verdict.fault });
    else yield await reveal(verifier, games, game);
  }
}
