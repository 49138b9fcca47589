/** L1 as members, collectors and readers of a committee see it. Every call is bounded in time. */
import { type PublicClient, createPublicClient, http } from 'viem';
import { availabilityAbi, committeeAbi, rootAbi } from '../../contracts/abi.ts';
import { type Hex, concat, equal, unhex } from '../../protocol/bytes.ts';
import { addresses, membersHash } from '../../protocol/da/certificate.ts';
import type { Code } from '../../protocol/da/columns.ts';
import { Agnt2Error } from '../../protocol/errors.ts';

const CALL_TIMEOUT_MS = 8_000;
/** Blocks a log query spans: hosted nodes refuse much more. */
const LOG_BLOCKS = 1_000n;

/** Constants of a deployment with a committee. */
export interface CommitteeTerms {
  readonly chainId: number;
  readonly root: Hex;
  readonly committee: Hex;
  readonly availability: Hex;
  readonly code: Code;
  readonly quorum: number;
  /** Seconds. */
  readonly retention: number;
  readonly memberStake: bigint;
  /** The sequencer's P-256 key, x ‖ y. */
  readonly sequencerKey: Uint8Array;
}

/** What a member asks of L1. */
export interface MemberChain {
  terms(): Promise<CommitteeTerms>;
  /** Whether this is the list of an epoch that has begun. */
  isListOf(epoch: number, members: readonly Uint8Array[]): Promise<boolean>;
}

export const unreachable = (cause: unknown): Agnt2Error =>
  new Agnt2Error('unavailable', 'the L1 node does not answer: try again', { cause });

export class CommitteeChain implements MemberChain {
  readonly client: PublicClient;
  readonly root: Hex;
  /** Never change, so they are asked for once. */
  #terms: CommitteeTerms | null = null;
  /** Lists' hashes of epochs that have begun: they never change. */
  readonly #lists = new Map<number, Hex>();

  /** `batch`: calls made at the same time travel together. */
  constructor(rpc: string, root: Hex, { batch = true } = {}) {
    this.client = createPublicClient({ transport: http(rpc, { timeout: CALL_TIMEOUT_MS, retryCount: 0, batch }) });
    this.root = root;
  }

  /** Throws `unavailable` while L1 is away, `no_committee` where the deployment has none. */
  async terms(): Promise<CommitteeTerms> {
    try {
      return (this.#terms ??= await this.#readTerms());
    } catch (error) {
      throw error instanceof Agnt2Error ? error : unreachable(error);
    }
  }

  async #readTerms(): Promise<CommitteeTerms> {
    const { client, root } = this;
    const [chainId, config] = await Promise.all([
      client.getChainId(),
      client.readContract({ address: root, abi: rootAbi, functionName: 'config' }),
    ]);
    const { committee, availability } = config;
    if (BigInt(committee) === 0n) throw new Agnt2Error('no_committee', `the deployment at ${root} names no committee`);
    const terms = await client.readContract({ address: committee, abi: committeeAbi, functionName: 'config' });
    return {
      chainId,
      root,
      committee,
      availability,
      code: { n: terms.members, k: terms.threshold },
      quorum: terms.quorum,
      retention: Number(terms.retention),
      memberStake: terms.memberStake,
      sequencerKey: concat(unhex(config.sequencerX), unhex(config.sequencerY)),
    };
  }

  async #at(): Promise<{ readonly address: Hex; readonly abi: typeof committeeAbi }> {
    return { address: (await this.terms()).committee, abi: committeeAbi };
  }

  /** The current epoch; 0 before the first began. */
  async epoch(): Promise<number> {
    return Number(await this.client.readContract({ ...(await this.#at()), functionName: 'epoch' }));
  }

  async isListOf(epoch: number, members: readonly Uint8Array[]): Promise<boolean> {
    let known = this.#lists.get(epoch);
    if (known === undefined) {
      const at = await this.#at();
      const args = [BigInt(epoch)] as const;
      try {
        // The list of epoch 1 is kept before it begins.
        if (epoch < 1 || epoch > (await this.epoch())) return false;
        known = await this.client.readContract({ ...at, functionName: 'membersHash', args });
      } catch (error) {
        throw unreachable(error);
      }
      this.#lists.set(epoch, known);
    }
    return equal(unhex(known), membersHash(members));
  }

  /** The addresses of an epoch that has begun, as its event has them; null when no log has it. */
  async membersOf(epoch: number): Promise<Uint8Array[] | null> {
    const at = await this.#at();
    const latest = await this.client.getBlockNumber({ cacheTime: 0 });
    for (let to = latest; to >= 0n; to -= LOG_BLOCKS) {
      const [log] = await this.client.getContractEvents({
        ...at,
        eventName: 'EpochBegan',
        args: { epoch: BigInt(epoch) },
        fromBlock: to >= LOG_BLOCKS ? to - LOG_BLOCKS + 1n : 0n,
        toBlock: to,
        strict: true,
      });
      if (log) return addresses(log.args.members);
    }
    return null;
  }

  /** Unix seconds of L1's newest block. */
  async now(): Promise<number> {
    return Number((await this.client.getBlock()).timestamp);
  }

  /** Wei that a demand takes. */
  async demandBond(): Promise<bigint> {
    const { availability: address } = await this.terms();
    return this.client.readContract({ address, abi: availabilityAbi, functionName: 'demandBond' });
  }

  /** Demands ever made. */
  async demands(): Promise<number> {
    const { availability: address } = await this.terms();
    return Number(await this.client.readContract({ address, abi: availabilityAbi, functionName: 'demands' }));
  }
}
