/** The trace vector, told by the engine, retold by the reference: real keys, real signatures, every operation, two shards. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { hex, unhex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { verifyOwner, verifyP256Sync } from '../../protocol/keys.ts';
import { OP_NAMES } from '../../protocol/ops/index.ts';
import { STATUSES } from '../../protocol/status.ts';
import { decodeBundle } from '../../protocol/bundle.ts';
import { Reference } from '../reference/reference.ts';

const { domain, shards, frames, roots } = JSON.parse(
  readFileSync(new URL('../vectors/trace.json', import.meta.url), 'utf8'),
) as {
  domain: { chainId: number; root: `0x${string}` };
  shards: number;
  frames: { shard: number; seq: number; frame: string; steps: { status: string; value: string }[] }[];
  roots: string[];
};

test('step by step, to the same roots', () => {
  const reference = new Reference({
    shards,
    signing: new Signing(domain),
    verify: verifyP256Sync,
    owns: verifyOwner,
  });
  for (const { shard, seq, frame, steps } of frames)
    expect(
      reference
        .execute(shard, seq, unhex(frame))
        .map(({ status, value }) => ({ status: STATUSES[status], value: String(value) })),
      `frame ${shard}:${seq}`,
    ).toEqual(steps);
  expect(Array.from({ length: shards }, (_, shard) => hex(reference.root(shard)))).toEqual(roots);
});

test('with every operation in it, done', () => {
  const done = new Set<string>();
  for (const { frame, steps } of frames)
    if (frame.startsWith('0x10'))
      for (const [i, { op }] of decodeBundle(unhex(frame)).interactions.entries())
        if (steps[i + 1].status === 'ok') done.add(op);
  expect([...done].toSorted()).toEqual([...OP_NAMES].toSorted());
});
