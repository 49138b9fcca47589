/** A chunk's interactions by conflict level (docs/protocol.md §4b), and the chunks it hangs together with. */
import { h } from '../dom.js';
import { count, idText, opName, plural, statusName, words } from '../format.js';
import { dag, legend, zoomBar } from '../graph.js';
import { chunkLink, empty, facts, messageLink } from '../parts.js';
import { nameOf } from '../store.js';

/** Boxes drawn; more would be no picture. */
const MOST = 900;
/** Rows of a level before it goes on beside itself. */
const ROWS = 14;
/** Lines of a step, and of the whole, that are still readable. */
const MOST_LINES = 400;
const AROUND_BARRIER = 8;

const FAMILY = {
  money: ['transfer', 'withdraw', 'stake', 'unstake', 'register', 'rotate', 'publish', 'grant', 'revoke', 'slash'],
  call: ['invoke', 'respond', 'expire', 'contest', 'rule', 'attest'],
  session: ['open', 'fund', 'settle', 'exit', 'finalize', 'close'],
  flow: ['plan', 'abort', 'tell'],
};
const familyOf = (op, index) =>
  index === 0 ? 'system' : (Object.entries(FAMILY).find(([, ops]) => ops.includes(op))?.[0] ?? 'system');

const REGIONS = ['meta', 'agent', 'key', 'service', 'capability', 'session', 'escrow', 'outbox', 'workflow', 'message'];
/** A cell's address as people name the record. */
function cellName(address) {
  const [shard, region, slot] = [Math.floor(address / 2 ** 24), Math.floor(address / 2 ** 20) & 15, address & 0xfffff];
  if (region === 0) return slot === 0 ? 'the head' : slot === 1 ? 'the inbox' : `messages with shard ${slot - 256}`;
  const serial = region === 5 || region === 8 ? Math.floor(slot / 4) : slot;
  return `${REGIONS[region] ?? 'cell'} ${shard}:${serial}`;
}

/** Whom or what an interaction is about, shortly. */
function subject(f, op, fields) {
  if (!fields) return f.bundle ? (nameOf(f.bundle.actor) ?? f.bundle.actor) : '';
  const id = idText(
    fields.escrow ?? fields.service ?? fields.session ?? fields.workflow ?? fields.to ?? fields.id ?? fields.agent,
  );
  return id ?? nameOf(f.bundle.actor) ?? f.bundle.actor;
}

/** Which steps a step waits for: of those one level below it the last that touches a cell with it, for each cell. */
function dependencies(steps) {
  const last = new Map();
  const byLevel = Map.groupBy(steps, (s) => s.level);
  const edges = [];
  for (const step of steps) {
    const below = byLevel.get(step.level - 1) ?? [];
    const barrier = below.find((s) => s.cells.length === 0);
    const found = new Set();
    if (barrier) {
      if ((byLevel.get(step.level) ?? []).length <= AROUND_BARRIER) found.add(barrier);
    } else if (step.cells.length === 0) {
      if (below.length <= AROUND_BARRIER) for (const s of below) found.add(s);
    } else
      for (const cell of step.cells) {
        const before = last.get(cell)?.findLast((s) => s.level === step.level - 1);
        if (before) found.add(before);
      }
    for (const before of found) edges.push([before, step]);
    for (const cell of step.cells) {
      if (!last.has(cell)) last.set(cell, []);
      last.get(cell).push(step);
    }
  }
  return edges;
}

export function levelsPart(chunk, graph, zoom = 1) {
  if (graph.failed)
    return empty(
      'The levels can’t be drawn now',
      `The gateway answers: ${graph.failed}. Load the page again in a moment; the frames below are complete.`,
    );
  const { steps, levels } = graph;
  if (steps.length === 0) return empty('No step', 'This chunk has no frames.');
  const shown = steps.slice(0, MOST);
  const roomy = shown.length <= 80;
  const [w, height, gapX, gapY] = roomy ? [124, 40, 46, 10] : [84, 22, 30, 5];
  const head = 26;
  const key = (s) => `${s.frame}.${s.index}`;
  const nodes = [];
  const under = [];
  let x = 2;
  let rows = 1;
  for (let level = 1; level <= levels; level++) {
    const inLevel = shown.filter((s) => s.level === level);
    if (inLevel.length === 0) continue;
    const columns = Math.ceil(inLevel.length / ROWS);
    const tall = Math.ceil(inLevel.length / columns);
    rows = Math.max(rows, tall);
    under.push(
      h(
        'div.column',
        {
          class: inLevel[0].cells.length === 0 ? 'barrier' : '',
          css: { left: `${x - 6}px`, width: `${columns * (w + 8) + 4}px` },
        },
        h('span', {}, `level ${level}`, inLevel.length > 1 ? h('b', {}, ` ${inLevel.length}`) : null),
      ),
    );
    for (const [i, s] of inLevel.entries())
      nodes.push({ s, x: x + Math.floor(i / tall) * (w + 8), y: head + (i % tall) * (height + gapY) });
    x += columns * (w + 8) - 8 + gapX;
  }
  const edges = dependencies(shown);
  const after = Map.groupBy(edges, ([, step]) => step);
  const boxes = nodes.map(({ s, x: left, y }) => {
    const f = chunk.frames[s.frame];
    const i = s.index > 0 ? f.bundle?.interactions[s.index - 1] : null;
    const status = statusName(f.steps?.[s.index]?.status);
    const op = i ? opName(i.op) : s.op;
    const about = subject(f, op, i?.fields);
    const touches = s.cells.length
      ? `touches ${s.cells.slice(0, 8).map(cellName).join(', ')}${s.cells.length > 8 ? ' …' : ''}`
      : 'comes after all before it';
    return {
      key: key(s),
      x: left,
      y,
      w,
      h: height,
      href: `#/frames/${f.shard}/${f.seq}`,
      cls: `f-${familyOf(op, s.index)}${status === 'ok' ? '' : ' refused'}`,
      title: `${words(op)} ${about}: ${words(status)}. Level ${s.level}, frame ${f.shard}/${f.seq}; ${touches}.`,
      after: after.get(s)?.map(([first]) => key(first)),
      testid: 'step',
      body: [h('span.op', {}, words(op)), roomy ? h('span.dim', {}, status === 'ok' ? about : words(status)) : null],
    };
  });
  return h(
    'div.graph',
    {},
    h(
      'div.graph-bar',
      {},
      h('span', { 'data-testid': 'levels' }, `${plural(steps.length, 'step')} in ${plural(levels, 'level')}`),
      h('span.dim', {}, 'what stands in one column could run at the same time'),
      zoomBar(zoom),
    ),
    dag({
      nodes: boxes,
      edges: edges.length > MOST_LINES ? [] : edges.map(([a, b]) => ({ from: key(a), to: key(b) })),
      width: x - gapX + 6,
      height: head + rows * (height + gapY),
      label: `The steps of chunk ${chunk.shard}/${chunk.number} in ${levels} levels`,
      testid: 'level-graph',
      zoom,
      under,
    }),
    steps.length > MOST
      ? h('p.dim', {}, `${count(steps.length - MOST)} more steps are not drawn; the frames below have them.`)
      : null,
    edges.length > MOST_LINES
      ? h(
          'p.dim',
          {},
          'Too many lines to draw: a box under the pointer, or in focus, lights those it waits for and those that wait for it.',
        )
      : null,
    legend([
      ['f-call', 'calls'],
      ['f-money', 'money and records'],
      ['f-session', 'sessions'],
      ['f-flow', 'workflows'],
      ['f-system', 'frames of the shard, openings of bundles'],
      ['refused', 'refused'],
    ]),
  );
}

const WHY = { log: 'the log', message: 'messages', ack: 'an ack' };
function ties(edges, shard, side) {
  if (!edges?.length) return h('span.dim', {}, side === 'before' ? 'nothing: it is the first' : 'nothing yet');
  return h(
    'ul.ties',
    { 'data-testid': side === 'before' ? 'depends-on' : 'needed-by' },
    edges.map((e) => {
      const [from, to] = side === 'before' ? [e.shard, shard] : [shard, e.shard];
      const range = e.first && e.first !== e.number ? `${e.first}–${e.number}` : e.number;
      return h(
        'li',
        { 'data-key': `${e.shard}/${e.chunk}/${e.why}` },
        chunkLink(e.shard, e.chunk),
        h('span.dim', {}, e.why === 'log' ? ' next to it in the log' : ` by ${WHY[e.why] ?? words(e.why)} `),
        e.why === 'message' ? messageLink(from, to, range.includes('–') ? e.number : range) : null,
        e.why === 'message' && range.includes('–') ? h('span.dim', {}, ` (${range})`) : null,
        e.why === 'ack' ? h('span.num.dim', {}, `up to #${e.number}`) : null,
      );
    }),
  );
}

/** What a chunk depends on, and what depends on it, as two facts. */
export const tiesPart = (graph, shard) =>
  graph.dependsOn
    ? facts(
        [
          ['Depends on', ties(graph.dependsOn, shard, 'before')],
          ['Needed by', ties(graph.neededBy, shard, 'after')],
        ],
        'wide',
      )
    : null;
