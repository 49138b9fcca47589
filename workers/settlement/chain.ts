/** L1 as settlement sees it: everything in one look, inbox items, and the block of a moment. Every call is bounded in time. */
import { type ContractFunctionName, type PublicClient, createPublicClient, http } from 'viem';
import { rootAbi } from '../../contracts/abi.ts';
import { type Hex, unhex } from '../../protocol/bytes.ts';
import type { L1Call } from './sender.ts';

const CALL_TIMEOUT_MS = 8_000;
/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000n;

export interface Block {
  readonly number: number;
  readonly timestamp: number;
  readonly baseFee: bigint;
}

export interface PostedBatch {
  readonly batchHash: Hex;
  readonly post: Hex;
  /** Unix seconds. */
  readonly postedAt: number;
  readonly inboxCursor: number;
}

/** Root and the chain around it, as of one moment. */
export interface Look {
  readonly latest: Block;
  readonly head: number;
  /** What L1 keeps of batch `head`. */
  readonly tip: PostedBatch;
  readonly finalized: number;
  readonly inboxLength: number;
  /** Nothing is taken any more. */
  readonly frozen: boolean;
  /** Data under way: for which batch, and the parts and frames that are in. */
  readonly pending: { readonly number: number; readonly parts: number; readonly frames: number };
}

/** Constants of the deployment. */
export interface Terms {
  readonly unit: bigint;
  readonly window: number;
  readonly sequencer: Hex;
  readonly freezeAfter: number;
  readonly game: Hex;
  readonly faults: Hex;
  /** Zero where data is in calldata alone. */
  readonly availability: Hex;
  /** Zero without a committee. */
  readonly committee: Hex;
}

export interface Event {
  readonly index: number;
  readonly bytes: Uint8Array;
}

export class Chain {
  readonly rpc: string;
  readonly client: PublicClient;
  readonly root: Hex;

  constructor(rpc: string, root: Hex) {
    // One HTTP request a look: calls made together travel together.
    this.client = createPublicClient({
      transport: http(rpc, { timeout: CALL_TIMEOUT_MS, retryCount: 0, batch: true }),
    });
    this.rpc = rpc;
    this.root = root;
  }

  get #at(): { address: Hex; abi: typeof rootAbi } {
    return { address: this.root, abi: rootAbi };
  }

  /** A call of Root. */
  call(functionName: ContractFunctionName<typeof rootAbi, 'nonpayable' | 'payable'>, args: readonly unknown[]): L1Call {
    return { ...this.#at, functionName, args };
  }

  async terms(): Promise<Terms> {
    const config = await this.client.readContract({ ...this.#at, functionName: 'config' });
    const { unit, sequencer, game, faults, availability, committee } = config;
    const [window, freezeAfter] = [Number(config.window), Number(config.freezeAfter)];
    return { unit, window, sequencer, freezeAfter, game, faults, availability, committee };
  }

  async credits(account: Hex): Promise<bigint> {
    return this.client.readContract({ ...this.#at, functionName: 'credits', args: [account] });
  }
  /** Wei of the sequencer's bond. */
  async bonded(): Promise<bigint> {
    return this.client.readContract({ ...this.#at, functionName: 'bonded' });
  }

  async block(number?: bigint): Promise<Block> {
    const block = await this.client.getBlock(number === undefined ? { blockTag: 'latest' } : { blockNumber: number });
    return { number: Number(block.number), timestamp: Number(block.timestamp), baseFee: block.baseFeePerGas ?? 0n };
  }

  /** Everything as of one block, so that no two answers contradict each other. */
  async look(): Promise<Look> {
    const latest = await this.block();
    const blockNumber = BigInt(latest.number);
    const at = { ...this.#at, blockNumber };
    const [head, finalized, inboxLength, [number, parts, frames], frozen] = await Promise.all([
      this.client.readContract({ ...at, functionName: 'head' }),
      this.client.readContract({ ...at, functionName: 'finalized' }),
      this.client.readContract({ ...at, functionName: 'inboxLength' }),
      this.client.readContract({ ...at, functionName: 'pending' }),
      this.client.readContract({ ...at, functionName: 'frozen' }),
    ]);
    return {
      latest,
      head: Number(head),
      tip: await this.posted(Number(head), blockNumber),
      finalized: Number(finalized),
      inboxLength: Number(inboxLength),
      frozen,
      pending: { number: Number(number), parts: Number(parts), frames: Number(frames) },
    };
  }

  /** Zeros for a batch that does not stand. */
  async posted(number: number, blockNumber?: bigint): Promise<PostedBatch> {
    const { batchHash, post, postedAt, inboxCursor } = await this.client.readContract({
      ...this.#at,
      functionName: 'posted',
      args: [BigInt(number)],
      blockNumber,
    });
    return { batchHash, post, postedAt: Number(postedAt), inboxCursor: Number(inboxCursor) };
  }

  /** Whether a game is open against a batch. */
  async isContested(batchHash: Hex): Promise<boolean> {
    return (await this.client.readContract({ ...this.#at, functionName: 'contested', args: [batchHash] })) > 0n;
  }

  /** Whether a batch that was posted in a block has been voided since. */
  async isVoided(number: number, block: number, latest: Block): Promise<boolean> {
    for (let from = block; from <= latest.number; from += Number(LOG_BLOCKS)) {
      const logs = await this.client.getContractEvents({
        ...this.#at,
        eventName: 'Invalidated',
        fromBlock: BigInt(from),
        toBlock: BigInt(from) + LOG_BLOCKS,
        strict: true,
      });
      if (logs.some(({ args }) => Number(args.from) <= number)) return true;
    }
    return false;
  }

  async accumulator(index: number): Promise<Hex> {
    return this.client.readContract({ ...this.#at, functionName: 'accumulator', args: [BigInt(index)] });
  }

  /** The inbox's length as of a block. */
  async inboxLengthAt(block: number): Promise<number> {
    return Number(
      await this.client.readContract({ ...this.#at, functionName: 'inboxLength', blockNumber: BigInt(block) }),
    );
  }

  /** The number of the first block with a timestamp ≥ `time`, where `tip` is one. Blocks may share a timestamp. */
  async blockAt(time: number, tip: Block): Promise<number> {
    // Gallop back from the tip, since what is asked for is nearly always recent; then halve. No archive node needed.
    let high = tip.number;
    let low = high;
    for (let step = 8; low > 0; step *= 4) {
      low = Math.max(0, tip.number - step);
      if ((await this.block(BigInt(low))).timestamp < time) break;
      high = low;
    }
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if ((await this.block(BigInt(middle))).timestamp < time) low = middle;
      else high = middle;
    }
    return high;
  }

  /** Items `from … to − 1`, contiguous from `from`, as many as one log query gives; none that `safe` does not hold yet. */
  async inboxItems(from: number, to: number, safe: Block): Promise<Event[]> {
    const queuedAt = await this.client.readContract({ ...this.#at, functionName: 'queuedAt', args: [BigInt(from)] });
    const fromBlock = BigInt(await this.blockAt(queuedAt, safe));
    const toBlock = fromBlock + LOG_BLOCKS < BigInt(safe.number) ? fromBlock + LOG_BLOCKS : BigInt(safe.number);
    const logs = await this.client.getContractEvents({
      ...this.#at,
      eventName: 'InboxItem',
      fromBlock,
      toBlock,
      strict: true,
    });
    const items = logs
      .map(({ args }) => ({ index: Number(args.index), bytes: unhex(args.item) }))
      .filter(({ index }) => index >= from && index < to)
      .toSorted((a, b) => a.index - b.index);
    // A node that answers logs later than state would leave a gap: take what is whole, the rest comes next time.
    const gap = items.findIndex(({ index }, i) => index !== from + i);
    return gap < 0 ? items : items.slice(0, gap);
  }

  /** The transaction and block that posted a batch which stands; null when its log can't be found. */
  async postedIn(number: number, posted: PostedBatch, latest: Block): Promise<{ tx: Hex; block: number } | null> {
    const fromBlock = BigInt(await this.blockAt(posted.postedAt, latest));
    const logs = await this.client.getContractEvents({
      ...this.#at,
      eventName: 'BatchPosted',
      args: { number: BigInt(number) },
      fromBlock,
      toBlock: fromBlock + LOG_BLOCKS,
      strict: true,
    });
    const found = logs.findLast((log) => log.args.batchHash === posted.batchHash);
    return found ? { tx: found.transactionHash, block: Number(found.blockNumber) } : null;
  }
}
