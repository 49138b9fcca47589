/**
 * Every lie is found and shown by the challenger alone, whatever the sequencer says in the game; and of an honest batch nothing can be shown.
 * MUTANTS sets how many lies (CI: at least 300 of all kinds). Two files take half of the kinds each, because a game is mostly waiting. Where the data is
 * elsewhere than in calldata, each kind lies once: how it is shown is another, what is wrong is not.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import '../../protocol/keccak/install.ts';
import type { VerifierHost } from '../../durable/verifier/host.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { outcomeOf } from '../../workers/settlement/games.ts';
import { Refused } from '../../workers/settlement/sender.ts';
import { Random } from '../reference/random.ts';
import { KINDS, type Mutant } from './kinds.ts';
import { Liar, MANNERS } from './liar.ts';
import { DisputeWorld } from './world.ts';

const MUTANTS = Math.ceil(Number(process.env.MUTANTS ?? (process.env.CI ? 300 : 70)) / 2);
/** So many that every kind has its turn in a batch that it fits. */
const ALL_KINDS = 150;
const PER_BATCH = 75;
/** A kind that fits a batch so seldom is left to the others. */
const MAX_MISFITS = 12;
/** To open a frame in a blob takes a second of CPU for every 31 bytes. */
const minutesFor = (da: number): number => (da === Da.blob ? 60 : 20);
/** Looks of the challenger until a lie is down: two for each round of a game, and some. */
const MAX_LOOKS = 12;

/** Tests half of the kinds: the even ones, or the odd; with their data somewhere. */
export function noLieStands(half: 0 | 1, da: number = Da.calldata): void {
  let world: DisputeWorld;
  let host: VerifierHost;
  const events: string[] = [];
  const isOnce = da !== Da.calldata;

  const look = (): Promise<void> =>
    world.look(host, (event, fields) => void events.push(`${event} ${JSON.stringify(fields)}`));

  beforeAll(async () => {
    world = await DisputeWorld.start(PER_BATCH, da);
    host = world.verifier();
  }, 120_000);
  afterAll(() => world?.stop());

  /** Posts a lie; false when L1 itself would not have it. */
  async function isPosted(mutant: Mutant): Promise<boolean> {
    try {
      if (mutant.first) await world.post(mutant.first);
      await world.post(mutant);
      return true;
    } catch (error) {
      if (error instanceof Refused || /revert/.test(String(error))) return false;
      throw error;
    }
  }

  /** Lets the challenger and the liar play; true when the batch is gone and the sequencer has paid. */
  async function isCaught(mutant: Mutant, liar: Liar): Promise<boolean> {
    const before = await world.bonded();
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      await look();
      if ((await world.head()) < mutant.header.number) return (await world.bonded()) < before;
      await liar.answer((await host.games()).filter((game) => outcomeOf(game) === null));
    }
    return false;
  }

  test(
    'no lie of any kind stands',
    async () => {
      const survivors: string[] = [];
      const caught = new Map<string, number>();
      const tried = new Set<string>();
      const random = new Random(2 * MUTANTS + half);
      const names = Object.keys(KINDS).filter((_, i) => i % 2 === half);
      const { batches } = world;
      let made = 0;
      for (const { header, ...honest } of batches) {
        const { number } = header;
        const share = isOnce ? Infinity : Math.ceil((MUTANTS - made) / (batches.length - number + 1));
        const misfits = new Map<string, number>();
        for (let i = 0; i < share;) {
          // Those that came least so far first.
          const isWanted = (each: string): boolean => !isOnce || !tried.has(each);
          const fitting = names.filter((each) => (misfits.get(each) ?? 0) < MAX_MISFITS && isWanted(each));
          if (fitting.length === 0) break;
          const least = Math.min(...fitting.map((each) => caught.get(each) ?? 0));
          const name = random.pick(fitting.filter((each) => (caught.get(each) ?? 0) === least));
          const mutant = KINDS[name](world, number, random);
          if (!mutant) {
            misfits.set(name, (misfits.get(name) ?? 0) + 1);
            continue;
          }
          const manner = MANNERS[made % MANNERS.length];
          const snapshot = await world.snapshot();
          events.splice(0);
          const liar = new Liar(world, manner, mutant.truth, random.below(1000));
          if (!(await isPosted(mutant))) {
            misfits.set(name, MAX_MISFITS);
            await world.revert(snapshot);
            continue;
          }
          tried.add(name);
          if (await isCaught(mutant, liar)) caught.set(name, (caught.get(name) ?? 0) + 1);
          else survivors.push(`batch ${number}, ${name}, ${manner}: ${events.slice(-6).join('; ')}`);
          await world.revert(snapshot);
          made += 1;
          i += 1;
        }
        await world.post({ header, ...honest });
        await look();
        expect((await host.standing()).head, `the honest batch ${number}`).toBe(number);
      }
      expect(survivors).toEqual([]);
      console.log(`${made} lies of ${caught.size} kinds, all caught`);
      if (!isOnce) expect(made).toBeGreaterThanOrEqual(MUTANTS);
      if (isOnce || MUTANTS >= ALL_KINDS) expect(names.filter((name) => !caught.has(name))).toEqual([]);
      else expect(caught.size).toBeGreaterThan(25);
    },
    minutesFor(da) * 60_000,
  );
}
