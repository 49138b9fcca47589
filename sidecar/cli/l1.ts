/** What an owner does at L1 for an agent: registering it, depositing, taking home what it withdrew. The owner's key stays in this process. */
import {
  type Address,
  type Chain,
  type Hex,
  type PublicClient,
  createPublicClient,
  createWalletClient,
  defineChain,
  erc20Abi,
  http,
} from 'viem';
import { type PrivateKeyAccount, generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { hex } from '../../protocol/bytes.ts';
import { Failure, UsageError } from './command.ts';

/** What `GET /batches/{n}/withdrawals/{id}` answers. */
export interface Claim {
  readonly header: {
    readonly number: number | string;
    readonly steps: number | string;
    readonly timeFrom: number | string;
    readonly timeTo: number | string;
    readonly inboxCursor: number | string;
  };
  readonly stateRoot: Hex;
  readonly shard: number;
  readonly cell: Hex;
  readonly proof: readonly (readonly Hex[])[];
}

/** The local chain's id: `agnt2 up` runs one, where tokens and gas cost nothing. */
export const LOCAL_CHAIN = 31337;
const ETHER = 10n ** 18n;

export class OwnerAtL1 {
  readonly account: PrivateKeyAccount;
  readonly #client: PublicClient;
  readonly #chain: Chain;
  readonly #rpc: string;
  readonly #root: Address;

  private constructor(account: PrivateKeyAccount, client: PublicClient, chain: Chain, rpc: string, root: Address) {
    this.account = account;
    this.#client = client;
    this.#chain = chain;
    this.#rpc = rpc;
    this.#root = root;
  }

  /** Connects to the chain that the gateway speaks of. Throws `l1_unreachable` or `wrong_chain`. */
  static async connect(rpc: string, key: Hex, network: { chainId: number; root: string }): Promise<OwnerAtL1> {
    const client = createPublicClient({
      transport: http(rpc, { timeout: 15_000, retryCount: 1 }),
      pollingInterval: 250,
    });
    const id = await client.getChainId().catch(() => {
      throw new Failure('l1_unreachable', `no L1 node answers at ${rpc}`, 'give --l1 URL of a node of the chain');
    });
    if (id !== network.chainId)
      throw new Failure(
        'wrong_chain',
        `${rpc} is chain ${id}, the gateway's is ${network.chainId}`,
        `give --l1 a node of chain ${network.chainId}`,
      );
    const chain = defineChain({
      id,
      name: `chain ${id}`,
      nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
      rpcUrls: { default: { http: [rpc] } },
    });
    return new OwnerAtL1(privateKeyToAccount(key), client as PublicClient, chain, rpc, network.root as Address);
  }

  /** On the local chain: gives the owner gas, and tokens enough for a deposit. Throws `not_local` on any other. */
  async endow(amount: number): Promise<void> {
    if (this.#chain.id !== LOCAL_CHAIN)
      throw new Failure(
        'not_local',
        `chain ${this.#chain.id} is no local one`,
        'leave --local away, and set OWNER_KEY',
      );
    const { token, unit } = await this.#config();
    const { address } = this.account;
    const request = this.#client.request as (call: { method: string; params: readonly unknown[] }) => Promise<unknown>;
    await request({ method: 'anvil_setBalance', params: [address, `0x${(10n * ETHER).toString(16)}`] });
    await this.#send({
      address: token,
      abi: testTokenAbi,
      functionName: 'mint',
      args: [address, BigInt(amount) * unit],
    });
  }

  /** Registers an agent with a first deposit; the shard takes it in by itself soon after. */
  async register(shard: number, publicKey: Uint8Array, deposit: number): Promise<Hex> {
    await this.#approve(deposit);
    const [x, y] = [hex(publicKey.subarray(0, 32)), hex(publicKey.subarray(32))];
    return this.#send({
      address: this.#root,
      abi: rootAbi,
      functionName: 'register',
      args: [shard, x, y, BigInt(deposit)],
    });
  }

  /** Deposits to an agent. */
  async deposit(agent: number, amount: number): Promise<Hex> {
    await this.#approve(amount);
    return this.#send({ address: this.#root, abi: rootAbi, functionName: 'deposit', args: [agent, BigInt(amount)] });
  }

  /** Has Root pay a final withdrawal to its owner; anybody may ask for it. */
  async claim({ header, stateRoot, shard, cell, proof }: Claim): Promise<Hex> {
    const wire = {
      ...header,
      number: BigInt(header.number),
      steps: BigInt(header.steps),
      timeFrom: BigInt(header.timeFrom),
      timeTo: BigInt(header.timeTo),
      inboxCursor: BigInt(header.inboxCursor),
    };
    const args = [wire, stateRoot, shard, cell, proof.flat()];
    return this.#send({ address: this.#root, abi: rootAbi, functionName: 'withdraw', args });
  }

  #config(): Promise<{ token: Address; unit: bigint }> {
    return this.#client.readContract({ address: this.#root, abi: rootAbi, functionName: 'config' });
  }

  /** Lets Root take so many base units, if the owner has them. Throws `insufficient_tokens`. */
  async #approve(amount: number): Promise<void> {
    if (amount === 0) return;
    const { token, unit } = await this.#config();
    const wei = BigInt(amount) * unit;
    const { address } = this.account;
    const at = { address: token, abi: erc20Abi } as const;
    const held = await this.#client.readContract({ ...at, functionName: 'balanceOf', args: [address] });
    if (held < wei)
      throw new Failure(
        'insufficient_tokens',
        `${address} holds ${held} wei of the token ${token}, ${wei} are needed`,
        `send tokens to ${address}, or deposit less`,
      );
    const allowed = await this.#client.readContract({ ...at, functionName: 'allowance', args: [address, this.#root] });
    if (allowed < wei) await this.#send({ ...at, functionName: 'approve', args: [this.#root, wei] });
  }

  /** One transaction, to its receipt. Throws `l1_refused`. */
  async #send(call: {
    address: Address;
    abi: readonly unknown[];
    functionName: string;
    args: readonly unknown[];
  }): Promise<Hex> {
    const { account } = this;
    const wallet = createWalletClient({ account, chain: this.#chain, transport: http(this.#rpc) });
    try {
      const hash = await wallet.writeContract({ ...call, account, chain: this.#chain } as Parameters<
        typeof wallet.writeContract
      >[0]);
      const { status } = await this.#client.waitForTransactionReceipt({ hash, timeout: 120_000 });
      if (status === 'success') return hash;
      throw new Failure('l1_refused', `${call.functionName} was reverted (${hash})`);
    } catch (error) {
      if (error instanceof Failure) throw error;
      const { shortMessage } = error as { shortMessage?: string };
      throw new Failure(
        'l1_refused',
        `${call.functionName} failed: ${shortMessage ?? (error as Error).message.split('\n')[0]}`,
        `see that ${account.address} has gas, and that the L1 node is well`,
      );
    }
  }
}

/** The owner's key from the environment: never from an argument, which everybody on the machine can read, and never on disk. Throws `no_owner_key`. */
export function ownerKey(env: NodeJS.ProcessEnv): Hex {
  const key = env.OWNER_KEY;
  if (key === undefined)
    throw new Failure(
      'no_owner_key',
      'OWNER_KEY is not set',
      'OWNER_KEY=0x… agnt2 …, of the account that shall own the agent',
    );
  if (!/^0x[0-9a-fA-F]{64}$/.test(key)) throw new UsageError('OWNER_KEY must be 0x and 64 hex digits');
  return key as Hex;
}

export const newOwnerKey = (): Hex => generatePrivateKey();
