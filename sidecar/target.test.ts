import fc from 'fast-check';
import { expect, test } from 'vitest';
import { codeOf } from '../protocol/errors.ts';
import { normaliseTarget, readDestination } from './target.ts';

const codeFrom = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return codeOf(error);
  }
  return 'ok';
};

test.each([
  ['/', '/'],
  ['/a/b?x=1', '/a/b?x=1'],
  ['/a/?', '/a/?'],
  ['/%70rice', '/price'],
  ['/caf%c3%a9', '/caf%C3%A9'],
  ['/a%20b?q=%2e%2e%2f', '/a%20b?q=%2e%2e%2f'],
  ['/..a/b..', '/..a/b..'],
  ['/.well-known/x', '/.well-known/x'],
])('normalises %s', (raw, normal) => {
  expect(normaliseTarget(raw)).toBe(normal);
  expect(normaliseTarget(normal)).toBe(normal);
});

test.each([
  '',
  'a',
  '*',
  '//a',
  '/a//b',
  '/a/../b',
  '/a/.',
  '/..',
  '/%2e%2e/b',
  '/%2E/b',
  '/a%2fb',
  '/a%2Fb',
  '/a%5cb',
  '/a\\b',
  '/a%00',
  '/a%0d%0ab',
  '/a%7f',
  '/a%',
  '/a%2',
  '/a%zz',
  '/a?x=%',
  '/a b',
  '/a\u0000',
  '/é',
  '/a#b',
  '/a?b#c',
  '/%c0%ae',
  '/%ff',
  '/a?b\n',
  '/.agnt2/close',
  '/%2eagnt2/close',
  '/.%61gnt2/x',
  `/${'a'.repeat(9000)}`,
])('refuses %j', (raw) => {
  expect(codeFrom(() => normaliseTarget(raw))).toBe('bad_target');
});

test('reads both forms of a destination, and refuses the open Internet', () => {
  expect(readDestination('http://alice.agnt2/run?x=1')).toEqual({ peer: 'alice', target: '/run?x=1' });
  expect(readDestination('http://ALICE.agnt2:80')).toEqual({ peer: 'alice', target: '/', isBare: true });
  expect(readDestination('http://alice.agnt2?x')).toEqual({ peer: 'alice', target: '/?x' });
  expect(readDestination('/agents/0:7/run')).toEqual({ peer: '0:7', target: '/run' });
  expect(readDestination('/agents/0%3A7')).toEqual({ peer: '0:7', target: '/' });
  expect(readDestination('/agents/alice?x=1')).toEqual({ peer: 'alice', target: '/?x=1' });
  for (const url of [
    'http://example.com/',
    'https://alice.agnt2/',
    'http://alice.agnt2.evil.com/',
    'ftp://a.agnt2/',
    'http://agnt2/',
    'http://alice.agnt2:8080/',
  ])
    expect(readDestination(url)).toBeNull();
  for (const url of ['http://u@alice.agnt2/', 'http://.agnt2/', '/agents/../x', '/agents/a%2fb/', 'http://a.b.agnt2/'])
    expect(codeFrom(() => readDestination(url))).toBe('unknown_name');
  expect(codeFrom(() => readDestination('/other'))).toBe('not_found');
  expect(codeFrom(() => readDestination('/agents/alice//x'))).toBe('bad_target');
});

test('any string has one normal form or is refused, and a normal form hides no dot segment from a decoder', () => {
  const piece = fc.oneof(
    fc.constantFrom('/', '.', '..', '%2e', '%2F', '%5c', '%', '\\', '?', '#', '%00', '%41', 'a', ';', '%c3%a9', '%C0'),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(
      fc.array(piece, { maxLength: 8 }).map((p) => `/${p.join('')}`),
      (raw) => {
        let normal: string;
        try {
          normal = normaliseTarget(raw);
        } catch (error) {
          expect(codeOf(error)).toBe('bad_target');
          return;
        }
        expect(normaliseTarget(normal)).toBe(normal);
        const path = decodeURIComponent(normal.split('?')[0]);
        expect(path.split('/').slice(1, -1)).not.toContain('');
        expect(path.split(/[/\\]/).some((s) => s === '.' || s === '..')).toBe(false);
        // eslint-disable-next-line no-control-regex -- that is the point.
        expect(/[\u0000-\u001f\u007f]/.test(path)).toBe(false);
      },
    ),
    { numRuns: 2000 },
  );
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (raw) => {
      const code = codeFrom(() => readDestination(raw));
      expect(['ok', 'bad_target', 'unknown_name', 'not_found']).toContain(code);
    }),
    { numRuns: 1000 },
  );
});
