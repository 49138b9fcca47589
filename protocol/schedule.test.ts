import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Link, NotConsistent, type Stretch, linearize } from './schedule.ts';

const stretch = (shard: number, frames: number, links: readonly Link[] = []): Stretch => ({
  shard,
  firstSeq: 10 * shard,
  frames,
  links,
});

describe('the order of the trace', () => {
  test('the lowest shard first, as far as it comes', () => {
    const sends: Link = { seq: 11, kind: 'sent', peer: 0, number: 1 };
    const receives: Link = { seq: 2, kind: 'received', peer: 1, number: 1 };
    expect(linearize([stretch(1, 4, [sends]), stretch(0, 5, [receives])])).toEqual([
      { shard: 0, firstSeq: 0, frames: 2 },
      { shard: 1, firstSeq: 10, frames: 2 },
      { shard: 0, firstSeq: 2, frames: 3 },
      { shard: 1, firstSeq: 12, frames: 2 },
    ]);
  });

  test('an ack comes after the receive, also of an earlier stretch', () => {
    const acks: Link = { seq: 0, kind: 'acked', peer: 1, number: 3 };
    expect(() => linearize([stretch(0, 1, [acks])])).toThrow(NotConsistent);
    const before = [{ shard: 1, seq: 5, kind: 'received' as const, peer: 0, number: 3 }];
    expect(linearize([stretch(0, 1, [acks])], before)).toEqual([{ shard: 0, firstSeq: 0, frames: 1 }]);
  });

  test('a receive that found no room comes after what it found, too, and receives nothing', () => {
    const sends: Link = { seq: 11, kind: 'sent', peer: 0, number: 1 };
    const leaves: Link = { seq: 0, kind: 'congested', peer: 1, number: 1 };
    const acks: Link = { seq: 13, kind: 'acked', peer: 0, number: 1 };
    expect(linearize([stretch(1, 2, [sends]), stretch(0, 1, [leaves])]).map(({ shard }) => shard)).toEqual([1, 0]);
    expect(() => linearize([stretch(1, 4, [sends, acks]), stretch(0, 1, [leaves])])).toThrow(NotConsistent);
  });

  test('any run of shards that send as they like can be put in order, and only in one', () => {
    const step = fc.record({ shard: fc.integer({ min: 0, max: 2 }), what: fc.integer({ min: 0, max: 3 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        // What really happened, one frame after the other.
        const frames = [0, 0, 0];
        const links: Link[][] = [[], [], []];
        const sent = new Map<string, number>();
        const received = new Map<string, number>();
        for (const { shard, what } of steps) {
          const seq = 10 * shard + frames[shard]++;
          const peer = (shard + 1 + (what % 2)) % 3;
          const [out, back] = [`${shard}${peer}`, `${peer}${shard}`];
          if (what < 2) {
            sent.set(out, (sent.get(out) ?? 0) + 1);
            links[shard].push({ seq, kind: 'sent', peer, number: sent.get(out)! });
          } else if ((received.get(back) ?? 0) < (sent.get(back) ?? 0)) {
            received.set(back, (received.get(back) ?? 0) + 1);
            links[shard].push({ seq, kind: 'received', peer, number: received.get(back)! });
          }
        }
        const stretches = frames.map((count, shard) => stretch(shard, count, links[shard]));
        const whole = linearize(stretches);
        // The order of the input says nothing.
        expect(linearize(stretches.toReversed())).toEqual(whole);
        // Every frame once, and none before what it depends on.
        const places = whole.flatMap(({ shard, firstSeq, frames: n }) =>
          Array.from({ length: n }, (_, i) => `${shard}:${firstSeq + i}`),
        );
        expect(new Set(places).size).toBe(steps.length);
        const placeOf = (shard: number, kind: Link['kind'], peer: number, number: number): number => {
          const link = links[shard].find((l) => l.kind === kind && l.peer === peer && l.number === number)!;
          return places.indexOf(`${shard}:${link.seq}`);
        };
        for (const [shard, list] of links.entries())
          for (const { kind, peer, number } of list)
            if (kind === 'received')
              expect(placeOf(peer, 'sent', shard, number)).toBeLessThan(placeOf(shard, 'received', peer, number));
      }),
    );
  });
});
