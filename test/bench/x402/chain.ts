/** Puts on a local chain what the official x402 packages need of it (Chain.sol): at the addresses that they know, by anvil's own means. */
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { type Abi, type Hex, createTestClient, createWalletClient, http, publicActions } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';

/** Of @x402/evm 2.27, and of Multicall3 everywhere. */
const ADDRESSES: Readonly<Record<string, Hex>> = {
  BenchChannels: '0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003',
  BenchCollector: '0x4020806089470a89826cB9fB1f4059150b550004',
  BenchMulticall: '0xcA11bde05977b3631167028862bE2a173976CA11',
};
const TOKEN: Hex = '0x4020000000000000000000000000000000000001';
const ETHER = 10n ** 18n;

interface Compiled {
  readonly abi: Abi;
  readonly evm: { readonly deployedBytecode: { readonly object: string } };
}

function compile(): Record<string, Compiled> {
  const solc = createRequire(import.meta.url)('solc') as { compile(input: string): string };
  const output = JSON.parse(
    solc.compile(
      JSON.stringify({
        language: 'Solidity',
        sources: { 'Chain.sol': { content: readFileSync(new URL('Chain.sol', import.meta.url), 'utf8') } },
        settings: {
          optimizer: { enabled: true },
          outputSelection: { '*': { '*': ['abi', 'evm.deployedBytecode.object'] } },
        },
      }),
    ),
  ) as {
    contracts?: { 'Chain.sol': Record<string, Compiled> };
    errors?: { severity: string; formattedMessage: string }[];
  };
  const wrong = output.errors?.find(({ severity }) => severity === 'error');
  if (wrong || !output.contracts) throw new Error(`Chain.sol does not compile: ${wrong?.formattedMessage}`);
  return output.contracts['Chain.sol'];
}

export interface X402Chain {
  readonly rpc: string;
  readonly chainId: number;
  readonly token: Hex;
  /** Account with ether, for the facilitator. */
  readonly facilitatorKey: Hex;
  /** Accounts with tokens, for payers. */
  readonly payerKeys: readonly Hex[];
  /** Base units of tokens an account has. */
  balanceOf(account: Hex): Promise<bigint>;
}

/** `payers`: accounts wanted, each with so many base units of tokens. */
export async function x402Chain(rpc: string, payers: number, units: bigint): Promise<X402Chain> {
  const contracts = compile();
  const client = createTestClient({ mode: 'anvil', chain: foundry, transport: http(rpc), pollingInterval: 10 }).extend(
    publicActions,
  );
  // Every transaction at once in a block of its own: what a payment on chain costs without the wait for a block.
  await client.setIntervalMining({ interval: 0 });
  await client.setAutomine(true);
  for (const [name, { evm }] of Object.entries(contracts)) {
    const address = name === 'BenchToken' ? TOKEN : ADDRESSES[name];
    if (address) await client.setCode({ address, bytecode: `0x${evm.deployedBytecode.object}` });
  }
  const facilitatorKey = generatePrivateKey();
  const account = privateKeyToAccount(facilitatorKey);
  await client.setBalance({ address: account.address, value: 1000n * ETHER });
  const wallet = createWalletClient({ account, chain: foundry, transport: http(rpc), pollingInterval: 10 });
  const { abi } = contracts.BenchToken;
  const payerKeys = Array.from({ length: payers }, () => generatePrivateKey());
  const args = [payerKeys.map((key) => privateKeyToAccount(key).address), units];
  const hash = await wallet.writeContract({ address: TOKEN, abi, functionName: 'mint', args });
  await client.waitForTransactionReceipt({ hash });
  return {
    rpc,
    chainId: foundry.id,
    token: TOKEN,
    facilitatorKey,
    payerKeys,
    balanceOf: async (of) =>
      (await client.readContract({ address: TOKEN, abi, functionName: 'balanceOf', args: [of] })) as bigint,
  };
}
