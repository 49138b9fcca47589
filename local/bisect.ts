/**
 * `npm run bisect -- A B`: names the first step in which two traces part, and the cells that are others after it.
 *
 * A and B are each where a trace can be had:
 *
 *     http://node#0xROOT     an L1 node and a deployment's Root: what was posted, and what its batches assert. Data that is not in calldata is read from
 *                            where BEACON_URL, ARCHIVE_URLS and COMMITTEE_MEMBERS say (docs/operating.md)
 *     http://gateway         a gateway: its shards' logs, and what its batches assert
 *     FILE.json              {domain, shards, frames: [{shard, seq, frame, steps?: [{status, value}]}]}, as test/vectors/trace.json
 *     reference              only as B: A's frames, executed by the slow reading of docs/protocol.md in test/reference
 *
 * Without B, A is held against what it says itself: outcomes in a file, commitments of batches. Exit code 0 if nothing parts, 1 if something does.
 * `--json` prints one JSON object.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { createPublicClient, http } from 'viem';
import '../protocol/da/install.ts';
import '../protocol/keccak/install.ts';
import './kzg.ts';
import { rootAbi } from '../contracts/abi.ts';
import { decodeBundle } from '../protocol/bundle.ts';
import { type Hex, equal, hex, unhex } from '../protocol/bytes.ts';
import { cellToJson, layoutAt, placeOf } from '../protocol/cells.ts';
import { Signing } from '../protocol/eip712.ts';
import { type Context, FrameKind, commitment, stepsOf } from '../protocol/engine.ts';
import { verifyOwner, verifyP256Sync } from '../protocol/keys.ts';
import { Shards } from '../protocol/shards.ts';
import { type StatusName, STATUSES } from '../protocol/status.ts';
import { proveStep, Recorder } from '../protocol/witness.ts';
import { Reference } from '../test/reference/reference.ts';
import { Chain } from '../workers/settlement/chain.ts';
import { readSources } from '../workers/settlement/env.ts';
import { readPosted } from '../workers/settlement/modes/read.ts';
import { findPosted } from '../workers/settlement/posted.ts';
import { Gateway } from './gateway.ts';
import { Trace } from '../protocol/replay.ts';

interface Outcome {
  readonly status: string;
  readonly value: string;
}
interface Frame {
  readonly shard: number;
  readonly seq: number;
  readonly frame: Uint8Array;
  readonly outcomes?: readonly Outcome[];
  /** The commitment that a batch asserts after it. */
  readonly asserted?: Hex;
}
/** A trace, in an order in which it can be executed. */
interface Source {
  readonly name: string;
  readonly domain: { readonly chainId: number; readonly root: Hex };
  readonly shards: number;
  readonly frames: readonly Frame[];
}

/** Where two traces part. */
interface Parting {
  readonly what: string;
  readonly shard: number;
  readonly seq: number;
  readonly step?: number;
  readonly interaction?: unknown;
  readonly a?: unknown;
  readonly b?: unknown;
  readonly cells?: readonly {
    readonly address: string;
    readonly before: unknown;
    readonly after: unknown;
    readonly other?: unknown;
  }[];
}

const key = (shard: number, seq: number): string => `${shard}:${seq}`;

async function fromL1(rpc: string, root: Hex): Promise<Source> {
  const client = createPublicClient({ transport: http(rpc) });
  const chain = new Chain(rpc, root);
  const sources = readSources(process.env);
  const [chainId, config, look] = await Promise.all([
    client.getChainId(),
    client.readContract({ address: root, abi: rootAbi, functionName: 'config' }),
    chain.look(),
  ]);
  const frames: Frame[] = [];
  for (let number = 1; number <= look.head; number++) {
    const posted = await findPosted(chain, number, look.latest);
    for await (const records of readPosted(chain, posted, sources))
      for (const { shard, firstSeq, frames: own } of records)
        for (const [i, frame] of own.entries()) frames.push({ shard, seq: firstSeq + i, frame });
    frames[frames.length - 1] = { ...frames.at(-1)!, asserted: posted.header.post };
  }
  return { name: `L1 (${rpc})`, domain: { chainId, root }, shards: config.shards, frames };
}

async function fromGateway(url: string): Promise<Source> {
  const gateway = new Gateway(url);
  const { chainId, root, shards } = await gateway.status();
  const domain = { chainId, root: root as Hex };
  const logs = await Promise.all(
    shards.map(async ({ shard }) => (await gateway.frames(shard)).flatMap(({ frames }) => frames)),
  );
  // Any order that respects what depends on what will do.
  const trace = new Trace({ ...domain, shards: shards.length, verify: () => true });
  const frames: Frame[] = [];
  for (;;) {
    const shard = logs.findIndex((log, i) => {
      const at = trace.places[i];
      return at < log.length && trace.isReady(i, log[at]);
    });
    if (shard < 0) break;
    const seq = trace.places[shard];
    frames.push({ shard, seq, frame: logs[shard][seq] });
    await trace.execute(shard, logs[shard][seq]);
  }
  return { name: `gateway (${url})`, domain, shards: shards.length, frames };
}

function fromFile(path: string): Source {
  const { domain, shards, frames } = JSON.parse(readFileSync(path, 'utf8')) as {
    domain: Source['domain'];
    shards: number;
    frames: { shard: number; seq: number; frame: Hex; steps?: Outcome[] }[];
  };
  const decoded = frames.map(({ frame, steps, ...place }) => ({ ...place, frame: unhex(frame), outcomes: steps }));
  return { name: path, domain, shards, frames: decoded };
}

const sourceOf = async (text: string): Promise<Source> => {
  const l1 = /^(https?:\/\/[^#]+)#(0x[0-9a-fA-F]{40})$/.exec(text);
  if (l1) return fromL1(l1[1], l1[2] as Hex);
  return /^https?:/.test(text) ? fromGateway(text) : fromFile(text);
};

/** A step's interaction in words; of other steps their frame's kind. */
function interactionOf(frame: Uint8Array, step: number): unknown {
  if (frame[0] !== FrameKind.bundle) return `frame of kind 0x${frame[0]?.toString(16) ?? '-'}`;
  if (step === 0) return 'the opening of a bundle';
  try {
    return decodeBundle(frame).interactions[step - 1];
  } catch {
    return 'a step of a malformed bundle';
  }
}

const cellJson = (address: number, cell: Uint8Array): unknown => {
  const { region, slot } = placeOf(address);
  const layout = layoutAt(region, slot);
  return layout ? cellToJson(layout.fields, cell) : hex(cell);
};

/** The first parting of A from B, or from what A says itself; null when they are one as far as both go. */
export function firstParting(a: Source, b: Source | 'reference' | null): Parting | null {
  const recorder = new Recorder();
  const signing = new Signing(a.domain);
  const shards = new Shards({ shards: a.shards, signing, trie: (shard) => recorder.trie(shard) });
  const reference =
    b === 'reference' ? new Reference({ shards: a.shards, signing, verify: verifyP256Sync, owns: verifyOwner }) : null;
  const others = b && b !== 'reference' ? new Map(b.frames.map((frame) => [key(frame.shard, frame.seq), frame])) : null;
  for (const { shard, seq, frame, outcomes, asserted } of a.frames) {
    const place = { shard, seq };
    const other = others?.get(key(shard, seq));
    if (other && !equal(other.frame, frame))
      return { ...place, what: 'the frames are not the same', a: hex(frame), b: hex(other.frame) };
    const engine = shards.engine(shard);
    const [steps, told] = [stepsOf(frame), reference?.execute(shard, seq, frame)];
    let context: Context = 0;
    for (let step = 0; step < steps; step++) {
      const proven = proveStep(shards, recorder, { shard, seq, frame }, step, context);
      engine.takeSent();
      context = proven.context;
      const mine = { status: STATUSES[proven.status] as string, value: String(proven.value) };
      const theirs: Outcome | undefined = told
        ? { status: STATUSES[told[step].status] as StatusName, value: String(told[step].value) }
        : (other?.outcomes?.[step] ?? outcomes?.[step]);
      if (!theirs || (theirs.status === mine.status && theirs.value === mine.value)) continue;
      const cells = proven.cells.map(({ address, cell }) => cellChange(shards, address, cell));
      const what = 'a step comes to something else';
      return { ...place, what, step, interaction: interactionOf(frame, step), a: mine, b: theirs, cells };
    }
    const differing = reference && firstCell(reference, shards);
    if (differing) return { ...place, what: 'a cell is another', step: steps - 1, ...differing };
    const found = asserted ?? other?.asserted;
    const post = found && hex(commitment(shards.tree().root()));
    if (post && post !== found)
      return { ...place, what: 'a batch that ends here asserts another state', a: post, b: found };
  }
  return null;
}

function cellChange(shards: Shards, address: number, before: Uint8Array) {
  const { shard, region, slot } = placeOf(address);
  const after = shards.engine(shard).trie.read(region, slot);
  return {
    address: `0x${address.toString(16).padStart(8, '0')}`,
    before: cellJson(address, before),
    after: cellJson(address, after),
  };
}

function firstCell(reference: Reference, shards: Shards): Pick<Parting, 'cells'> | null {
  for (const address of reference.world.places()) {
    const { shard, region, slot } = placeOf(address);
    const [other, after] = [reference.world.cell(address), shards.engine(shard).trie.read(region, slot)];
    if (equal(other, after)) continue;
    const name = `0x${address.toString(16).padStart(8, '0')}`;
    return {
      cells: [{ address: name, before: null, after: cellJson(address, after), other: cellJson(address, other) }],
    };
  }
  return null;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false } },
  });
  const [first, second] = positionals;
  if (!first || positionals.length > 2) {
    process.stderr.write(
      'npm run bisect -- A [B] [--json]\nA and B: http://l1-node#0xROOT, http://gateway, a trace FILE.json, or (B) reference\n',
    );
    process.exit(2);
  }
  try {
    const a = await sourceOf(first);
    const b = second === undefined ? null : second === 'reference' ? second : await sourceOf(second);
    const parting = firstParting(a, b);
    if (values.json) process.stdout.write(`${JSON.stringify({ frames: a.frames.length, parting })}\n`);
    else if (!parting) process.stdout.write(`${a.frames.length} frames of ${a.name}: nothing parts\n`);
    else {
      const { what, shard, seq, step, interaction, cells = [], ...rest } = parting;
      process.stdout.write(`frame ${shard}:${seq}${step === undefined ? '' : `, step ${step}`}: ${what}\n`);
      if (interaction !== undefined) process.stdout.write(`  ${JSON.stringify(interaction, plain)}\n`);
      for (const side of ['a', 'b'] as const)
        if (rest[side] !== undefined) process.stdout.write(`  ${side.toUpperCase()}: ${JSON.stringify(rest[side])}\n`);
      for (const { address, before, after, other } of cells) {
        process.stdout.write(
          `  cell ${address}\n    before ${JSON.stringify(before)}\n    after  ${JSON.stringify(after)}\n`,
        );
        if (other !== undefined) process.stdout.write(`    other  ${JSON.stringify(other)}\n`);
      }
    }
    process.exitCode = parting ? 1 : 0;
  } catch (error) {
    process.stderr.write(`${(error as Error).message.split('\n')[0]}\n`);
    process.exitCode = 2;
  }
}

/** Bytes as hex. */
function plain(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? hex(value) : value;
}
