/** What it costs that the machine key is in a process of its own: signatures a second as a busy session asks for them, and what one waits more. */
import '../../protocol/keccak/install.ts';
import { hex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import type { Half } from '../../protocol/half.ts';
import { MachineKey, type SigningKey } from '../../protocol/keys.ts';
import { spawnSigner } from '../../sidecar/signer/client.ts';
import { type Suite, median, percentile } from './suite.ts';

const DOMAIN = { chainId: 31337, root: '0x00000000000000000000000000000000000000aa' } as const;
const AGENT = 256;
const ROUNDS = 5;
const WINDOW = 64;
const PER_ROUND = 4000;
const ALONE = 1000;

interface Side {
  readonly key: SigningKey;
  readonly signing: Signing;
  readonly rates: number[];
  readonly waits: number[];
  readonly cpus: number[];
  /** Halves must grow. */
  seq: number;
}

function next(side: Side): Uint8Array {
  const seq = (side.seq += 1);
  const half: Half = { session: 256, dir: 0, seq, calls: seq, paid: seq, root: new Uint8Array(32) };
  return side.signing.half(half);
}

/** Keeps `WINDOW` requests under way. */
async function crowd(side: Side): Promise<void> {
  let left = PER_ROUND;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const lane = async (): Promise<void> => {
    while (left-- > 0) await side.key.sign(next(side));
  };
  await Promise.all(Array.from({ length: WINDOW }, lane));
  side.rates.push((PER_ROUND / (performance.now() - started)) * 1000);
  const { user, system } = process.cpuUsage(cpu);
  side.cpus.push((user + system) / PER_ROUND);
}

async function alone(side: Side): Promise<void> {
  for (let i = 0; i < ALONE; i++) {
    const preimage = next(side);
    const started = performance.now();
    await side.key.sign(preimage);
    side.waits.push((performance.now() - started) * 1000);
  }
}

export const suite: Suite = {
  name: 'signer',
  async run(progress) {
    const secret = MachineKey.randomSecret();
    const local = await MachineKey.import(secret);
    const remote = await spawnSigner({ key: { secret: hex(secret) } });
    const side = (key: SigningKey, signing: Signing): Side => ({
      key,
      signing,
      rates: [],
      waits: [],
      cpus: [],
      seq: 0,
    });
    const inside = side(local, new Signing(DOMAIN));
    const outside = side(remote, await remote.signing(DOMAIN, AGENT));
    for (let i = 0; i <= ROUNDS; i++) {
      progress(`round ${i} of ${ROUNDS}`);
      for (const one of i % 2 === 0 ? [inside, outside] : [outside, inside]) {
        await crowd(one);
        await alone(one);
        // The first is for the compiler.
        if (i === 0) for (const figures of [one.rates, one.waits, one.cpus]) figures.length = 0;
      }
    }
    remote.close();
    return {
      metrics: {
        signaturesPerSecond: median(outside.rates),
        inProcessPerSecond: median(inside.rates),
        signP50Us: median(outside.waits),
        signP99Us: percentile(outside.waits, 99),
        inProcessP50Us: median(inside.waits),
        inProcessP99Us: percentile(inside.waits, 99),
        addedP50Us: median(outside.waits) - median(inside.waits),
        sidecarCpuUs: median(outside.cpus),
        inProcessCpuUs: median(inside.cpus),
      },
    };
  },
};
