/**
 * Half packets of several halves (docs/protocol.md §8) over one call log, and what becomes of each: in a relay that has none of the session yet, and at a payee that
 * served exactly these calls. `kept`: its last half; else the code it is refused with. Read by both: `durable/session.workers.test.ts`, `sidecar/session/halves.test.ts`.
 */
import { p256 } from '@noble/curves/nist.js';
import { concat, hex, word } from '../../protocol/bytes.ts';
import { encodeCallRecord } from '../../protocol/call.ts';
import { type Domain, Signing } from '../../protocol/eip712.ts';
import type { Half } from '../../protocol/half.ts';
import { sha } from '../../protocol/hash.ts';
import { leafHash, rootOf } from '../../protocol/log.ts';
import { MAX_HALVES, encodeHalvesPacket } from '../../protocol/packet.ts';

const SESSION = 1792;
const PRICE = 7;
const RECORD = 97;
const SIGNED = RECORD + 64;
/** In a signature, before one, and in the last. */
const CUT = [SIGNED, 1 + SIGNED + RECORD, 3 * SIGNED];

type Row = { half: Half; payer: Uint8Array };

export function halvesVector(seeded: (label: string) => Uint8Array, domain: Domain) {
  const signing = new Signing(domain);
  const [scalarA, scalarB] = [seeded('half key a'), seeded('half key b')];
  const [keyA, keyB] = [scalarA, scalarB].map((scalar) => p256.getPublicKey(scalar, false).slice(1));
  const records = Array.from({ length: MAX_HALVES + 1 }, (_, i) =>
    encodeCallRecord({ index: i, requestHash: seeded(`q${i}`), responseHash: seeded(`p${i}`), price: PRICE, status: 200, timeMs: 1_900_000_000_000 + i }),
  );
  const leaves = records.map((record) => leafHash(sha, record));

  /** The half numbered `seq`, over as many calls unless said otherwise. */
  const half = (seq: number, over: Partial<Half> = {}): Half => {
    const calls = over.calls ?? seq;
    return { session: SESSION, dir: 0, seq, calls, paid: calls * PRICE, root: rootOf(sha, leaves.slice(0, calls)), ...over };
  };
  const elsewhere = new Signing({ ...domain, chainId: domain.chainId + 1 });
  const beside = new Signing({ ...domain, root: `0x${'be'.repeat(20)}` });
  const sign = (of: Half, scalar = scalarA, by = signing): Uint8Array => p256.sign(sha(by.half(of)), scalar, { prehash: false, lowS: true });
  const row = (of: Half, payer = sign(of)): Row => ({ half: of, payer });
  const unsigned = (of: Half): Row => row(of, new Uint8Array(64));
  const highS = (signature: Uint8Array): Uint8Array => {
    const s = p256.Point.CURVE().n - BigInt(hex(signature.subarray(32)));
    return concat(signature.subarray(0, 32), word(s));
  };
  const rising = (n: number): Row[] => Array.from({ length: n }, (_, i) => (i === n - 1 ? row(half(i + 1)) : unsigned(half(i + 1))));
  const three = encodeHalvesPacket(rising(3));
  const changed = (at: number, to: number): Uint8Array => {
    const packet = three.slice();
    packet[at] = to;
    return packet;
  };
  const second = half(2);
  const foreign = [1, 2].map((seq) => row(half(seq, { session: SESSION + 256 })));
  const earned = [1, 2].map((seq) => half(seq, { dir: 1 }));
  const madeUp = half(3, { root: seeded('another root') });

  const kept: [name: string, rows: Row[]][] = [
    ['one half', rising(1)],
    ['three, each signed', [1, 2, 3].map((seq) => row(half(seq)))],
    ['three, the last signed', rising(3)],
    ['as many as a packet holds', rising(MAX_HALVES)],
    ['numbers with gaps', [unsigned(half(3)), unsigned(half(10, { calls: 3 })), row(half(900, { calls: 5 }))]],
    ['a second half over as many calls', [unsigned(half(2)), row(half(3, { calls: 2 }))]],
    ['one before the last that is over another log', [unsigned(half(1, { root: seeded('another root'), calls: 2 })), row(half(2))]],
  ];
  const refused: [name: string, packet: Uint8Array | Row[], relay: string, payee: string][] = [
    ['no half', Uint8Array.of(2), 'malformed', 'malformed'],
    ['one more than a packet holds', rising(MAX_HALVES + 1), 'malformed', 'malformed'],
    ...CUT.map((at): [string, Uint8Array, string, string] => [`cut off after ${at} bytes`, three.slice(0, at), 'malformed', 'malformed']),
    ['a byte behind the last', concat(three, Uint8Array.of(0)), 'malformed', 'malformed'],
    ['a number twice', [unsigned(half(1)), row(half(1))], 'malformed', 'malformed'],
    ['a number that falls', [unsigned(half(3, { calls: 2 })), row(second)], 'malformed', 'malformed'],
    ['calls that fall', [unsigned(half(1, { calls: 3, paid: PRICE })), row(second)], 'malformed', 'malformed'],
    ['an amount that falls', [unsigned(half(1, { paid: 3 * PRICE })), row(second)], 'malformed', 'malformed'],
    ['two directions', [unsigned(half(1, { dir: 1 })), row(second)], 'malformed', 'malformed'],
    ['two sessions', [unsigned(half(1, { session: SESSION + 256 })), row(second)], 'malformed', 'malformed'],
    ['a direction there is not, in the second', changed(1 + SIGNED, 2), 'malformed', 'malformed'],
    ['locks, in the second', changed(1 + SIGNED + RECORD - 1, 1), 'malformed', 'malformed'],
    ['more calls than there can be', [unsigned(half(1)), row({ ...half(2), calls: 2 ** 48 })], 'malformed', 'malformed'],
    ['the last not signed', [row(half(1)), unsigned(second)], 'bad_signature', 'bad_signature'],
    ['the last signed by the payee', [row(half(1)), row(second, sign(second, scalarB))], 'bad_signature', 'bad_signature'],
    ['the last with a high s', [row(half(1)), row(second, highS(sign(second)))], 'bad_signature', 'bad_signature'],
    ['the last with the signature of the one before', [row(half(1)), row(second, sign(half(1)))], 'bad_signature', 'bad_signature'],
    ['the last signed for another chain', [row(half(1)), row(second, sign(second, scalarA, elsewhere))], 'bad_signature', 'bad_signature'],
    ['the last signed for another deployment', [row(half(1)), row(second, sign(second, scalarA, beside))], 'bad_signature', 'bad_signature'],
    ['another session', foreign, 'wrong_session', 'malformed'],
    ['what the sender earns', earned.map((each) => row(each, sign(each, scalarB))), 'bad_signature', 'malformed'],
    // The relay has no log to look it up in.
    ['a last half over another log', [row(half(1)), row(second), row(madeUp)], 'kept', 'half_mismatch'],
    ['a last half that admits too little', [row(half(1)), row(half(2, { paid: PRICE }))], 'kept', 'half_mismatch'],
  ];
  const last = (rows: Row[]) => {
    const { half: of, payer } = rows.at(-1)!;
    return { seq: String(of.seq), calls: String(of.calls), paid: String(of.paid), root: hex(of.root), payerSignature: hex(payer) };
  };
  return {
    session: String(SESSION),
    domain: { chainId: domain.chainId, root: domain.root },
    keys: { scalarA: hex(scalarA), scalarB: hex(scalarB), keyA: hex(keyA), keyB: hex(keyB) },
    records: records.slice(0, MAX_HALVES).map(hex),
    cases: [
      ...kept.map(([name, rows]) => ({ name, packet: hex(encodeHalvesPacket(rows)), relay: 'kept', payee: 'kept', last: last(rows) })),
      ...refused.map(([name, packet, relay, payee]) => ({
        name,
        packet: hex(packet instanceof Uint8Array ? packet : encodeHalvesPacket(packet)),
        relay,
        payee,
        ...(relay === 'kept' && { last: last(packet as Row[]) }),
      })),
    ],
  };
}
