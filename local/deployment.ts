/** The contracts of a deployment, on any EVM chain: they name each other, so their addresses are reckoned before any of them is there. */
import {
  type Address,
  type Chain,
  type PublicClient,
  type Transport,
  type WalletClient,
  type Account,
  encodeDeployData,
  encodeFunctionData,
  getContractAddress,
  zeroAddress,
} from 'viem';
import {
  availabilityAbi,
  availabilityBytecode,
  committeeAbi,
  committeeBytecode,
  exitsAbi,
  exitsBytecode,
  faultsAbi,
  faultsBytecode,
  gameAbi,
  gameBytecode,
  rootAbi,
  rootBytecode,
  stepAbi,
  stepBytecode,
  testTokenAbi,
  testTokenBytecode,
} from '../contracts/abi.ts';
import type { Hex } from '../protocol/bytes.ts';

/** Of data outside of calldata (docs/protocol.md §12). */
export interface DaTerms {
  /** Seconds in which a demanded cell may be shown. */
  readonly demandWindow: number;
  readonly demandBond: bigint;
  /** Without, blobs are all there is besides calldata. */
  readonly committee?: {
    /** The accounts of the first epoch, in order. */
    readonly members: readonly Address[];
    /** How many columns give the data back, and how many signatures make a certificate. */
    readonly threshold: number;
    readonly quorum: number;
    /** Seconds. */
    readonly retention: number;
    readonly memberStake: bigint;
  };
}

/** What a deployment never changes again. Times are seconds, amounts wei. */
export interface DeploymentTerms {
  /** An ERC-20; without, a test token that anybody may mint is deployed with it. */
  readonly token?: Address;
  /** Token wei in one base unit. */
  readonly unit: bigint;
  /** The sequencer's account, which must bond and post, and its P-256 key. */
  readonly sequencer: Address;
  readonly sequencerX: Hex;
  readonly sequencerY: Hex;
  readonly shards: number;
  readonly window: number;
  readonly inboxDelay: number;
  readonly freezeAfter: number;
  readonly moveWindow: number;
  readonly halfWindow: number;
  readonly minBond: bigint;
  readonly challengeBond: bigint;
  /** Without, batches have their data in calldata. */
  readonly da?: DaTerms;
}

export interface Deployment {
  readonly token: Address;
  readonly step: Address;
  readonly game: Address;
  readonly faults: Address;
  readonly exits: Address;
  /** Zero where data is in calldata alone. */
  readonly availability: Address;
  /** Zero without a committee. */
  readonly committee: Address;
  readonly root: Address;
}

export type Deployer = WalletClient<Transport, Chain | undefined, Account>;

/** EIP-7825. */
const TX_GAS_CAP = 16_777_216n;

/**
 * Deploys all contracts from the wallet's account, one transaction each, and checks that they found each other. With `bond`, which only the
 * sequencer's own account can, its bond too. Throws when a transaction fails; what was deployed by then is of no use to anybody.
 */
export async function deploy(
  client: PublicClient,
  wallet: Deployer,
  terms: DeploymentTerms,
  { bond = 0n, onSent = () => {} }: { bond?: bigint; onSent?: (what: string, tx: Hex) => void } = {},
): Promise<Deployment> {
  const { address: from } = wallet.account;
  const first = await client.getTransactionCount({ address: from, blockTag: 'pending' });
  const { da } = terms;
  const names = [
    ...(terms.token ? [] : (['token'] as const)),
    'step',
    'game',
    'faults',
    'exits',
    ...(da ? (['availability'] as const) : []),
    ...(da?.committee ? (['committee'] as const) : []),
    'root',
  ] as const;
  const at = (name: string, without: Address = zeroAddress): Address => {
    const nonce = names.findIndex((each) => each === name);
    return nonce < 0 ? without : getContractAddress({ from, nonce: BigInt(first + nonce) });
  };
  const deployment: Deployment = {
    token: at('token', terms.token),
    step: at('step'),
    game: at('game'),
    faults: at('faults'),
    exits: at('exits'),
    availability: at('availability'),
    committee: at('committee'),
    root: at('root'),
  };
  const { root, step, token, availability, committee } = deployment;
  const data: Record<(typeof names)[number], () => Hex> = {
    token: () => encodeDeployData({ abi: testTokenAbi, bytecode: testTokenBytecode }),
    step: () => encodeDeployData({ abi: stepAbi, bytecode: stepBytecode, args: [BigInt(terms.shards)] }),
    game: () =>
      encodeDeployData({
        abi: gameAbi,
        bytecode: gameBytecode,
        args: [root, step, availability, BigInt(terms.moveWindow), terms.challengeBond],
      }),
    faults: () => encodeDeployData({ abi: faultsAbi, bytecode: faultsBytecode, args: [root, availability] }),
    exits: () => encodeDeployData({ abi: exitsAbi, bytecode: exitsBytecode, args: [root, BigInt(terms.halfWindow)] }),
    availability: () =>
      encodeDeployData({
        abi: availabilityAbi,
        bytecode: availabilityBytecode,
        args: [
          root,
          committee,
          BigInt(da!.committee?.members.length ?? 0),
          BigInt(da!.committee?.threshold ?? 0),
          BigInt(da!.demandWindow),
          da!.demandBond,
        ],
      }),
    committee: () =>
      encodeDeployData({
        abi: committeeAbi,
        bytecode: committeeBytecode,
        args: [committeeOf(da!.committee!, deployment), da!.committee!.members],
      }),
    root: () => encodeDeployData({ abi: rootAbi, bytecode: rootBytecode, args: [configOf(terms, deployment)] }),
  };
  const hashes: Hex[] = [];
  const send = async (what: string, tx: { data: Hex; to?: Address; value?: bigint; gas: bigint }): Promise<void> => {
    const hash = await wallet.sendTransaction({ ...tx, nonce: first + hashes.length, chain: wallet.chain });
    onSent(what, hash);
    hashes.push(hash);
  };
  for (const name of names) {
    // Constructors ask nobody anything, so what is not there yet makes no difference to the gas.
    const estimate = await client.estimateGas({ account: from, data: data[name]() });
    const gas = (estimate * 110n) / 100n;
    await send(name, { data: data[name](), gas: gas < TX_GAS_CAP ? gas : TX_GAS_CAP });
  }
  if (bond > 0n)
    await send('bond', {
      to: root,
      data: encodeFunctionData({ abi: rootAbi, functionName: 'bond' }),
      value: bond,
      gas: 200_000n,
    });
  for (const hash of hashes) {
    const { status } = await client.waitForTransactionReceipt({ hash });
    if (status !== 'success') throw new Error(`deploying failed: transaction ${hash} was reverted`);
  }
  const config = await client.readContract({ address: root, abi: rootAbi, functionName: 'config' });
  const stepper = await client.readContract({ address: deployment.game, abi: gameAbi, functionName: 'stepper' });
  const isWhole =
    [config.token, config.game, config.faults, config.exits, config.availability, config.committee, stepper]
      .join()
      .toLowerCase() ===
    [token, deployment.game, deployment.faults, deployment.exits, availability, committee, step].join().toLowerCase();
  if (!isWhole)
    throw new Error('the contracts do not name each other: another transaction of the account came between');
  return deployment;
}

function configOf(terms: DeploymentTerms, { token, game, faults, exits, availability, committee }: Deployment) {
  const { unit, sequencer, sequencerX, sequencerY, minBond, shards } = terms;
  return {
    token,
    unit,
    sequencer,
    sequencerX,
    sequencerY,
    window: BigInt(terms.window),
    inboxDelay: BigInt(terms.inboxDelay),
    minBond,
    freezeAfter: BigInt(terms.freezeAfter),
    shards,
    game,
    faults,
    exits,
    availability,
    committee,
  };
}

function committeeOf(terms: NonNullable<DaTerms['committee']>, { root, availability }: Deployment) {
  const { members, threshold, quorum, retention, memberStake } = terms;
  return { root, availability, members: members.length, threshold, quorum, retention: BigInt(retention), memberStake };
}
