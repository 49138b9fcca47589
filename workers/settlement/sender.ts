/**
 * The poster's account. At most one of its transactions is ever open: the nonce is always L1's count of mined ones, so two passes that
 * overlap, or one that died after sending, compete for the same nonce, and only one of their transactions can ever be mined.
 */
import {
  type Abi,
  BaseError,
  ContractFunctionRevertedError,
  type PublicClient,
  decodeErrorResult,
  encodeFunctionData,
  keccak256,
} from 'viem';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import type { Hex } from '../../protocol/bytes.ts';
import type { BatchHeader } from '../../protocol/trace.ts';
import { type Carried, NoBlobs, REFUSES_BLOBS, carry } from './blobs.ts';
import { type Log, reason } from './log.ts';

/** EIP-7825. */
const TX_GAS_CAP = 16_777_216n;
/** Nodes want 10 % more for a replacement; some want more than they say. */
const BUMP_PERCENT = 130n;
/** Of one with blobs, 100 %. */
const BLOB_BUMP_PERCENT = 210n;
const MAX_BUMPS = 12;
const MIN_TIP = 1_000_000_000n;
const POLL_MS = 250;
/** What nodes say of a transaction they have, and of one that pays too little to take a waiting one's place. */
const KNOWN = /already (?:known|imported)/i;
const UNDERPRICED = /underpriced|replacement|already reserved/i;

/** A call of one of the deployment's contracts, as viem types it. */
export interface L1Call {
  readonly address: Hex;
  readonly abi: Abi;
  readonly functionName: string;
  readonly args: readonly unknown[];
  /** Wei that go with it. */
  readonly value?: bigint;
  /** Blobs that go with it, 1 … 6. */
  readonly blobs?: readonly Uint8Array[];
}

type WireHeader = Omit<BatchHeader, 'number' | 'steps' | 'timeFrom' | 'timeTo' | 'inboxCursor'> & {
  readonly [K in 'number' | 'steps' | 'timeFrom' | 'timeTo' | 'inboxCursor']: bigint;
};

/** A header as the ABI wants it. */
export const toWire = (header: BatchHeader): WireHeader => ({
  ...header,
  number: BigInt(header.number),
  steps: BigInt(header.steps),
  timeFrom: BigInt(header.timeFrom),
  timeTo: BigInt(header.timeTo),
  inboxCursor: BigInt(header.inboxCursor),
});

/** L1 would refuse the call: the contract's error, by name. Nothing was sent. */
export class Refused extends Error {
  readonly errorName: string;

  constructor(functionName: string, errorName: string, detail: string) {
    super(`${functionName} would be refused: ${detail}`);
    this.errorName = errorName;
  }
}

/**
 * `mined`: it is in a block and did what it should. `reverted`: mined in vain. `replaced`: another transaction of ours took its nonce.
 * `open`: in no block when the pass had to end.
 */
export type Sent = { readonly outcome: 'mined' | 'open' | 'replaced' | 'reverted'; readonly tx: Hex };

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class Sender {
  /** The account of a key, lower-case. */
  static addressOf(key: Hex): Hex {
    return privateKeyToAccount(key).address.toLowerCase() as Hex;
  }

  readonly account: PrivateKeyAccount;
  readonly #client: PublicClient;
  readonly #chainId: number;
  readonly #maxFee: bigint;
  readonly #maxBlobFee: bigint;
  readonly #log: Log;
  /** When this pass must end, Unix ms. */
  readonly #deadline: number;

  constructor(options: {
    client: PublicClient;
    chainId: number;
    key: Hex;
    maxFee: bigint;
    /** Most wei for one unit of blob gas; without, no blobs are sent. */
    maxBlobFee?: bigint;
    deadline: number;
    log: Log;
  }) {
    this.account = privateKeyToAccount(options.key);
    this.#client = options.client;
    this.#chainId = options.chainId;
    this.#maxFee = options.maxFee;
    this.#maxBlobFee = options.maxBlobFee ?? 0n;
    this.#deadline = options.deadline;
    this.#log = options.log;
  }

  async #nonces(): Promise<{ mined: number; open: boolean }> {
    const { address } = this.account;
    const [mined, pending] = await Promise.all([
      this.#client.getTransactionCount({ address, blockTag: 'latest' }),
      this.#client.getTransactionCount({ address, blockTag: 'pending' }),
    ]);
    return { mined, open: pending > mined };
  }

  /**
   * Waits until no transaction of ours is open; true when there is none. False at `until` (Unix ms): one is stuck, and the next
   * {@link send} replaces it.
   */
  async settled(until: number): Promise<boolean> {
    for (;;) {
      if (!(await this.#nonces()).open) return true;
      if (Date.now() + POLL_MS > until) return false;
      await wait(POLL_MS);
    }
  }

  async balance(): Promise<bigint> {
    return this.#client.getBalance({ address: this.account.address });
  }

  /**
   * Tries the call on L1's newest state, then signs and sends it and waits while there is time. With `outbid`, never settles for a
   * transaction that already waits. Throws {@link Refused}, {@link NoBlobs}, or when L1 is out of reach.
   */
  async send(call: L1Call, outbid = false): Promise<Sent> {
    const { abi, functionName, args, address: to, value = 0n } = call;
    const data = encodeFunctionData({ abi, functionName, args });
    let carried = call.blobs ? await carry(this.#client, call.blobs, this.#maxBlobFee) : null;
    const gas = await this.#estimate(call, data, carried);
    const { mined: nonce } = await this.#nonces();
    const { baseFeePerGas } = await this.#client.getBlock({ blockTag: 'latest' });
    const tip = await this.#client.estimateMaxPriorityFeePerGas().catch(() => MIN_TIP);
    let maxPriorityFeePerGas = tip > MIN_TIP ? tip : MIN_TIP;
    let maxFeePerGas = 2n * (baseFeePerGas ?? 0n) + maxPriorityFeePerGas;
    for (let bump = 0; ; bump++) {
      if (maxFeePerGas > this.#maxFee)
        throw new Error(`L1's gas price is above MAX_FEE_WEI: ${maxFeePerGas} > ${this.#maxFee}`);
      const tx = {
        chainId: this.#chainId,
        to,
        data,
        value,
        nonce,
        gas,
        maxFeePerGas,
        maxPriorityFeePerGas,
      } as const;
      const serializedTransaction = await this.account.signTransaction(
        carried ? { ...tx, ...carried, type: 'eip4844' } : { ...tx, type: 'eip1559' },
      );
      try {
        const hash = await this.#submit(serializedTransaction, outbid);
        this.#log('sent', {
          call: call.functionName,
          tx: hash,
          nonce,
          gas: Number(gas),
          bytes: data.length / 2 - 1,
          bump,
        });
        return await this.#follow(hash, nonce);
      } catch (error) {
        // Something of ours holds the nonce: outbid it. What it was does not matter, since this call was just found to be what L1 needs.
        const said = error instanceof BaseError ? `${error.shortMessage} ${error.details}` : String(error);
        if (carried && REFUSES_BLOBS.test(said)) throw new NoBlobs(said);
        if (!(UNDERPRICED.test(said) || KNOWN.test(said)) || bump >= MAX_BUMPS) throw error;
        const bumped = (fee: bigint): bigint => (fee * (carried ? BLOB_BUMP_PERCENT : BUMP_PERCENT)) / 100n;
        maxFeePerGas = bumped(maxFeePerGas);
        maxPriorityFeePerGas = bumped(maxPriorityFeePerGas);
        if (carried) carried = { ...carried, maxFeePerBlobGas: bumped(carried.maxFeePerBlobGas) };
      }
    }
  }

  async #submit(serializedTransaction: Hex, outbid: boolean): Promise<Hex> {
    try {
      return await this.#client.sendRawTransaction({ serializedTransaction });
    } catch (error) {
      // The very same transaction, from a pass that ended before this one: as good as sent, unless that is what is stuck.
      if (!outbid && KNOWN.test(String((error as BaseError).details ?? error))) return keccak256(serializedTransaction);
      throw error;
    }
  }

  async #estimate(
    { address: to, abi, functionName, value }: L1Call,
    data: Hex,
    carried: Carried | null,
  ): Promise<bigint> {
    try {
      const call = { account: this.account.address, to, data, value, blockTag: 'latest' } as const;
      const estimate = await this.#client.estimateGas(
        carried
          ? {
              ...call,
              blobVersionedHashes: [...carried.blobVersionedHashes],
              maxFeePerBlobGas: carried.maxFeePerBlobGas,
            }
          : call,
      );
      const roomy = (estimate * 120n) / 100n + 30_000n;
      return roomy < TX_GAS_CAP ? roomy : TX_GAS_CAP;
    } catch (error) {
      const name = revertName(error, abi);
      if (name === null) throw error;
      throw new Refused(functionName, name, `${name} (${reason(error)})`);
    }
  }

  async #follow(tx: Hex, nonce: number): Promise<Sent> {
    for (let passed = false; ;) {
      const receipt = await this.#client.getTransactionReceipt({ hash: tx }).catch(() => null);
      if (receipt) return { outcome: receipt.status === 'success' ? 'mined' : 'reverted', tx };
      if (passed) return { outcome: 'replaced', tx };
      // Looked for once more after its nonce was taken: a node may count a transaction before it shows its receipt.
      passed = (await this.#nonces()).mined > nonce;
      if (Date.now() + POLL_MS > this.#deadline) return { outcome: 'open', tx };
      await wait(POLL_MS);
    }
  }
}

/** The contract's error in what a node answered, by name; null when it is no revert. */
export function revertName(error: unknown, abi: Abi): string | null {
  if (!(error instanceof BaseError)) return null;
  const reverted = error.walk((e) => e instanceof ContractFunctionRevertedError || hasRevertData(e));
  if (reverted instanceof ContractFunctionRevertedError) return reverted.data?.errorName ?? 'revert';
  if (hasRevertData(reverted)) {
    try {
      return decodeErrorResult({ abi, data: revertData(reverted)! }).errorName;
    } catch {
      return 'revert';
    }
  }
  return /execution reverted|ExecutionReverted/i.test(`${error.name} ${error.message}`) ? 'revert' : null;
}

function revertData(error: unknown): Hex | null {
  const data = (error as { data?: unknown } | null)?.data;
  const inner = typeof data === 'object' && data !== null ? (data as { data?: unknown }).data : data;
  return typeof inner === 'string' && /^0x[0-9a-f]{8}/i.test(inner) ? (inner as Hex) : null;
}
const hasRevertData = (error: unknown): boolean => revertData(error) !== null;
