/** The sidecar's JSON lines, for people. */
import type { Output, Style } from './output.ts';

const STYLE: Readonly<Record<string, Style>> = {
  ready: 'green',
  online: 'green',
  error: 'red',
  failed: 'red',
  offline: 'yellow',
  peer_contradicted: 'red',
  slash_refused: 'yellow',
};

/** One line, as time, event, and what else it says. What is no event stays as it is. */
export function eventLine(line: string, out: Output): string {
  let fields: Record<string, unknown>;
  try {
    fields = Object(JSON.parse(line)) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { event, timeMs, ...more } = fields;
  if (typeof event !== 'string') return line;
  const time = typeof timeMs === 'number' ? `${out.paint('dim', new Date(timeMs).toISOString().slice(11, 23))} ` : '';
  const rest = Object.entries(more).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  return `${time}${out.paint(STYLE[event] ?? 'cyan', event)} ${rest.join(' ')}`.trimEnd();
}
