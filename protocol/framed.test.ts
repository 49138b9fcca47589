import fc from 'fast-check';
import { expect, test } from 'vitest';
import { concat } from './bytes.ts';
import { codeOf } from './errors.ts';
import { framed, unframed } from './framed.ts';

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
async function collect(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const out: Uint8Array[] = [];
  for await (const chunk of source) out.push(chunk);
  return concat(...out);
}

const cut = (bytes: Uint8Array, step: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(bytes.length / step) }, (_, i) => bytes.slice(i * step, (i + 1) * step));

test('a body and its trailers come back, however they were cut on the way', async () => {
  const chunks = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 });
  const trailers = fc.array(fc.tuple(fc.string(), fc.string()), { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(chunks, trailers, fc.integer({ min: 1, max: 30 }), async (body, fields, step) => {
      const { body: back, trailers: late } = unframed(from(cut(await collect(framed(from(body), () => fields)), step)));
      expect(await collect(back)).toEqual(concat(...body));
      expect(late()).toEqual(fields);
    }),
  );
});

test('one that ends early, or whose trailers are none, is malformed', async () => {
  const whole = await collect(framed(from([new Uint8Array(10)]), () => [['x', 'y']]));
  for (let length = 0; length < whole.length; length++) {
    // Cut right behind the last prefix it is a body without trailers.
    if (length === 18) continue;
    const { body } = unframed(from([whole.slice(0, length)]));
    expect(await collect(body).then(() => 'whole', codeOf)).toBe('malformed');
  }
});
