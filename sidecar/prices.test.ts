import fc from 'fast-check';
import { expect, test } from 'vitest';
import { codeOf } from '../protocol/errors.ts';
import { ceilingOf, documentHash, encodeDocument, offerOf, priceOf, readDocument } from './prices.ts';

const table = {
  routes: [
    { method: 'GET', path: '/v1/*', price: 2 },
    { method: 'POST', path: '/v1/run', price: 10 },
    { method: '*', path: '/v1/run', price: 7 },
  ],
  defaultPrice: 5,
  free: ['/health', '/docs/*'],
};

test('the most specific route prices a call, HEAD as GET, and what no route names is paid', () => {
  expect(priceOf(table, 'POST', '/v1/run')).toBe(10);
  expect(priceOf(table, 'PUT', '/v1/run?x=/health')).toBe(7);
  expect(priceOf(table, 'GET', '/v1/run')).toBe(7);
  expect(priceOf(table, 'GET', '/v1/other')).toBe(2);
  expect(priceOf(table, 'HEAD', '/v1/other')).toBe(2);
  expect(priceOf(table, 'DELETE', '/v1/other')).toBe(5);
  expect(priceOf(table, 'GET', '/unknown')).toBe(5);
  expect(priceOf(table, 'GET', '/health')).toBe(0);
  expect(priceOf(table, 'GET', '/healthz')).toBe(5);
  expect(priceOf(table, 'GET', '/docs/')).toBe(0);
  expect(priceOf(table, 'GET', '/docs')).toBe(5);
  expect(ceilingOf(table)).toBe(10);
});

test('both sides pick the same service, so the cheaper one cannot pay for the dearer one', () => {
  const cheap = { id: 256, table: { routes: [], defaultPrice: 1, free: [] } };
  const dear = { id: 512, table: { routes: [{ method: '*', path: '/run', price: 100 }], defaultPrice: 100, free: [] } };
  for (const services of [
    [cheap, dear],
    [dear, cheap],
  ]) {
    expect(offerOf(services, 'GET', '/run')).toEqual({ service: 512, price: 100 });
    expect(offerOf(services, 'GET', '/else')).toEqual({ service: 256, price: 1 });
  }
  expect(offerOf([], 'GET', '/')).toBeNull();
});

test('a document reads back as written, with one hash', () => {
  const doc = { name: 'x', description: 'y', ...table };
  const bytes = encodeDocument(doc);
  expect(readDocument(JSON.parse(new TextDecoder().decode(bytes)))).toEqual(doc);
  expect(documentHash(bytes)).toEqual(documentHash(encodeDocument(structuredClone(doc))));
});

test('any JSON is a document or refused', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      try {
        const doc = readDocument(value);
        expect(Number.isSafeInteger(priceOf(doc, 'GET', '/'))).toBe(true);
      } catch (error) {
        expect(codeOf(error)).toBe('bad_document');
      }
    }),
  );
});
