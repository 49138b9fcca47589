/** What who runs a member does at L1: stakes, signs for the next list of members, posts it, leaves. Each call is tried before it is sent. */
import { type Abi, createWalletClient, defineChain, http } from 'viem';
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { committeeAbi } from '../../contracts/abi.ts';
import { type Hex, equal, hex, unhex } from '../../protocol/bytes.ts';
import { encodeSigned, membersHash, signedBy } from '../../protocol/da/certificate.ts';
import { Signing } from '../../protocol/eip712.ts';
import { malformed } from '../../protocol/errors.ts';
import { recoverOwner, signOwner, toCompact } from '../../protocol/keys.ts';
import type { CommitteeChain } from '../../workers/committee/chain.ts';

type Name = 'stake' | 'begin' | 'rotate' | 'requestUnstake' | 'unstake';

export class Operator {
  readonly #chain: CommitteeChain;
  readonly #key: Hex;
  readonly #account: PrivateKeyAccount;

  constructor(chain: CommitteeChain, key: Hex) {
    [this.#chain, this.#key, this.#account] = [chain, key, privateKeyToAccount(key)];
  }

  get address(): Hex {
    return this.#account.address;
  }

  /** Wei that the account has staked. */
  async staked(address: Hex = this.address): Promise<bigint> {
    const { committee } = await this.#chain.terms();
    const at = { address: committee, abi: committeeAbi, functionName: 'staked' } as const;
    return this.#chain.client.readContract({ ...at, args: [address] });
  }

  /** Stakes what is missing of what a member must have. Answers how many wei that were. */
  async stake(): Promise<bigint> {
    const missing = (await this.#chain.terms()).memberStake - (await this.staked());
    if (missing > 0n) await this.#send('stake', [], missing);
    return missing > 0n ? missing : 0n;
  }

  /** Begins the first epoch, whose list the deployment names. */
  begin(members: readonly Uint8Array[]): Promise<Hex> {
    return this.#send('begin', [members.map(hex)]);
  }

  /** The account's word, 64 bytes, that these are the members of the epoch that follows the current one. */
  async signRotation(next: readonly Uint8Array[]): Promise<Uint8Array> {
    return toCompact(signOwner(unhex(this.#key), await this.#rotation(next)));
  }

  /** Begins the next epoch, by signatures of a quorum of the current members in any order. Throws for one that is of nobody in the list. */
  async rotate(
    current: readonly Uint8Array[],
    next: readonly Uint8Array[],
    signatures: readonly Uint8Array[],
  ): Promise<Hex> {
    const preimage = await this.#rotation(next);
    const places = signatures.map((signature) => {
      const signer = recoverOwner(preimage, signature);
      const place = current.findIndex((member) => signer !== null && equal(signer, member));
      if (place < 0) throw malformed(`a signature of a stranger, or of another list: ${hex(signature)}`);
      return [place, signature] as const;
    });
    const { signers, signed } = encodeSigned(signedBy(current, new Map(places)));
    return this.#send('rotate', [next.map(hex), signers, hex(signed)]);
  }

  /** Asks for the stake back: an account that is in no list any more. */
  leave(current: readonly Uint8Array[]): Promise<Hex> {
    return this.#send('requestUnstake', [current.map(hex)]);
  }

  /** Takes it, `retention` later. */
  unstake(current: readonly Uint8Array[]): Promise<Hex> {
    return this.#send('unstake', [current.map(hex)]);
  }

  async #rotation(next: readonly Uint8Array[]): Promise<Uint8Array> {
    const { chainId, root } = await this.#chain.terms();
    const epoch = (await this.#chain.epoch()) + 1;
    return new Signing({ chainId, root }).rotateCommittee({ epoch, members: membersHash(next) });
  }

  async #send(functionName: Name, args: readonly unknown[], value = 0n): Promise<Hex> {
    const { committee: address, chainId } = await this.#chain.terms();
    const { client } = this.#chain;
    const call = { address, abi: committeeAbi as Abi, functionName, args, value, account: this.#account };
    const { request } = await client.simulateContract(call);
    const rpc = client.transport.url as string;
    const chain = defineChain({
      id: chainId,
      name: `chain ${chainId}`,
      nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
      rpcUrls: { default: { http: [rpc] } },
    });
    const wallet = createWalletClient({ account: this.#account, chain, transport: http(rpc) });
    const tx = await wallet.writeContract({ ...request, account: this.#account, chain } as Parameters<
      typeof wallet.writeContract
    >[0]);
    const { status } = await client.waitForTransactionReceipt({ hash: tx });
    if (status !== 'success') throw new Error(`${functionName} was reverted: ${tx}`);
    return tx;
  }
}
