/** Agents and their owners: keys, tokens, registration, and bundles signed by hand where no sidecar does it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type PrivateKeyAccount, generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../contracts/abi.ts';
import { signBundle } from '../protocol/bundle.ts';
import { hex, unhex } from '../protocol/bytes.ts';
import { Signing } from '../protocol/eip712.ts';
import { parseId } from '../protocol/ids.ts';
import { MachineKey } from '../protocol/keys.ts';
import type { Interaction } from '../protocol/ops/index.ts';
import type { ReceiptJson } from '../protocol/receipt.ts';
import type { Gateway } from './gateway.ts';
import type { L1 } from './l1.ts';
import { until } from './process.ts';

export class Agent {
  readonly name: string;
  readonly owner: PrivateKeyAccount;
  readonly key: MachineKey;
  /** Where the machine key's secret lies, for the sidecar. */
  readonly keyFile: string;
  /** Text form; empty until registered. */
  id = '';
  /** Token wei minted to the owner. */
  minted = 0n;

  private constructor(name: string, owner: PrivateKeyAccount, key: MachineKey, keyFile: string) {
    this.name = name;
    this.owner = owner;
    this.key = key;
    this.keyFile = keyFile;
  }

  /** A new owner and a new machine key, in a file only we can read. */
  static async create(name: string, dir: string): Promise<Agent> {
    const secret = MachineKey.randomSecret();
    const keyFile = join(dir, `${name}.key`);
    writeFileSync(keyFile, `${hex(secret)}\n`, { mode: 0o600 });
    return new Agent(name, privateKeyToAccount(generatePrivateKey()), await MachineKey.import(secret), keyFile);
  }

  /** At L1: mints tokens to the owner, who approves Root and registers the agent on a shard with a first deposit. */
  async registerAtL1(l1: L1, minted: bigint, deposit: number, shard = 0): Promise<void> {
    await l1.fund(this.owner.address);
    this.minted += minted;
    const { publicKey } = this.key;
    await l1.write(
      this.owner,
      { address: l1.token, abi: testTokenAbi, functionName: 'mint', args: [this.owner.address, minted] },
      { address: l1.token, abi: testTokenAbi, functionName: 'approve', args: [l1.root, minted] },
      {
        address: l1.root,
        abi: rootAbi,
        functionName: 'register',
        args: [shard, hex(publicKey.subarray(0, 32)), hex(publicKey.subarray(32)), BigInt(deposit)],
      },
    );
  }

  /** Waits until the shard has taken the registration in. */
  async known(gateway: Gateway): Promise<void> {
    const found = await until(`the registration of ${this.name}`, () => gateway.agentByKey(this.key.publicKey), {
      timeoutMs: 60_000,
      everyMs: 100,
    });
    this.id = found.id;
  }

  /** Signs and submits interactions as one bundle. Not while a sidecar holds the same key: both would take the same nonce. */
  submit(gateway: Gateway, l1: L1, ...interactions: Interaction[]): Promise<ReceiptJson> {
    return this.submitWith(gateway, l1, interactions, []);
  }

  /** As {@link submit}, with the payload leaf of each. */
  async submitWith(
    gateway: Gateway,
    l1: L1,
    interactions: readonly Interaction[],
    payloads: readonly (Uint8Array | undefined)[],
  ): Promise<ReceiptJson> {
    const signing = new Signing({ chainId: l1.chainId, root: l1.root });
    const { nonce } = await gateway.agent(this.id);
    const expiry = Math.floor(Date.now() / 1000) + 300;
    const frame = await signBundle(
      this.key,
      signing,
      { actor: parseId(this.id), nonce: Number(nonce), expiry },
      interactions,
      payloads,
    );
    const receipt = await gateway.submit(frame);
    const failed = receipt.outcomes.find(({ status }) => status !== 'ok');
    if (failed) throw new Error(`a bundle of ${this.name} came to ${failed.status}`);
    return receipt;
  }

  /** Registers `other` out of this agent's balance: it never touches L1. */
  async sponsor(gateway: Gateway, l1: L1, other: Agent, amount: number): Promise<void> {
    await this.submit(gateway, l1, {
      op: 'register',
      owner: unhex(other.owner.address, 20),
      key: other.key.publicKey,
      amount,
    });
    await other.known(gateway);
  }
}
