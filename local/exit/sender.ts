/** Sends calls to L1 one by one, each tried by `eth_call` before anything is spent. */
import {
  BaseError,
  ContractFunctionRevertedError,
  type PublicClient,
  createWalletClient,
  decodeErrorResult,
  defineChain,
  http,
} from 'viem';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { exitsAbi, rootAbi } from '../../contracts/abi.ts';
import type { Hex } from '../../protocol/bytes.ts';
import type { Call } from './places.ts';
import { ExitError } from './state.ts';

/** L1 would refuse the call; `errorName` is the contract's. */
export class RefusedCall extends ExitError {
  readonly errorName: string;

  constructor(functionName: string, errorName: string) {
    super(`L1 refuses ${functionName}: ${errorName}`);
    this.errorName = errorName;
  }
}

export interface Sending {
  readonly client: PublicClient;
  readonly rpc: string;
  readonly chainId: number;
  /** Nothing is sent without. */
  readonly key: Hex | undefined;
  readonly dryRun: boolean;
}

export class Sender {
  readonly #sending: Sending;
  readonly account: PrivateKeyAccount | undefined;

  constructor(sending: Sending) {
    this.#sending = sending;
    this.account = sending.key ? privateKeyToAccount(sending.key) : undefined;
  }

  /** Throws {@link RefusedCall} if the call would be reverted. */
  async check(call: Call): Promise<void> {
    try {
      await this.#sending.client.simulateContract({ ...call, account: this.account?.address });
    } catch (error) {
      const reverted =
        error instanceof BaseError && error.walk((each) => each instanceof ContractFunctionRevertedError);
      if (reverted instanceof ContractFunctionRevertedError) throw new RefusedCall(call.functionName, nameOf(reverted));
      throw error;
    }
  }

  /** Sends the call and waits until it is mined; in a dry run only checks it. Returns the transaction. */
  async send(call: Call): Promise<Hex | null> {
    await this.check(call);
    const { client, rpc, chainId, dryRun } = this.#sending;
    if (dryRun) return null;
    if (!this.account) throw new ExitError('Nothing can be sent without a key: set EXIT_KEY, or try --dry-run.');
    const nativeCurrency = { name: 'ether', symbol: 'ETH', decimals: 18 };
    const chain = defineChain({ id: chainId, name: 'L1', nativeCurrency, rpcUrls: { default: { http: [rpc] } } });
    const wallet = createWalletClient({ account: this.account, chain, transport: http(rpc) });
    const tx = await wallet.writeContract(call);
    const { status } = await client.waitForTransactionReceipt({ hash: tx });
    if (status !== 'success') throw new ExitError(`${call.functionName} was reverted: ${tx}`);
    return tx;
  }
}

/** Of an error of either contract: Exits passes on what Root says. */
function nameOf({ data, raw, reason }: ContractFunctionRevertedError): string {
  if (data) return data.args && data.args.length > 0 ? `${data.errorName}(${data.args.join(', ')})` : data.errorName;
  if (!raw) return reason ?? 'without a reason';
  for (const abi of [exitsAbi, rootAbi]) {
    try {
      return decodeErrorResult({ abi, data: raw }).errorName;
    } catch {
      // Not of this contract.
    }
  }
  return reason ?? raw;
}
