/** The ways in which an agent comes onto Core. */
import { setTimeout } from 'node:timers/promises';
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import type { Domain } from '../../protocol/eip712.ts';
import { MachineKey } from '../../protocol/keys.ts';
import type { Core } from '../core.ts';
import { Failure, type Invocation, UsageError, countOf } from './command.ts';
import { readSetup } from './setup.ts';
import { walletOf } from './wallet.ts';

export interface Registered {
  readonly agent: number;
  /** Made for the local chain, and kept nowhere. */
  readonly ownerKey?: Hex;
}

export interface Registering {
  readonly core: Core;
  readonly domain: Domain;
  readonly key: MachineKey;
}

const LOCAL_RPC = 'http://127.0.0.1:8545';
/** A deposit is taken in once L1 has confirmed it and the settlement cron has looked, which it does each minute. */
const ARRIVAL_MS = 180_000;

/** Registers by the way that was asked for; null when none was. Throws what that way fails with. */
export async function register(invocation: Invocation, registering: Registering): Promise<Registered | null> {
  const { text, flag, env } = invocation;
  if (text('sponsor') !== undefined) return sponsored(invocation, registering);
  if (!flag('local') && text('l1') === undefined) return null;
  const { OwnerAtL1, newOwnerKey, ownerKey } = await import('./l1.ts');
  const made = flag('local') && env.OWNER_KEY === undefined ? newOwnerKey() : null;
  const { core, domain, key } = registering;
  const owner = await OwnerAtL1.connect(text('l1') ?? LOCAL_RPC, made ?? ownerKey(env), domain);
  const deposit = countOf(text('deposit')!, '--deposit');
  if (flag('local')) await owner.endow(deposit);
  await owner.register(countOf(text('shard')!, '--shard', 255), key.publicKey, deposit);
  const agent = await arrival(core, key.publicKey);
  return { agent, ...(made !== null && { ownerKey: made }) };
}

/** Waits until a shard has taken the registration in. Throws `not_arrived`. */
async function arrival(core: Core, publicKey: Uint8Array): Promise<number> {
  for (const end = Date.now() + ARRIVAL_MS; Date.now() < end; await setTimeout(250)) {
    const [agent] = await core.agentsByKey(publicKey);
    if (agent !== undefined) return agent;
  }
  throw new Failure(
    'not_arrived',
    'the registration is on L1, and Core has not taken it in yet',
    'agnt2 init, in a while',
  );
}

async function sponsored({ text, env }: Invocation, { core, key }: Registering): Promise<Registered> {
  const { config } = readSetup({ text: () => text('sponsor'), env });
  const wallet = await walletOf(config);
  const owner = text('owner') ?? (await core.agent(config.agent)).owner;
  if (!/^0x[0-9a-fA-F]{40}$/.test(owner)) throw new UsageError('--owner must be 0x and 40 hex digits');
  const amount = countOf(text('deposit')!, '--deposit');
  const { value } = await wallet.submitOne({
    op: 'register',
    owner: unhex(owner as Hex, 20),
    key: key.publicKey,
    amount,
  });
  return { agent: value };
}

/** What an owner does by hand: two transactions with any wallet, here as foundry's `cast` says them. `command` is run again after that. */
export function waysOf(
  { chainId, root }: Domain,
  publicKey: Uint8Array,
  shard: string,
  deposit: string,
  command: string,
): { lines: string[]; json: Record<string, unknown> } {
  const [x, y] = [hex(publicKey.subarray(0, 32)), hex(publicKey.subarray(32))];
  const send = (to: string, call: string): string => `cast send ${to} ${call} --rpc-url $RPC --private-key $OWNER_KEY`;
  const commands = [
    send('$TOKEN', `"approve(address,uint256)" ${root} $WEI`),
    send(root, `"register(uint8,bytes32,bytes32,uint64)" ${shard} ${x} ${y} ${deposit}`),
  ];
  return {
    json: { root, chainId, x, y, shard: Number(shard), deposit, commands },
    lines: [
      `Its owner registers it on chain ${chainId} at Root ${root}, with a deposit of ${deposit} base units:`,
      ...commands.map((line) => `  ${line}`),
      `($TOKEN and the token wei in a base unit: cast call ${root} "config()"), or let agnt2 do it:`,
      `  ${command} --local                                  on the chain of agnt2 up`,
      `  OWNER_KEY=0x… ${command} --l1 URL --deposit UNITS   on any chain`,
      `  ${command} --sponsor FILE                           out of the balance of an agent of yours`,
      `Then run ${command} again.`,
    ],
  };
}
