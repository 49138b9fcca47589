/** Random schedules over the real endpoints: whatever the order of events, the promises of docs/protocol.md §8 hold. */
import { expect, test, vi } from 'vitest';
import { FAULTS, World } from '../model/world.ts';

vi.mock('../../protocol/keys.ts', async (original) => {
  const { verifyP256 } = await import('../model/cheap.ts');
  return { ...(await original<object>()), verifyP256 };
});

const SCHEDULES = Number(process.env.SESSION_SCHEDULES ?? 10_000);
const FIRST = Number(process.env.SESSION_SEED ?? 0);

/** One schedule: what it broke, and what it showed. */
async function play(seed: number) {
  // Some sign every call, several in a packet.
  const world = new World(seed, seed % 4 === 1 ? 1 : undefined);
  try {
    const { random } = world;
    const role = () => (random.below(2) === 0 ? 'a' : 'b');
    for (let op = 4 + random.below(8); op > 0; op--) {
      if (random.below(5) < 3) for (let n = 1 + random.below(3); n > 0; n--) world.sides[role()].call();
      else {
        // What both have lost, nobody has; one loss a schedule shows what a loss does.
        const kinds = world.sides.a.losses + world.sides.b.losses > 0 ? FAULTS.filter((f) => f !== 'lose') : FAULTS;
        world.fault(kinds[random.below(kinds.length)], role());
      }
      await world.steps(random.below(24));
    }
    const drained = await world.heal();
    const { a, b } = world.sides;
    return {
      broken: world.broken(drained),
      drained,
      events: world.events,
      answered: world.answered,
      crashes: a.crashes + b.crashes,
      losses: a.losses + b.losses,
    };
  } finally {
    world.end();
  }
}

test(`${SCHEDULES} random schedules`, { timeout: 900_000 }, async () => {
  const sum = { events: 0, answered: 0, crashes: 0, losses: 0, drained: 0 };
  for (let seed = FIRST; seed < FIRST + SCHEDULES; seed++) {
    const shown = await play(seed);
    expect(shown.broken, `SESSION_SEED=${seed} SESSION_SCHEDULES=1`).toBeNull();
    sum.events += shown.events;
    sum.answered += shown.answered;
    sum.crashes += shown.crashes;
    sum.losses += shown.losses;
    if (shown.drained) sum.drained += 1;
  }
  console.log(`${SCHEDULES} schedules: ${JSON.stringify(sum)}`);
  // That something happened in them.
  expect(sum.drained).toBeGreaterThan(SCHEDULES * 0.8);
  expect(sum.answered).toBeGreaterThan(SCHEDULES * 2);
  expect(sum.crashes).toBeGreaterThan(SCHEDULES / 3);
});
