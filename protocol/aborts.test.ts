import { expect, test } from 'vitest';
import { CallSignal, abortSignalOf, unwatch, watch } from './aborts.ts';

const signals = {
  'one of a call': () => {
    const signal = new CallSignal();
    return { signal, abort: (reason: unknown) => signal.abort(reason) };
  },
  "the platform's": () => {
    const controller = new AbortController();
    return { signal: controller.signal, abort: (reason: unknown) => controller.abort(reason) };
  },
};

test.each(Object.entries(signals))('a signal, %s, tells each who watches once, and nobody who left', (_, make) => {
  const { signal, abort } = make();
  const told: string[] = [];
  const who = (name: string) => ({ aborted: () => told.push(name) });
  const [first, second, third] = [who('first'), who('second'), who('third')];
  const listener = (): void => void told.push('listener');
  const deaf = (): void => void told.push('deaf');
  for (const each of [first, second, third]) watch(signal, each);
  signal.addEventListener('abort', listener);
  signal.addEventListener('abort', deaf);
  signal.removeEventListener('abort', deaf);
  unwatch(signal, first);
  unwatch(signal, first);
  unwatch(signal, third);
  expect(signal.aborted).toBe(false);
  abort('why');
  abort('again');
  expect(told.toSorted()).toEqual(['listener', 'second']);
  expect([signal.aborted, signal.reason]).toEqual([true, 'why']);
});

test.each(Object.entries(signals))('a signal, %s, is had as the platform’s, before and after it aborts', (_, make) => {
  const { signal, abort } = make();
  const before = abortSignalOf(signal);
  expect(before).toBeInstanceOf(AbortSignal);
  expect(before.aborted).toBe(false);
  abort('why');
  for (const each of [before, abortSignalOf(signal)]) expect([each.aborted, each.reason]).toEqual([true, 'why']);
});
