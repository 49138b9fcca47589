/** The study as one page: no script, no request to anywhere. */
import { L1_RULES, MEASURED_BUNDLE, MODES } from '../cost.ts';
import { coreCapacity } from '../model.ts';
import { TARGET } from '../path.ts';
import type { Study } from '../study.ts';
import { AGREEMENT } from '../table.ts';
import { bars, escape, plot, short } from './plot.ts';
import { rollupDollars } from './rows.ts';
import { STYLE } from './style.ts';

const cell = (text: string, attributes = ''): string => `<td${attributes}>${escape(text)}</td>`;
const number = (value: number | null): string =>
  value === null ? '–' : value.toLocaleString('en', { maximumSignificantDigits: 4 });
const value = (name: string, of: number | null): string => cell(number(of), of === null ? '' : ` data-${name}="${of}"`);
const head = (...names: string[]): string => `<tr>${names.map((name) => `<th>${escape(name)}</th>`).join('')}</tr>`;
const table = (id: string, heading: string, rows: readonly string[]): string =>
  `<div class="scroll"><table id="${id}"><thead>${heading}</thead><tbody>${rows.join('')}</tbody></table></div>`;

export function html(study: Study): string {
  const { calibration, options } = study;
  const judged = study.table.filter(({ agrees }) => agrees !== null);
  const good = judged.filter(({ agrees }) => agrees).length;
  const { machine } = calibration;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>AGNT2: model, simulation, measurement</title><style>${STYLE}</style></head><body>
<h1>AGNT2: model, simulation, measurement</h1>
<p class="soft" id="calibration" data-date="${escape(calibration.date)}" data-seed="${options.seed}">Calibrated by ${escape(calibration.source)} of ${escape(calibration.date)} (${escape(machine.cpu)}, ${machine.cores} cores, Node ${escape(machine.node)}). Seed ${options.seed}, up to ${options.agents.toLocaleString('en')} agents.</p>
<h2>The paper’s table, row by row</h2>
<p>Where model, simulation and measurement all exist, ${good} of ${judged.length} rows agree within ${100 * AGREEMENT} %. What parts the others is said beside them, computed from the figures.</p>
${paper(study)}
<h2>Queues</h2><p>One server, Poisson arrivals: the formulas of the paper’s model against the simulator, with 99 % confidence bounds. Times are in mean services.</p>
<div class="plots">${queues(study)}</div>
<h2>From ten agents to ${options.agents.toLocaleString('en')}</h2><p>Each agent has a machine of its own and a session in which it pays another; every call is an event at caller, relay, callee and back.</p>
<div class="plots">${scale(study)}</div>${hard(study)}
<h2>Layer Core by shards</h2><p>The real state transition, its queue, chunks, messages, cuts and batches, in simulated time. Capacity is what the busiest shard’s load leaves.</p>
<div class="plots">${core(study)}</div>${coreTable(study)}
<h2>The path to ${short(TARGET)} calls a second</h2><p>From this machine on, whatever binds is given more of.</p>
${path(study)}
<h2>Data availability</h2><div class="plots">${da(study)}</div>${costTable(study)}
<h2>Who lies</h2>${hostile(study)}
<h2>The same on a general-purpose rollup</h2>${comparison(study)}
</body></html>
`;
}

const paper = ({ table: rows }: Study): string =>
  table(
    'paper',
    head(
      'what',
      'unit',
      'paper',
      'design target',
      'model',
      'simulation',
      'measured here',
      'within 20 %',
      'how, and what parts them',
    ),
    rows.map((row) => {
      const mark =
        row.agrees === null ? cell('–') : cell(row.agrees ? 'yes' : 'no', ` class="${row.agrees ? 'good' : 'bad'}"`);
      const said = [row.verdict, row.note].filter((text) => text !== '').join('. ');
      return `<tr data-row="${escape(row.name)}">${cell(row.name)}${cell(row.unit)}${cell(row.paper)}${cell(row.target)}${value('model', row.model)}${value('simulated', row.simulated)}${value('measured', row.measured)}${mark}${cell(said, ' class="text note"')}</tr>`;
    }),
  );

const LAWS = { exponential: 'M/M/1', constant: 'M/D/1', bursty: 'M/G/1, bursty' } as const;

function queues({ queues: points }: Study): string {
  const series = Object.entries(LAWS).flatMap(([law, name], i) => {
    const own = points.filter((point) => point.law === law);
    return [
      {
        name: `${name}, formula`,
        colour: i + 1,
        kind: 'line' as const,
        points: own.map(({ load, formula }) => ({ x: load, y: formula })),
      },
      {
        name: `${name}, simulated`,
        colour: i + 1,
        kind: 'marks' as const,
        points: own.map(({ load, simulated }) => ({ x: load, y: simulated.mean, margin: simulated.margin })),
      },
    ];
  });
  return plot({
    id: 'queues',
    title: 'Time in a queue',
    x: { label: 'load (share of the server’s time)', from: 0, to: 1 },
    y: { label: 'mean sojourn (services)', isLog: true },
    series,
  });
}

function scale({ scale: points }: Study): string {
  const x = { label: 'agents', isLog: true };
  return [
    plot({
      id: 'aggregate',
      title: 'Aggregate of Layer Top',
      x,
      y: { label: 'calls/s', isLog: true },
      series: [
        {
          name: 'model',
          colour: 1,
          kind: 'line',
          points: points.map(({ agents, model }) => ({ x: agents, y: model })),
        },
        {
          name: 'simulated',
          colour: 2,
          kind: 'marks',
          points: points.map(({ agents, run }) => ({ x: agents, y: run.callsPerSecond })),
        },
      ],
    }),
    plot({
      id: 'latency',
      title: 'From a call to its record',
      x,
      y: { label: 'ms' },
      series: [
        {
          name: 'model, mean',
          colour: 1,
          kind: 'line',
          points: points.map(({ agents, modelLatency }) => ({ x: agents, y: 1000 * modelLatency })),
        },
        {
          name: 'simulated, mean',
          colour: 2,
          kind: 'marks',
          points: points.map(({ agents, run }) => ({ x: agents, y: 1000 * run.mean })),
        },
        {
          name: 'simulated, median',
          colour: 3,
          kind: 'marks',
          points: points.map(({ agents, run }) => ({ x: agents, y: 1000 * run.p50 })),
        },
      ],
    }),
  ].join('');
}

const hard = ({ hard: cases }: Study): string =>
  table(
    'hard',
    head(
      'hardship',
      'agents',
      'calls/s',
      'asked for',
      'median ms',
      'p99 ms',
      'relay load',
      'refused',
      'lost',
      'most at risk',
      'most taken',
      'deposits = paid out',
    ),
    cases.map(
      ({ name, point: { agents, run } }) =>
        `<tr data-row="${escape(name)}">${cell(name)}${value('agents', agents)}${value('rate', run.callsPerSecond)}${value('offered', run.offered)}${value('p50', 1000 * run.p50)}${value('p99', 1000 * run.p99)}${value('load', run.relayLoad)}${value('refused', run.refused)}${value('lost', run.lost)}${value('exposure', run.exposureMost)}${value('taken', run.takenMost)}${cell(run.deposits === run.paidOut ? 'yes' : 'no')}</tr>`,
    ),
  );

function core({ core: points, inputs, trade }: Study): string {
  const rate = MEASURED_BUNDLE / inputs.bundle;
  const shares = [...new Set(points.map(({ cross }) => cross))];
  return (
    plot({
      id: 'core',
      title: 'Capacity by shards',
      x: { label: 'shards' },
      y: { label: 'interactions/s (bundles of 8)' },
      series: shares.flatMap((cross, i) => {
        const own = points.filter((point) => point.cross === cross);
        const name = `${100 * cross} % across`;
        return [
          {
            name: `${name}, model`,
            colour: i + 1,
            kind: 'line' as const,
            points: own.map(({ shards, model }) => ({ x: shards, y: model })),
          },
          {
            name: `${name}, simulated`,
            colour: i + 1,
            kind: 'marks' as const,
            points: own.map(({ shards, simulated }) => ({ x: shards, y: simulated })),
          },
        ];
      }),
    }) +
    plot({
      id: 'shards',
      title: 'The same to 256 shards, bundles of 64',
      x: { label: 'shards', isLog: true },
      y: { label: 'interactions/s', isLog: true },
      series: [0, 0.1, 0.5].map((cross, i) => ({
        name: `${100 * cross} % across, model`,
        colour: i + 1,
        kind: 'line' as const,
        points: [1, 2, 4, 8, 16, 32, 64, 128, 256].map((x) => ({
          x,
          y: coreCapacity(x, rate, x === 1 ? 0 : cross, trade.crossCost),
        })),
      })),
    })
  );
}

const coreTable = ({ core: points }: Study): string =>
  table(
    'core-table',
    head(
      'shards',
      'across',
      'model, interactions/s',
      'simulated',
      'receipt, median ms',
      'call at home, ms',
      'call abroad, ms',
      'interactions',
      'messages',
      'batches',
      'money in',
      'money there',
    ),
    points.map(
      (p) =>
        `<tr>${value('shards', p.shards)}${cell(`${100 * p.cross} %`)}${value('model', p.model)}${value('simulated', p.simulated)}${value('finality', 1000 * p.finalityP50)}${value('near', 1000 * p.nearP50)}${cell(p.farP50 === 0 ? '–' : number(1000 * p.farP50))}${value('interactions', p.interactions)}${value('messages', p.messages)}${value('batches', p.batches)}${value('deposited', p.deposited)}${value('held', p.held)}</tr>`,
    ),
  );

const path = ({ path: steps }: Study): string =>
  table(
    'path',
    head(
      'calls/s',
      'binds',
      'pairs',
      'sidecars’ cores',
      'relay threads',
      'shards',
      'data',
      'calls to a session',
      'then',
    ),
    steps.map(
      ({ fleet, mode, callsPerSession, binds, rate, remedy }) =>
        `<tr data-binds="${binds}">${value('rate', rate)}${cell(rate >= TARGET ? `${binds}, above the target` : binds)}${value('pairs', fleet.pairs)}${value('ends', fleet.endCores)}${value('relays', fleet.relayCores)}${value('shards', fleet.shards)}${cell(mode)}${value('session', callsPerSession)}${cell(remedy === '' ? 'there' : remedy, ' class="text"')}</tr>`,
    ),
  ) +
  `<div class="plots">${plot({
    id: 'path-plot',
    title: 'What each step reaches',
    x: { label: 'step' },
    y: { label: 'calls/s', isLog: true },
    series: [
      {
        name: 'calls/s that the binding resource leaves',
        colour: 1,
        kind: 'line',
        points: steps.map(({ rate }, i) => ({ x: i + 1, y: rate })),
      },
    ],
  })}</div>`;

const COLOURS = { calldata: 4, blob: 3, committee: 2 } as const;

function da({ costs, trade }: Study): string {
  const lives = [1, 10, 100, 1000, 10_000, 100_000];
  return (
    plot({
      id: 'da',
      title: 'Calls a second that data availability allows',
      x: { label: 'calls to a session', isLog: true },
      y: { label: 'calls/s', isLog: true },
      series: MODES.map((mode) => ({
        name: mode,
        colour: COLOURS[mode],
        kind: 'line' as const,
        points: lives.map((x) => ({ x, y: (costs[mode].interactionsPerSecond * x) / trade.perSession })),
      })),
    }) +
    bars({
      id: 'costs',
      title: 'A million interactions',
      label: 'US dollars, at the default prices of agnt2 cost',
      bars: MODES.map((mode) => ({
        name: mode,
        value: costs[mode].usd,
        colour: COLOURS[mode],
        text: `$${short(costs[mode].usd)}`,
      })),
    })
  );
}

const costTable = ({ costs }: Study): string =>
  table(
    'cost-table',
    head('mode', 'bytes on L1', 'bytes at members', 'gas', 'blob gas', 'dollars', 'interactions/s at capacity'),
    MODES.map((mode) => {
      const { l1Bytes, memberBytes, gas, blobGas, usd, interactionsPerSecond } = costs[mode];
      return `<tr data-mode="${mode}">${cell(mode)}${value('bytes', l1Bytes)}${value('members', memberBytes)}${value('gas', gas)}${value('blobgas', blobGas)}${value('usd', usd)}${value('capacity', interactionsPerSecond)}</tr>`;
    }),
  );

function hostile({ hostile: { credit, oldHalves, withheld, lies }, hard: cases }: Study): string {
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
    ['frames out of their order', `${told('order')} caught`, ''],
    ['honest batches', `${told('none')} challenged`, 'executed again from what was posted'],
  ];
  return table(
    'hostile',
    head('who', 'what it gets', 'why'),
    rows.map(
      (row) => `<tr data-row="${escape(row[0])}">${row.map((text) => cell(text, ' class="text"')).join('')}</tr>`,
    ),
  );
}

function comparison(study: Study): string {
  const { comparison: of, calibration } = study;
  if (of === null) return '<p id="rollup">Not measured: no anvil.</p>';
  const finality = calibration.suites.shard?.softFinalityP50Ms ?? null;
  const row = (name: string, rollup: number, agnt2: number | null): string =>
    `<tr data-row="${escape(name)}">${cell(name)}${value('rollup', rollup)}${value('agnt2', agnt2)}${cell(agnt2 === null || agnt2 === 0 ? '–' : `${number(rollup / agnt2)} ×`)}</tr>`;
  const dollars = rollupDollars(study)!;
  const { workflow: w, calls: c } = of;
  return (
    `<p>A workflow of three parties (a plan, two calls, two answers; both paid or neither) as calls of a contract, executed on anvil and compressed with others by brotli, and as signed interactions, executed by the engine and posted as they are. Dollars: data in blobs at the same price on both sides; contract calls pay ${dollars.l2Gwei} gwei for gas on the rollup. A rollup’s block is 2 s; AGNT2’s stages end with a receipt, ${number(finality)} ms each.</p>` +
    table('rollup', head('', 'rollup', 'AGNT2', 'ratio'), [
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
    ]) +
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
