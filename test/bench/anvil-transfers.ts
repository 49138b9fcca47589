/** The yardstick of a general-purpose chain: ERC-20 transfers a second through anvil's EVM on the same machine. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createWalletClient, encodeFunctionData, http } from 'viem';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { testTokenAbi } from '../../contracts/abi.ts';
import { L1 } from '../../local/l1.ts';
import { median } from './suite.ts';

const TRANSFERS = 300;
const ROUNDS = 5;

/** Median over rounds of mining one block with many transfers; null when anvil does not start. */
export async function anvilTransfersPerSecond(): Promise<number | null> {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-bench-'));
  const l1 = await L1.start({ dir }).catch(() => null);
  if (!l1) return null;
  try {
    const account = privateKeyToAccount(generatePrivateKey());
    await l1.fund(account.address);
    await l1.write(account, {
      address: l1.token,
      abi: testTokenAbi,
      functionName: 'mint',
      args: [account.address, 10n ** 12n],
    });
    await l1.request('evm_setIntervalMining', [0]);
    const wallet = createWalletClient({ account, chain: foundry, transport: http(l1.rpc) });
    const rates: number[] = [];
    let nonce = await l1.client.getTransactionCount({ address: account.address });
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < TRANSFERS; i++) {
        const to = `0x${(i + 1).toString(16).padStart(40, '0')}` as const;
        const data = encodeFunctionData({ abi: testTokenAbi, functionName: 'transfer', args: [to, 1n] });
        await wallet.sendTransaction({
          to: l1.token,
          data,
          nonce: nonce++,
          gas: 80_000n,
          maxFeePerGas: 10n ** 10n,
          maxPriorityFeePerGas: 1n,
        });
      }
      const start = performance.now();
      await l1.request('evm_mine');
      rates.push(TRANSFERS / ((performance.now() - start) / 1000));
    }
    return median(rates);
  } finally {
    await l1.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
