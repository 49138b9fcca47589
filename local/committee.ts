/**
 * `agnt2 committee <what> --rpc URL --root ADDRESS`: a deployment's data committee, for who runs a member and for who reads from it (docs/operating.md).
 *
 *     status                         the epoch, its members and what they have staked
 *     stake | leave | unstake        the account of MEMBER_KEY: stakes what is missing; asks for it back; takes it
 *     begin                          begins epoch 1, when all have staked     --list 0x…,0x…
 *     sign                           prints MEMBER_KEY's signature            --next 0x…,0x…
 *     rotate                         begins the next epoch by a quorum's      --next 0x…,0x… --signed 0x…,0x…
 *     sample                         asks members for cells drawn at random   --members 0x…=URL,… --batch N [--samples 30]
 *     restore                        gets a batch's data back                 --members 0x…=URL,… --batch N --out FILE
 *     guard                          looks after batches that are not final   --members 0x…=URL,… [--every SECONDS]
 *
 * `guard` acts with CHALLENGER_KEY: it has withheld cells demanded, closes demands that nobody answered, and shows wrong encodings.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import '../protocol/da/install.ts';
import '../protocol/keccak/install.ts';
import { type Hex, hex, unhex } from '../protocol/bytes.ts';
import { SIGNATURE_BYTES, addresses } from '../protocol/da/certificate.ts';
import { MAX_DATA_BYTES } from '../protocol/da/offer.ts';
import { senderOf } from '../workers/committee/answers.ts';
import { CommitteeChain } from '../workers/committee/chain.ts';
import { type MemberEndpoint, parseMembers } from '../workers/committee/client.ts';
import { type CommitteeBatch, Guard } from '../workers/committee/guard.ts';
import { committeeBatch } from '../workers/committee/posted.ts';
import { isUnavailable, retrieve } from '../workers/committee/retrieve.ts';
import { sample } from '../workers/committee/sample.ts';
import { Chain } from '../workers/settlement/chain.ts';
import { type Log, reason } from '../workers/settlement/log.ts';
import { Operator } from './committee/operator.ts';
import { sleep } from './process.ts';

const TIMEOUT_MS = 10_000;
const USAGE =
  'agnt2 committee status|stake|leave|unstake|begin|sign|rotate|sample|restore|guard --rpc URL --root ADDRESS';

class Usage extends Error {}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rpc: { type: 'string', default: process.env.L1_RPC ?? '' },
    root: { type: 'string', default: process.env.ROOT_ADDRESS ?? '' },
    list: { type: 'string', default: '' },
    next: { type: 'string', default: '' },
    signed: { type: 'string', default: '' },
    members: { type: 'string', default: process.env.COMMITTEE_MEMBERS ?? '' },
    batch: { type: 'string' },
    samples: { type: 'string', default: '30' },
    out: { type: 'string' },
    every: { type: 'string', default: '60' },
    help: { type: 'boolean', default: false },
  },
});

const print = (value: object): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const listed = (text: string): string[] => text.split(/[\s,]+/).filter((part) => part !== '');
const log: Log = (event, fields = {}) => print({ at: new Date().toISOString(), event, ...fields });

function needed(name: string, value: string | undefined): string {
  if (!value) throw new Usage(`${name} is needed`);
  return value;
}
function keyIn(name: 'MEMBER_KEY' | 'CHALLENGER_KEY'): Hex {
  const key = process.env[name] ?? '';
  if (!/^0x[0-9a-fA-F]{64}$/.test(key)) throw new Usage(`set ${name} to 0x and 64 hex digits`);
  return key as Hex;
}
function count(name: string, value: string | undefined): number {
  const number = Number(value);
  if (!value || !Number.isSafeInteger(number) || number < 1) throw new Usage(`${name} takes a whole number from 1 on`);
  return number;
}

if (!/^0x[0-9a-fA-F]{40}$/.test(values.root) || !/^https?:/.test(values.rpc) || values.help) {
  process.stderr.write(`${USAGE}\n`);
  process.exit(values.help ? 0 : 2);
}
const chain = new CommitteeChain(values.rpc, values.root as Hex);
const settlement = new Chain(values.rpc, values.root as Hex);
const operator = (): Operator => new Operator(chain, keyIn('MEMBER_KEY'));

async function currentList(): Promise<Uint8Array[]> {
  const epoch = await chain.epoch();
  const list = values.list === '' ? epoch > 0 && (await chain.membersOf(epoch)) : addresses(listed(values.list));
  if (!list) throw new Usage('--list is needed: L1 has no list of a current epoch in its logs');
  return list;
}

/** The members of an epoch where they are said to be; an empty url for those of whom nothing is said. */
async function endpointsOf(epoch: number): Promise<MemberEndpoint[]> {
  const told = new Map(parseMembers(needed('--members', values.members)).map((one) => [hex(one.address), one.url]));
  const list = (await chain.membersOf(epoch)) ?? (await currentList());
  return list.map((address) => ({ address, url: told.get(hex(address)) ?? '' }));
}

async function batchAsked(): Promise<{ batch: CommitteeBatch; members: MemberEndpoint[] }> {
  const number = count('--batch', values.batch);
  const batch = await committeeBatch(settlement, number);
  if (!batch) throw new Usage(`batch ${number} does not stand, or has its data elsewhere`);
  return { batch, members: await endpointsOf(epochOf(batch)) };
}
const epochOf = ({ certificate }: CommitteeBatch): number =>
  certificate.length < 8 ? 0 : Number(new DataView(certificate.buffer, certificate.byteOffset).getBigUint64(0));

/** One round over the batches that are not final; what fails of one is told, and left to the next. */
async function guardAll(key: Hex): Promise<void> {
  const { head, finalized } = await settlement.look();
  for (let number = finalized + 1; number <= head; number++) {
    try {
      const batch = await committeeBatch(settlement, number);
      if (!batch) continue;
      const guard = new Guard(chain, await endpointsOf(epochOf(batch)), {
        timeoutMs: TIMEOUT_MS,
        maxBytes: MAX_DATA_BYTES,
      });
      for (;;) {
        const look = await guard.look(batch);
        if (look.kind !== 'call') {
          log(look.kind, { batch: number, ...(look.kind === 'wait' ? { demands: look.open } : {}) });
          break;
        }
        const { chainId } = await chain.terms();
        const { outcome, tx } = await senderOf(chain, chainId, key, () => {}).send(look.call);
        log(look.why, { batch: number, outcome, tx });
        // The batch is void, and what follows it.
        if (look.why !== 'demand') return;
      }
    } catch (error) {
      log('failed', { batch: number, error: reason(error) });
    }
  }
}

const COMMANDS: Readonly<Record<string, () => Promise<unknown>>> = {
  async status() {
    const terms = await chain.terms();
    const epoch = await chain.epoch();
    const list = (epoch > 0 && (await chain.membersOf(epoch))) || [];
    const reader = new Operator(chain, `0x${'01'.padStart(64, '0')}`);
    const members = [];
    for (const member of list.map(hex)) members.push({ member, stakedWei: String(await reader.staked(member)) });
    const { code, quorum, retention, memberStake, committee } = terms;
    print({ committee, ...code, quorum, retention, memberStakeWei: String(memberStake), epoch, members });
  },
  stake: async () => print({ member: operator().address, wei: String(await operator().stake()) }),
  leave: async () => print({ tx: await operator().leave(await currentList()) }),
  unstake: async () => print({ tx: await operator().unstake(await currentList()) }),
  begin: async () => print({ tx: await operator().begin(addresses(listed(needed('--list', values.list)))) }),
  async sign() {
    const next = addresses(listed(needed('--next', values.next)));
    print({ member: operator().address, signature: hex(await operator().signRotation(next)) });
  },
  async rotate() {
    const next = addresses(listed(needed('--next', values.next)));
    const signatures = listed(needed('--signed', values.signed)).map((one) => unhex(one as Hex, SIGNATURE_BYTES));
    print({ tx: await operator().rotate(await currentList(), next, signatures) });
  },
  async sample() {
    const { batch, members } = await batchAsked();
    const { code } = await chain.terms();
    const samples = count('--samples', values.samples);
    const told = await sample(members, unhex(batch.header.dataRoot), samples, { code, timeoutMs: TIMEOUT_MS });
    const { asked, answered, missing, confidence } = told;
    print({ batch: batch.header.number, asked, answered, missing, confidence });
    if (asked === 0 || missing.length > 0) process.exitCode = 1;
  },
  async restore() {
    const { batch, members } = await batchAsked();
    const out = needed('--out', values.out);
    const { code } = await chain.terms();
    const dataRoot = unhex(batch.header.dataRoot);
    const got = await retrieve(members, { dataRoot, code, timeoutMs: 6 * TIMEOUT_MS, maxBytes: MAX_DATA_BYTES });
    if (isUnavailable(got)) throw new Error(`the data did not come back: ${got.held.size} whole columns of ${code.k}`);
    writeFileSync(out, got.data);
    print({ batch: batch.header.number, bytes: got.data.length, wrong: got.wrong, out });
    if (got.wrong.length > 0) process.exitCode = 1;
  },
  async guard() {
    const key = keyIn('CHALLENGER_KEY');
    const every = count('--every', values.every);
    const stopping = new AbortController();
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());
    while (!stopping.signal.aborted) {
      await guardAll(key).catch((error: unknown) => log('failed', { error: reason(error) }));
      const stopped = new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }));
      await Promise.race([sleep(1000 * every), stopped]);
    }
  },
};

try {
  const command = Object.hasOwn(COMMANDS, positionals[0] ?? '') ? COMMANDS[positionals[0]] : undefined;
  if (!command) throw new Usage(USAGE);
  await command();
  process.exit();
} catch (error) {
  process.stderr.write(`${error instanceof Usage ? error.message : reason(error)}\n`);
  process.exit(error instanceof Usage ? 2 : 1);
}
