/** All the money of a simulated deployment, by the books of the demonstration. */
import { NOBODY, Penalties, book } from '../books.ts';
import type { CoreRun } from './core/setup.ts';

/** Base units that came in from L1, and that are anywhere in the state: equal at every moment. */
export function money({ shards, deposited }: Pick<CoreRun, 'shards' | 'deposited'>): {
  deposited: number;
  held: number;
} {
  const runs = shards.map(({ engine }) => ({ engine, executed: [], links: [] }));
  const { placed } = book(
    { shards: runs, stateRoot: new Uint8Array(32), batches: 0, wrong: [] },
    new Penalties(),
    () => ({ ...NOBODY }),
  );
  return { deposited, held: Object.values(placed).reduce((sum, units) => sum + units, 0) };
}
