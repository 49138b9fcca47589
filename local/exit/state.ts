/** The last state of a deployment, from what its batches made available: every one that stands, executed again. */
import { createPublicClient, http } from 'viem';
import { exitsAbi, rootAbi } from '../../contracts/abi.ts';
import { decodeBundle } from '../../protocol/bundle.ts';
import { type Hex, hex } from '../../protocol/bytes.ts';
import { Inbox, META_INBOX, Region, get } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { FrameKind, commitment } from '../../protocol/engine.ts';
import { type InboxItem, decodeInboxItem } from '../../protocol/inbox.ts';
import { Shards } from '../../protocol/shards.ts';
import type { BatchHeader, ChunkRecord } from '../../protocol/trace.ts';
import { Verdicts } from '../../protocol/verdicts.ts';
import { Chain, type Look } from '../../workers/settlement/chain.ts';
import type { DataSources } from '../../workers/settlement/env.ts';
import { readPosted } from '../../workers/settlement/modes/read.ts';
import { NotShown, findPosted } from '../../workers/settlement/posted.ts';

/** What went wrong, in words for who uses the tool. */
export class ExitError extends Error {}

/** A deployment as L1 describes it. */
export interface Deployment {
  readonly chain: Chain;
  readonly root: Hex;
  readonly exits: Hex;
  readonly chainId: number;
  readonly shards: number;
  /** Token wei in a base unit. */
  readonly unit: bigint;
  /** Seconds. */
  readonly window: number;
  readonly halfWindow: number;
}

/** A deposit or registration that no batch has consumed. */
export interface WaitingItem {
  readonly index: number;
  readonly bytes: Uint8Array;
  readonly item: InboxItem;
}

export interface LastState {
  readonly look: Look;
  readonly header: BatchHeader;
  readonly shards: Shards;
  readonly stateRoot: Hex;
  /** What messages say that have not been received, by {@link messageKey}. */
  readonly payloads: ReadonlyMap<string, Uint8Array>;
  readonly waiting: readonly WaitingItem[];
}

export const messageKey = (from: number, to: number, number: number): string => `${from}>${to} ${number}`;

const SOURCES =
  'Where data is when it is not in calldata: BEACON_URL, ARCHIVE_URLS (blobs), COMMITTEE_MEMBERS (columns); docs/operating.md says what they are.';
const NOTHING: Hex = `0x${'00'.repeat(32)}`;
const GENESIS = {
  prev: NOTHING,
  pre: NOTHING,
  dataRoot: NOTHING,
  steps: 0,
  timeFrom: 0,
  timeTo: 0,
  inboxCursor: 0,
  da: 0,
};

/** Reads what a deployment is. Throws {@link ExitError} where there is none. */
export async function openDeployment(rpc: string, root: Hex): Promise<Deployment> {
  const client = createPublicClient({ transport: http(rpc, { timeout: 10_000 }) });
  try {
    const [chainId, config] = await Promise.all([
      client.getChainId(),
      client.readContract({ address: root, abi: rootAbi, functionName: 'config' }),
    ]);
    const { exits, shards, unit, window } = config;
    const halfWindow = await client.readContract({ address: exits, abi: exitsAbi, functionName: 'halfWindow' });
    const numbers = { shards, window: Number(window), halfWindow: Number(halfWindow) };
    return { chain: new Chain(rpc, root), root, exits, chainId, unit, ...numbers };
  } catch (error) {
    throw new ExitError(`There is no deployment at ${root} on ${rpc}: ${(error as Error).message.split('\n')[0]}`);
  }
}

/** Executes all batches that stand. Throws {@link ExitError} where one is not what it says, or its data can't be had. */
export async function lastState(
  deployment: Deployment,
  sources: DataSources,
  progress: (text: string) => void,
): Promise<LastState> {
  const { chain, chainId, root } = deployment;
  const look = await chain.look();
  const verdicts = new Verdicts();
  const signing = new Signing({ chainId, root });
  const shards = new Shards({ shards: deployment.shards, signing, verify: verdicts.verify });
  const payloads = new Map<string, Uint8Array>();
  let header: BatchHeader = { ...GENESIS, number: 0, post: look.tip.post };
  for (let number = 1; number <= look.head; number++) {
    try {
      const posted = await findPosted(chain, number, look.latest);
      for await (const records of readPosted(chain, posted, sources))
        await execute(shards, verdicts, records, payloads);
      ({ header } = posted);
    } catch (error) {
      if (!(error instanceof NotShown)) throw error;
      throw new ExitError(`The data of batch ${number} can't be had now: ${error.message}. ${SOURCES}`);
    }
    if (hex(commitment(shards.tree().root())) !== header.post)
      throw new ExitError(
        `Batch ${number} is not what its frames lead to. Challenge it before it is final (npm run verify), then leave.`,
      );
    progress(`batch ${number} of ${look.head} executed again`);
  }
  const stateRoot = hex(shards.tree().root());
  return { look, header, shards, stateRoot, payloads, waiting: await waitingItems(deployment, look, shards) };
}

async function execute(
  shards: Shards,
  verdicts: Verdicts,
  records: readonly ChunkRecord[],
  payloads: Map<string, Uint8Array>,
): Promise<void> {
  for (const { shard, firstSeq, frames } of records) {
    const engine = shards.engine(shard);
    const bundles = frames.filter((frame) => frame[0] === FrameKind.bundle);
    // By the keys as they are now; a frame that is no bundle gets its status from the engine.
    await Promise.allSettled(bundles.map(async (frame) => verdicts.prefetch(engine.machine, decodeBundle(frame))));
    for (const [i, frame] of frames.entries()) {
      engine.run(firstSeq + i, frame);
      for (const { to, number, payload } of engine.takeSent()) payloads.set(messageKey(shard, to, number), payload);
    }
  }
}

async function waitingItems({ chain }: Deployment, look: Look, shards: Shards): Promise<WaitingItem[]> {
  const waiting: WaitingItem[] = [];
  const cursor = get(shards.engine(0).trie.read(Region.meta, META_INBOX), Inbox.cursor);
  for (let next = cursor; next < look.inboxLength;) {
    const events = await chain.inboxItems(next, look.inboxLength, look.latest);
    if (events.length === 0) throw new ExitError(`L1 does not show item ${next} of the inbox`);
    for (const { index, bytes } of events) waiting.push({ index, bytes, item: decodeInboxItem(bytes) });
    next += events.length;
  }
  return waiting.filter(({ item }) => item.kind === 'deposit' || (item.kind === 'register' && item.amount > 0));
}
