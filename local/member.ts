/**
 * `agnt2 member --rpc URL --root ADDRESS`: a member of the deployment's committee (docs/operating.md), with its columns in a folder. Takes offers of the
 * sequencer, signs for what it keeps, serves it, and answers demands at L1.
 *
 *     --rpc URL         an L1 node (L1_RPC)
 *     --root ADDRESS    the deployment's Root (ROOT_ADDRESS)
 *     --data DIR        where columns are kept (.agnt2/member)
 *     --host ADDRESS    to listen at (127.0.0.1)
 *     --port N          (8791)
 *     --max-bytes N     of columns, at most (100 GB)
 *     --every SECONDS   between two looks for demands (12)
 *
 * MEMBER_KEY is the secp256k1 key of the member's account, which has staked and has ether for answers.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import '../protocol/keccak/install.ts';
import type { Hex } from '../protocol/bytes.ts';
import { hex } from '../protocol/bytes.ts';
import { answerDemands } from '../workers/committee/answers.ts';
import { CommitteeChain } from '../workers/committee/chain.ts';
import { readMember } from '../workers/committee/env.ts';
import type { Log } from '../workers/settlement/log.ts';
import { serveMember } from './committee/serve.ts';

const USAGE =
  'agnt2 member --rpc URL --root ADDRESS [--data DIR] [--host ADDRESS] [--port N] [--max-bytes N] [--every SECONDS]\n' +
  'Set MEMBER_KEY to the key of the account that has staked.\n';

function usage(problem: string): never {
  process.stderr.write(`${problem}\n\n${USAGE}`);
  process.exit(2);
}

const { values } = (() => {
  try {
    return parseArgs({
      options: {
        rpc: { type: 'string', default: process.env.L1_RPC ?? '' },
        root: { type: 'string', default: process.env.ROOT_ADDRESS ?? '' },
        data: { type: 'string', default: '.agnt2/member' },
        host: { type: 'string', default: '127.0.0.1' },
        port: { type: 'string', default: '8791' },
        'max-bytes': { type: 'string', default: '100000000000' },
        every: { type: 'string', default: '12' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    return usage((error as Error).message);
  }
})();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const [port, maxBytes, every] = [values.port, values['max-bytes'], values.every].map(Number);
if (![port, maxBytes, every].every((number) => Number.isFinite(number) && number >= 0))
  usage('--port, --max-bytes and --every take numbers');
const member = (() => {
  try {
    return readMember({ L1_RPC: values.rpc, ROOT_ADDRESS: values.root, MEMBER_KEY: process.env.MEMBER_KEY });
  } catch (error) {
    return usage((error as Error).message);
  }
})();

const log: Log = (event, fields = {}) => {
  process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), room: 'member', event, ...fields })}\n`);
};

const chain = new CommitteeChain(member.rpc, member.root);
mkdirSync(values.data, { recursive: true, mode: 0o700 });
const served = await serveMember({
  secret: member.secret,
  chain,
  path: join(values.data, 'columns.sqlite'),
  maxBytes,
  host: values.host,
  port,
}).catch((error: Error) => usage(`Can't listen at ${values.host}:${port}: ${error.message}`));
log('member', { address: hex(served.app.address), url: served.url, root: member.root });

const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
while (!stopping.signal.aborted) {
  const answered = await answerDemands(chain, hex(member.secret) as Hex, served.store, log);
  for (let i = 0; i < answered; i++) served.app.metrics.answered();
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, 1000 * every);
    stopping.signal.addEventListener('abort', () => (clearTimeout(timer), resolve(null)), { once: true });
  });
}
await served.close();
