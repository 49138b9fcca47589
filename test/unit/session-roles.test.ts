/** Petra, who crashes wherever one can; Robert, who comes back with nothing; Mallory, who cheats. */
import { describe, expect, test, vi } from 'vitest';
import { codeOf } from '../../protocol/errors.ts';
import { type Half, encodeHalf } from '../../protocol/half.ts';
import { PacketType, encodeHalfPacket } from '../../protocol/packet.ts';
import { cheapSignature } from '../model/cheap.ts';
import { settled } from '../model/clock.ts';
import { CREDIT, FACTS, PRICE, World } from '../model/world.ts';

vi.mock('../../protocol/keys.ts', async (original) => {
  const { verifyP256 } = await import('../model/cheap.ts');
  return { ...(await original<object>()), verifyP256 };
});

/** A world in which both sides make three calls, run for `events` of its events. */
async function begin(seed: number, events: number, windowCalls?: number): Promise<World> {
  const world = new World(seed, windowCalls);
  for (let n = 0; n < 3; n++) for (const role of ['a', 'b'] as const) world.sides[role].call();
  await world.steps(events);
  return world;
}

describe('Petra', () => {
  // Signatures, their checks, packets, turns and the app's answers are events: no await of an endpoint is left out.
  for (const [fault, windowCalls, what] of [
    ['crash', undefined, 'her store kept'],
    ['crash', 1, 'her store kept, several halves in a packet'],
    ['lose', undefined, 'her store lost'],
  ] as const) {
    test(`crashes before every event of a session, ${what}`, { timeout: 300_000 }, async () => {
      let [tried, most] = [0, 0];
      for (const role of ['a', 'b'] as const) {
        for (let at = 0; ; at++) {
          const world = await begin(7, at, windowCalls);
          try {
            const reached = world.events;
            world.fault(fault, role);
            const drained = await world.heal();
            expect(world.broken(drained), `${role} at ${at}`).toBeNull();
            most = Math.max(most, world.relay.most);
            tried += 1;
            if (reached < at) break;
          } finally {
            world.end();
          }
        }
      }
      console.log(`${fault}: ${tried} crashes, up to ${most} halves in a packet`);
      expect(tried).toBeGreaterThan(100);
      expect(most > 1).toBe(windowCalls === 1);
    });
  }

  // Between two awaits nothing of her is seen but these; a death anywhere else is a death at one of them.
  for (const windowCalls of [undefined, 1]) {
    test(`crashes just before and just after every write and every packet of hers (${windowCalls ?? 256} calls a half)`, async () => {
      let tried = 0;
      for (const role of ['a', 'b'] as const) {
        for (let at = 1; ; at++) {
          const world = await begin(7, 0, windowCalls);
          try {
            const petra = world.sides[role];
            petra.diesAt = at;
            // Once more, if she died while both were draining.
            const drained = (await world.heal()) || (await world.heal());
            expect(world.broken(drained), `${role} at ${at}`).toBeNull();
            if (petra.crashes === 0) break;
            tried += 1;
          } finally {
            world.end();
          }
        }
      }
      console.log(`${tried} crashes`);
      expect(tried).toBeGreaterThan(60);
    });
  }
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

  test('b comes back with nothing, his newest half with the relay alone: the peer has it from him', async () => {
    const world = new World(3);
    try {
      const { a, b } = world.sides;
      b.call();
      for (let n = 0; n < 400 && world.relay.halves[1] === null; n++) {
        await world.step(true);
        if (a.link !== null) a.link.down = a.link.down.filter(([type]) => type !== PacketType.half);
      }
      expect(a.endpoint.halves().earns).toBeNull();
      world.fault('lose', 'b');
      const drained = await world.heal();
      expect([drained, world.broken(drained)]).toEqual([true, null]);
      expect(a.endpoint.halves().earns!.half).toEqual(b.endpoint.halves().pays!.half);
    } finally {
      world.end();
    }
  });
});

/** Mallory is b, and everything she signs is signed as it should be. */
describe('Mallory', () => {
  const CALLS = 3;

  /** Of what she says, `swallow` says what does not leave; it is asked once for each message. What a lost, and how it got out. */
  async function silence(world: World, swallow: (packet: Uint8Array) => boolean): Promise<number> {
    // What she still hears she uses.
    const take = world.relay.take.bind(world.relay);
    world.relay.take = (link) => {
      if (link.role === 'b' && link.up.length > 0 && swallow(link.up[0])) link.up.shift();
      else take(link);
    };
    await world.steps(400);
    const { a } = world.sides;
    let out = '';
    a.endpoint.drain(1500).then(
      () => (out = 'drained'),
      (error: unknown) => (out = codeOf(error)),
    );
    await settled();
    for (let n = 0; n < 2000 && out === ''; n++) if (!(await world.step(true))) break;
    // Whatever she does, a is told where it stands, and has the halves to leave with.
    expect(['drained', 'drain_timeout']).toContain(out);
    const { pays, earns } = a.endpoint.halves();
    expect(pays?.half.paid ?? 0).toBeLessThanOrEqual(CALLS * PRICE);
    return a.served - (earns?.half.paid ?? 0);
  }

  test('stops answering at every event, and gets no more than the credit', { timeout: 300_000 }, async () => {
    let most = 0;
    for (let at = 0; ; at++) {
      const world = await begin(7, at);
      const reached = world.events;
      try {
        const lost = await silence(world, () => true);
        expect(lost, `silent from ${at}`).toBeLessThanOrEqual(CREDIT);
        most = Math.max(most, lost);
        if (reached < at) break;
      } finally {
        world.end();
      }
    }
    // She does get something, or this would show nothing.
    expect(most).toBeGreaterThan(0);
  });

  test('stops saying one kind of message, at each of that kind, and gets no more than the credit', async () => {
    const kinds = ['calls', 'half', 'receipt', 'hello', 'bind'] as const;
    for (const kind of kinds)
      for (let last = 0; ; last++) {
        const world = await begin(7, 0);
        try {
          let said = 0;
          const lost = await silence(world, ([type]) => type === PacketType[kind] && (said += 1) > last);
          expect(lost, `${last} × ${kind}`).toBeLessThanOrEqual(CREDIT);
          expect(said, kind).toBeGreaterThan(0);
          if (said <= last) break;
        } finally {
          world.end();
        }
      }
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
