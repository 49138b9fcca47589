/**
 * `npm run deploy -- --rpc URL --config FILE`: deploys the contracts to any EVM chain, and prints what the Worker's config needs of them.
 *
 *     --rpc URL      a node of the chain (L1_RPC)
 *     --config FILE  JSON, see docs/operating.md; what it leaves out has the values that `--dry-run` prints
 *     --dry-run      only says what would be deployed, from which account, and what it would cost now
 *     --json         the last line on stdout is one JSON object
 *
 * DEPLOYER_KEY is the key of the account that pays. If it is the sequencer's own, the bond is put up too; otherwise the sequencer calls
 * `Root.bond` before it posts.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  type Chain,
  createPublicClient,
  createWalletClient,
  defineChain,
  formatEther,
  http,
  isAddress,
  isHex,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { type DaTerms, type DeploymentTerms, deploy } from './deployment.ts';

/** What nobody has to think about. Seconds, wei. */
const DEFAULTS = {
  unit: '1',
  shards: 16,
  window: 3 * 86_400,
  inboxDelay: 86_400,
  freezeAfter: 3 * 86_400,
  moveWindow: 12 * 3_600,
  halfWindow: 7 * 86_400,
  minBond: '5000000000000000000',
  challengeBond: '250000000000000000',
  demandWindow: 12 * 3_600,
  demandBond: '50000000000000000',
} as const;

const { values } = parseArgs({
  options: {
    rpc: { type: 'string', default: process.env.L1_RPC },
    config: { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
const say = (text: string): void => void (values.json ? process.stderr : process.stdout).write(`${text}\n`);

function usage(error?: string): never {
  if (error) process.stderr.write(`${error}\n\n`);
  process.stderr.write('DEPLOYER_KEY=0x… npm run deploy -- --rpc URL --config FILE [--dry-run] [--json]\n');
  process.exit(error ? 2 : 0);
}

/** What nobody has to say of a committee: its stake, and that columns are kept as long as L1 keeps blobs. */
const COMMITTEE_DEFAULTS = { retention: 18 * 86_400, memberStake: '1000000000000000000' } as const;

/** Throws with the name of what is wrong. */
function termsOf(file: string): DeploymentTerms {
  const own: Record<string, unknown> = { ...DEFAULTS, ...(JSON.parse(readFileSync(file, 'utf8')) as object) };
  let given = own;
  const known = new Set([...Object.keys(DEFAULTS), 'token', 'sequencer', 'sequencerX', 'sequencerY', 'committee']);
  for (const name of Object.keys(given)) if (!known.has(name)) throw new Error(`${file}: nothing is called ${name}`);
  const fail = (name: string, what: string): never => {
    throw new Error(`${file}: ${name} must be ${what}, not ${JSON.stringify(given[name])}`);
  };
  const address = (name: string): `0x${string}` => {
    const value = given[name];
    return typeof value === 'string' && isAddress(value) ? value : fail(name, 'an address');
  };
  const word = (name: string): `0x${string}` => {
    const value = given[name];
    return isHex(value) && value.length === 66 ? value : fail(name, '0x and 64 hex digits');
  };
  const whole = (name: string, least = 1): number => {
    const value = given[name];
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= least
      ? value
      : fail(name, `a whole number from ${least} on`);
  };
  const wei = (name: string): bigint => {
    const value = given[name];
    return typeof value === 'string' && /^\d+$/.test(value)
      ? BigInt(value)
      : fail(name, 'a decimal number of wei in quotes');
  };
  const committeeTerms = (): DaTerms['committee'] => {
    given = { ...COMMITTEE_DEFAULTS, ...(own.committee as object) };
    const { members } = given;
    if (!Array.isArray(members) || members.length > 16 || !members.every((member) => isAddress(member)))
      return fail('members', 'at most 16 addresses');
    const [threshold, quorum] = [whole('threshold'), whole('quorum')];
    if (threshold > quorum || quorum > members.length) fail('quorum', 'from the threshold to the number of members');
    return { members, threshold, quorum, retention: whole('retention'), memberStake: wei('memberStake') };
  };
  const shards = whole('shards');
  if (shards > 256) fail('shards', '1 to 256');
  return {
    ...(given.token === undefined ? {} : { token: address('token') }),
    unit: wei('unit'),
    sequencer: address('sequencer'),
    sequencerX: word('sequencerX'),
    sequencerY: word('sequencerY'),
    shards,
    window: whole('window'),
    inboxDelay: whole('inboxDelay'),
    freezeAfter: whole('freezeAfter'),
    moveWindow: whole('moveWindow'),
    halfWindow: whole('halfWindow'),
    minBond: wei('minBond'),
    challengeBond: wei('challengeBond'),
    da: {
      demandWindow: whole('demandWindow'),
      demandBond: wei('demandBond'),
      // Last: it reads the committee's own fields.
      ...(own.committee === undefined ? {} : { committee: committeeTerms() }),
    },
  };
}

if (values.help) usage();
if (!values.rpc) usage('Which chain? Give --rpc.');
if (!values.config) usage('Which terms? Give --config, a JSON file: docs/operating.md says what is in it.');
const key = process.env.DEPLOYER_KEY ?? '';
if (!/^0x[0-9a-fA-F]{64}$/.test(key)) usage('Who pays? Set DEPLOYER_KEY to 0x and 64 hex digits.');

try {
  const terms = termsOf(values.config);
  const account = privateKeyToAccount(key as `0x${string}`);
  const transport = http(values.rpc);
  const client = createPublicClient({ transport });
  const id = await client.getChainId();
  const chain: Chain = defineChain({
    id,
    name: `chain ${id}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [values.rpc] } },
  });
  const [balance, gasPrice] = await Promise.all([
    client.getBalance({ address: account.address }),
    client.getGasPrice(),
  ]);
  const isSequencer = account.address.toLowerCase() === terms.sequencer.toLowerCase();
  const bond = isSequencer ? terms.minBond : 0n;
  say(`chain ${id}, ${account.address} has ${formatEther(balance)} ether`);
  const { da, ...plain } = terms;
  const { committee, ...demands } = da!;
  for (const [name, value] of Object.entries({ ...plain, ...demands, ...committee }))
    say(`  ${name.padEnd(14)} ${String(value)}`);
  if (!committee) say('  committee      none: data goes into blobs or calldata');
  if (!terms.token)
    say('  token          a test token that anybody may mint: name one in the config for anything real');
  say(
    `  about ${formatEther(25_000_000n * gasPrice)} ether for gas now${bond > 0n ? `, and ${formatEther(bond)} for the bond` : ''}`,
  );
  if (values['dry-run']) process.exit(0);
  const wallet = createWalletClient({ account, chain, transport });
  const deployment = await deploy(client as Parameters<typeof deploy>[0], wallet, terms, {
    bond,
    onSent: (what, tx) => say(`  ${what}: ${tx}`),
  });
  say('\nDeployed. In wrangler.toml, or as vars of your environment:');
  for (const line of [`CHAIN_ID = "${id}"`, `ROOT_ADDRESS = "${deployment.root}"`, `SHARDS = "${terms.shards}"`])
    say(`  ${line}`);
  if (!isSequencer)
    say(
      `The sequencer must bond before it posts: Root.bond from ${terms.sequencer}, ${formatEther(terms.minBond)} ether.`,
    );
  if (values.json) process.stdout.write(`${JSON.stringify({ chainId: id, ...deployment })}\n`);
} catch (error) {
  process.stderr.write(`Nothing usable was deployed: ${(error as Error).message.split('\n')[0]}\n`);
  process.exitCode = 1;
}
