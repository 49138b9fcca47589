/**
 * Signature verdicts fetched ahead. The state transition asks synchronously whether a signature is valid; WebCrypto
 * answers only asynchronously, but many times faster than JavaScript. So whoever is about to execute frames prefetches
 * their verdicts here; whatever was not prefetched is computed in place, with the same answer.
 */
import type { Bundle } from './bundle.ts';
import { equal } from './bytes.ts';
import { verifyP256, verifyP256Sync } from './keys.ts';
import type { Machine, VerifyP256 } from './machine.ts';

interface Verdict {
  readonly key: Uint8Array;
  readonly preimage: Uint8Array;
  /** The bytes the preimage is made from, once they are known: comparing them spares hashing them again. */
  body: Uint8Array | null;
  readonly valid: boolean;
}

const MAX_VERDICTS = 65_536;

/** A signature's place in the map: its bytes as characters, which is much cheaper than hex. */
const nameOf = (signature: Uint8Array): string => String.fromCharCode(...signature);

export class Verdicts {
  readonly #known = new Map<string, Verdict>();

  /** For a {@link Machine}: prefetched, else computed. */
  readonly verify: VerifyP256 = (key, preimage, signature, body) => {
    const found = this.#known.get(nameOf(signature));
    if (found && equal(found.key, key)) {
      if (body && found.body && equal(found.body, body)) return found.valid;
      if (equal(found.preimage, preimage())) {
        if (body) found.body = body.slice();
        return found.valid;
      }
    }
    return verifyP256Sync(key, preimage(), signature);
  };

  /** Remembers an answer that `verifyP256` gave. */
  add(key: Uint8Array, preimage: Uint8Array, signature: Uint8Array, valid: boolean, body?: Uint8Array): void {
    if (this.#known.size >= MAX_VERDICTS) this.#known.clear();
    this.#known.set(nameOf(signature), { key: key.slice(), preimage, body: body?.slice() ?? null, valid });
  }

  forget(signature: Uint8Array): void {
    this.#known.delete(nameOf(signature));
  }

  /** Fetches the verdicts a bundle's execution will ask for, given the state as it is now. Returns that of its own signature. */
  async prefetch(machine: Machine, bundle: Bundle): Promise<boolean> {
    const { signing } = machine;
    const check = async (
      key: Uint8Array,
      preimage: Uint8Array,
      signature: Uint8Array,
      body?: Uint8Array,
    ): Promise<boolean> => {
      const own = key.slice();
      const valid = await verifyP256(own, preimage, signature);
      this.add(own, preimage, signature, valid, body);
      return valid;
    };
    const { body } = bundle;
    const jobs = [check(machine.keyOf(bundle.actor), signing.bundle(body), bundle.signature, body)];
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
