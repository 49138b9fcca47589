/** Plots as SVG, made of text alone. Every mark carries its values in `data-*`, so that programs and tests can read what people see. */

export interface Series {
  readonly name: string;
  /** Which of the sheet's colours, 1 … 6. */
  readonly colour: number;
  /** Joined by a line, or marks alone; `margin` is half of an interval about y. */
  readonly kind: 'line' | 'marks';
  readonly points: readonly { readonly x: number; readonly y: number; readonly margin?: number }[];
}

export interface Plot {
  readonly id: string;
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly series: readonly Series[];
}

export interface Axis {
  /** With its unit. */
  readonly label: string;
  readonly isLog?: boolean;
  readonly from?: number;
  readonly to?: number;
}

export interface Bars {
  readonly id: string;
  readonly title: string;
  /** With its unit. */
  readonly label: string;
  readonly bars: readonly {
    readonly name: string;
    readonly value: number;
    readonly colour: number;
    readonly text?: string;
  }[];
}

const WIDTH = 640;
const HEIGHT = 360;
const EDGE = { left: 74, right: 18, top: 16, bottom: 50 } as const;

export const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[char]!);

const UNITS = [
  [1e9, 'G'],
  [1e6, 'M'],
  [1e3, 'k'],
] as const;
/** Three digits, large numbers with a letter. */
export function short(value: number): string {
  const size = Math.abs(value);
  for (const [unit, letter] of UNITS) if (size >= unit) return `${Number((value / unit).toPrecision(3))}${letter}`;
  return String(Number(value.toPrecision(3)));
}

interface Scale {
  readonly ticks: readonly number[];
  at(value: number): number;
}

function scaleOf({ isLog = false, from, to }: Axis, values: readonly number[], start: number, end: number): Scale {
  const finite = values.filter((value) => Number.isFinite(value) && (!isLog || value > 0));
  let low = from ?? Math.min(...finite);
  let high = to ?? Math.max(...finite);
  if (isLog) {
    const [a, b] = [
      Math.floor(Math.log10(low) + 1e-9),
      Math.max(Math.ceil(Math.log10(high) - 1e-9), Math.floor(Math.log10(low) + 1e-9) + 1),
    ];
    const step = Math.max(1, Math.ceil((b - a) / 8));
    const ticks = Array.from({ length: Math.floor((b - a) / step) + 1 }, (_, i) => 10 ** (a + i * step));
    return { ticks, at: (value) => start + ((Math.log10(value) - a) / (b - a)) * (end - start) };
  }
  if (from === undefined) low = Math.min(0, low);
  const raw = (high - low) / 5 || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= raw)!;
  if (to === undefined) high = Math.ceil(high / step - 1e-9) * step;
  const ticks = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, i) =>
    Number((low + i * step).toPrecision(12)),
  );
  return { ticks, at: (value) => start + ((value - low) / (high - low)) * (end - start) };
}

const n = (value: number): string => value.toFixed(1);

export function plot({ id, title, x, y, series }: Plot): string {
  const all = series.flatMap(({ points }) => points);
  const across = scaleOf(
    x,
    all.map((point) => point.x),
    EDGE.left,
    WIDTH - EDGE.right,
  );
  const up = scaleOf(
    y,
    all.map((point) => point.y),
    HEIGHT - EDGE.bottom,
    EDGE.top,
  );
  const grid = [
    ...up.ticks.map(
      (tick) =>
        `<line class="grid" x1="${EDGE.left}" x2="${WIDTH - EDGE.right}" y1="${n(up.at(tick))}" y2="${n(up.at(tick))}"/><text class="tick" x="${EDGE.left - 8}" y="${n(up.at(tick) + 4)}" text-anchor="end">${short(tick)}</text>`,
    ),
    ...across.ticks.map(
      (tick) =>
        `<line class="grid" x1="${n(across.at(tick))}" x2="${n(across.at(tick))}" y1="${EDGE.top}" y2="${HEIGHT - EDGE.bottom}"/><text class="tick" x="${n(across.at(tick))}" y="${HEIGHT - EDGE.bottom + 18}" text-anchor="middle">${short(tick)}</text>`,
    ),
  ];
  const drawn = series.map(({ name, colour, kind, points }) => {
    const seen = points.filter((point) => Number.isFinite(point.y));
    const line = seen.map((point) => `${n(across.at(point.x))},${n(up.at(point.y))}`).join(' ');
    const marks = seen.map((point) => {
      const [cx, cy] = [across.at(point.x), up.at(point.y)];
      const bar =
        point.margin === undefined
          ? ''
          : `<line class="margin" x1="${n(cx)}" x2="${n(cx)}" y1="${n(up.at(point.y - point.margin))}" y2="${n(up.at(point.y + point.margin))}"/>`;
      return `${bar}<circle cx="${n(cx)}" cy="${n(cy)}" r="${kind === 'marks' ? 4 : 2}" data-x="${point.x}" data-y="${point.y}"><title>${escape(`${name}: ${short(point.x)}, ${short(point.y)}`)}</title></circle>`;
    });
    const body = kind === 'line' ? `<polyline points="${line}"/>` : '';
    return `<g class="series c${colour}" data-series="${escape(name)}">${body}${marks.join('')}</g>`;
  });
  const legend = series
    .map(({ name, colour, kind }) => `<li class="c${colour}"><span class="${kind}"></span>${escape(name)}</li>`)
    .join('');
  return figure(
    id,
    title,
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(`${title}: ${y.label} by ${x.label}`)}">${grid.join('')}${drawn.join('')}
<text class="label" x="${(EDGE.left + WIDTH - EDGE.right) / 2}" y="${HEIGHT - 10}" text-anchor="middle">${escape(x.label)}</text>
<text class="label" transform="translate(16 ${(HEIGHT - EDGE.bottom + EDGE.top) / 2}) rotate(-90)" text-anchor="middle">${escape(y.label)}</text></svg><ul class="legend">${legend}</ul>`,
  );
}

/** Values side by side on a logarithmic scale, each with its number. */
export function bars({ id, title, label, bars: all }: Bars): string {
  const row = 30;
  const height = all.length * row + EDGE.bottom;
  const left = 220;
  const scale = scaleOf(
    // Down to below the least, which else had no length.
    { label, isLog: true, from: Math.min(...all.map(({ value }) => value).filter((value) => value > 0)) / 3 },
    all.map(({ value }) => value),
    left,
    WIDTH - 80,
  );
  const grid = scale.ticks.map(
    (tick) =>
      `<line class="grid" x1="${n(scale.at(tick))}" x2="${n(scale.at(tick))}" y1="4" y2="${height - EDGE.bottom}"/><text class="tick" x="${n(scale.at(tick))}" y="${height - EDGE.bottom + 18}" text-anchor="middle">${short(tick)}</text>`,
  );
  const drawn = all.map(({ name, value, colour, text }, i) => {
    const width = value > 0 ? Math.max(1, scale.at(value) - left) : 0;
    return `<g class="series c${colour}" data-series="${escape(name)}"><text class="name" x="${left - 8}" y="${i * row + 23}" text-anchor="end">${escape(name)}</text><rect x="${left}" y="${i * row + 9}" width="${n(width)}" height="20" data-value="${value}"><title>${escape(`${name}: ${short(value)}`)}</title></rect><text class="value" x="${n(left + width + 6)}" y="${i * row + 23}">${escape(text ?? short(value))}</text></g>`;
  });
  return figure(
    id,
    title,
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escape(`${title}: ${label}`)}">${grid.join('')}${drawn.join('')}
<text class="label" x="${(left + WIDTH - 80) / 2}" y="${height - 10}" text-anchor="middle">${escape(label)}</text></svg>`,
  );
}

const figure = (id: string, title: string, body: string): string =>
  `<figure id="${id}" data-plot="${id}"><figcaption>${escape(title)}</figcaption>${body}</figure>`;
