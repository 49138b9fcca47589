/** The same work on a general-purpose rollup and here, in the report. */
import { figureOr } from '../calibration.ts';
import type { Study } from '../study.ts';
import { bars, escape } from './plot.ts';
import { rollupDollars } from './rows.ts';
import { cell, number, table, value, words } from './table.ts';

export function comparison(study: Study): string {
  const { comparison: of, calibration } = study;
  if (of === null) return '<p id="rollup">Not measured: no anvil.</p>';
  const finality = figureOr(calibration, 'shard', 'softFinalityP50Ms');
  const row = (name: string, rollup: number, agnt2: number | null): string =>
    `<tr data-row="${escape(name)}">${words(name)}${value('rollup', rollup)}${value('agnt2', agnt2)}${cell(agnt2 === null || agnt2 === 0 ? '–' : `${number(rollup / agnt2)} ×`)}</tr>`;
  const dollars = rollupDollars(study)!;
  const { workflow: w, calls: c } = of;
  return (
    `<p>A workflow of three parties (a plan, two calls, two answers; both paid or neither) as calls of a contract, executed on anvil and compressed with others by brotli, and as signed interactions, executed by the engine and posted as they are. Dollars: data in blobs at the same price on both sides; contract calls pay ${dollars.l2Gwei} gwei for gas on the rollup. A rollup’s block is 2 s; AGNT2’s stages end with a receipt, ${number(finality)} ms each.</p>` +
    table(
      'rollup',
      [[''], 'rollup', 'AGNT2', 'ratio'],
      [
        row('workflow: bytes signed', w.rollup.bytes, w.agnt2.bytes),
        row('workflow: bytes posted', w.rollup.compressedBytes, w.agnt2.bytes),
        row('workflow: bytes in an archive', w.rollup.compressedBytes, w.agnt2.compressedBytes),
        row('workflow: signatures', w.rollup.signatures, w.agnt2.signatures),
        row('workflow: gas of execution', w.rollup.gas, 0),
        row('workflow: seconds', of.rollupSeconds, finality === null ? null : (of.stages * finality) / 1000),
        row('workflow: dollars for a million', dollars.workflow.rollup, dollars.workflow.agnt2),
        row(`${c.count.toLocaleString('en')} calls of two: bytes posted`, c.rollup.compressedBytes, c.agnt2.bytes),
        row(`${c.count.toLocaleString('en')} calls of two: gas of execution`, c.rollup.gas, 0),
        row(`${c.count.toLocaleString('en')} calls of two: dollars`, dollars.calls.rollup, dollars.calls.agnt2),
      ],
    ) +
    `<div class="plots">${bars({
      id: 'rollup-plot',
      title: 'Bytes posted',
      label: 'bytes',
      bars: [
        { name: 'workflow, rollup', value: w.rollup.compressedBytes, colour: 4 },
        { name: 'workflow, AGNT2', value: w.agnt2.bytes, colour: 2 },
        { name: '1,000 calls, rollup', value: c.rollup.compressedBytes, colour: 4 },
        { name: '1,000 calls, AGNT2 session', value: c.agnt2.bytes, colour: 2 },
      ],
    })}</div>`
  );
}
