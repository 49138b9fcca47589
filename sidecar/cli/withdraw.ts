/** `agnt2 withdraw`: takes balance home to the owner, through Core and, once its batch is final, by L1. `agnt2 deposit` brings more. */
import { setTimeout } from 'node:timers/promises';
import { formatId, parseId } from '../../protocol/ids.ts';
import { Core, GatewayRefusal } from '../core.ts';
import { CONFIG, type Command, EXIT, Failure, type Invocation, UsageError, countOf } from './command.ts';
import type { Claim } from './l1.ts';
import { readSetup } from './setup.ts';
import { walletOf } from './wallet.ts';

const LOCAL_RPC = 'http://127.0.0.1:8545';

export const withdraw: Command = {
  usage: 'AMOUNT | --claim ID',
  about: [
    'Core takes them off the balance at once; L1 pays when the batch that holds the withdrawal is final. Any account with gas may then ask L1 for it (it pays nobody but the owner): with --wait and --l1, or later with --claim, this command does, with the key in L1_KEY.',
  ],
  options: {
    config: CONFIG,
    wait: { type: 'boolean', help: 'waits until the batch is final' },
    claim: {
      type: 'string',
      value: 'SHARD:SEQ/ID',
      help: 'asks for one that was withdrawn before, by what it was told',
    },
    l1: { type: 'string', value: 'URL', help: 'an L1 node: has L1 pay, from the account of L1_KEY' },
  },
  exits: { 3: 'taken off the balance, not paid at L1 yet' },
  examples: ['agnt2 withdraw 5000', 'L1_KEY=0x… agnt2 withdraw 5000 --wait --l1 http://127.0.0.1:8545'],
  run: take,
};

export const deposit: Command = {
  usage: 'AMOUNT --local | --l1 URL',
  about: ['The account of OWNER_KEY pays; anybody may deposit to any agent. Core has it once L1 has confirmed it.'],
  options: {
    config: CONFIG,
    local: { type: 'boolean', help: 'on the local chain, with tokens made for it' },
    l1: { type: 'string', value: 'URL', help: "an L1 node (--local: 'agnt2 up's)" },
  },
  examples: ['agnt2 deposit 50000 --local', 'OWNER_KEY=0x… agnt2 deposit 50000 --l1 https://rpc.example'],
  run: bring,
};

const WAIT_MS = 24 * 3600 * 1000;
const LOOK_MS = 1000;

/** Where a withdrawal stands: the frame that made it, and its id in the outbox. */
interface Place {
  readonly shard: number;
  readonly seq: number;
  readonly id: number;
}

const placeText = ({ shard, seq, id }: Place): string => `${shard}:${seq}/${formatId(id)}`;

function placeOf(text: string): Place {
  const match = /^(\d{1,3}):(\d{1,15})\/(\d{1,3}:\d{1,14})$/.exec(text);
  if (match === null) throw new UsageError('--claim is SHARD:SEQ/ID, as agnt2 withdraw said it');
  return { shard: Number(match[1]), seq: Number(match[2]), id: parseId(match[3]) };
}

async function take(invocation: Invocation): Promise<number> {
  const { text, flag, out, args } = invocation;
  const { config } = readSetup(invocation);
  const core = new Core(config.gateway);
  let place: Place;
  if (text('claim') !== undefined) {
    if (args.length > 0) throw new UsageError('either an amount or --claim');
    place = placeOf(text('claim')!);
  } else {
    if (args.length !== 1) throw new UsageError('how much? agnt2 withdraw AMOUNT');
    const amount = countOf(args[0], 'the amount');
    const { shard, seq, value } = await (await walletOf(config)).submitOne({ op: 'withdraw', amount });
    place = { shard, seq, id: value };
    out.note(`${amount} base units left the balance: withdrawal ${placeText(place)}`);
  }
  const rpc = text('l1');
  const claim = await (flag('wait') ? final(core, place, WAIT_MS) : final(core, place, 0));
  if (claim === null || rpc === undefined) {
    const command = `L1_KEY=0x… agnt2 withdraw --claim ${placeText(place)}${claim === null ? ' --wait' : ''} --l1 URL`;
    out.result({ ok: true, withdrawal: placeText(place), final: claim !== null, paid: false, next: command }, [
      claim === null ? 'its batch is not final yet; when it is:' : 'its batch is final; to have L1 pay:',
      `  ${command}   (any account with gas; the money goes to the owner)`,
    ]);
    return 3;
  }
  const { OwnerAtL1 } = await import('./l1.ts');
  const key = invocation.env.L1_KEY ?? '';
  if (!/^0x[0-9a-fA-F]{64}$/.test(key))
    throw new Failure(
      'no_l1_key',
      'L1_KEY is not 0x and 64 hex digits',
      'set L1_KEY to the key of any account with gas',
    );
  const { domain } = await core.status();
  const tx = await (await OwnerAtL1.connect(rpc, key as `0x${string}`, domain)).claim(claim);
  const { owner } = await core.agent(config.agent);
  out.result({ ok: true, withdrawal: placeText(place), final: true, paid: true, tx, owner }, [
    `L1 paid ${owner} (${tx})`,
  ]);
  return EXIT.done;
}

/** The withdrawal's proof, when its batch is final; null while it is not, after at most so long. */
async function final(core: Core, { shard, seq, id }: Place, waitMs: number): Promise<Claim | null> {
  for (const end = Date.now() + waitMs; ; await setTimeout(LOOK_MS)) {
    const batch = await core.batchOf(shard, seq);
    try {
      if (batch !== null) return (await core.withdrawal(batch, id)) as Claim;
    } catch (error) {
      const isEarly = error instanceof GatewayRefusal && ['not_final', 'not_found'].includes(error.code);
      if (!isEarly) throw error;
    }
    if (Date.now() >= end) return null;
  }
}

async function bring(invocation: Invocation): Promise<number> {
  const { text, flag, out, args, env } = invocation;
  if (args.length !== 1) throw new UsageError('how much? agnt2 deposit AMOUNT');
  const amount = countOf(args[0], 'the amount');
  if (!flag('local') && text('l1') === undefined) throw new UsageError('say --local, or --l1 URL');
  const { config } = readSetup(invocation);
  const core = new Core(config.gateway);
  const { domain } = await core.status();
  const { OwnerAtL1, newOwnerKey, ownerKey } = await import('./l1.ts');
  const key = flag('local') && env.OWNER_KEY === undefined ? newOwnerKey() : ownerKey(env);
  const owner = await OwnerAtL1.connect(text('l1') ?? LOCAL_RPC, key, domain);
  const before = await core.agent(config.agent);
  if (flag('local')) await owner.endow(amount);
  const tx = await owner.deposit(config.agent, amount);
  out.result(
    { ok: true, agent: formatId(config.agent), amount: String(amount), tx, balanceBefore: String(before.balance) },
    [
      `${amount} base units are on their way to ${formatId(config.agent)} (${tx}); Core adds them within a minute or so`,
    ],
  );
  return EXIT.done;
}
