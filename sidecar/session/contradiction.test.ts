/** A payer that signs two halves which contradict each other: by whatever way they come, both are handed out, and nothing more is served. */
import { expect, test } from 'vitest';
import type { Half, SignedHalf } from '../../protocol/half.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { PacketType, decodeNewest, decodeSigned, encodeHalfPacket, encodeHello } from '../../protocol/packet.ts';
import type { Contradiction } from './contradiction.ts';
import { Pipe, code, endpoint, go, parties, request, signing, slowKey, until } from './testing.ts';

const ROOT = new Uint8Array(32).fill(9);

/** A payee whose payer has paid for three calls, in two halves; `shown` is what it was handed, with how it stood then. */
async function paid() {
  const shown: (Contradiction & { state: string })[] = [];
  const errors: string[] = [];
  const { a, b, facts } = await parties();
  const pipe = new Pipe();
  const slow = slowKey(b.key);
  const left = endpoint('a', a, facts);
  const right = endpoint('b', { ...b, key: slow.key }, facts, {
    onContradiction: (found) => shown.push({ ...found, state: right.state }),
    onError: (error) => errors.push(error.code),
  });
  void left.attach(pipe.socket('a'));
  void right.attach(pipe.socket('b'));
  const receipts: Half[] = [];
  const halves: SignedHalf[] = [];
  pipe.tap = (from, packet) => {
    if (from === 'b' && packet[0] === PacketType.receipt) receipts.push(decodeSigned(packet).half);
    if (from === 'a' && packet[0] === PacketType.half) {
      const { half, signature } = decodeNewest(packet);
      halves.push({ half, payer: signature });
    }
    return packet;
  };
  await go(left, 2);
  await left.flush();
  await go(left, 1);
  await left.flush();
  const sign = async (half: Half, key: MachineKey = a.key): Promise<SignedHalf> => ({
    half,
    payer: await key.sign(signing.half(half)),
  });
  const send = ({ half, payer }: SignedHalf): void => pipe.inject('a', encodeHalfPacket(half, payer));
  return { facts, pipe, left, right, slow, shown, errors, receipts, halves, sign, send };
}

type Paid = Awaited<ReturnType<typeof paid>>;

/** What the payee has to have made of it. */
async function caught({ right, shown, errors, receipts }: Paid, first: Half, second: Half): Promise<void> {
  await until(() => right.state === 'stopped');
  expect(shown.map(({ first: one, second: other }) => [one.half, other.half])).toEqual([[first, second]]);
  // Before anything else was done about it.
  expect(shown[0].state).toBe('ready');
  expect(errors).toEqual(['half_mismatch']);
  // Of what it was shown it has signed nothing.
  expect(receipts).not.toContainEqual(second);
  expect(right.halves().earns!.half.paid).toBeGreaterThanOrEqual(6);
  expect(await code(right.call(request('GET', '/'), { maxPrice: 2 }))).toBe('session_stopped');
}

for (const [what, lie] of [
  ['of one number with other money', { paid: 5 }],
  ['of one number over other calls', { calls: 4 }],
  ['of one number with another root', { root: ROOT }],
  ['over as many calls with another root, later', { seq: 9, root: ROOT }],
  ['over as many calls with another root, for more money', { seq: 9, paid: 60, root: ROOT }],
  ['over as many calls with another root, of an older number', { seq: 1, root: ROOT }],
] as const) {
  test(`two halves ${what}`, async () => {
    const all = await paid();
    const newest = all.right.halves().earns!.half;
    const second = { ...newest, ...lie };
    all.send(await all.sign(second));
    await caught(all, newest, second);
    // Money it is all the same, where it admits more.
    expect(all.right.halves().earns!.half.paid).toBe(Math.max(6, second.seq > newest.seq ? second.paid : 0));
  });
}

test('a half that contradicts the one last countersigned, with a newer one between', async () => {
  const all = await paid();
  const { left, right, slow, sign, send } = all;
  const old = right.halves().receipts.earns!.half;
  slow.hold();
  await go(left, 1);
  await until(() => right.halves().earns!.half.seq > old.seq);
  expect(right.halves().receipts.earns!.half.seq).toBe(old.seq);
  const second = { ...old, paid: old.paid - 1 };
  send(await sign(second));
  await caught(all, old, second);
  slow.go();
});

test('two halves, the second of them in a hello', async () => {
  const all = await paid();
  const { left, right, pipe, sign } = all;
  const newest = right.halves().earns!.half;
  const lie = await sign({ ...newest, root: ROOT });
  pipe.tap = (from, packet) => {
    if (from !== 'a' || packet[0] !== PacketType.hello) return packet;
    return encodeHello({ halves: [lie], credit: 1000, key: new Uint8Array(64) });
  };
  pipe.cut('a');
  void left.attach(pipe.socket('a'));
  await until(() => right.state === 'stopped');
  expect(all.shown.map(({ first, second }) => [first.half, second.half])).toEqual([[newest, lie.half]]);
  expect(all.receipts).not.toContainEqual(lie.half);
});

test('both halves shown by the relay, at any time; what it only claims is nothing', async () => {
  const all = await paid();
  const { right, pipe, facts, halves, sign } = all;
  const stranger = await MachineKey.import(MachineKey.randomSecret());
  const [one, two] = [
    { ...halves[0].half, seq: 77 },
    { ...halves[0].half, seq: 77, root: ROOT },
  ];
  const tell = async (...shown: SignedHalf[]): Promise<void> =>
    pipe.inject('b', encodeHello({ halves: shown, credit: 0 }), 'b');
  // Ours, and what agrees: nothing comes of either.
  await tell(...(await Promise.all([one, two].map((half) => sign({ ...half, dir: 1 as const })))));
  await tell(await sign(one), await sign({ ...one, seq: 78 }));
  await go(all.left, 1);
  expect([right.state, all.shown]).toEqual(['ready', []]);
  await tell(await sign(one), await sign(two));
  await until(() => right.state === 'stopped');
  expect(all.shown.map(({ first, second }) => [first.half, second.half])).toEqual([[one, two]]);

  const other = await paid();
  other.pipe.inject('b', encodeHello({ halves: [await other.sign(one), await sign(two, stranger)], credit: 0 }), 'b');
  await until(() => other.errors.length > 0);
  expect([other.errors[0], other.shown, facts.session]).toEqual(['bad_signature', [], 256]);
});

test('a half that goes back is no contradiction, one that nobody signed no evidence', async () => {
  const all = await paid();
  const { right, sign, send } = all;
  const newest = right.halves().earns!.half;
  send(await sign({ ...newest, seq: newest.seq + 1, calls: 1, paid: 2, root: ROOT }));
  await until(() => right.state === 'stopped');
  expect([all.errors, all.shown]).toEqual([['half_mismatch'], []]);

  const other = await paid();
  const stranger = await MachineKey.import(MachineKey.randomSecret());
  other.send(await other.sign({ ...other.right.halves().earns!.half, root: ROOT }, stranger));
  await until(() => other.errors.length > 0);
  expect([other.errors, other.shown, other.right.error]).toEqual([['bad_signature'], [], null]);
});
