/** Demands at L1 for cells of a committee's data (docs/protocol.md §12), as everybody sees them. */
import type { Abi, GetContractEventsReturnType } from 'viem';
import { availabilityAbi } from '../../contracts/abi.ts';
import { type Hex, unhex } from '../../protocol/bytes.ts';
import type { L1Call } from '../settlement/sender.ts';
import type { CommitteeChain } from './chain.ts';
import type { CommitteeBatch } from './guard.ts';
import type { CellsByRow } from './retrieve.ts';

/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000n;
const ZERO: Hex = `0x${'00'.repeat(32)}`;
/** Asked for at once: hundreds take a node too long. */
const AT_ONCE = 32;

type DemandedLog = GetContractEventsReturnType<typeof availabilityAbi, 'Demanded', true>[number];
/** As the contract has it, amounts and ids as bigint. */
export type WireDemand = DemandedLog['args']['demand'];

export interface Demand {
  readonly id: number;
  readonly number: number;
  readonly batchHash: Hex;
  readonly dataRoot: Hex;
  readonly epoch: number;
  readonly column: number;
  readonly row: number;
  readonly by: Hex;
  /** Last second in which it may be answered. */
  readonly deadline: number;
  readonly wire: WireDemand;
}

const demandOf = (wire: WireDemand): Demand => ({
  id: Number(wire.id),
  number: Number(wire.number),
  batchHash: wire.batchHash,
  dataRoot: wire.dataRoot,
  epoch: Number(wire.epoch),
  column: wire.column,
  row: wire.row,
  by: wire.by,
  deadline: Number(wire.deadline),
  wire,
});

/** A call of the contract that demands are made at. */
export async function availabilityCall(
  chain: CommitteeChain,
  functionName: string,
  args: readonly unknown[],
  value?: bigint,
): Promise<L1Call> {
  const { availability: address } = await chain.terms();
  const call = { address, abi: availabilityAbi as Abi, functionName, args };
  return value === undefined ? call : { ...call, value };
}

/** Collects what demands brought an account; null where that is nothing. */
export async function collecting(chain: CommitteeChain, account: Hex): Promise<L1Call | null> {
  const { availability: address } = await chain.terms();
  const at = { address, abi: availabilityAbi } as const;
  const due = await chain.client.readContract({ ...at, functionName: 'credits', args: [account] });
  return due > 0n ? availabilityCall(chain, 'collect', []) : null;
}

export class Demands {
  readonly #chain: CommitteeChain;
  /** All below are closed, unless a reorg is deeper than {@link AT_ONCE} of them. */
  #from = 1;

  constructor(chain: CommitteeChain) {
    this.#chain = chain;
  }

  /** Those that stand, least time left first. */
  async open(): Promise<Demand[]> {
    const count = await this.#chain.demands();
    const standing: number[] = [];
    for (let from = this.#from; from <= count; from += AT_ONCE) {
      const ids = Array.from({ length: Math.min(AT_ONCE, count - from + 1) }, (_, i) => from + i);
      const isOpen = await this.#areOpen(ids);
      standing.push(...ids.filter((_, i) => isOpen[i]));
    }
    this.#from = Math.max(1, Math.min(standing[0] ?? count + 1, count + 1 - AT_ONCE));
    const demands: Demand[] = [];
    for (let at = 0; at < standing.length; at += AT_ONCE)
      demands.push(...(await this.#demanded({ id: standing.slice(at, at + AT_ONCE).map(BigInt) })));
    return demands.toSorted((a, b) => a.deadline - b.deadline);
  }

  /** Those of these that stand. */
  async standing(demands: readonly Demand[]): Promise<Demand[]> {
    const isOpen = await this.#areOpen(demands.map(({ id }) => id));
    return demands.filter((_, i) => isOpen[i]);
  }

  async #areOpen(ids: readonly number[]): Promise<boolean[]> {
    const { client } = this.#chain;
    const { availability: address } = await this.#chain.terms();
    const at = { address, abi: availabilityAbi, functionName: 'standing' } as const;
    const hashes = await Promise.all(ids.map((id) => client.readContract({ ...at, args: [BigInt(id)] })));
    return hashes.map((hash) => hash !== ZERO);
  }

  /** The demands that were made for a batch's data since it was posted, and the cells that they brought to L1. */
  async of({ header: { number }, hash, block }: Pick<CommitteeBatch, 'header' | 'hash' | 'block'>): Promise<{
    readonly demands: readonly Demand[];
    readonly known: CellsByRow;
  }> {
    const fromBlock = BigInt(block);
    const demanded = await this.#demanded({ number: BigInt(number) }, fromBlock);
    const demands = demanded.filter(({ batchHash }) => batchHash === hash);
    const known: CellsByRow = new Map();
    const byId = new Map(demands.map((demand) => [demand.id, demand]));
    if (demands.length === 0) return { demands, known };
    for (const log of await this.#logs('Answered', { id: [...byId.keys()].map(BigInt) }, fromBlock)) {
      const { id, content, path } = log.args as { id: bigint; content: Hex; path: readonly Hex[] };
      const { row, column } = byId.get(Number(id))!;
      if (!known.has(row)) known.set(row, new Map());
      known.get(row)!.set(column, { row, content: unhex(content), path: path.map((node) => unhex(node)) });
    }
    return { demands, known };
  }

  async #demanded(args: Readonly<Record<string, unknown>>, fromBlock = 0n): Promise<Demand[]> {
    const logs = await this.#logs('Demanded', args, fromBlock);
    return logs.map((log) => demandOf((log.args as { demand: WireDemand }).demand));
  }

  async #logs(
    eventName: 'Demanded' | 'Answered',
    args: Readonly<Record<string, unknown>>,
    fromBlock: bigint,
  ): Promise<{ readonly args: unknown }[]> {
    const { client } = this.#chain;
    const { availability: address } = await this.#chain.terms();
    const wanted = Array.isArray(args.id) && eventName === 'Demanded' ? args.id.length : Infinity;
    const found: { readonly args: unknown }[] = [];
    for (
      let to = await client.getBlockNumber({ cacheTime: 0 });
      to >= fromBlock && found.length < wanted;
      to -= LOG_BLOCKS
    ) {
      const from = to - LOG_BLOCKS + 1n;
      const logs = await client.getContractEvents({
        address,
        abi: availabilityAbi,
        eventName,
        args,
        fromBlock: from > fromBlock ? from : fromBlock,
        toBlock: to,
        strict: true,
      });
      found.unshift(...logs);
    }
    return found;
  }
}
