import { Agent, UNSTAKE_SECONDS } from '../cells.ts';
import { defineOp } from '../op.ts';
import { Status } from '../status.ts';

/** Announces that the stake goes back to the balance, and, once the time has passed, takes it. Value: when that is; then the amount. */
export const unstake = defineOp({
  code: 0x18,
  name: 'unstake',
  fields: [],
  run(machine, actor) {
    const { cells } = machine;
    const agent = machine.agent(actor);
    const stake = Agent.stake.get(cells, agent);
    if (stake === 0) return Status.no_stake;
    const at = Agent.unstakeAt.get(cells, agent);
    if (at !== 0 && machine.time < at) return Status.not_due;
    const cell = machine.edit(agent);
    if (at === 0) {
      Agent.unstakeAt.set(cells, cell, machine.time + UNSTAKE_SECONDS);
      return machine.ok(machine.time + UNSTAKE_SECONDS);
    }
    Agent.stake.set(cells, cell, 0);
    Agent.unstakeAt.set(cells, cell, 0);
    machine.credit(actor, stake);
    return machine.ok(stake);
  },
});
