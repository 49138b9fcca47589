/**
 * Signature verdicts fetched ahead. The state transition asks synchronously whether a signature is valid; WebCrypto
 * answers only asynchronously, but many times faster than JavaScript. So whoever is about to execute frames prefetches
 * their verdicts here; whatever was not prefetched is computed in place, with the same answer.
 */
import type { Bundle } from './bundle.ts';
import { equal, hex } from './bytes.ts';
import { verifyP256, verifyP256Sync } from './keys.ts';
import type { Machine, VerifyP256 } from './machine.ts';

interface Verdict {
  readonly key: Uint8Array;
  readonly preimage: Uint8Array;
  readonly valid: boolean;
}

const MAX_VERDICTS = 65_536;

export class Verdicts {
  readonly #known = new Map<string, Verdict>();

  /** For a {@link Machine}: prefetched, else computed. */
  readonly verify: VerifyP256 = (key, preimage, signature) => {
    const found = this.#known.get(hex(signature));
    if (found && equal(found.key, key) && equal(found.preimage, preimage)) return found.valid;
    return verifyP256Sync(key, preimage, signature);
  };

  /** Remembers an answer that `verifyP256` gave. */
  add(key: Uint8Array, preimage: Uint8Array, signature: Uint8Array, valid: boolean): void {
    if (this.#known.size >= MAX_VERDICTS) this.#known.clear();
    this.#known.set(hex(signature), { key: key.slice(), preimage, valid });
  }

  forget(signature: Uint8Array): void {
    this.#known.delete(hex(signature));
  }

  /** Fetches the verdicts a bundle's execution will ask for, given the state as it is now. Returns that of its own signature. */
  async prefetch(machine: Machine, bundle: Bundle): Promise<boolean> {
    const { signing } = machine;
    const check = async (key: Uint8Array, preimage: Uint8Array, signature: Uint8Array): Promise<boolean> => {
      const own = key.slice();
      const valid = await verifyP256(own, preimage, signature);
      this.add(own, preimage, signature, valid);
      return valid;
    };
    const jobs = [check(machine.keyOf(bundle.actor), signing.bundle(bundle.body), bundle.signature)];
    for (const interaction of bundle.interactions) {
      if (interaction.op === 'settle') {
        const { half, signature } = interaction;
        jobs.push(check(machine.readSession(half.session, 1 + half.dir), signing.half(half), signature));
      } else if (interaction.op === 'close') {
        const { close, signature } = interaction;
        const isA = machine.partyOf(machine.readSession(close.session), bundle.actor) === 0;
        jobs.push(check(machine.readSession(close.session, isA ? 2 : 1), signing.close(close), signature));
      }
    }
    return (await Promise.all(jobs))[0];
  }
}
