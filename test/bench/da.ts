/**
 * Data availability: what an interaction of the mixed workload takes in bytes, in the form that is proved against and in an archive; how fast data becomes
 * the columns of a committee, roots included, and comes back from some of them; what a certificate costs at L1.
 */
import '../../protocol/da/install.ts';
import '../../protocol/keccak/install.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createWalletClient, encodeFunctionData, http, zeroAddress } from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';
import { committeeAbi, committeeBytecode } from '../../contracts/abi.ts';
import { concat, equal, hex, unhex, writeUint } from '../../protocol/bytes.ts';
import { packArchive } from '../../protocol/da/archive.ts';
import { BLOB_CAPACITY } from '../../protocol/da/blobs.ts';
import { columnRoot, decodeColumns, encodeColumns } from '../../protocol/da/columns.ts';
import { encodeData } from '../../protocol/da/layout.ts';
import { Signing } from '../../protocol/eip712.ts';
import { signOwner, toCompact } from '../../protocol/keys.ts';
import { keccak } from '../../protocol/hash.ts';
import { encodeChunkRecord, type ChunkRecord } from '../../protocol/trace.ts';
import { L1 } from '../../local/l1.ts';
import { L1_RULES, UPLINK } from '../../local/simulate/cost.ts';
import { committee } from './da-committee.ts';
import { type Suite, isShort, median } from './suite.ts';
import { workload } from './workload.ts';

const CODE = { n: 16, k: 6 };
const QUORUM = 11;
const INTERACTIONS = 131_072;
const AGENTS = 2 ** 17;
const RUNS = isShort ? 2 : 5;
/** Columns that a decoder has lost: all of them data. */
const ERASURES = 5;
const SIGNATURE = 64;
const STAKE = 10n ** 16n;

/** Capacities that the rates are reckoned at: all of L1's gas, all of its target of blobs, and of who posts to a committee 1 Gbit/s. */
const { blockGas, blockSeconds, blobTarget, calldataFloorGas } = L1_RULES;
const CALLDATA_BYTES_PER_SECOND = blockGas / blockSeconds / calldataFloorGas;
const BLOBS_PER_SECOND = blobTarget / blockSeconds;

/** MB (10^6 bytes) of data a second of processor time. */
async function rate(bytes: number, run: () => unknown): Promise<number> {
  await run();
  const rates: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    rates.push(bytes / (user + system));
  }
  return median(rates);
}

/** Gas of checking a certificate with a quorum's signatures as a transaction, less what every transaction pays; null when anvil does not start. */
async function certificateGas(): Promise<number | null> {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-bench-'));
  const l1 = await L1.start({ dir, blockTime: 0 }).catch(() => null);
  if (!l1) return null;
  try {
    const keys = Array.from({ length: CODE.n }, (_, i) => keccak(Uint8Array.of(7, i)));
    const accounts = keys.map((key) => privateKeyToAccount(hex(key)));
    const members = accounts.map(({ address }) => address);
    const { root } = l1;
    const config = {
      root,
      availability: zeroAddress,
      members: CODE.n,
      threshold: CODE.k,
      quorum: QUORUM,
      retention: 86_400n,
      memberStake: STAKE,
    };
    for (const member of members) await l1.fund(member);
    const wallet = createWalletClient({ account: accounts[0], chain: foundry, transport: http(l1.rpc) });
    const hash = await wallet.deployContract({
      abi: committeeAbi,
      bytecode: committeeBytecode,
      args: [config, members],
    });
    const { contractAddress } = await l1.client.waitForTransactionReceipt({ hash });
    const committee = { address: contractAddress!, abi: committeeAbi };
    for (const account of accounts)
      await l1.write(account, { ...committee, functionName: 'stake', args: [], value: STAKE });
    await l1.write(accounts[0], { ...committee, functionName: 'begin', args: [members] });
    const { timestamp } = await l1.client.getBlock();
    const available = { number: 1, dataRoot: keccak(Uint8Array.of(1)), epoch: 1, until: Number(timestamp) + 1_000_000 };
    const signing = new Signing({ chainId: l1.chainId, root });
    const head = new Uint8Array(18);
    writeUint(head, 0, 8, available.epoch);
    writeUint(head, 8, 8, available.until);
    writeUint(head, 16, 2, ((1 << QUORUM) - 1) << (CODE.n - QUORUM));
    const certificate = concat(
      head,
      ...members.slice(0, CODE.n - QUORUM).map((member) => unhex(member)),
      ...keys.slice(CODE.n - QUORUM).map((key) => toCompact(signOwner(key, signing.available(available)))),
    );
    // A look at it would do; as a transaction it says what it takes.
    const checked = await wallet.sendTransaction({
      to: committee.address,
      data: encodeFunctionData({
        abi: committeeAbi,
        functionName: 'check',
        args: [1n, hex(available.dataRoot), hex(certificate)],
      }),
      gas: 1_000_000n,
    });
    const { gasUsed, status } = await l1.client.waitForTransactionReceipt({ hash: checked });
    if (status !== 'success') throw new Error('the certificate was refused');
    return Number(gasUsed) - 21_000;
  } finally {
    await l1.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}

export const suite: Suite = {
  name: 'da',
  async run(progress) {
    const frames = workload(INTERACTIONS, AGENTS, null, 17);
    // Signatures and hashes are what no compressor helps with.
    for (const frame of frames) frame.set(crypto.getRandomValues(new Uint8Array(SIGNATURE)), frame.length - SIGNATURE);
    const records: ChunkRecord[] = [{ shard: 0, firstSeq: 0, frames }];
    const wire = frames.reduce((sum, { length }) => sum + length, 0);
    progress('an archive');
    const archive = await packArchive(records);
    const archiveMBps = await rate(wire, () => packArchive(records));
    const { data } = encodeData(records);
    progress(`${(data.length / 1e6).toFixed(1)} MB into ${CODE.n} columns and back`);
    const columns = encodeColumns(data, CODE);
    const some = new Map(columns.map((column, c) => [c, column] as const).slice(ERASURES, ERASURES + CODE.k));
    if (!equal(decodeColumns(some, data.length, CODE), data)) throw new Error('the data did not come back');
    const encodeMBps = await rate(data.length, () => encodeColumns(data, CODE).map(columnRoot));
    const decodeMBps = await rate(data.length, () => decodeColumns(some, data.length, CODE));
    progress('a certificate on anvil');
    const gas = await certificateGas();
    const endToEnd = await committee(data, INTERACTIONS, CODE, QUORUM, progress);
    const perInteraction = data.length / INTERACTIONS;
    const calldata = encodeChunkRecord(records[0]).length / INTERACTIONS;
    return {
      metrics: {
        bytesPerInteraction: wire / INTERACTIONS,
        bytesPerInteractionUnsigned: (wire - frames.length * SIGNATURE) / INTERACTIONS,
        bytesPerInteractionArchived: archive.length / INTERACTIONS,
        archiveMBps,
        encodeMBps,
        decodeMBps,
        certificateGas: gas,
        ...endToEnd,
        interactionsPerSecondAtCalldata: CALLDATA_BYTES_PER_SECOND / calldata,
        interactionsPerSecondAtBlobs: (BLOBS_PER_SECOND * BLOB_CAPACITY) / perInteraction,
        interactionsPerSecondAtCommittee: (UPLINK * CODE.k) / CODE.n / perInteraction,
      },
      notes: {
        bytesPerInteraction:
          'in bundles of 64, signature and header included: what is signed, posted and proved against',
        bytesPerInteractionArchived: 'in columns and deflated, random signatures included',
        encodeMBps: `MB of data a second of processor time, n = ${CODE.n}, k = ${CODE.k}, the columns’ Merkle roots included`,
        decodeMBps: `the same, from ${CODE.k} columns, ${ERASURES} of the data’s own missing`,
        certificateGas: `${QUORUM} signatures of ${CODE.n} members, calldata included`,
        committeeMBps:
          'MB of data a second, from data to columns that all of 16 members in one workerd have on disk and signed for, one batch after the other; sequencer, members and L1 share the machine',
        committeeCertificateMs: 'until a quorum of 11 has signed for such a batch',
        committeeRetrieveMBps:
          'the data back from 6 members, none of its own columns among them that could be missing, encoded again',
        committeeInteractionsPerSecond: 'the same batches, in interactions of the mixed workload',
        interactionsPerSecondAtCalldata: `all of a block of ${blockGas / 1e6}M gas every ${blockSeconds} s, at ${calldataFloorGas} gas a byte (EIP-7623)`,
        interactionsPerSecondAtBlobs: `the whole target of ${blobTarget} blobs in ${blockSeconds} s, the index of frames included`,
        interactionsPerSecondAtCommittee: 'of who posts at 1 Gbit/s: every byte of data is n/k bytes of columns',
      },
    };
  },
};
