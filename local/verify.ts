/**
 * `npm run verify -- --rpc URL --root ADDRESS`: a full node. Executes every batch again from what L1 has of it, and shows at L1 what is
 * wrong, if it has a key to do so. Needs nobody but an L1 node: no gateway, no sequencer. Where batches' data is not in calldata, those who keep it:
 * BEACON_URL, SLOT_SECONDS, ARCHIVE_URLS, COMMITTEE_MEMBERS in the environment (docs/operating.md).
 *
 *     --rpc URL          an L1 node (L1_RPC)
 *     --root ADDRESS     the deployment's Root (ROOT_ADDRESS)
 *     --data FILE        where what was verified is kept, to go on from there; without, in memory
 *     --once             ends when it has come as far as L1; exit code 0 only if nothing is wrong
 *     --every SECONDS    between two looks (12)
 *     --confirmations N  blocks on top of a batch before it counts (0)
 *     --json             a line of JSON for each look
 *
 * CHALLENGER_KEY, a secp256k1 key of an account with some ether, makes it open games and play them to their end.
 */
import { parseArgs } from 'node:util';
import { createPublicClient, http, isAddress } from 'viem';
import '../protocol/da/install.ts';
import '../protocol/keccak/install.ts';
import './kzg.ts';
import { rootAbi } from '../contracts/abi.ts';
import type { WatchMetrics } from '../durable/verifier/api.ts';
import { VerifierHost } from '../durable/verifier/host.ts';
import { hex } from '../protocol/bytes.ts';
import { readSettings } from '../workers/settlement/env.ts';
import type { Log } from '../workers/settlement/log.ts';
import { Watch } from '../workers/settlement/watch.ts';
import { openSql } from './sql.ts';

const OPTIONS = {
  rpc: { type: 'string', default: process.env.L1_RPC },
  root: { type: 'string', default: process.env.ROOT_ADDRESS },
  data: { type: 'string', default: ':memory:' },
  once: { type: 'boolean', default: false },
  every: { type: 'string', default: '12' },
  confirmations: { type: 'string', default: '0' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;
const USAGE =
  'npm run verify -- --rpc URL --root ADDRESS [--data FILE] [--once] [--every SECONDS] [--confirmations N] [--json]\n' +
  'Set CHALLENGER_KEY to a funded account’s key to challenge what is wrong.\n';

function usage(error?: string): never {
  if (error) process.stderr.write(`${error}\n\n`);
  process.stderr.write(USAGE);
  process.exit(error ? 2 : 0);
}

const { values } = parseArgs({ options: OPTIONS });
if (values.help) usage();
if (!values.rpc) usage('Which L1 node? Give --rpc.');
if (!values.root || !isAddress(values.root)) usage('Which deployment? Give --root, the address of its Root contract.');
const { rpc, root } = values;

/** Events that a person wants to read of; all others show in the table. */
const TOLD: Readonly<Record<string, (fields: Readonly<Record<string, unknown>>) => string>> = {
  lie: ({ batch, fault }) => `batch ${batch} is not what it says (${fault})`,
  mined: ({ call, batch, why, tx }) => `${call} for batch ${batch}, because ${why}: ${tx}`,
  reverted: ({ call, batch, tx }) => `${call} for batch ${batch} was reverted: ${tx}`,
  refused: ({ call, batch, error }) => `L1 would refuse ${call} for batch ${batch}: ${error}`,
  not_shown: ({ batch, error }) => `batch ${batch} can't be taken in: ${error}`,
  went_back: ({ batch }) => `L1 has another batch ${batch} now: verified again from there`,
  low_gas: ({ hours }) => `the ether for gas lasts ${hours} hours`,
  watch_failed: ({ error }) => `this look failed: ${error}`,
};
const log: Log = (event, fields = {}) => {
  const tell = TOLD[event];
  if (tell && !values.json) process.stdout.write(`${new Date().toISOString()}  ${tell(fields)}\n`);
};

function table(metrics: WatchMetrics, stateRoot: string): string {
  const { head, verified, finalized, lying, games, bondWei, challengerWei, tookMs } = metrics;
  const ether = (wei: string): string => `${(Number(wei) / 1e18).toFixed(4)} ether`;
  const rows: [string, string][] = [
    ['batches', `${head} at L1, ${verified} verified, ${finalized} final`],
    ['state root', stateRoot],
    ['lies', lying === 0 ? 'none' : `${lying} standing`],
    ['games', `${games.open} open, ${games.ours} ours, ${games.hostile} against good batches`],
    ['sequencer’s bond', ether(bondWei)],
    ...(challengerWei === undefined ? [] : [['our account', ether(challengerWei)] as [string, string]]),
    ['last look', `${new Date(metrics.atMs).toISOString()}, ${tookMs} ms`],
  ];
  return rows.map(([name, value]) => `  ${name.padEnd(17)} ${value}\n`).join('');
}

const client = createPublicClient({ transport: http(rpc) });
const [chainId, config] = await Promise.all([
  client.getChainId(),
  client.readContract({ address: root, abi: rootAbi, functionName: 'config' }),
]).catch((error: Error) => usage(`No Root at ${root} on ${rpc}: ${error.message.split('\n')[0]}`));
const { BEACON_URL, SLOT_SECONDS, ARCHIVE_URLS, COMMITTEE_MEMBERS } = process.env;
const settings = readSettings({
  SHARD: { getByName: () => null },
  SHARDS: String(config.shards),
  CHAIN_ID: String(chainId),
  ROOT_ADDRESS: root,
  L1_RPC: rpc,
  L1_CONFIRMATIONS: values.confirmations,
  CHALLENGER_KEY: process.env.CHALLENGER_KEY,
  PASS_SECONDS: '600',
  BEACON_URL,
  SLOT_SECONDS,
  ARCHIVE_URLS,
  COMMITTEE_MEMBERS,
});
const sql = openSql(values.data);
const host = new VerifierHost(sql, sql.together, { shards: config.shards, chainId, root });
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

const isLive = process.stdout.isTTY === true && !values.json;
for (let drawn = 0; ;) {
  await new Watch(settings, host, log).run();
  const metrics = await host.watch();
  const isDone = metrics !== null && metrics.verified + metrics.lying >= metrics.head;
  if (metrics) {
    const stateRoot = hex(host.verifier.state().tree().root());
    const { samples: _samples, scannedBlock: _scanned, ...shown } = metrics;
    if (values.json) process.stdout.write(`${JSON.stringify({ ...shown, stateRoot })}\n`);
    else {
      const text = table(metrics, stateRoot);
      process.stdout.write(`${isLive && drawn > 0 ? `\x1b[${drawn}A\x1b[J` : ''}${text}`);
      drawn = text.split('\n').length - 1;
    }
  }
  if (values.once && (isDone || metrics?.error)) {
    sql.close();
    process.exit(metrics?.error === undefined && metrics?.lying === 0 ? 0 : 1);
  }
  if (stopping.signal.aborted) break;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * Number(values.every));
    stopping.signal.addEventListener('abort', () => (clearTimeout(timer), resolve(null)), { once: true });
  });
  if (stopping.signal.aborted) break;
}
sql.close();
