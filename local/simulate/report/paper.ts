/** The paper's table in the report, what parts the figures of a row, and where the measured ones come from. */
import { isCrowded } from '../calibration.ts';
import type { Study } from '../study.ts';
import { AGREEMENT, type JudgedRow } from '../table.ts';
import { escape } from './plot.ts';
import { type Column, cell, number, remark, sentences, table, value, words } from './table.ts';

const COLUMNS: readonly Column[] = [
  ['what'],
  ['unit'],
  'paper',
  'design target',
  'model',
  'simulation',
  'measured here',
  `within ${100 * AGREEMENT} %`,
];

export const paper = ({ table: rows }: Study): string =>
  table(
    'paper',
    COLUMNS,
    rows.map((row) => {
      const mark =
        row.agrees === null ? cell('–') : cell(row.agrees ? 'yes' : 'no', ` class="${row.agrees ? 'good' : 'bad'}"`);
      return `<tr data-row="${escape(row.name)}">${words(row.name)}${words(row.unit)}${cell(row.paper)}${cell(row.target)}${value('model', row.model)}${value('simulated', row.simulated)}${value('measured', row.measured)}${mark}</tr>${remark(COLUMNS.length, sentences([row.note, row.verdict]))}`;
    }),
  );

/** How many rows agree; of each that does not, by how much and why. */
export function agreement({ table: rows }: Study): string {
  const judged = rows.filter(({ agrees }) => agrees !== null);
  const differing = judged.filter(({ agrees }) => agrees === false);
  const said = `<p>Where model, simulation and measurement all exist, ${judged.length - differing.length} of ${judged.length} rows agree within ${100 * AGREEMENT} %: the largest of the three is at most that much above the smallest.</p>`;
  const line = ({ name, spread, verdict }: JudgedRow): string =>
    `<li><b>${escape(name)}</b>, ${number(100 * spread!)} % apart. ${escape(sentences([verdict]))}</li>`;
  return differing.length === 0
    ? said
    : `${said}<p>The others, by how much, and why:</p><ul id="differ">${differing.map(line).join('')}</ul>`;
}

const PROVENANCE: readonly Column[] = [['suite'], ['when, UTC'], ['by'], ['commit'], ['machine'], 'cores busy before'];

/** When, where and by what each suite's figures were measured. */
export const provenance = ({ calibration }: Study): string =>
  `<p>Each suite’s figures are of one run. Cores that were busy in the second before it say that the machine had other work: then times by the clock are worse than the product’s, while processor time, bytes and gas hold.</p>` +
  table(
    'provenance',
    PROVENANCE,
    Object.entries(calibration.suites).map(([suite, measured]) => {
      const { date, command, commit, machine, load, metrics } = measured;
      const where = `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, Node ${machine.node}`;
      const figures = Object.entries(metrics)
        .filter(([, value]) => value !== null)
        .map(([name, value]) => `${name} ${number(value)}`);
      const told = [suite, date.slice(0, 16).replace('T', ' '), command, commit ?? '–', where].map(words).join('');
      return `<tr data-suite="${escape(suite)}">${told}${cell(number(load), isCrowded(measured) ? ' class="bad"' : '')}</tr>${remark(PROVENANCE.length, figures.join(', '))}`;
    }),
  );
