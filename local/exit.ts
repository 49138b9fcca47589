/** `npm run exit -- …`: gets an owner's money out of a deployment with nothing but an L1 node. `--help` says how. */
import { parseArgs } from 'node:util';
import { isAddress } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import '../protocol/da/install.ts';
import '../protocol/keccak/install.ts';
import './kzg.ts';
import { rootAbi } from '../contracts/abi.ts';
import type { Abi } from 'viem';
import type { Hex } from '../protocol/bytes.ts';
import { FORCED, forcing } from './exit/force.ts';
import { type Source, gatewaySource, readHalves } from './exit/halves.ts';
import { Leave, type Standing, type Tell, asOwner, isOf, isShown, standingOf } from './exit/leave.ts';
import { Places } from './exit/places.ts';
import { Sender } from './exit/sender.ts';
import { MAX_FEE_WEI, readSources } from '../workers/settlement/env.ts';
import { ExitError, type LastState, lastState, openDeployment } from './exit/state.ts';
import { Tower } from './exit/tower.ts';
import { formatId } from '../protocol/ids.ts';

const USAGE = `Gets your money out of an AGNT2 deployment. Needs an L1 node and nobody's consent: what everybody has is
worked out again from what the deployment has posted at L1.

  npm run exit -- status              what you have, where it is, and whether the deployment still lives
  npm run exit -- force AGENT WHAT …  while it lives: tells the sequencer at L1 to do something for your agent.
                                      It must, within the inbox's delay, or it can post nothing any more
  npm run exit -- freeze              when no batch has come for too long: stops the deployment, for good
  npm run exit -- leave               then: shows L1 what is yours and collects it, step by step. Can be stopped
                                      and run again at any time; waits where it has to
  npm run exit -- leave --all         the same for everybody
  npm run exit -- tower               for who is away then: watches until the exits open and, as long as they take
                                      halves, shows L1 the newest ones of everybody's sessions

Where and who:
  --rpc URL        an L1 node (L1_RPC)
  --root ADDRESS   the deployment's Root contract (ROOT_ADDRESS)
  --owner ADDRESS  whose money; without, that of EXIT_KEY's account
  EXIT_KEY         in the environment: the key of the account that pays for gas. Only \`force\` needs the owner's

Where the data of batches is that is not in calldata, in the environment:
  BEACON_URL, SLOT_SECONDS, ARCHIVE_URLS   for blobs
  COMMITTEE_MEMBERS                        for columns: 0xaddress=https://host,…

What else:
  --halves PATH    of \`leave\` and \`tower\`: a file, or a folder of files, with halves that payers signed
  --gateway URL    of \`tower\`: a gateway whose relay holds halves
  --no-wait        of \`leave\` and \`tower\`: ends where it would have to wait, and says until when
  --dry-run        tries every call without sending any
  --json           a line of JSON for each thing that happens

What can be forced:
${Object.entries(FORCED)
  .map(([what, words]) => `  force AGENT ${`${what} ${words}`.trimEnd()}`)
  .join('\n')}

Ids look like 0:7 (shard and serial), amounts are base units.
`;

const OPTIONS = {
  rpc: { type: 'string', default: process.env.L1_RPC },
  root: { type: 'string', default: process.env.ROOT_ADDRESS },
  owner: { type: 'string' },
  halves: { type: 'string' },
  gateway: { type: 'string' },
  all: { type: 'boolean', default: false },
  'no-wait': { type: 'boolean', default: false },
  'dry-run': { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const SAID: Readonly<Record<string, (fields: Readonly<Record<string, unknown>>) => string>> = {
  found: ({ places }) => `${places} places hold money`,
  freeze: () => 'the deployment is frozen',
  finalize: () => 'the last batch is final',
  open: () => 'the exits are open',
  verdict: ({ for: what }) => `the verdict on ${what} was shown`,
  half: ({ session, paid }) => `a half of session ${session} was shown: ${paid} paid`,
  watches: () => 'nobody has opened the exits: nothing to show yet',
  sent: ({ call, tx }) => `${call} is sent (${tx})`,
  failed: ({ error }) => `not this time: ${error}`,
  late: ({ half }) => `too late for a half of session ${half}`,
  shown: ({ what }) => `${what} was shown`,
  collected: ({ agent, owner, amount }) => `${amount} of agent ${agent} paid to ${owner}`,
  waits: ({ why, until, seconds }) =>
    `${why} until ${new Date(Number(until) * 1000).toISOString()}: ${seconds} seconds to wait`,
  refused: ({ call, error }) => `L1 refuses ${call}: ${error}`,
  forced: ({ what, tx }) => `${what} is in the inbox${tx ? ` (${tx})` : ''}`,
};

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  const [command, ...words] = positionals;
  if (values.help || command === undefined) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  const { rpc, root } = values;
  const dryRun = values['dry-run'];
  const key = process.env.EXIT_KEY as Hex | undefined;
  if (!rpc) throw new ExitError('Which L1 node? Give --rpc.');
  if (!root || !isAddress(root))
    throw new ExitError('Which deployment? Give --root, the address of its Root contract.');
  if (values.owner !== undefined && !isAddress(values.owner)) throw new ExitError(`${values.owner} is no address.`);
  const owner = values.owner ?? (key ? privateKeyToAccount(key).address : undefined);
  const deployment = await openDeployment(rpc, root);
  const { chainId, chain } = deployment;
  const data = readSources(process.env);
  const sender = new Sender({ client: chain.client, rpc, chainId, key, dryRun });
  const tell: Tell = (event, fields) => {
    if (values.json) process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
    else process.stdout.write(`${SAID[event]?.(fields) ?? event}${fields.dryRun ? ' (only tried)' : ''}\n`);
  };
  const progress = (text: string): void => void (values.json || process.stderr.write(`${text}\n`));
  switch (command) {
    case 'status': {
      const standing = await standingOf(deployment);
      const state = await lastState(deployment, data, progress);
      const places = new Places(deployment, state);
      const rows = [];
      let total = 0;
      for (const place of places.all()) {
        if (owner && !values.all && !isOf(place, asOwner(owner), places)) continue;
        const done = await isShown(deployment, place);
        for (const share of place.shares) {
          const of = 'owner' in share ? share.owner : places.ownerOf(share.agent);
          if (owner && !values.all && of !== asOwner(owner)) continue;
          const agent = 'agent' in share ? formatId(share.agent) : null;
          rows.push({ kind: place.kind, name: place.name, agent, owner: of, amount: share.amount, done });
          if (!done) total += share.amount;
        }
      }
      if (values.json)
        process.stdout.write(`${JSON.stringify({ ...standing, stateRoot: state.stateRoot, total, places: rows })}\n`);
      else process.stdout.write(statusText(standing, rows, total));
      return 0;
    }
    case 'freeze':
      tell('freeze', {
        tx: await sender.send({ address: root, abi: rootAbi as Abi, functionName: 'freeze', args: [] }),
      });
      return 0;
    case 'force': {
      const [agent, what, ...rest] = words;
      if (!agent || !what) throw new ExitError('Force what? npm run exit -- force AGENT WHAT …');
      const tx = await sender.send(forcing(root, agent, what, rest));
      tell('forced', { what, ...(tx ? { tx } : { dryRun: true }) });
      return 0;
    }
    case 'leave': {
      if (!owner && !values.all) throw new ExitError('Whose money? Give --owner or --all, or set EXIT_KEY.');
      const state = await lastState(deployment, data, progress);
      const halves = values.halves === undefined ? [] : readHalves(values.halves);
      const whose = values.all ? undefined : asOwner(owner!);
      const waits = !values['no-wait'];
      return (await new Leave({ deployment, state, sender, owner: whose, halves, waits, dryRun, tell }).run()) ? 0 : 3;
    }
    case 'tower': {
      const sources: Source[] = [];
      const { halves, gateway } = values;
      if (halves !== undefined) sources.push(async () => readHalves(halves));
      if (gateway !== undefined) sources.push(gatewaySource(gateway));
      if (sources.length === 0) throw new ExitError('Whose halves? Give --halves or --gateway.');
      if (!key || dryRun) throw new ExitError('A tower sends what it shows: set EXIT_KEY.');
      const state = (): Promise<LastState> => lastState(deployment, data, progress);
      const maxFee = BigInt(process.env.MAX_FEE_WEI ?? MAX_FEE_WEI);
      const waits = !values['no-wait'];
      return (await new Tower({ deployment, key, maxFee, sources, state, waits, tell }).run()) ? 0 : 3;
    }
    default:
      throw new ExitError(`There is no command ${command}: status, force, freeze, leave or tower. --help says more.`);
  }
}

function statusText(
  standing: Standing,
  rows: readonly { name: string; agent: string | null; owner: Hex | null; amount: number; done: boolean }[],
  total: number,
): string {
  const { frozen, freezableAt, head, finalized, halvesUntil, now } = standing;
  const when = (time: number): string => new Date(time * 1000).toISOString();
  const life = frozen
    ? halvesUntil > 0
      ? `frozen; exits are open, halves count ${now > halvesUntil ? 'no more' : `until ${when(halvesUntil)}`}`
      : 'frozen; the exits are not open yet'
    : now >= freezableAt
      ? 'silent for too long: anyone may freeze it'
      : `alive; may be frozen at ${when(freezableAt)} if no batch comes`;
  const lines = rows.map(({ name, agent, amount, done }) =>
    [
      `  ${name}`.padEnd(44),
      (agent ? `agent ${agent}` : 'at once').padEnd(18),
      String(amount).padStart(16),
      done ? '  shown' : '',
    ].join(''),
  );
  return [
    `The deployment is ${life}.`,
    `Batches: ${head}, of which ${finalized} final.`,
    ...lines,
    `  ${'still to be shown'.padEnd(60)}${String(total).padStart(16)}`,
    '',
  ].join('\n');
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    // What people can do something about is told in words, anything else as it is.
    process.stderr.write(`${error instanceof ExitError ? error.message : String((error as Error).stack ?? error)}\n`);
    process.exitCode = 1;
  },
);
