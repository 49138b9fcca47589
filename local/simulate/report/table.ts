/** Tables of the report. Figures carry their whole value in `data-*`, so that programs and tests can read what people see. */
import { escape } from './plot.ts';

export const cell = (text: string, attributes = ''): string => `<td${attributes}>${escape(text)}</td>`;
export const words = (text: string): string => cell(text, ' class="text"');
export const number = (value: number | null): string =>
  value === null ? '–' : Number.isFinite(value) ? value.toLocaleString('en', { maximumSignificantDigits: 4 }) : '∞';
export const value = (name: string, of: number | null): string =>
  cell(number(of), of === null ? '' : ` data-${name}="${of}"`);

/** A column's name; of words, which stand at the left, in brackets. */
export type Column = string | readonly [string];

export const table = (id: string, columns: readonly Column[], rows: readonly string[]): string => {
  const head = columns.map((column) =>
    typeof column === 'string' ? `<th>${escape(column)}</th>` : `<th class="text">${escape(column[0])}</th>`,
  );
  return `<div class="scroll"><table id="${id}"><thead><tr>${head.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
};

/** What is to be said of the row above, over its whole width. */
export const remark = (columns: number, text: string): string =>
  `<tr class="remark"><td colspan="${columns}"><p>${escape(text)}</p></td></tr>`;

/** Sentences out of parts that begin small. */
export const sentences = (parts: readonly string[]): string =>
  parts
    .filter((part) => part !== '')
    .map((part) => `${part[0].toUpperCase()}${part.slice(1)}.`)
    .join(' ');
