/** Graphs: boxes that are links, and lines between them. Reachable by keyboard: Tab enters one, the arrow keys walk it. */
import { h } from './dom.js';

/** Distance of the bend of a line from its ends. */
const BEND = 0.5;
/** How large graphs are where nobody has said: a phone shows a little more of one. */
const usual = () => (matchMedia('(max-width: 680px)').matches ? 0.85 : 1);

/** A line's path and its arrow head, from side to side (`h`) or from lane to lane (`v`). */
function line(a, b, way) {
  if (way === 'v') {
    const down = b.y > a.y;
    const [x1, y1] = [a.x + a.w / 2, down ? a.y + a.h : a.y];
    const [x2, y2] = [b.x + b.w / 2, down ? b.y : b.y + b.h];
    const s = down ? 1 : -1;
    const dy = Math.max(18, Math.abs(y2 - y1) * BEND) * s;
    return {
      d: `M${x1} ${y1} C${x1} ${y1 + dy} ${x2} ${y2 - dy} ${x2} ${y2}`,
      tip: `M${x2 - 4} ${y2 - 7 * s} L${x2} ${y2} L${x2 + 4} ${y2 - 7 * s}`,
    };
  }
  const [x1, y1] = [a.x + a.w, a.y + a.h / 2];
  const [x2, y2] = [b.x, b.y + b.h / 2];
  const dx = Math.max(14, Math.abs(x2 - x1) * BEND);
  return {
    d: `M${x1} ${y1} C${x1 + dx} ${y1} ${x2 - dx} ${y2} ${x2} ${y2}`,
    tip: `M${x2 - 6} ${y2 - 4} L${x2} ${y2} L${x2 - 6} ${y2 + 4}`,
  };
}

/**
 * @param {object} graph
 * @param {{key: string, x: number, y: number, w: number, h: number, href?: string, cls?: string, title?: string, after?: string[], body: unknown}[]} graph.nodes `after`: boxes that are lit with it
 * @param {{from: string, to: string, way?: 'h' | 'v', cls?: string}[]} graph.edges by the keys of nodes; those without an end are left out
 * @param {unknown[]} [graph.under] what lies below, such as the names of columns
 * @param {boolean} [graph.ended] opens at its right end, and stays there as it grows
 */
export function dag({ nodes, edges, width, height, label, testid, zoom = usual(), under = [], ended = false }) {
  const at = new Map(nodes.map((node) => [node.key, node]));
  const drawn = edges.flatMap(({ from, to, way = 'h', cls = '' }) => {
    const [a, b] = [at.get(from), at.get(to)];
    return a && b ? [{ key: `${from}>${to}`, cls, ...line(a, b, way) }] : [];
  });
  const entry = ended ? nodes.length - 1 : 0;
  return h(
    'div.dag-view',
    {
      class: ended ? 'ended' : '',
      role: 'group',
      'aria-label': `${label}. Arrow keys walk it.`,
      'data-testid': testid,
    },
    h(
      'div.dag',
      { css: { width: `${width}px`, height: `${height}px`, zoom: String(zoom) } },
      under,
      h(
        'svg.dag-lines',
        { width, height, viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' },
        drawn.map(({ key, cls, d, tip }) =>
          h('g', { class: cls, 'data-key': key, 'data-still': true }, h('path', { d }), h('path', { d: tip })),
        ),
      ),
      nodes.map((node, i) =>
        h(
          node.href ? 'a.node' : 'div.node',
          {
            href: node.href,
            class: node.cls,
            title: node.title,
            tabindex: i === entry ? '0' : '-1',
            'data-key': `n${node.key}`,
            'data-after': node.after?.length ? node.after.map((key) => `n${key}`).join(' ') : null,
            'data-still': true,
            'data-testid': node.testid,
            css: { left: `${node.x}px`, top: `${node.y}px`, width: `${node.w}px`, height: `${node.h}px` },
          },
          node.body,
        ),
      ),
    ),
  );
}

/** Buttons that make a view's graph smaller and larger; the view finds `zoom` in its data. */
export const zoomBar = (zoom = usual()) =>
  h(
    'span.zoom',
    {},
    h(
      'button.plain',
      { type: 'button', 'data-act': `zoom:${Math.max(0.3, zoom / 1.4).toFixed(2)}`, 'aria-label': 'Smaller' },
      '−',
    ),
    h(
      'button.plain',
      { type: 'button', 'data-act': 'zoom:1', 'aria-label': 'As it is' },
      `${Math.round(zoom * 100)} %`,
    ),
    h(
      'button.plain',
      { type: 'button', 'data-act': `zoom:${Math.min(2, zoom * 1.4).toFixed(2)}`, 'aria-label': 'Larger' },
      '+',
    ),
  );

/** What the colours and lines mean: `[cls, words]`. */
export const legend = (items) =>
  h(
    'ul.legend',
    {},
    items.map(([cls, what]) => h('li', {}, h('i', { class: cls, 'aria-hidden': 'true' }), what)),
  );

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** The nearest box in a direction; what is straight ahead counts as nearer. */
function nearest(from, [dx, dy], others) {
  const centre = (el) => {
    const r = el.getBoundingClientRect();
    return [r.left + r.width / 2, r.top + r.height / 2];
  };
  const [x, y] = centre(from);
  let [best, least] = [null, Infinity];
  for (const el of others) {
    if (el === from) continue;
    const [ox, oy] = centre(el);
    const ahead = (ox - x) * dx + (oy - y) * dy;
    const aside = Math.abs((ox - x) * dy) + Math.abs((oy - y) * dx);
    if (ahead > 1 && ahead + 2.5 * aside < least) [best, least] = [el, ahead + 2.5 * aside];
  }
  return best;
}

document.addEventListener('keydown', (event) => {
  const way = WAYS[event.key];
  const from = way && document.activeElement?.closest('.dag .node');
  if (!from || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const to = nearest(from, way, from.closest('.dag').querySelectorAll('.node'));
  to?.focus();
  to?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
});

let lit = null;

/** Lights the boxes that the one under the pointer, or in focus, waits for, and those that wait for it; again after every renewal. */
export function relight(node = lit) {
  lit = node?.isConnected ? node : null;
  for (const el of document.querySelectorAll('.node.lit')) el.classList.remove('lit');
  if (!lit) return;
  const dag = lit.closest('.dag');
  const before = new Set(lit.getAttribute('data-after')?.split(' '));
  const own = lit.getAttribute('data-key');
  for (const el of dag.querySelectorAll('.node'))
    if (before.has(el.getAttribute('data-key')) || el.getAttribute('data-after')?.split(' ').includes(own))
      el.classList.add('lit');
}
for (const kind of ['pointerover', 'focusin'])
  document.addEventListener(kind, (event) => {
    const node = event.target.closest?.('.dag .node') ?? null;
    if (node !== lit) relight(node);
  });
