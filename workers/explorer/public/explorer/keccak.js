/**
 * keccak256 as Ethereum uses it: keccak-f[1600], rate 136, padding 0x01 (not SHA-3's 0x06).
 * 64-bit lanes are pairs of 32-bit words. Rotations and round constants are derived, not tabled.
 * https://keccak.team/keccak_specs_summary.html
 */

const ROUNDS = 24;
const RATE = 136;
const ROUND_CONSTANTS = new Uint32Array(2 * ROUNDS); // low, high
const ROTATION = new Uint8Array(25);
const MOVES = new Uint8Array(25); // where lane i goes in ρ and π

let lfsr = 1;
for (let round = 0; round < ROUNDS; round++) {
  for (let j = 0; j < 7; j++) {
    const bit = 2 ** j - 1;
    if (lfsr & 1) ROUND_CONSTANTS[2 * round + (bit >> 5)] ^= 1 << (bit & 31);
    lfsr = (lfsr << 1) ^ (lfsr & 0x80 ? 0x171 : 0);
  }
}
for (let t = 0, x = 1, y = 0; t < 24; t++) {
  const next = (2 * x + 3 * y) % 5;
  ROTATION[x + 5 * y] = (((t + 1) * (t + 2)) / 2) % 64;
  MOVES[x + 5 * y] = y + 5 * next;
  [x, y] = [y, next];
}

/** @param {Uint32Array} s 25 lanes, low word first, permuted in place */
function permute(s) {
  const c = new Uint32Array(10);
  const b = new Uint32Array(50);
  for (let round = 0; round < ROUNDS; round++) {
    for (let x = 0; x < 10; x++) c[x] = s[x] ^ s[x + 10] ^ s[x + 20] ^ s[x + 30] ^ s[x + 40];
    for (let x = 0; x < 5; x++) {
      const l = 2 * ((x + 1) % 5);
      const r = 2 * ((x + 4) % 5);
      const low = c[r] ^ ((c[l] << 1) | (c[l + 1] >>> 31));
      const high = c[r + 1] ^ ((c[l + 1] << 1) | (c[l] >>> 31));
      for (let i = 2 * x; i < 50; i += 10) {
        s[i] ^= low;
        s[i + 1] ^= high;
      }
    }
    for (let i = 0; i < 25; i++) {
      const n = ROTATION[i];
      const m = n & 31;
      const low = s[2 * i + (n >> 5)];
      const high = s[2 * i + 1 - (n >> 5)];
      b[2 * MOVES[i]] = m ? (low << m) | (high >>> (32 - m)) : low;
      b[2 * MOVES[i] + 1] = m ? (high << m) | (low >>> (32 - m)) : high;
    }
    for (let y = 0; y < 50; y += 10) {
      for (let x = 0; x < 10; x++) s[y + x] = b[y + x] ^ (~b[y + ((x + 2) % 10)] & b[y + ((x + 4) % 10)]);
    }
    s[0] ^= ROUND_CONSTANTS[2 * round];
    s[1] ^= ROUND_CONSTANTS[2 * round + 1];
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 32 bytes
 */
export function keccak(bytes) {
  const padded = new Uint8Array((Math.floor(bytes.length / RATE) + 1) * RATE);
  padded.set(bytes);
  padded[bytes.length] ^= 0x01;
  padded[padded.length - 1] ^= 0x80;
  const state = new Uint32Array(50);
  const view = new DataView(padded.buffer);
  for (let at = 0; at < padded.length; at += RATE) {
    for (let i = 0; i < RATE / 4; i++) state[i] ^= view.getUint32(at + 4 * i, true);
    permute(state);
  }
  const out = new DataView(new ArrayBuffer(32));
  for (let i = 0; i < 8; i++) out.setUint32(4 * i, state[i], true);
  return new Uint8Array(out.buffer);
}
