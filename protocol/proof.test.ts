import fc from 'fast-check';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Hex, hex, unhex } from './bytes.ts';
import { EXISTS, addressOf, cellToJson, get, layoutAt, set } from './cells.ts';
import { Signing } from './eip712.ts';
import { codeOf } from './errors.ts';
import { formatId, makeId, shardOf } from './ids.ts';
import { MachineKey } from './keys.ts';
import {
  type Asked,
  type ProofJson,
  RECORD_KINDS,
  type RecordKind,
  cellsOf,
  isRecord,
  levelsOf,
  recordPlace,
  verifyProof,
} from './proof.ts';
import { ShardTrie } from './trie.ts';

const domain = { chainId: 31337, root: '0x5fbdb2315678afecb367f032d93f642f64180aa3' } as const;
const signing = new Signing(domain);
const sequencer = await MachineKey.import(new Uint8Array(32).fill(3));
const sequencerKey = { x: hex(sequencer.publicKey.slice(0, 32)), y: hex(sequencer.publicKey.slice(32)) };
const SEQ = 4321;

/** Kinds that have a layout. */
const KINDS = RECORD_KINDS.filter((kind) => layoutAt(recordPlace(kind, 0).region, 0));
const RINGS = KINDS.filter((kind) => layoutAt(recordPlace(kind, 0).region, 0)!.fields.serial);

/** Writes a record full of something, such as `serial` would have it. */
function write(trie: ShardTrie, kind: RecordKind, id: number): void {
  const { region, slot } = recordPlace(kind, id);
  const { fields } = layoutAt(region, slot)!;
  for (let i = 0; i < cellsOf(kind); i++) {
    trie.edit(region, slot + i).fill(17 * (i + 1));
  }
  const cell = trie.edit(region, slot);
  if (fields.serial) set(cell, fields.serial, Math.floor(id / 256));
  else if (fields.flags) set(cell, fields.flags, EXISTS);
}

/** The answer a shard would give. */
async function answerOf(trie: ShardTrie, kind: RecordKind, id: number, key = sequencer): Promise<ProofJson> {
  const { region, slot } = recordPlace(kind, id);
  const checkpoint = { shard: shardOf(id), seq: SEQ, shardRoot: trie.root() };
  const place = { shard: checkpoint.shard, seq: String(SEQ), shardRoot: hex(checkpoint.shardRoot) };
  const siblings = trie
    .proof(region, slot)
    .slice(-3 * levelsOf(kind))
    .map(hex);
  return {
    kind,
    id: formatId(id),
    cells: Array.from({ length: cellsOf(kind) }, (_, i) => ({
      address: addressOf(place.shard, region, slot + i),
      cell: hex(trie.read(region, slot + i)),
      fields: cellToJson(layoutAt(region, slot + i)!.fields, trie.read(region, slot + i)),
    })),
    proof: {
      ...place,
      siblings: Array.from({ length: levelsOf(kind) }, (_, level) => siblings.slice(3 * level, 3 * level + 3)),
    },
    checkpoint: { ...place, signature: hex(await key.sign(signing.checkpoint(checkpoint))) },
  };
}

const asked = (kind: RecordKind, id: number): Asked => ({ ...domain, sequencerKey, kind, id: formatId(id) });
const codeFor = (answer: unknown, question: Asked): Promise<string> =>
  verifyProof(answer, question).then(() => 'ok', codeOf);

/** A shard with some of everything, and an id of each kind. */
const serialFor = (kind: RecordKind): number => (RINGS.includes(kind) ? 2 ** 40 + 77 : 77);
const trie = new ShardTrie();
for (const kind of KINDS) for (const serial of [1, 2, 3, 500, serialFor(kind)]) write(trie, kind, makeId(7, serial));
const answers = new Map<RecordKind, ProofJson>();
for (const kind of KINDS) answers.set(kind, await answerOf(trie, kind, makeId(7, serialFor(kind))));
const good = (kind: RecordKind): [ProofJson, Asked] => [answers.get(kind)!, asked(kind, makeId(7, serialFor(kind)))];

afterEach(() => {
  vi.unstubAllGlobals();
});

describe('a true answer', () => {
  test.each(KINDS)('of %s is read from its cells', async (kind) => {
    const [answer, question] = good(kind);
    const proven = await verifyProof(answer, { ...question, atLeast: SEQ });
    expect(proven).toMatchObject({ shard: 7, seq: SEQ, shardRoot: hex(trie.root()) });
    expect(proven.cells.map(({ address, fields }) => ({ address, fields }))).toEqual(
      answer.cells.map(({ address, fields }) => ({ address, fields })),
    );
    expect(proven.fields).toEqual(answer.cells[0].fields);
    // What it says besides its bytes is for people: nobody has to believe it.
    const lies = { ...answer, cells: answer.cells.map((cell) => ({ ...cell, fields: { balance: '1' } })) };
    expect(await verifyProof(lies, question)).toEqual(proven);
  });

  test('needs no WebCrypto', async () => {
    const [answer, question] = good('agent');
    vi.stubGlobal('crypto', {});
    expect(await codeFor(answer, question)).toBe('ok');
    expect(await codeFor(answer, { ...question, chainId: 1 })).toBe('bad_signature');
  });
});

describe('refused', () => {
  test('an older state than wanted, another deployment, another sequencer', async () => {
    const [answer, question] = good('escrow');
    expect(await codeFor(answer, { ...question, atLeast: SEQ + 1 })).toBe('stale');
    expect(await codeFor(answer, { ...question, chainId: 1 })).toBe('bad_signature');
    expect(await codeFor(answer, { ...question, root: `0x${'22'.repeat(20)}` })).toBe('bad_signature');
    const other = await MachineKey.import(new Uint8Array(32).fill(4));
    const forged = await answerOf(trie, 'escrow', makeId(7, serialFor('escrow')), other);
    expect(await codeFor(forged, question)).toBe('bad_signature');
  });

  test('a true answer to another question', async () => {
    for (const kind of KINDS) {
      const [answer] = good(kind);
      for (const other of KINDS) {
        const question = good(other)[1];
        if (other !== kind) expect(await codeFor(answer, question)).toBe('wrong_record');
        // Nor under the name of the record asked for.
        if (other !== kind) expect(await codeFor({ ...answer, kind: other, id: question.id }, question)).not.toBe('ok');
      }
    }
  });

  test('the record that took over the slot, and the place where none is', async () => {
    for (const kind of KINDS) {
      for (const serial of [4, serialFor(kind) + 2 ** 20, 0]) {
        const id = makeId(7, serial);
        const { region, slot } = recordPlace(kind, id);
        const cells = [trie.read(region, slot)];
        expect(isRecord(kind, id, cells), `${kind} ${serial}`).toBe(false);
        expect(await codeFor(await answerOf(trie, kind, id), asked(kind, id))).toBe('wrong_record');
      }
      // The same place on another shard, signed for that shard.
      const there = await answerOf(trie, kind, makeId(8, serialFor(kind)));
      expect(await codeFor(there, good(kind)[1])).toBe('wrong_record');
    }
  });

  test('every changed byte, anywhere', async () => {
    const flip = (text: string, at: number, xor: number): Hex => {
      const bytes = unhex(text);
      bytes[at % bytes.length] ^= xor;
      return hex(bytes);
    };
    const mutation = fc.record({
      kind: fc.constantFrom(...KINDS),
      part: fc.constantFrom('cell', 'sibling', 'path root', 'root', 'both roots', 'signature'),
      i: fc.nat(100),
      at: fc.nat(100),
      xor: fc.integer({ min: 1, max: 255 }),
    });
    await fc.assert(
      fc.asyncProperty(mutation, async ({ kind, part, i, at, xor }) => {
        const [answer, question] = good(kind);
        const json = structuredClone(answer) as unknown as {
          cells: { cell: Hex }[];
          proof: { siblings: Hex[][]; shardRoot: Hex };
          checkpoint: { shardRoot: Hex; signature: Hex };
        };
        const { cells, proof, checkpoint } = json;
        if (part === 'cell') {
          const one = cells[i % cells.length];
          one.cell = flip(one.cell, at, xor);
        } else if (part === 'sibling') {
          const level = proof.siblings[i % proof.siblings.length];
          level[at % 3] = flip(level[at % 3], at, xor);
        } else if (part === 'signature') checkpoint.signature = flip(checkpoint.signature, at, xor);
        else {
          if (part !== 'root') proof.shardRoot = flip(proof.shardRoot, at, xor);
          if (part !== 'path root') checkpoint.shardRoot = flip(checkpoint.shardRoot, at, xor);
        }
        expect(['bad_proof', 'bad_signature', 'wrong_record']).toContain(await codeFor(json, question));
      }),
      { numRuns: 600 },
    );
  });

  test('every changed number and name', async () => {
    const change = fc.record({
      kind: fc.constantFrom(...KINDS),
      path: fc.constantFrom(
        ['id'],
        ['kind'],
        ['cells', '0', 'address'],
        ['proof', 'shard'],
        ['proof', 'seq'],
        ['checkpoint', 'shard'],
        ['checkpoint', 'seq'],
      ),
      value: fc.oneof(
        fc.nat(),
        fc.nat().map(String),
        fc.constantFrom<unknown>('7:78', '8:77', '07:77', 'agent', 'key', 7.5, -1, null, '04321', '4322', '0x10e1'),
        fc.string(),
      ),
    });
    await fc.assert(
      fc.asyncProperty(change, async ({ kind, path, value }) => {
        const [answer, question] = good(kind);
        const json = structuredClone(answer) as unknown as Record<string, unknown>;
        const last = path.at(-1)!;
        let holder = json;
        for (const name of path.slice(0, -1)) holder = holder[name] as Record<string, unknown>;
        fc.pre(holder[last] !== value);
        holder[last] = value;
        expect(['malformed', 'wrong_record', 'bad_proof']).toContain(await codeFor(json, question));
        // Also where it is changed in both places: the signature is over one.
        if (last === 'seq') {
          (json.proof as Record<string, unknown>).seq = value;
          (json.checkpoint as Record<string, unknown>).seq = value;
          expect(['malformed', 'bad_signature']).toContain(await codeFor(json, question));
        }
      }),
      { numRuns: 400 },
    );
  });

  test('anything else, by code', async () => {
    const [answer, question] = good('session');
    const parts = fc.constantFrom('kind', 'id', 'cells', 'proof', 'checkpoint');
    const holes = fc.tuple(parts, fc.jsonValue()).map(([part, value]) => ({ ...answer, [part]: value }));
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue(), holes), async (json) => {
        expect(['malformed', 'wrong_record']).toContain(await codeFor(json, question));
      }),
      { numRuns: 300 },
    );
    expect(await codeFor(undefined, good('agent')[1])).toBe('malformed');
  });

  test('a question that can’t be one', async () => {
    const [answer, question] = good('agent');
    expect(await codeFor(answer, { ...question, id: 'alice' })).toBe('malformed');
    expect(await codeFor(answer, { ...question, kind: 'meta' as RecordKind })).toBe('malformed');
    expect(await codeFor(answer, { ...question, sequencerKey: { x: '0x', y: '0x' } })).toBe('malformed');
    expect(await codeFor(answer, { ...question, root: '0x12' })).toBe('malformed');
  });
});

test('a ring record is known by its serial, others by being there', () => {
  for (const kind of KINDS) {
    const id = makeId(7, serialFor(kind));
    const { region, slot } = recordPlace(kind, id);
    const { fields } = layoutAt(region, slot)!;
    const cell = trie.read(region, slot).slice();
    expect(isRecord(kind, id, [cell])).toBe(true);
    expect(isRecord(kind, id, [new Uint8Array(64)])).toBe(false);
    if (fields.serial) {
      expect(get(cell, fields.serial)).toBe(serialFor(kind));
      set(cell, fields.serial, 1);
      expect(isRecord(kind, id, [cell])).toBe(false);
    }
  }
});
