/** Every check this page makes itself. The rules are docs/protocol.md §2 (trie), §3 (dataRoot), §5 (digests) and §7 (batches). */
import { keccak } from './keccak.js';

const text = new TextEncoder();

/** @param {string} hex @returns {Uint8Array} */
export function bytes(hex) {
  const digits = String(hex ?? '').replace(/^0x/, '');
  if (digits.length % 2 || /[^0-9a-f]/i.test(digits)) throw new TypeError('not hex');
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/** @param {Uint8Array} data @returns {string} */
export const hex = (data) => `0x${Array.from(data, (b) => b.toString(16).padStart(2, '0')).join('')}`;

/** @param {Uint8Array[]} parts */
export function join(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** A big-endian unsigned integer of `width` bytes. */
export function uint(value, width) {
  const out = new Uint8Array(width);
  let rest = BigInt(value);
  for (let i = width - 1; i >= 0; i--, rest >>= 8n) out[i] = Number(rest & 255n);
  return out;
}

export const same = (a, b) => typeof a === 'string' && typeof b === 'string' && a.toLowerCase() === b.toLowerCase();

/** Region numbers of docs/protocol.md §2. */
export const REGION = { agent: 1, key: 2, service: 3, capability: 4, session: 5, escrow: 6, outbox: 7 };

/** The address of the cell of `id` (`shard:serial`). */
export function address(region, id) {
  const [shard, serial] = id.split(':').map(BigInt);
  const slot = region === 'session' ? 4n * (serial % (1n << 18n)) : serial % (1n << 20n);
  return Number((shard << 24n) | (BigInt(REGION[region]) << 20n) | slot);
}

/**
 * Folds a cell up the 4-ary trie.
 * @param {string} cell 64 bytes
 * @param {number} at its address
 * @param {string[][] | string[]} siblings 3 a level from the leaf up: 16 levels to a state root, 12 to a shard root
 * @returns {{levels: {height: number, digit: number, node: string, siblings: string[], at: number}[], leaf: string, root: string}}
 *   `levels[i].node` is the node after i + 1 levels, at depth 15 − i
 */
export function foldCell(cell, at, siblings) {
  const flat = siblings.flat();
  if (flat.length !== 48 && flat.length !== 36) throw new TypeError('a proof has 16 or 12 levels of 3');
  const data = bytes(cell);
  if (data.length !== 64) throw new TypeError('a cell has 64 bytes');
  let node = keccak(data);
  const leaf = hex(node);
  const levels = [];
  for (let height = 0; height < flat.length / 3; height++) {
    const digit = Math.floor(at / 4 ** height) % 4;
    const level = flat.slice(3 * height, 3 * height + 3);
    const children = level.map(bytes);
    if (children.some((c) => c.length !== 32)) throw new TypeError('a sibling has 32 bytes');
    children.splice(digit, 0, node);
    node = keccak(join(...children));
    levels.push({ height: height + 1, digit, node: hex(node), siblings: level });
  }
  return { levels, leaf, root: hex(node) };
}

/** The commitment between two steps; `context` is 0 between frames. */
export const commitment = (stateRoot, context = 0) => hex(keccak(join(bytes(stateRoot), uint(context, 32))));

/** A frame's leaf under `dataRoot`. */
export const frameLeaf = ({ firstStep, shard, seq, frame }) =>
  hex(keccak(join(Uint8Array.of(0), uint(firstStep, 8), uint(shard, 1), uint(seq, 8), bytes(frame))));

/**
 * Folds an RFC 6962 audit path (RFC 9162 §2.1.3.2) with keccak.
 * @returns {{levels: {side: 'left' | 'right', sibling: string, node: string}[], root: string | null}} null when the path does not have the length that `size` asks for
 */
export function foldPath(leaf, index, size, path) {
  let at = BigInt(index);
  let last = BigInt(size) - 1n;
  let node = bytes(leaf);
  const levels = [];
  if (at > last) return { levels, root: null };
  for (const sibling of path) {
    if (last === 0n) return { levels, root: null };
    const left = (at & 1n) === 1n || at === last;
    node = keccak(left ? join(Uint8Array.of(1), bytes(sibling), node) : join(Uint8Array.of(1), node, bytes(sibling)));
    levels.push({ side: left ? 'left' : 'right', sibling, node: hex(node) });
    if (left) while ((at & 1n) === 0n && at !== 0n) [at, last] = [at >> 1n, last >> 1n];
    [at, last] = [at >> 1n, last >> 1n];
  }
  return { levels, root: last === 0n ? hex(node) : null };
}

/** The root of the empty state, `Z[16]`. */
export function emptyRoot() {
  let node = keccak(new Uint8Array(64));
  for (let height = 0; height < 16; height++) node = keccak(join(node, node, node, node));
  return hex(node);
}

/** keccak(abi.encode(Batch)). */
export const batchHash = (h) =>
  hex(
    keccak(
      join(
        uint(h.number, 32),
        bytes(h.prev),
        bytes(h.pre),
        bytes(h.post),
        uint(h.steps, 32),
        uint(h.timeFrom, 32),
        uint(h.timeTo, 32),
        uint(h.inboxCursor, 32),
        bytes(h.dataRoot),
        uint(h.da, 32),
      ),
    ),
  );

/** The hash of a frame's outcomes, as a receipt promises it. `steps` hold a status number and a value. */
export const outcomesHash = (steps) =>
  hex(keccak(join(...steps.map((s) => join(uint(s.status, 1), uint(s.value, 8))))));

const DOMAIN = keccak(
  text.encode('EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)'),
);
const RECEIPT = keccak(
  text.encode(
    'Receipt(uint8 shard,uint64 seq,bytes32 frameHash,bytes32 runningHash,bytes32 outcomesHash,uint64 promisedBy)',
  ),
);
const CHECKPOINT = keccak(text.encode('Checkpoint(uint8 shard,uint64 seq,bytes32 shardRoot)'));
const BUNDLE = keccak(text.encode('Bundle(bytes body)'));
const HALF = keccak(
  text.encode('Half(uint64 session,uint8 dir,uint64 seq,uint64 calls,uint64 paid,bytes32 root,bytes32 locks)'),
);

function preimage(domain, struct) {
  const separator = keccak(
    join(
      DOMAIN,
      keccak(text.encode('AGNT2')),
      keccak(text.encode('1')),
      uint(domain.chainId, 32),
      join(new Uint8Array(12), bytes(domain.root)),
    ),
  );
  return join(Uint8Array.of(0x19, 0x01), separator, keccak(struct));
}

/** The 66 bytes that a sequencer signs. `domain` is {chainId, root}. */
export const receiptPreimage = (domain, r) =>
  preimage(
    domain,
    join(
      RECEIPT,
      uint(r.shard, 32),
      uint(r.seq, 32),
      bytes(r.frameHash),
      bytes(r.runningHash),
      bytes(r.outcomesHash),
      uint(r.promisedBy, 32),
    ),
  );

/** The 66 bytes that a sequencer signs over a shard's root. */
export const checkpointPreimage = (domain, c) =>
  preimage(domain, join(CHECKPOINT, uint(c.shard, 32), uint(c.seq, 32), bytes(c.shardRoot)));

/** The 66 bytes that an agent signs over a bundle; `frame` is the whole bundle. */
export const bundlePreimage = (domain, frame) => preimage(domain, join(BUNDLE, keccak(bytes(frame).slice(0, -64))));

/** The 66 bytes of a half; `session` is the number, not the text form. */
export const halfPreimage = (domain, h) =>
  preimage(
    domain,
    join(
      HALF,
      uint(h.session, 32),
      uint(h.dir, 32),
      uint(h.seq, 32),
      uint(h.calls, 32),
      uint(h.paid, 32),
      bytes(h.root),
      new Uint8Array(32),
    ),
  );

/** Half the order of P-256: a signature's s above it is refused everywhere (docs/protocol.md §5). */
const HALF_ORDER = 0x7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8n;

/**
 * P-256 with SHA-256 over `message`, by WebCrypto; low-s only.
 * @returns {Promise<boolean | null>} null where the browser offers no WebCrypto (a page not on https or localhost)
 */
export async function verifyP256(key, signature, message) {
  if (!globalThis.crypto?.subtle) return null;
  try {
    if (BigInt(`0x${signature.slice(66)}`) > HALF_ORDER) return false;
    const raw = join(Uint8Array.of(4), bytes(key.x), bytes(key.y));
    const imported = await crypto.subtle.importKey('raw', raw, { name: 'ECDSA', namedCurve: 'P-256' }, false, [
      'verify',
    ]);
    return await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, imported, bytes(signature), message);
  } catch {
    return false;
  }
}

/**
 * Checks `GET /agents/{id}/proof` as protocol/proof.ts does, which says why; a test holds the two together.
 * @param asked {id, chainId, root, sequencerKey: {x, y}}
 * @returns {Promise<{at: number, folded: ReturnType<typeof foldCell>, ok: boolean, signed: boolean | null}>} `ok`: the cell is this
 *   agent's and leads to the checkpoint's root; `signed`: the sequencer's word for that root, null where it can't be checked
 */
export async function checkAgentProof(answer, { id, sequencerKey, ...domain }) {
  const { kind, cells, proof, checkpoint } = answer;
  const at = address('agent', id);
  const folded = foldCell(cells[0].cell, at, proof.siblings);
  const shard = Number(id.split(':')[0]);
  const isAsked =
    kind === 'agent' &&
    answer.id === id &&
    cells.length === 1 &&
    cells[0].address === at &&
    Number(id.split(':')[1]) < 2 ** 20;
  const isHere = proof.shard === shard && checkpoint.shard === shard && proof.seq === checkpoint.seq;
  const exists = (bytes(cells[0].cell)[63] & 1) === 1;
  const leads =
    folded.levels.length === 12 && same(folded.root, proof.shardRoot) && same(folded.root, checkpoint.shardRoot);
  const signed = await verifyP256(sequencerKey, checkpoint.signature, checkpointPreimage(domain, checkpoint));
  return { at, folded, ok: isAsked && isHere && exists && leads, signed };
}
