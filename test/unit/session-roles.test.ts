/** Petra, who crashes wherever one can; Robert, who comes back with nothing; Mallory, who cheats. */
import { describe, expect, test, vi } from 'vitest';
import { type Half, encodeHalf } from '../../protocol/half.ts';
import { encodeHalfPacket } from '../../protocol/packet.ts';
import { cheapSignature } from '../model/cheap.ts';
import { CREDIT, FACTS, PRICE, World } from '../model/world.ts';

vi.mock('../../protocol/keys.ts', async (original) => {
  const { verifyP256 } = await import('../model/cheap.ts');
  return { ...(await original<object>()), verifyP256 };
});

/** A world in which both sides make three calls, run for `events` of its events. */
async function begin(seed: number, events: number): Promise<World> {
  const world = new World(seed);
  for (let n = 0; n < 3; n++) for (const role of ['a', 'b'] as const) world.sides[role].call();
  await world.steps(events);
  return world;
}

describe('Petra', () => {
  // Signatures, their checks, packets, turns and the app's answers are events: no await of an endpoint is left out.
  for (const fault of ['crash', 'lose'] as const) {
    test(
      `crashes before every event of a session, her store ${fault === 'lose' ? 'lost' : 'kept'}`,
      { timeout: 300_000 },
      async () => {
        let tried = 0;
        for (const role of ['a', 'b'] as const) {
          for (let at = 0; ; at++) {
            const world = await begin(7, at);
            try {
              const reached = world.events;
              world.fault(fault, role);
              const drained = await world.heal();
              expect(world.broken(drained), `${role} at ${at}`).toBeNull();
              tried += 1;
              if (reached < at || at > 400) break;
            } finally {
              world.end();
            }
          }
        }
        console.log(`${fault}: ${tried} crashes`);
        expect(tried).toBeGreaterThan(100);
      },
    );
  }

  test('crashes after every write of hers', { timeout: 300_000 }, async () => {
    for (const role of ['a', 'b'] as const) {
      for (let fuse = 1; fuse <= 20; fuse++) {
        const world = new World(7);
        try {
          world.sides[role].store.fuse = fuse;
          for (let n = 0; n < 3; n++) for (const each of ['a', 'b'] as const) world.sides[each].call();
          await world.steps(150);
          const drained = await world.heal();
          expect(world.broken(drained), `${role} after ${fuse} writes`).toBeNull();
        } finally {
          world.end();
        }
      }
    }
  });
});

describe('Robert', () => {
  for (const role of ['a', 'b'] as const) {
    test(`${role} comes back with nothing, and has all that was signed`, async () => {
      const world = await begin(3, 0);
      try {
        expect(await world.heal()).toBe(true);
        const robert = world.sides[role];
        const before = robert.endpoint.halves();
        expect(before.pays!.half.calls).toBe(3);
        expect(before.earns!.half.calls).toBe(3);
        world.fault('lose', role);
        expect(robert.endpoint.halves().earns).toBeNull();
        // Drained endpoints serve no more; the other side, too, begins anew with what it has.
        world.fault('crash', role === 'a' ? 'b' : 'a');
        expect(await world.heal()).toBe(true);
        const after = robert.endpoint.halves();
        expect(after.pays!.half).toEqual(before.pays!.half);
        expect(after.earns!.half).toEqual(before.earns!.half);
        expect(robert.endpoint.proveCall(2).record.index).toBe(2);
      } finally {
        world.end();
      }
    });

    test(`${role} comes back with nothing to a peer that is gone, and has its money from the relay`, async () => {
      const world = await begin(3, 0);
      try {
        expect(await world.heal()).toBe(true);
        const robert = world.sides[role];
        const { earns } = robert.endpoint.halves();
        world.relay.current[role === 'a' ? 'b' : 'a'] = null;
        world.fault('lose', role);
        robert.connect();
        for (let n = 0; n < 200 && robert.endpoint.halves().earns === null; n++) await world.step();
        expect(robert.endpoint.halves().earns?.half).toEqual(earns!.half);
      } finally {
        world.end();
      }
    });
  }
});

/** Mallory is b, and everything she signs is signed as it should be. */
describe('Mallory', () => {
  const CALLS = 3;

  test('stops answering at every message, and gets no more than the credit', { timeout: 300_000 }, async () => {
    let most = 0;
    for (let at = 0; at < 80; at++) {
      const world = await begin(7, at);
      try {
        // What she still hears she uses; nothing of hers leaves any more.
        const take = world.relay.take.bind(world.relay);
        world.relay.take = (link) => {
          if (link.role === 'b' && link.up.length > 0) link.up.shift();
          else take(link);
        };
        await world.steps(400);
        const { a } = world.sides;
        const lost = a.served - (a.endpoint.halves().earns?.half.paid ?? 0);
        expect(lost, `silent from ${at}`).toBeLessThanOrEqual(CREDIT);
        most = Math.max(most, lost);
      } finally {
        world.end();
      }
    }
    // She does get something, or this would show nothing.
    expect(most).toBeGreaterThan(0);
  });

  for (const [what, forge, stops] of [
    [
      'an old half',
      (half: Half) => ({ ...half, seq: half.seq - 1, calls: half.calls - 1, paid: half.paid - PRICE }),
      false,
    ],
    ['a half of another session', (half: Half) => ({ ...half, session: 512, seq: 99, paid: 999 }), false],
    ['a half of the other direction', (half: Half) => ({ ...half, dir: 0 as const, seq: 99, paid: 999 }), false],
    [
      'another root for the same calls',
      (half: Half) => ({ ...half, seq: half.seq + 1, root: half.root.map((b) => ~b) }),
      true,
    ],
    ['fewer calls paid again', (half: Half) => ({ ...half, seq: half.seq + 1, paid: half.paid - PRICE }), true],
  ] as const) {
    test(`shows ${what}: nobody loses by it`, async () => {
      const world = await begin(5, 0);
      try {
        expect(await world.heal()).toBe(true);
        const { endpoint, link } = world.sides.a;
        const { half } = endpoint.halves().earns!;
        expect(half.calls).toBe(CALLS);
        const forged = forge(half);
        link!.down.push(encodeHalfPacket(forged, cheapSignature(FACTS.keyB, encodeHalf(forged))));
        await world.steps(40);
        expect(endpoint.halves().earns!.half).toEqual(half);
        expect(endpoint.state === 'stopped').toBe(stops);
      } finally {
        world.end();
      }
    });
  }

  test('signs something else, as for another chain: that is no signature here', async () => {
    const world = await begin(5, 0);
    try {
      expect(await world.heal()).toBe(true);
      const { endpoint, link } = world.sides.a;
      const { half } = endpoint.halves().earns!;
      const more = { ...half, seq: half.seq + 1, calls: half.calls + 1, paid: half.paid + PRICE };
      const elsewhere = Uint8Array.of(...encodeHalf(more), 1);
      link!.down.push(encodeHalfPacket(more, cheapSignature(FACTS.keyB, elsewhere)));
      await world.steps(40);
      expect(endpoint.halves().earns!.half).toEqual(half);
    } finally {
      world.end();
    }
  });
});
