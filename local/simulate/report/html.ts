/** The study as one page: no script, no request to anywhere. */
import { sourceOf } from '../calibration.ts';
import { MEASURED_BUNDLE, MODES } from '../cost.ts';
import { coreCapacity } from '../model.ts';
import { TARGET } from '../path.ts';
import type { Study } from '../study.ts';
import { comparison } from './comparison.ts';
import { hostile } from './hostile.ts';
import { agreement, paper, provenance } from './paper.ts';
import { bars, escape, plot, short } from './plot.ts';
import { STYLE } from './style.ts';
import { cell, number, table, value, words } from './table.ts';

export function html(study: Study): string {
  const { calibration, options } = study;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>AGNT2: model, simulation, measurement</title><style>${STYLE}</style></head><body>
<h1>AGNT2: model, simulation, measurement</h1>
<p class="soft" data-seed="${options.seed}">Measured ${escape(sourceOf(calibration))}. Seed ${options.seed}, up to ${options.agents.toLocaleString('en')} agents. <a href="#provenance">Where each figure comes from</a>; all of this page as <a href="report.csv">CSV</a> and <a href="report.json">JSON</a>.</p>
${summary(study)}
<h2>The paper’s table, row by row</h2>
${agreement(study)}
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
<h2>Where the measured figures come from</h2>${provenance(study)}
</body></html>
`;
}

/** What comes of all of it, in a few sentences. */
function summary({ path: steps, costs, comparison: of, trade }: Study): string {
  const { fleet, mode, callsPerSession, rate } = steps.at(-1)!;
  const whole = (count: number): string => Math.round(count).toLocaleString('en');
  const [calldata, blob, committee] = MODES.map((name) => short(costs[name].interactionsPerSecond));
  const lines = [
    `${short(rate)} calls a second of Layer Top take ${whole(fleet.pairs)} pairs of agents with ${trade.perPair} calls a second each, ${whole(fleet.endCores)} cores of sidecars, ${whole(fleet.relayCores)} relay threads, ${fleet.shards} shards and data in mode ${mode}, with ${whole(callsPerSession)} calls to a session.`,
    `All of L1’s calldata carries ${calldata} interactions a second, all of its blobs ${blob}, a committee behind one gigabit ${committee}: the paper’s bottleneck, and the way past it.`,
    ...(of === null
      ? []
      : [
          `${whole(of.calls.count)} calls between two agents leave ${short(of.calls.rollup.compressedBytes / of.calls.agnt2.bytes)} times the bytes on L1 as calls of a contract on a rollup; a workflow of three parties ${short(of.workflow.rollup.compressedBytes / of.workflow.agnt2.bytes)} times, and ${short(of.workflow.rollup.gas)} gas of execution that a shard has not.`,
        ]),
  ];
  return `<ul id="summary">${lines.map((line) => `<li>${escape(line)}</li>`).join('')}</ul>`;
}

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
    [
      ['hardship'],
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
    ],
    cases.map(
      ({ name, point: { agents, run } }) =>
        `<tr data-row="${escape(name)}">${words(name)}${value('agents', agents)}${value('rate', run.callsPerSecond)}${value('offered', run.offered)}${value('p50', 1000 * run.p50)}${value('p99', 1000 * run.p99)}${value('load', run.relayLoad)}${value('refused', run.refused)}${value('lost', run.lost)}${value('exposure', run.exposureMost)}${value('taken', run.takenMost)}${cell(run.deposits === run.paidOut ? 'yes' : 'no')}</tr>`,
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
    [
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
    ],
    points.map(
      (p) =>
        `<tr>${value('shards', p.shards)}${cell(`${100 * p.cross} %`)}${value('model', p.model)}${value('simulated', p.simulated)}${value('finality', 1000 * p.finalityP50)}${value('near', 1000 * p.nearP50)}${cell(p.farP50 === 0 ? '–' : number(1000 * p.farP50))}${value('interactions', p.interactions)}${value('messages', p.messages)}${value('batches', p.batches)}${value('deposited', p.deposited)}${value('held', p.held)}</tr>`,
    ),
  );

const path = ({ path: steps }: Study): string =>
  table(
    'path',
    [
      'calls/s',
      ['binds'],
      'pairs',
      'sidecars’ cores',
      'relay threads',
      'shards',
      'data',
      'calls to a session',
      ['then'],
    ],
    steps.map(
      ({ fleet, mode, callsPerSession, binds, rate, remedy }) =>
        `<tr data-binds="${binds}">${value('rate', rate)}${words(rate >= TARGET ? `${binds}, above the target` : binds)}${value('pairs', fleet.pairs)}${value('ends', fleet.endCores)}${value('relays', fleet.relayCores)}${value('shards', fleet.shards)}${cell(mode)}${value('session', callsPerSession)}${words(remedy === '' ? 'there' : remedy)}</tr>`,
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
    [['mode'], 'bytes on L1', 'bytes at members', 'gas', 'blob gas', 'dollars', 'interactions/s at capacity'],
    MODES.map((mode) => {
      const { l1Bytes, memberBytes, gas, blobGas, usd, interactionsPerSecond } = costs[mode];
      return `<tr data-mode="${mode}">${words(mode)}${value('bytes', l1Bytes)}${value('members', memberBytes)}${value('gas', gas)}${value('blobgas', blobGas)}${value('usd', usd)}${value('capacity', interactionsPerSecond)}</tr>`;
    }),
  );
