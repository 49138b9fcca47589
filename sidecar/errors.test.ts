/** docs/limits.md, held against the codes there are and against what is tried from inside a container. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CODES } from './errors.ts';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const page = read('docs/limits.md');
const named = (text: string): string[] => [...text.matchAll(/`([a-z]+(?:_[a-z]+)*)`/g)].map(([, code]) => code);

test('every code that may reach a caller has its place on the page of limits', () => {
  const known = new Set(named(page));
  expect(CODES.filter((code) => !known.has(code))).toEqual([]);
});

test('every refusal of its tables is run into from inside the container', () => {
  const attempts = ['attempts.ts', 'limits.ts'].map((file) => read(`test/support/docker/${file}`));
  const tried = [read('test/e2e/docker/apps.ts'), ...attempts].join('\n');
  const refusals = page
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) => line.split('|')[2])
    // Said in TLS, which has words of its own.
    .filter((refused) => !refused.includes('the alert'))
    .flatMap(named);
  expect(refusals.length).toBeGreaterThan(30);
  expect(refusals.filter((code) => !tried.includes(`'${code}'`))).toEqual([]);
});
