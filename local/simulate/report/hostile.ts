/** Who lies in the report, and what it gets. */
import { L1_RULES } from '../cost.ts';
import type { Study } from '../study.ts';
import { escape } from './plot.ts';
import { table, words } from './table.ts';

export function hostile({ hostile: { credit, oldHalves, withheld, lies }, hard: cases }: Study): string {
  const silent = cases.find(({ name }) => name.includes('never sign'))!.point.run;
  const certified = withheld.filter(({ mode }) => mode === 'committee');
  const honest = certified.filter(({ lying }) => lying === 0);
  const lost = certified.filter(({ restored }) => !restored);
  const least = Math.min(...lost.map(({ lying }) => lying), Infinity);
  const told = (what: string): string => {
    const own = lies.filter((lie) => lie.what === what);
    return `${own.filter(({ caught }) => caught).length} of ${own.length}`;
  };
  const [{ seconds, moves, rounds }] = lies;
  const rows: readonly (readonly [string, string, string])[] = [
    [
      'payers that never sign',
      `most taken of one payee: ${silent.takenMost} base units`,
      `bound: the credit, ${credit}; ${silent.refused.toLocaleString('en')} calls refused`,
    ],
    [
      'an old half in an exit',
      `${oldHalves.takenWatched} base units taken in ${oldHalves.watched} exits that somebody watched`,
      `${oldHalves.takenUnwatched} in ${oldHalves.trials - oldHalves.watched} that nobody did; money before and after: ${oldHalves.before === oldHalves.after ? 'equal' : 'not equal'}`,
    ],
    [
      'members that are gone',
      `${certified.length > 0 ? Math.max(...honest.map(({ dead }) => dead)) : 0} of 16 may be, and posting goes on`,
      `of data certified with none lying, ${honest.filter(({ restored }) => restored).length} of ${honest.length} come back; with more gone the batch goes into blobs`,
    ],
    [
      'members that sign and keep nothing',
      `data is lost from ${least === Infinity ? 'no' : least} liars on`,
      'what is lost is demanded on L1, and the batch is void if nobody answers',
    ],
    [
      'a batch that says another state',
      `${told('state')} caught`,
      `${rounds} reveals, ${moves} moves, ${Math.round(seconds)} s with a block of ${L1_RULES.blockSeconds} s for each`,
    ],
    [
      'frames out of their order',
      `${told('order')} caught`,
      'the order of a trace follows from its frames: whoever executes it sees another',
    ],
    ['honest batches', `${told('none')} challenged`, 'executed again from what was posted'],
  ];
  return table(
    'hostile',
    [['who'], ['what it gets'], ['why']],
    rows.map((row) => `<tr data-row="${escape(row[0])}">${row.map(words).join('')}</tr>`),
  );
}
