/** The local L1: anvil with Osaka's rules (the P-256 precompile), a test token, and Root with a bonded sequencer. */
import { join } from 'node:path';
import {
  type Abi,
  type Account,
  type Address,
  type PublicClient,
  createPublicClient,
  createWalletClient,
  encodeFunctionData,
  http,
} from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { testTokenAbi } from '../contracts/abi.ts';
import { type Hex, hex } from '../protocol/bytes.ts';
import { MachineKey } from '../protocol/keys.ts';
import { type DaTerms, deploy } from './deployment.ts';
import { packageFile } from './paths.ts';
import { freePort } from './ports.ts';
import { type Child, start, until } from './process.ts';

export interface L1Options {
  /** Folder of this run. */
  readonly dir: string;
  readonly port?: number;
  /** Seconds until a batch is final. */
  readonly window?: number;
  /** Seconds an inbox item may wait. */
  readonly inboxDelay?: number;
  /** Token wei in a base unit. */
  readonly unit?: bigint;
  /** Seconds without a batch until anyone may freeze. */
  readonly freezeAfter?: number;
  /** Seconds for each move of a dispute. */
  readonly moveWindow?: number;
  /** Seconds in which halves may be shown once the exits of a frozen deployment are open. */
  readonly halfWindow?: number;
  readonly shards?: number;
  /** Data outside of calldata: without, there is none. */
  readonly da?: DaTerms;
  /** Seconds between L1 blocks; 0: a block for every transaction, at once. */
  readonly blockTime?: number;
}

const BOND = 10n ** 16n;
const CHALLENGE_BOND = 10n ** 15n;
const ETHER = 10n ** 18n;
/** What {@link Wallet.write} needs of a contract. */
interface Call {
  readonly address: Address;
  readonly abi: readonly unknown[];
  readonly functionName: string;
  readonly args: readonly unknown[];
  readonly value?: bigint;
}

export class L1 {
  readonly rpc: string;
  readonly chainId: number = foundry.id;
  readonly client: PublicClient;
  readonly port: number;
  readonly #dir: string;
  readonly #blockTime: number;
  #anvil: Child;
  root: Address = '0x';
  game: Address = '0x';
  faults: Address = '0x';
  exits: Address = '0x';
  availability: Address = '0x';
  committee: Address = '0x';
  token: Address = '0x';
  unit = 1n;
  /** The sequencer's account: bonds, posts, finalizes. */
  readonly posterKey: Hex = generatePrivateKey();
  /** An account of its own, that shows what is wrong with batches. */
  readonly challengerKey: Hex = generatePrivateKey();
  /** The sequencer's P-256 secret: signs receipts. */
  readonly sequencerSecret: Hex = hex(MachineKey.randomSecret());

  private constructor(port: number, dir: string, blockTime: number) {
    this.port = port;
    this.#dir = dir;
    this.#blockTime = blockTime;
    this.rpc = `http://127.0.0.1:${port}`;
    this.client = createPublicClient({
      chain: foundry,
      transport: http(this.rpc, { timeout: 10_000 }),
      pollingInterval: 100,
    }) as PublicClient;
    this.#anvil = this.#spawn();
  }

  static async start({ dir, port, blockTime = 1, ...terms }: L1Options): Promise<L1> {
    const l1 = new L1(await freePort(port), dir, blockTime);
    await l1.#ready();
    await l1.#deploy(terms);
    return l1;
  }

  get child(): Child {
    return this.#anvil;
  }

  #spawn(): Child {
    // The binary itself, not its launcher: signals must reach it, and its end must be seen.
    const platform = `${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
    const binary = packageFile(`@foundry-rs/anvil-${platform}`, 'bin', 'anvil');
    return start({
      name: 'l1',
      command: binary,
      args: [
        `--host=127.0.0.1`,
        `--port=${this.port}`,
        '--hardfork=osaka',
        '--accounts=0',
        // Without a block time, a block is made for every transaction at once, and none otherwise.
        ...(this.#blockTime > 0 ? [`--block-time=${this.#blockTime}`] : []),
        '--order=fifo',
        `--state=${join(this.#dir, 'l1.json')}`,
        '--state-interval=5',
      ],
      log: join(this.#dir, 'l1.log'),
    });
  }

  async #ready(): Promise<void> {
    await until('L1', () => this.client.getBlockNumber().then(() => true), { child: this.#anvil });
  }

  async #deploy({
    window = 6,
    inboxDelay = 600,
    unit = 1n,
    freezeAfter = 86_400,
    moveWindow = 60,
    halfWindow = 3600,
    shards = 256,
    da,
  }: Omit<L1Options, 'dir' | 'port' | 'blockTime'>): Promise<void> {
    const sequencer = privateKeyToAccount(this.posterKey);
    await this.fund(sequencer.address);
    await this.fund(privateKeyToAccount(this.challengerKey).address);
    const wallet = createWalletClient({ account: sequencer, chain: foundry, transport: http(this.rpc) });
    const { publicKey } = await MachineKey.import(Buffer.from(this.sequencerSecret.slice(2), 'hex'));
    this.unit = unit;
    const deployment = await deploy(
      this.client,
      wallet,
      {
        unit,
        sequencer: sequencer.address,
        sequencerX: hex(publicKey.subarray(0, 32)),
        sequencerY: hex(publicKey.subarray(32)),
        shards,
        window,
        inboxDelay,
        freezeAfter,
        moveWindow,
        halfWindow,
        minBond: BOND,
        challengeBond: CHALLENGE_BOND,
        da,
      },
      { bond: BOND },
    );
    this.token = deployment.token;
    this.game = deployment.game;
    this.faults = deployment.faults;
    this.exits = deployment.exits;
    this.availability = deployment.availability;
    this.committee = deployment.committee;
    this.root = deployment.root;
  }

  /** Gives an account ether for gas. */
  async fund(address: Address, wei: bigint = 1000n * ETHER): Promise<void> {
    await this.request('anvil_setBalance', [address, `0x${wei.toString(16)}`]);
  }

  /** Any JSON-RPC method, anvil's own included. */
  async request(method: string, params: readonly unknown[] = []): Promise<unknown> {
    return (this.client.request as (call: { method: string; params: readonly unknown[] }) => Promise<unknown>)({
      method,
      params,
    });
  }

  /** Sends transactions of one account one after the other without waiting in between; throws unless all succeed. */
  async write(account: Account, ...calls: readonly Call[]): Promise<void> {
    const wallet = createWalletClient({ account, chain: foundry, transport: http(this.rpc) });
    const first = await this.client.getTransactionCount({ address: account.address, blockTag: 'pending' });
    const hashes: Hex[] = [];
    for (const [i, call] of calls.entries()) {
      // Only the first is tried in advance: the next ones may depend on it.
      const gas = i === 0 ? undefined : 2_000_000n;
      hashes.push(
        await wallet.writeContract({ ...call, gas, nonce: first + i, chain: foundry, account } as Parameters<
          typeof wallet.writeContract
        >[0]),
      );
    }
    for (const [i, hash] of hashes.entries()) {
      const { status } = await this.client.waitForTransactionReceipt({ hash, timeout: 30_000 });
      if (status !== 'success')
        throw new Error(`${calls[i].functionName} of ${account.address} was reverted at L1 (${hash})`);
    }
  }

  /** A call by any account, whoever has its key. */
  async as(account: Address, { address, abi, functionName, args, value = 0n }: Call): Promise<void> {
    const data = encodeFunctionData({ abi: abi as Abi, functionName, args });
    await this.request('anvil_impersonateAccount', [account]);
    const tx = { from: account, to: address, data, gas: '0x1e8480', value: `0x${value.toString(16)}` };
    const hash = (await this.request('eth_sendTransaction', [tx])) as Hex;
    const { status } = await this.client.waitForTransactionReceipt({ hash, timeout: 30_000 });
    if (status !== 'success') throw new Error(`${functionName} of ${account} was reverted at L1 (${hash})`);
  }

  async tokenBalance(of: Address): Promise<bigint> {
    return this.client.readContract({ address: this.token, abi: testTokenAbi, functionName: 'balanceOf', args: [of] });
  }

  /** Freezes L1 as an unreachable node looks: connections hang. */
  pause(): void {
    this.#anvil.signal('SIGSTOP');
  }
  resume(): void {
    this.#anvil.signal('SIGCONT');
  }

  /** Ends the node (it dumps its state first). Connections are refused until {@link restart}. */
  async stop(): Promise<void> {
    await this.#anvil.stop(10_000);
  }
  /** Starts the node again from its dumped state, on the same port. */
  async restart(): Promise<void> {
    this.#anvil = this.#spawn();
    await this.#ready();
  }
}
