/** What befalls agents on any shard (docs/protocol.md §4, "Shared moves"). */
import { Agent } from '../cells.ts';
import { shardOf } from '../ids.ts';
import type { Machine } from '../machine.ts';

/** What `ratings` and `ratingSum` can hold. */
const MAX_RATING = 2 ** 24 - 1;

/** Pays an agent wherever it lives, with the calls and volume it earned it by; nothing is sent when there is nothing to pay. */
export function pay(machine: Machine, agent: number, amount: number, calls: number, volume: number): void {
  if (machine.isLocal(agent)) machine.earn(agent, amount, calls, volume);
  else if (amount + calls + volume > 0)
    machine.send(shardOf(agent), agent, amount, { kind: 'credit', agent, amount, calls, volume });
}

/** Counts a rating, here or by message. */
export function rate(machine: Machine, agent: number, score: number): void {
  if (!machine.isLocal(agent)) {
    machine.send(shardOf(agent), 0, 0, { kind: 'rating', agent, score });
    return;
  }
  const { cells } = machine;
  const cell = machine.edit(machine.agent(agent));
  const [ratings, sum] = [Agent.ratings.get(cells, cell) + 1, Agent.ratingSum.get(cells, cell) + score];
  if (ratings > MAX_RATING || sum > MAX_RATING) return;
  Agent.ratings.set(cells, cell, ratings);
  Agent.ratingSum.set(cells, cell, sum);
}

/** Shards that must be reachable for {@link slash}. */
export const slashReaches = (machine: Machine, agent: number, reporter: number): boolean =>
  machine.isLocal(agent) ? machine.reaches(shardOf(reporter)) : machine.reaches(shardOf(agent));

/** Takes an agent's whole stake, half for who brought the evidence; here or by message. */
export function slash(machine: Machine, agent: number, reporter: number): void {
  if (!machine.isLocal(agent)) {
    machine.send(shardOf(agent), 0, 0, { kind: 'slash', agent, reporter });
    return;
  }
  const { cells } = machine;
  machine.addFailure(agent);
  const cell = machine.edit(machine.agent(agent));
  const stake = Agent.stake.get(cells, cell);
  Agent.stake.set(cells, cell, 0);
  Agent.unstakeAt.set(cells, cell, 0);
  const reward = Math.floor(stake / 2);
  machine.burn(stake - reward);
  if (machine.isLocal(reporter)) machine.credit(reporter, reward);
  else
    machine.send(shardOf(reporter), reporter, reward, {
      kind: 'credit',
      agent: reporter,
      amount: reward,
      calls: 0,
      volume: 0,
    });
}
