/** A committee end to end: sixteen members in real workerd take their columns, keep them on disk and sign; then the data comes back from some of them. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { privateKeyToAccount } from 'viem/accounts';
import { equal, hex, unhex } from '../../protocol/bytes.ts';
import type { Code } from '../../protocol/da/columns.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { CommitteeChain } from '../../workers/committee/chain.ts';
import { collect, isTooFew } from '../../workers/committee/collect.ts';
import { isUnavailable, retrieve } from '../../workers/committee/retrieve.ts';
import { Operator } from '../../local/committee/operator.ts';
import { MemberWorkers } from '../../local/committee/workerd.ts';
import { L1 } from '../../local/l1.ts';
import { type Metric, isShort, median } from './suite.ts';

const RUNS = isShort ? 2 : 5;
const TIMEOUT_MS = 60_000;

const NONE: Record<string, Metric> = {
  committeeMBps: null,
  committeeCertificateMs: null,
  committeeRetrieveMBps: null,
  committeeInteractionsPerSecond: null,
};

/** Figures of `data` with so many interactions in it; null each where anvil or workerd do not start. */
export async function committee(
  data: Uint8Array,
  interactions: number,
  code: Code,
  quorum: number,
  progress: (line: string) => void,
): Promise<Record<string, Metric>> {
  const dir = mkdtempSync(join(tmpdir(), 'agnt2-bench-'));
  let workers: MemberWorkers | null = null;
  let l1: L1 | null = null;
  try {
    const secrets = Array.from({ length: code.n }, (_, i) => keccak(Uint8Array.of(9, i)));
    const list = secrets.map((secret) => unhex(privateKeyToAccount(hex(secret)).address));
    const terms = { members: list.map(hex), threshold: code.k, quorum, retention: 3600, memberStake: 1n };
    l1 = await L1.start({ dir, blockTime: 0, da: { demandWindow: 60, demandBond: 1n, committee: terms } });
    const chain = new CommitteeChain(l1.rpc, l1.root);
    const operators = secrets.map((secret) => new Operator(chain, hex(secret)));
    for (const operator of operators) {
      await l1.fund(operator.address);
      await operator.stake();
    }
    await operators[0].begin(list);
    workers = await MemberWorkers.start({ dir, rpc: l1.rpc, root: l1.root, secrets });
    const { urls } = workers;
    const members = list.map((address, i) => ({ address, url: urls[i] }));
    const key = await MachineKey.import(unhex(l1.sequencerSecret));
    const signing = new Signing({ chainId: l1.chainId, root: l1.root });
    const until = Math.floor(Date.now() / 1000) + 7200;

    const [all, quorate, back]: [number[], number[], number[]] = [[], [], []];
    // The first warms up, and is not counted.
    for (let run = 0; run <= RUNS; run++) {
      progress(`a batch to ${code.n} members${run === 0 ? ', to warm up' : ''}`);
      const own = data.slice();
      own[own.length - 1 - run] ^= 1;
      const started = performance.now();
      const options = { number: run + 1, data: own, epoch: 1, until, code, quorum, key, signing };
      const collected = await collect(members, { ...options, timeoutMs: TIMEOUT_MS });
      const quorateMs = performance.now() - started;
      if (isTooFew(collected)) throw new Error(`no certificate: ${collected.outcomes.join()}`);
      await collected.rest;
      const allMs = performance.now() - started;
      // The last k of them: none of the data's own columns that could be spared is there.
      const some = members.map((member, i) =>
        i < code.n - code.k ? { ...member, url: 'http://127.0.0.1:1' } : member,
      );
      const asked = performance.now();
      const got = await retrieve(some, {
        dataRoot: collected.dataRoot,
        code,
        timeoutMs: TIMEOUT_MS,
        maxBytes: data.length,
      });
      const backMs = performance.now() - asked;
      if (isUnavailable(got) || !equal(got.data, own)) throw new Error('the data did not come back');
      if (run === 0) continue;
      [all[run - 1], quorate[run - 1], back[run - 1]] = [allMs, quorateMs, backMs];
    }
    const seconds = median(all) / 1000;
    return {
      committeeMBps: data.length / 1e6 / seconds,
      committeeCertificateMs: median(quorate),
      committeeRetrieveMBps: data.length / 1e3 / median(back),
      committeeInteractionsPerSecond: interactions / seconds,
    };
  } catch (error) {
    progress(`no committee: ${(error as Error).message}`);
    return NONE;
  } finally {
    await workers?.stop();
    await l1?.stop();
    rmSync(dir, { recursive: true, force: true });
  }
}
