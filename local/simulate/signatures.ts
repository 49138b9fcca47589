/** What a P-256 signature and its check cost this machine's processor: what halves are made of. */
import { Signing } from '../../protocol/eip712.ts';
import { MachineKey, verifyP256 } from '../../protocol/keys.ts';
import type { Metrics } from './calibration.ts';

const COUNT = 400;

/** Microseconds of processor time of each, by the platform's WebCrypto as a sidecar and a relay use it. */
export async function measureSignatures(): Promise<Metrics> {
  const signing = new Signing({ chainId: 1, root: `0x${'00'.repeat(20)}` });
  const key = await MachineKey.import(MachineKey.randomSecret());
  const preimage = signing.bundle(new Uint8Array(97));
  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    for (let i = 0; i < COUNT / 4; i++) await work();
    const before = process.cpuUsage();
    for (let i = 0; i < COUNT; i++) await work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / COUNT;
  };
  const signature = await key.sign(preimage);
  return {
    signMicros: await timed(() => key.sign(preimage)),
    verifyMicros: await timed(() => verifyP256(key.publicKey, preimage, signature)),
  };
}
