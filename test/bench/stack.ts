/**
 * A real stack for a bench: anvil, the contracts, workerd, and agents funded through the inbox. workerd runs by itself, without the development server that
 * `npm start` has around it; the cron comes every minute, as in production, once the agents are there.
 */
import { readFileSync } from 'node:fs';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { sleep } from '../../local/process.ts';
import { Worker } from '../../local/worker.ts';
import { concat, hex, unhex } from '../../protocol/bytes.ts';
import { type Domain, Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { parseId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';

export interface BenchAgent {
  readonly id: number;
  readonly key: MachineKey;
  nonce: number;
}

export interface BenchStack {
  readonly url: string;
  /** URL of the L1's node. */
  readonly l1: string;
  readonly domain: Domain;
  readonly signing: Signing;
  readonly agents: readonly BenchAgent[];
  /** What receipts are signed with: x ‖ y. */
  readonly sequencerKey: Uint8Array;
  /** `kill -9` of workerd, and a start from what is on disk. Returns seconds from the start until its shard answers. */
  restart(): Promise<number>;
  /** Bytes of memory that workerd holds. */
  memoryBytes(): number;
  /** Microseconds of CPU that workerd has taken, to the hundredth of a second. */
  cpuMicros(): number;
  stop(): Promise<void>;
}

const MINUTE_MS = 60_000;
/** Linux counts CPU time in hundredths of a second. */
const MICROS_PER_TICK = 10_000;
/** Base units each agent starts with. */
const FUNDS = 10n ** 12n;

/** `secrets` are the agents' keys; fresh ones otherwise. */
export async function benchStack(
  count: number,
  secrets: readonly Uint8Array[] = Array.from({ length: count }, () => MachineKey.randomSecret()),
): Promise<BenchStack> {
  const dir = newRun();
  const l1 = await L1.start({ dir });
  const worker = await Worker.start({ dir, l1, shards: 1, cronMs: 500, vars: { BATCH_SECONDS: '3600' }, bare: true });
  const owner = privateKeyToAccount(generatePrivateKey());
  await l1.fund(owner.address);
  const keys = await Promise.all(secrets.map((secret) => MachineKey.import(secret)));
  const total = FUNDS * BigInt(count) * l1.unit;
  await l1.write(
    owner,
    { address: l1.token, abi: testTokenAbi, functionName: 'mint', args: [owner.address, total] },
    { address: l1.token, abi: testTokenAbi, functionName: 'approve', args: [l1.root, total] },
    ...keys.map(({ publicKey }) => ({
      address: l1.root,
      abi: rootAbi,
      functionName: 'register',
      args: [0, hex(publicKey.subarray(0, 32)), hex(publicKey.subarray(32)), FUNDS],
    })),
  );
  const agents: BenchAgent[] = [];
  for (const key of keys) {
    for (let tries = 0; ; tries++) {
      const answer = (await fetch(`${worker.url}/agents?key=${hex(keccak(key.publicKey))}`).then((r) => r.json())) as {
        agents: { id: string }[];
      };
      if (answer.agents.length > 0) {
        agents.push({ id: parseId(answer.agents[0].id), key, nonce: 0 });
        break;
      }
      if (tries > 200) throw new Error('the agents never appeared: see the logs of the newest run in .agnt2/');
      await sleep(200);
    }
  }
  worker.cronMs = MINUTE_MS;
  const domain = { chainId: l1.chainId, root: l1.root };
  return {
    url: worker.url,
    l1: l1.rpc,
    domain,
    signing: new Signing(domain),
    agents,
    sequencerKey: (await MachineKey.import(unhex(l1.sequencerSecret, 32))).publicKey,
    restart: async () => {
      await worker.kill9();
      const start = performance.now();
      await worker.restart();
      return (performance.now() - start) / 1000;
    },
    memoryBytes: () => 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(processFile(worker.child.pid, 'status'))![1]),
    cpuMicros: () => {
      const [, user, system] = /^\d+ \(.*\) (?:\S+ ){11}(\d+) (\d+) /s.exec(processFile(worker.child.pid, 'stat'))!;
      return (Number(user) + Number(system)) * MICROS_PER_TICK;
    },
    stop: async () => {
      await worker.stop();
      await l1.stop();
    },
  };
}

/** Of Linux' /proc. */
const processFile = (pid: number, name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8');

/** Bundles as `application/vnd.agnt2.bundles` has them. */
export const packBundles = (frames: readonly Uint8Array[]): Uint8Array =>
  concat(...frames.flatMap((frame) => [Uint8Array.of(frame.length >> 8, frame.length & 255), frame]));
