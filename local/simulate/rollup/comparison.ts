/**
 * The paper's argument, measured: a workflow of three parties (a researcher plans two legs, a tool and an archive answer, both are paid or neither) as
 * calls of a contract on a general-purpose rollup, and as interactions of AGNT2; and a thousand calls between the same two.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { requestHead } from '../../../protocol/call.ts';
import { EscrowStatus, Region, Workflow, WorkflowStatus, get, slotOf, Escrow } from '../../../protocol/cells.ts';
import { decodeBundle, signBundle } from '../../../protocol/bundle.ts';
import { hex } from '../../../protocol/bytes.ts';
import { packArchive } from '../../../protocol/da/archive.ts';
import { keccak } from '../../../protocol/hash.ts';
import { serialOf } from '../../../protocol/ids.ts';
import { tellFrame } from '../../../protocol/messages.ts';
import type { Interaction } from '../../../protocol/ops/index.ts';
import { type Actor, World } from '../../../test/support/world.ts';
import { L1 } from '../../l1.ts';
import { type Sent, RollupSide, compressed } from './contract.ts';

/** Workflows that are run on each side, each planned by another agent, and calls of the pair. */
const WORKFLOWS = 24;
const SESSION_CALLS = 1000;
/** Of these the rollup's side is measured, and multiplied. */
const MEASURED_CALLS = 24;
const FUNDS = 1_000_000;
const PRICES = { tool: 40, archive: 25 } as const;
/** Seconds between blocks of a rollup of the OP stack. */
export const ROLLUP_BLOCK_SECONDS = 2;

/** What one side takes for one workflow, or one thousand calls. */
export interface Side {
  /** Bytes as signed, and as many of them together compress to. */
  readonly bytes: number;
  readonly compressedBytes: number;
  /** Signatures, each of its own message. */
  readonly signatures: number;
  /** Gas of execution, of whoever executes contract calls; AGNT2's shards use none. */
  readonly gas: number;
}

export interface Comparison {
  readonly workflow: { readonly rollup: Side; readonly agnt2: Side };
  readonly calls: { readonly count: number; readonly rollup: Side; readonly agnt2: Side };
  /** Seconds from the plan until both are paid, on the rollup; and how often somebody has to wait for another. */
  readonly rollupSeconds: number;
  readonly stages: number;
}

const hashOf = (text: string): Uint8Array => keccak(new TextEncoder().encode(text));

/** Both, with an anvil of its own; null when anvil does not start. */
export async function compare(dir: string, progress: (what: string) => void): Promise<Comparison | null> {
  mkdirSync(dir, { recursive: true });
  const l1 = await L1.start({ dir: join(dir), blockTime: 0 }).catch(() => null);
  if (!l1) return null;
  try {
    progress('the workflow as contract calls on anvil');
    const side = await RollupSide.deploy(l1);
    const rollup = await onRollup(side);
    progress('the rollup’s wait for blocks');
    await l1.request('evm_setIntervalMining', [ROLLUP_BLOCK_SECONDS]);
    const rollupSeconds = await waitOnRollup(side);
    progress('the same as interactions');
    return { ...(await both(rollup)), rollupSeconds, stages: 3 };
  } finally {
    await l1.stop();
  }
}

interface OnRollup {
  readonly workflows: readonly Sent[];
  readonly calls: readonly Sent[];
}

const TOOL = RollupSide.account(1);
const ARCHIVE = RollupSide.account(2);
/** Requests and answers are hashed on both sides, each another. */
let hashed = 0;
const someHash = (): `0x${string}` => hex(hashOf(`body ${hashed++}`));

async function onRollup(side: RollupSide): Promise<OnRollup> {
  for (const provider of [TOOL, ARCHIVE]) {
    await side.fund(provider);
    await side.call(provider, 'publish', [1000n, 3600]);
    // What has been paid before is no first time: a slot that is not empty is cheaper to write.
    await side.call(provider, 'mint', [1n]);
  }
  const workflows: Sent[] = [];
  let escrow = 1n;
  for (let i = 0; i < WORKFLOWS; i++) {
    const planner = RollupSide.account(10 + i);
    await side.fund(planner);
    await side.call(planner, 'mint', [BigInt(FUNDS)]);
    workflows.push(...(await workflow(side, planner, i + 1, escrow)));
    escrow += 2n;
  }
  const [status] = (await side.read<readonly unknown[]>('plans', [BigInt(WORKFLOWS)])).slice(4);
  if (Number(status) !== 3) throw new Error('a workflow on the rollup was not paid');
  const calls: Sent[] = [];
  const caller = RollupSide.account(10);
  for (let i = 0; i < MEASURED_CALLS; i++) {
    calls.push(await side.call(caller, 'invoke', [0n, BigInt(PRICES.tool), 0, 0, someHash()]));
    calls.push(await side.call(TOOL, 'respond', [escrow++, BigInt(PRICES.tool), someHash()]));
  }
  return { workflows, calls };
}

async function workflow(
  side: RollupSide,
  planner: ReturnType<typeof RollupSide.account>,
  plan: number,
  escrow: bigint,
): Promise<Sent[]> {
  return [
    await side.call(planner, 'plan', [120, [0n, 1n]]),
    await side.call(planner, 'invoke', [0n, BigInt(PRICES.tool), plan, 0, someHash()]),
    await side.call(planner, 'invoke', [1n, BigInt(PRICES.archive), plan, 1, someHash()]),
    await side.call(TOOL, 'respond', [escrow, BigInt(PRICES.tool), someHash()]),
    await side.call(ARCHIVE, 'respond', [escrow + 1n, BigInt(PRICES.archive), someHash()]),
  ];
}

/** Seconds of a workflow whose stages each wait for the one before: the plan, its two calls together, both answers together. */
async function waitOnRollup(side: RollupSide): Promise<number> {
  const planner = RollupSide.account(10);
  const plan = WORKFLOWS + 1;
  const escrow = BigInt(1 + 2 * WORKFLOWS + MEASURED_CALLS);
  const start = performance.now();
  await side.call(planner, 'plan', [120, [0n, 1n]]);
  await Promise.all([
    side.call(planner, 'invoke', [0n, BigInt(PRICES.tool), plan, 0, someHash()]),
    side.call(planner, 'invoke', [1n, BigInt(PRICES.archive), plan, 1, someHash()]),
  ]);
  await Promise.all([
    side.call(TOOL, 'respond', [escrow, BigInt(PRICES.tool), someHash()]),
    side.call(ARCHIVE, 'respond', [escrow + 1n, BigInt(PRICES.archive), someHash()]),
  ]);
  return (performance.now() - start) / 1000;
}

/** What the same takes as interactions, signed with real keys and executed by the engine, beside what was measured on the rollup. */
async function both({ workflows, calls }: OnRollup): Promise<Pick<Comparison, 'workflow' | 'calls'>> {
  const world = new World();
  world.tick(1_900_000_000);
  const [tool, archive] = [await world.agent(FUNDS), await world.agent(FUNDS)];
  const terms = { active: true, ceiling: 1000, deadlineSeconds: 3600, arbiter: 0, contestSeconds: 0 };
  const services: number[] = [];
  for (const provider of [tool, archive]) {
    const { outcomes } = await submit(world, provider, [
      { op: 'publish', service: 0, ...terms, metadataHash: new Uint8Array(32) },
    ]);
    services.push(outcomes[0]);
  }
  const frames: Uint8Array[] = [];
  const planners: Actor[] = [];
  for (let i = 0; i < WORKFLOWS; i++) planners.push(await world.agent(FUNDS));
  for (const [i, planner] of planners.entries()) {
    const legs = services.map((service) => ({ payer: planner.id, service }));
    const head = requestHead('POST', `/tool/${i}`);
    // The plan and its calls in one bundle: workflow 0 is the newest of the shard, by its counter.
    const asked = await submit(
      world,
      planner,
      [
        { op: 'plan', deadlineSeconds: 120, legs },
        { op: 'invoke', service: services[0], amount: PRICES.tool, workflow: 0, leg: 0 },
        { op: 'invoke', service: services[1], amount: PRICES.archive, workflow: 0, leg: 1 },
      ],
      [undefined, head, head],
    );
    const [plan, first, second] = asked.outcomes;
    const answers = [
      await submit(
        world,
        tool,
        [{ op: 'respond', escrow: first, price: PRICES.tool, result: 'fulfilled' }],
        [hashOf(`tool ${i}`)],
      ),
      await submit(
        world,
        archive,
        [{ op: 'respond', escrow: second, price: PRICES.archive, result: 'fulfilled' }],
        [hashOf(`archive ${i}`)],
      ),
    ];
    const cell = world.engine.trie.read(Region.workflow, slotOf(Region.workflow, serialOf(plan)));
    if (get(cell, Workflow.status) !== WorkflowStatus.committed) throw new Error('a workflow was not committed');
    frames.push(asked.frame, ...answers.map(({ frame }) => frame));
    // Each leg of a decided workflow is told by the shard, in a frame of its own.
    for (const leg of [0, 1]) frames.push(tellFrame(plan, leg));
    for (const frame of frames.slice(-2)) world.execute(frame);
    for (const escrow of [first, second])
      if (get(world.engine.machine.readEscrow(escrow), Escrow.status) !== EscrowStatus.fulfilled)
        throw new Error('a leg was not paid');
  }
  const session = await sessionFrames(world, planners[0], tool);
  const side = async (of: readonly Uint8Array[], share: number): Promise<Side> => ({
    bytes: of.reduce((sum, { length }) => sum + length, 0) / share,
    compressedBytes: (await packArchive([{ shard: 0, firstSeq: 0, frames: [...of] }])).length / share,
    signatures: of.filter(([kind]) => kind === 0x10).length / share,
    gas: 0,
  });
  const contract = (sent: readonly Sent[], share: number): Side => ({
    bytes: sent.reduce((sum, { raw }) => sum + raw.length, 0) / share,
    compressedBytes: compressed(sent) / share,
    signatures: sent.length / share,
    gas: sent.reduce((sum, { gas }) => sum + gas, 0) / share,
  });
  return {
    workflow: { rollup: contract(workflows, WORKFLOWS), agnt2: await side(frames, WORKFLOWS) },
    calls: {
      count: SESSION_CALLS,
      rollup: contract(calls, MEASURED_CALLS / SESSION_CALLS),
      agnt2: await side(session, 1),
    },
  };
}

/** A session of a thousand calls as Core sees it: it is opened, and closed by both. The close's signature is in it. */
async function sessionFrames(world: World, a: Actor, b: Actor): Promise<Uint8Array[]> {
  const open = await submit(world, a, [{ op: 'open', peer: b.id, deposit: 100_000, exitDelay: 3600 }]);
  const close = {
    session: open.outcomes[0],
    paidAB: SESSION_CALLS * PRICES.tool,
    paidBA: 0,
    callsAB: SESSION_CALLS,
    callsBA: 0,
    rootAB: hashOf('log'),
    rootBA: new Uint8Array(32),
  };
  const signature = await a.key.sign(world.signing.close(close));
  const closed = await submit(world, b, [{ op: 'close', close, signature }]);
  return [open.frame, closed.frame];
}

/** Signs, executes, and answers the values; throws unless all went well. */
async function submit(
  world: World,
  actor: Actor,
  interactions: readonly Interaction[],
  payloads: readonly (Uint8Array | undefined)[] = [],
): Promise<{ frame: Uint8Array; outcomes: number[] }> {
  const header = { actor: actor.id, nonce: actor.nonce++, expiry: 2_000_000_000 };
  const frame = await signBundle(actor.key, world.signing, header, interactions, payloads);
  await world.verdicts.prefetch(world.engine.machine, decodeBundle(frame));
  const outcomes = world.execute(frame);
  const bad = outcomes.find(({ status }) => status !== 0);
  if (bad) throw new Error(`an interaction was refused: status ${bad.status}`);
  return { frame, outcomes: outcomes.slice(1).map(({ value }) => value) };
}
