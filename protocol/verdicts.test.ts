import { describe, expect, test } from 'vitest';
import { DOMAIN } from '../test/support/world.ts';
import { Signing } from './eip712.ts';
import { MachineKey } from './keys.ts';
import { Verdicts } from './verdicts.ts';

const signing = new Signing(DOMAIN);
const body = Uint8Array.of(1, 2, 3);
const never = (): Uint8Array => {
  throw new Error('nobody needs the preimage of a known body');
};

describe('Verdicts', () => {
  test('what was fetched ahead is known by its body, without hashing it', async () => {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const signature = await key.sign(signing.bundle(body));
    for (const valid of [true, false]) {
      const verdicts = new Verdicts();
      verdicts.add(key.publicKey, signing.bundle(body), signature, valid, body);
      expect(verdicts.verify(key.publicKey, never, signature, body.slice())).toBe(valid);
    }
  });

  test('a body that came without one is known from its first look on', async () => {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const signature = await key.sign(signing.bundle(body));
    const verdicts = new Verdicts();
    verdicts.add(key.publicKey, signing.bundle(body), signature, true);
    expect(verdicts.verify(key.publicKey, () => signing.bundle(body), signature, body)).toBe(true);
    expect(verdicts.verify(key.publicKey, never, signature, body)).toBe(true);
    verdicts.forget(signature);
    expect(() => verdicts.verify(key.publicKey, never, signature, body)).toThrow('nobody needs');
  });

  test('another body, key or preimage under a known signature is checked anew', async () => {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const other = await MachineKey.import(MachineKey.randomSecret());
    const signature = await key.sign(signing.bundle(body));
    const verdicts = new Verdicts();
    verdicts.add(key.publicKey, signing.bundle(body), signature, true, body);
    const lie = Uint8Array.of(1, 2, 4);
    expect(verdicts.verify(key.publicKey, () => signing.bundle(lie), signature, lie)).toBe(false);
    expect(verdicts.verify(key.publicKey, () => signing.bundle(lie), signature)).toBe(false);
    expect(verdicts.verify(other.publicKey, () => signing.bundle(body), signature, body)).toBe(false);
    // A body changed in place after its verdict was fetched is another body.
    const frame = body.slice();
    verdicts.add(key.publicKey, signing.bundle(frame), signature, true, frame);
    frame[0] ^= 1;
    expect(verdicts.verify(key.publicKey, () => signing.bundle(frame), signature, frame)).toBe(false);
  });
});
