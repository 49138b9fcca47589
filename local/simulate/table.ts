/** The paper's table, row by row: paper, design target, model, simulation, what was measured; how far the last three agree, and what parts them. */

/** Three figures of one thing are said to agree when none is more than this above another. */
export const AGREEMENT = 0.2;

export interface Row {
  readonly name: string;
  readonly unit: string;
  /** As the paper has it, in words. */
  readonly paper: string;
  readonly target: string;
  readonly model: number | null;
  readonly simulated: number | null;
  readonly measured: number | null;
  /** How the figures come about, in words. */
  readonly note: string;
}

export interface JudgedRow extends Row {
  /** The largest of the figures there are, over the smallest, less 1; null with fewer than two. */
  readonly spread: number | null;
  /** null unless model, simulation and measurement all exist. */
  readonly agrees: boolean | null;
  /** What differs, by how much, and in which direction. */
  readonly verdict: string;
}

const percent = (share: number): string => `${Math.abs(100 * share).toFixed(Math.abs(share) < 0.1 ? 1 : 0)} %`;
const than = (a: number, b: number): string =>
  a === b ? 'equal to' : `${percent(a / b - 1)} ${a > b ? 'above' : 'below'}`;

/** Computed from the figures alone. `parts` says of a row that does not agree what the difference is made of. */
export function judge(row: Row, parts: (row: Row) => string = () => ''): JudgedRow {
  const there = [row.model, row.simulated, row.measured].filter((value): value is number => value !== null);
  const spread = there.length < 2 ? null : Math.max(...there) / Math.min(...there) - 1;
  const { model, simulated, measured } = row;
  const agrees = there.length === 3 ? spread! <= AGREEMENT : null;
  const said: string[] = [];
  if (model !== null && measured !== null) said.push(`model ${than(model, measured)} what was measured`);
  if (simulated !== null && measured !== null) said.push(`simulation ${than(simulated, measured)} it`);
  if (measured === null && model !== null && simulated !== null)
    said.push(`model ${than(model, simulated)} the simulation`);
  const why = agrees === false ? parts(row) : '';
  return { ...row, spread, agrees, verdict: [said.join(', '), why].filter((text) => text !== '').join('; ') };
}
