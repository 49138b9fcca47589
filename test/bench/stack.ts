/** A real stack for a bench: anvil, the contracts, workerd, and agents funded through the inbox. */
import { readFileSync, readdirSync } from 'node:fs';
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts';
import { rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { sleep } from '../../local/process.ts';
import { Worker } from '../../local/worker.ts';
import { concat, hex } from '../../protocol/bytes.ts';
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
  readonly domain: Domain;
  readonly signing: Signing;
  readonly agents: readonly BenchAgent[];
  /** `kill -9` of workerd, and a start from what is on disk. Returns seconds from the start until its shard answers. */
  restart(): Promise<number>;
  /** Bytes of memory that workerd holds. */
  memoryBytes(): number;
  stop(): Promise<void>;
}

/** Base units each agent starts with. */
const FUNDS = 10n ** 12n;

/** `secrets` are the agents' keys; fresh ones otherwise. */
export async function benchStack(
  count: number,
  secrets: readonly Uint8Array[] = Array.from({ length: count }, () => MachineKey.randomSecret()),
): Promise<BenchStack> {
  const dir = newRun();
  const l1 = await L1.start({ dir });
  const worker = await Worker.start({ dir, l1, shards: 1, cronMs: 500, vars: { BATCH_SECONDS: '3600' } });
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
  const domain = { chainId: l1.chainId, root: l1.root };
  return {
    url: worker.url,
    domain,
    signing: new Signing(domain),
    agents,
    restart: async () => {
      await worker.kill9();
      const start = performance.now();
      await worker.restart();
      return (performance.now() - start) / 1000;
    },
    memoryBytes: () => memoryOf(worker.child.pid, 'workerd'),
    stop: async () => {
      await worker.stop();
      await l1.stop();
    },
  };
}

/** Resident bytes of all processes of a group that run a program, by Linux' /proc. */
function memoryOf(group: number, program: string): number {
  let bytes = 0;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const [, name, rest] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))!;
      if (name !== program || Number(rest.split(' ')[2]) !== group) continue;
      bytes += 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
    } catch {
      // It has just ended.
    }
  }
  return bytes;
}

/** Bundles as `application/vnd.agnt2.bundles` has them. */
export const packBundles = (frames: readonly Uint8Array[]): Uint8Array =>
  concat(...frames.flatMap((frame) => [Uint8Array.of(frame.length >> 8, frame.length & 255), frame]));
