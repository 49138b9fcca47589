/** The rollup's side of the comparison: Workflows.sol on anvil, transactions signed by their senders and counted as they go over the wire. */
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { brotliCompressSync } from 'node:zlib';
import { type Abi, type Hex, createWalletClient, encodeDeployData, encodeFunctionData, http } from 'viem';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { concat, hex, unhex } from '../../../protocol/bytes.ts';
import { keccak } from '../../../protocol/hash.ts';
import type { L1 } from '../../l1.ts';

interface Compiled {
  readonly abi: Abi;
  readonly bytecode: Hex;
}

function compile(): Compiled {
  const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string };
  const content = readFileSync(new URL('Workflows.sol', import.meta.url), 'utf8');
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: 'Solidity',
        sources: { 'Workflows.sol': { content } },
        settings: {
          optimizer: { enabled: true, runs: 1_000_000 },
          outputSelection: { '*': { Workflows: ['abi', 'evm.bytecode.object'] } },
        },
      }),
    ),
  ) as {
    contracts?: { 'Workflows.sol': { Workflows: { abi: Abi; evm: { bytecode: { object: string } } } } };
    errors?: { severity: string; formattedMessage: string }[];
  };
  const wrong = output.errors?.find(({ severity }) => severity === 'error');
  if (wrong || !output.contracts) throw new Error(`Workflows.sol does not compile: ${wrong?.formattedMessage}`);
  const { abi, evm } = output.contracts['Workflows.sol'].Workflows;
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}

/** A call that was made: the bytes its sender signed, and the gas it took. */
export interface Sent {
  readonly raw: Uint8Array;
  readonly gas: number;
}

/** Agents as accounts of a rollup, and the contract they call. */
export class RollupSide {
  readonly #l1: L1;
  readonly #abi: Abi;
  readonly #address: Hex;
  readonly #nonces = new Map<Hex, number>();

  private constructor(l1: L1, abi: Abi, address: Hex) {
    this.#l1 = l1;
    this.#abi = abi;
    this.#address = address;
  }

  static async deploy(l1: L1): Promise<RollupSide> {
    const { abi, bytecode } = compile();
    const account = RollupSide.account(0);
    await l1.fund(account.address);
    const wallet = createWalletClient({ account, chain: foundry, transport: http(l1.rpc) });
    const hash = await wallet.sendTransaction({ data: encodeDeployData({ abi, bytecode }), gas: 8_000_000n });
    const { contractAddress } = await l1.client.waitForTransactionReceipt({ hash });
    const side = new RollupSide(l1, abi, contractAddress!);
    side.#nonces.set(account.address, 1);
    return side;
  }

  /** Account `number` of a row that is the same in every run. */
  static account(number: number): PrivateKeyAccount {
    return privateKeyToAccount(hex(keccak(new TextEncoder().encode(`rollup account ${number}`))));
  }

  async fund(account: PrivateKeyAccount): Promise<void> {
    await this.#l1.fund(account.address);
  }

  /** Signs and sends a call, and waits for its block. */
  async call(account: PrivateKeyAccount, functionName: string, args: readonly unknown[]): Promise<Sent> {
    const nonce = this.#nonces.get(account.address) ?? 0;
    this.#nonces.set(account.address, nonce + 1);
    const raw = await account.signTransaction({
      type: 'eip1559',
      chainId: foundry.id,
      to: this.#address,
      data: encodeFunctionData({ abi: this.#abi, functionName, args }),
      nonce,
      gas: 1_000_000n,
      maxFeePerGas: 10_000_000_000n,
      maxPriorityFeePerGas: 1_000_000n,
    });
    const hash = await this.#l1.client.sendRawTransaction({ serializedTransaction: raw });
    const { status, gasUsed } = await this.#l1.client.waitForTransactionReceipt({ hash, timeout: 60_000 });
    if (status !== 'success') throw new Error(`${functionName} was reverted`);
    return { raw: unhex(raw), gas: Number(gasUsed) };
  }

  async read<T>(functionName: string, args: readonly unknown[]): Promise<T> {
    return (await this.#l1.client.readContract({ address: this.#address, abi: this.#abi, functionName, args })) as T;
  }
}

/** Bytes of transactions as a rollup posts them: many together, by brotli at its best. */
export const compressed = (sent: readonly Sent[]): number =>
  brotliCompressSync(concat(...sent.map(({ raw }) => raw))).length;
