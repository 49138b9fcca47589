/**
 * Every step of the trace vector as L1 gets it in a dispute: what it opens, and what it has to come to. In columns, row i of
 * each of which is step i, because forge reads a whole column at once.
 */
import { hex, unhex } from '../../protocol/bytes.ts';
import { Walk } from '../../protocol/dispute.ts';
import { Signing, domainSeparator } from '../../protocol/eip712.ts';
import { Shards } from '../../protocol/shards.ts';
import { type ProvenStep, Recorder } from '../../protocol/witness.ts';
import type { traceVector } from './trace.ts';

export async function stepsVector({ domain, shards: count, frames }: ReturnType<typeof traceVector>): Promise<unknown> {
  const recorder = new Recorder();
  const trie = (shard: number) => recorder.trie(shard);
  const shards = new Shards({ shards: count, signing: new Signing(domain), trie });
  let firstStep = 0;
  const placed = frames.map(({ shard, seq, frame, steps }) => {
    firstStep += steps.length;
    return { firstStep: firstStep - steps.length, shard, seq, frame: unhex(frame) };
  });
  const walk = new Walk(shards, placed);
  const places: { frame: number; index: number }[] = [];
  const steps: ProvenStep[] = [];
  for (const [frame, { steps: all }] of frames.entries())
    for (let index = 0; index < all.length; index++) {
      places.push({ frame, index });
      steps.push(await walk.prove(recorder));
    }
  return {
    domain: hex(domainSeparator(domain)),
    shards: count,
    frames: {
      shard: frames.map(({ shard }) => shard),
      seq: frames.map(({ seq }) => seq),
      bytes: frames.map(({ frame }) => frame),
    },
    steps: {
      // Which of the frames, and which of its steps.
      frame: places.map(({ frame }) => frame),
      index: places.map(({ index }) => index),
      pre: steps.map(({ pre }) => hex(pre)),
      witness: steps.map(({ witness }) => hex(witness)),
      post: steps.map(({ post }) => hex(post)),
      status: steps.map(({ status }) => status),
      value: steps.map(({ value }) => value),
    },
  };
}
