/** The study as rows of plain figures, and as CSV. */
import { BLOB_CAPACITY } from '../../../protocol/da/blobs.ts';
import { L1_RULES, defaults } from '../cost.ts';
import type { Study } from '../study.ts';

/** Gas on a rollup: a price of the order that rollups have had since blobs came. */
const L2_GWEI = 0.01;
const MILLION = 1e6;

export interface Dollars {
  readonly l2Gwei: number;
  /** For a million workflows. */
  readonly workflow: { readonly rollup: number; readonly agnt2: number };
  /** For the calls of one pair. */
  readonly calls: { readonly rollup: number; readonly agnt2: number };
}

/** Data in blobs at one price on both sides, execution where there is any; null without a comparison. */
export function rollupDollars({ comparison, inputs }: Study): Dollars | null {
  if (comparison === null) return null;
  const { blobGwei, ethUsd } = defaults(inputs);
  const data = (bytes: number): number => (bytes / BLOB_CAPACITY) * L1_RULES.blobGas * blobGwei;
  const usd = (gwei: number): number => (gwei / 1e9) * ethUsd;
  const { workflow, calls } = comparison;
  return {
    l2Gwei: L2_GWEI,
    workflow: {
      rollup: MILLION * usd(data(workflow.rollup.compressedBytes) + workflow.rollup.gas * L2_GWEI),
      agnt2: MILLION * usd(data(workflow.agnt2.bytes)),
    },
    calls: {
      rollup: usd(data(calls.rollup.compressedBytes) + calls.rollup.gas * L2_GWEI),
      agnt2: usd(data(calls.agnt2.bytes)),
    },
  };
}

const quoted = (value: string | number | null): string =>
  value === null ? '' : typeof value === 'number' ? String(value) : `"${value.replaceAll('"', '""')}"`;

/** One file: the name of a table, a row's, a column's, and the figure. */
export function csv(study: Study): string {
  const lines: (readonly (string | number | null)[])[] = [['table', 'row', 'column', 'value']];
  const add = (table: string, row: string, values: Readonly<Record<string, number | string | null>>): void => {
    for (const [column, value] of Object.entries(values)) lines.push([table, row, column, value]);
  };
  for (const { name, unit, paper, target, model, simulated, measured, spread } of study.table)
    add('paper', name, { unit, paper, target, model, simulated, measured, spread });
  for (const { law, load, formula, simulated } of study.queues)
    add('queues', `${law} ${load}`, { formula, simulated: simulated.mean, margin: simulated.margin });
  for (const { agents, relays, model, modelLatency, run } of study.scale)
    add('scale', String(agents), { relays, model, modelLatency, ...run });
  for (const { name, point } of study.hard) add('hardships', name, { ...point.run });
  for (const { shards, cross, ...rest } of study.core) add('core', `${shards} shards, ${cross} across`, rest);
  for (const [i, { fleet, mode, callsPerSession, binds, rate, remedy }] of study.path.entries())
    add('path', String(i + 1), { ...fleet, mode, callsPerSession, binds, rate, remedy });
  for (const [mode, cost] of Object.entries(study.costs)) add('costs', mode, { ...cost });
  for (const [suite, { date, commit, command, machine, load, metrics }] of Object.entries(study.calibration.suites))
    add('calibration', suite, { date, commit, command, cpu: machine.cpu, cores: machine.cores, load, ...metrics });
  if (study.comparison !== null) {
    const { workflow, calls, rollupSeconds } = study.comparison;
    for (const [side, of] of Object.entries(workflow)) add('workflow', side, { ...of });
    add('calls', 'count', { count: calls.count });
    for (const [side, of] of Object.entries({ rollup: calls.rollup, agnt2: calls.agnt2 }))
      add('calls', side, { ...of });
    add('workflow', 'rollup', { seconds: rollupSeconds });
  }
  return `${lines.map((line) => line.map(quoted).join(',')).join('\n')}\n`;
}
