import { expect, test } from 'vitest';
import { EventQueue } from './events.ts';
import { mg1, mm1 } from './model.ts';
import { Network } from './network.ts';
import { queueCurves, simulateQueue } from './queues.ts';
import { Draws, secondMoment } from './random.ts';
import { Sample, estimate } from './statistics.ts';

test('the model of a queue is the textbook’s', () => {
  // M/M/1 at load 0.8: five services in all, four of them waiting; M/D/1 waits half as long.
  expect(mm1(0.8, 1)).toEqual({ load: 0.8, wait: expect.closeTo(4), sojourn: expect.closeTo(5) });
  expect(mg1(0.8, 1, 1).wait).toBeCloseTo(2);
  expect(mm1(2, 1).wait).toBe(Infinity);
});

test('draws have the moments that the model takes them to have', () => {
  const draws = new Draws(7);
  for (const law of ['exponential', 'constant', 'bursty'] as const) {
    let [sum, squares] = [0, 0];
    const count = 200_000;
    for (let i = 0; i < count; i++) {
      const value = draws.of(law, 3);
      sum += value;
      squares += value * value;
    }
    const mean = sum / count;
    expect(Math.abs(mean / 3 - 1)).toBeLessThan(0.02);
    expect(Math.abs(squares / count / mean ** 2 / secondMoment(law) - 1)).toBeLessThan(0.05);
  }
});

test('the simulator is within the confidence bounds of M/M/1, M/D/1 and M/G/1', () => {
  for (const { law, load, formula, simulated } of queueCurves(11, 60_000))
    expect(Math.abs(simulated.mean - formula), `${law} at ${load}`).toBeLessThan(simulated.margin + 0.02 * formula);
  // And a wrong formula would be outside of them.
  const bursty = estimate(simulateQueue(11, 'bursty', 0.6, 60_000));
  expect(Math.abs(bursty.mean - mm1(0.6, 1).sojourn)).toBeGreaterThan(bursty.margin);
});

test('events come by time, and of one time in the order they were added', () => {
  const queue = new EventQueue();
  const draws = new Draws(3);
  const expected: { time: number; order: number }[] = [];
  for (let order = 0; order < 5000; order++) {
    const time = draws.below(50);
    expected.push({ time, order });
    queue.add(time, 1, order);
  }
  expected.sort((a, b) => a.time - b.time || a.order - b.order);
  const got: { time: number; order: number }[] = [];
  while (queue.next()) got.push({ time: queue.time, order: queue.a });
  expect(got).toEqual(expected);
});

test('threads share the cores of their machine', () => {
  // Three threads with ten jobs of a second each, on two cores: fifteen seconds, not ten.
  const network = new Network([2], [0, 0, 0]);
  for (let station = 0; station < 3; station++) for (let job = 0; job < 10; job++) network.serve(station, job, 1);
  network.run(Infinity, { served: () => {}, timer: () => {} });
  expect(network.now).toBe(15);
  // One thread never uses two.
  const alone = new Network([2], [0]);
  for (let job = 0; job < 10; job++) alone.serve(0, job, 1);
  alone.run(Infinity, { served: () => {}, timer: () => {} });
  expect(alone.now).toBe(10);
});

test('percentiles are exact to a percent', () => {
  const sample = new Sample();
  for (let i = 1; i <= 1000; i++) sample.add(i / 1000);
  for (const p of [0.1, 0.5, 0.99]) expect(Math.abs(sample.at(p) / p - 1)).toBeLessThan(0.011);
  expect(sample.most).toBe(1);
});
