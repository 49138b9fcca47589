/** What is disputed at L1: games move by move, faults shown without one, and how the watch stands. */
import { type GameRecord, type VerifierRpc, verifierStub } from '../../durable/verifier/api.ts';
import { segmentEnds } from '../../protocol/dispute.ts';
import { outcomeOf, playOf, turnOf } from '../settlement/games.ts';
import type { Ctx, Env } from './env.ts';
import { countParam, countQuery, limitQuery } from './input.ts';
import { problem } from './problem.ts';
import type { Route } from './route.ts';

const verifierOf = (env: Env): VerifierRpc => verifierStub(env.VERIFIER);

/** A game as the list has it. */
function gameJson(game: GameRecord): Record<string, unknown> {
  const { id, number, batchHash, challenger, from, length, deadline } = playOf(game);
  const outcome = outcomeOf(game);
  const turn = outcome === null ? { turn: turnOf(playOf(game)), deadline } : {};
  const { at: openedAt } = game.moves[0];
  return {
    id,
    batch: number,
    batchHash,
    challenger,
    openedAt,
    moves: game.moves.length,
    from,
    length,
    outcome,
    ...turn,
  };
}

async function games(c: Ctx): Promise<Response> {
  const limit = limitQuery(c);
  const found = await verifierOf(c.env).games({ before: countQuery(c, 'before'), limit: limit + 1 });
  const next = found.length > limit ? found[limit - 1].id : undefined;
  const [faults, watch] = await Promise.all([verifierOf(c.env).faults(), verifierOf(c.env).watch()]);
  const { samples: _samples, scannedBlock: _scanned, ...shown } = watch ?? {};
  return c.json({ games: found.slice(0, limit).map(gameJson), next, faults, watch: watch && shown });
}

async function game(c: Ctx): Promise<Response> {
  const id = countParam(c, 'id');
  const found = await verifierOf(c.env).game(id);
  if (!found) throw problem('not_found', `no game ${id} was seen`);
  const moves = found.moves.map(({ play, ...move }) => ({
    ...move,
    from: play.from,
    length: play.length,
    pre: play.pre,
    post: play.post,
    deadline: play.deadline,
    // Where the commitments stand that were revealed, counted from the batch's first step.
    ...(move.kind === 'revealed' ? { ends: segmentEnds(play.length).map((end) => play.from + end) } : {}),
  }));
  return c.json({ ...gameJson(found), moves });
}

async function batch(c: Ctx): Promise<Response> {
  const number = countParam(c, 'n');
  const known = await verifierOf(c.env).batch(number);
  if (!known) throw problem('not_found', `batch ${number} is not verified yet, or final for long`);
  const { hash, post, frames, verdict, header } = known;
  return c.json({ number, hash, frames, asserted: header.post, found: post, fault: verdict.fault });
}

export const disputeRoutes: readonly Route[] = [
  {
    method: 'get',
    path: '/disputes',
    summary: 'Games about batches at L1, newest first, faults shown without one, and how the watch stands.',
    query: { before: 'id of the last game of the page before', limit: 'at most 100' },
    answer: {
      description:
        '{games: [{id, batch, batchHash, challenger, openedAt, moves, from, length, outcome, turn?, deadline?}], next?, faults: [{fault, number?, shard?, seq?, reporter, tx, block}], watch: {head, verified, finalized, games: {open, ours, hostile}, lying, awaitedSince?, bondWei, stakedWei, challengerWei?, runwayHours?, error?} | null}',
    },
    problems: ['malformed'],
    handle: games,
  },
  {
    method: 'get',
    path: '/disputes/{id}',
    summary: 'One game, move by move.',
    answer: {
      description:
        '{id, batch, challenger, outcome, …, moves: [{kind: opened | revealed | picked | closed, from, length, pre, post, deadline, commitments?, ends?, segment?, outcome?, tx, block, at}]}',
    },
    problems: ['malformed', 'not_found'],
    handle: game,
  },
  {
    method: 'get',
    path: '/batches/{n}/verdict',
    summary: 'What the verifier found of a batch, from L1’s data alone.',
    answer: {
      description: '{number, hash, frames, asserted, found, fault: null | post | inbox | time | clock | late}',
    },
    problems: ['malformed', 'not_found'],
    handle: batch,
  },
];
