/** The vectors of half packets (test/vectors/halves.json), read by a payee that has served what they count. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { type Domain, Signing } from '../../protocol/eip712.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { PacketType, decodeNewest, decodeSigned } from '../../protocol/packet.ts';
import { SessionEndpoint } from './endpoint.ts';
import { memoryStore } from './store.ts';

interface Vectors {
  readonly session: string;
  readonly domain: Domain;
  readonly keys: Record<'scalarA' | 'scalarB' | 'keyA' | 'keyB', Hex>;
  readonly records: readonly Hex[];
  readonly cases: readonly {
    readonly name: string;
    readonly packet: Hex;
    readonly payee: string;
    readonly last?: Record<'seq' | 'calls' | 'paid' | 'root' | 'payerSignature', string>;
  }[];
}
const { session, domain, keys, records, cases } = JSON.parse(
  readFileSync(new URL('../../test/vectors/halves.json', import.meta.url), 'utf8'),
) as Vectors;
const [keyA, keyB] = [unhex(keys.keyA), unhex(keys.keyB)];

/** The payee, and what it answers the packet with: a receipt, or why it takes no more from this socket. */
async function payee(packet: Uint8Array) {
  const store = memoryStore();
  store.append(
    0,
    0,
    records.map((record) => unhex(record)),
  );
  const seen: { code: string | null; receipt: Uint8Array | null } = { code: null, receipt: null };
  const endpoint = new SessionEndpoint({
    facts: { session: Number(session), a: 256, b: 512, keyA, keyB, depositA: 1e6, depositB: 1e6, exitDelay: 60 },
    role: 'b',
    key: await MachineKey.import(unhex(keys.scalarB)),
    signing: new Signing(domain),
    store,
    credit: 1000,
    onError: (error) => (seen.code ??= error.code),
  });
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  void endpoint.attach({
    send: (sent) => {
      if (sent[0] === PacketType.receipt) seen.receipt = sent;
      resolve();
    },
    buffered: () => 0,
    close: () => resolve(),
    listen: (hear) => queueMicrotask(() => hear(packet)),
  });
  await answered;
  const { earns } = endpoint.halves();
  endpoint.close();
  return { ...seen, earns, saved: store.load(0)?.half ?? null };
}

test.each(cases)('$name: $payee', async ({ packet, payee: expected, last }) => {
  const { code, receipt, earns, saved } = await payee(unhex(packet));
  if (expected !== 'kept') {
    expect([code, receipt]).toEqual([expected, null]);
    // Well signed, it is money all the same, if not what was agreed.
    if (expected === 'half_mismatch') expect(hex(earns!.payer)).toBe(last!.payerSignature);
    else expect([earns, saved]).toEqual([null, null]);
    return;
  }
  expect(code).toBeNull();
  const { half, signature } = decodeNewest(unhex(packet));
  const { seq, calls, paid, root } = half;
  expect({
    seq: `${seq}`,
    calls: `${calls}`,
    paid: `${paid}`,
    root: hex(root),
    payerSignature: hex(signature),
  }).toEqual(last);
  expect(decodeSigned(receipt!).half).toEqual(half);
  for (const kept of [earns, saved]) expect([kept?.half, kept?.payer]).toEqual([half, signature]);
});
