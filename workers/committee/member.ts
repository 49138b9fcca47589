/**
 * A member of a committee (docs/protocol.md §12), for a Worker or any HTTP server: takes its column of a batch's data from the sequencer, keeps it, signs
 * that it does, and gives it to whoever asks. What it signs is a promise to keep bytes and no vote: two batches of one number may both be promised.
 *
 *     POST /columns                            an offer → {"member", "column", "signature"}
 *     GET  /columns/{dataRoot}                 the column
 *     GET  /columns/{dataRoot}/commitment      what the dataRoot is the hash of
 *     GET  /columns/{dataRoot}/cells?rows=0,5  cells with their paths, up to 64
 *     GET  /healthz, /metrics
 */
import { Hono } from 'hono';
import type { Held, MemberRpc } from '../../durable/member/api.ts';
import { type Hex, concat, equal, hex, readUint } from '../../protocol/bytes.ts';
import { hashCells } from '../../protocol/da/cells.ts';
import { columnBytes } from '../../protocol/da/columns.ts';
import {
  MAX_CELLS,
  decodeOfferHead,
  encodeCells,
  encodeCommitment,
  offerHeadBytes,
  rootOfCommitment,
} from '../../protocol/da/offer.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Agnt2Error, codeOf } from '../../protocol/errors.ts';
import { keccak } from '../../protocol/hash.ts';
import { ownerAddress, signOwner, toCompact, verifyP256 } from '../../protocol/keys.ts';
import { rootOf } from '../../protocol/log.ts';
import { Problem, problem, problemResponse } from '../gateway/problem.ts';
import { Body } from './body.ts';
import type { CommitteeTerms, MemberChain } from './chain.ts';
import { MemberMetrics } from './metrics.ts';

export interface MemberLimits {
  /** Largest column, bytes. */
  readonly maxColumnBytes: number;
  /** Longest that anything is promised for, seconds from now. */
  readonly maxKeepSeconds: number;
  /** Offers taken in at the same time; what is more is told to come back. */
  readonly offersAtOnce: number;
  /** Milliseconds in which an offer must have arrived. */
  readonly offerMs: number;
  /** Bytes of columns and cells given out: so many at once, then so many a second. */
  readonly readBurst: number;
  readonly readPerSecond: number;
}

export const LIMITS: MemberLimits = {
  // As an answer of a Durable Object must be below 32 MiB.
  maxColumnBytes: 2 ** 24,
  maxKeepSeconds: 90 * 86_400,
  offersAtOnce: 6,
  offerMs: 20_000,
  readBurst: 2 ** 28,
  readPerSecond: 2 ** 25,
};

export interface MemberOptions {
  /** The secp256k1 key of the member's account at L1. */
  readonly secret: Uint8Array;
  readonly chain: MemberChain;
  readonly store: MemberRpc;
  readonly limits?: Partial<MemberLimits>;
  readonly metrics?: MemberMetrics;
}

/** A member's answer to an offer: its signature is 64 bytes (EIP-2098) over `Available`. */
export interface Promised {
  readonly member: Hex;
  readonly column: number;
  readonly signature: Hex;
}

const OCTETS = { 'content-type': 'application/octet-stream' };

export class MemberApp {
  readonly address: Uint8Array;
  readonly metrics: MemberMetrics;
  readonly #options: MemberOptions;
  readonly #limits: MemberLimits;
  readonly #app = new Hono();
  #signing: Signing | null = null;
  #offers = 0;
  #readable: { bytes: number; atMs: number };

  constructor(options: MemberOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.metrics = options.metrics ?? new MemberMetrics();
    this.address = ownerAddress(options.secret);
    this.#readable = { bytes: this.#limits.readBurst, atMs: Date.now() };
    const app = this.#app;
    app.post('/columns', async (c) => c.json(await this.#offer(c.req.raw)));
    app.get('/columns/:root', async (c) => this.#column(rootIn(c.req.param('root'))));
    app.get('/columns/:root/commitment', async (c) => this.#commitment(rootIn(c.req.param('root'))));
    app.get('/columns/:root/cells', async (c) =>
      this.#cells(rootIn(c.req.param('root')), rowsIn(c.req.query('rows') ?? '')),
    );
    app.get('/healthz', async (c) => {
      const { chainId, root, committee } = await options.chain.terms();
      return c.json({ member: hex(this.address), chainId, root, committee, ...(await options.store.stats()) });
    });
    app.get(
      '/metrics',
      async () =>
        new Response(this.metrics.text(await options.store.stats()), { headers: { 'content-type': 'text/plain' } }),
    );
    app.notFound(() => problemResponse(problem('not_found', 'there is nothing at this path')));
    app.onError((error) => {
      const known = asProblem(error);
      this.metrics.refused(known.code);
      return problemResponse(known);
    });
  }

  fetch(request: Request): Response | Promise<Response> {
    return this.#app.fetch(request);
  }

  async #offer(request: Request): Promise<Promised> {
    const body = new Body(request.body, Date.now() + this.#limits.offerMs);
    try {
      return await this.#take(body);
    } finally {
      body.cancel();
    }
  }

  async #take(body: Body): Promise<Promised> {
    const { chain } = this.#options;
    const terms = await chain.terms();
    const head = decodeOfferHead(await body.take(offerHeadBytes(terms.code.n)), terms.code.n);
    const { number, until, commitment, members } = head;
    const { epoch, length } = commitment;
    const dataRoot = rootOfCommitment(commitment);
    const promise = { number, dataRoot, epoch, until };
    // Before the column is read: strangers get no further than here.
    const signing = this.#signingOf(terms);
    if (!(await verifyP256(terms.sequencerKey, signing.offer(promise), head.signature)))
      throw problem('bad_signature', 'the offer is not signed by the sequencer');
    const now = Math.floor(Date.now() / 1000);
    if (until <= now) throw problem('expired', `nothing is kept until ${until}: it is ${now}`);
    if (until > now + this.#limits.maxKeepSeconds)
      throw problem('too_long', `columns are kept for ${this.#limits.maxKeepSeconds} seconds at the most`);
    const size = columnBytes(length, terms.code.k);
    if (size > this.#limits.maxColumnBytes)
      throw problem('too_large', `a column of ${size} bytes is more than ${this.#limits.maxColumnBytes}`);
    const column = members.findIndex((member) => equal(member, this.address));
    if (column < 0) throw problem('not_a_member', `${hex(this.address)} is not in the list`);
    if (!(await chain.isListOf(epoch, members)))
      throw problem('wrong_epoch', `the list is not that of an epoch ${epoch} at L1`);

    const promised = (): Promised => {
      const signature = toCompact(signOwner(this.#options.secret, signing.available(promise)));
      return { member: hex(this.address), column, signature: hex(signature) };
    };
    const before = await this.#options.store.held(hex(dataRoot));
    // Asked once more, for no longer: the column need not come again.
    if (before && before.until >= until) return promised();
    const held = { dataRoot: hex(dataRoot), number, epoch, column, until, commitment: encodeCommitment(commitment) };
    await this.#keep(body, held, commitment.roots[column], size);
    return promised();
  }

  /** Takes in a column and has it on disk. */
  async #keep(body: Body, held: Held, root: Uint8Array, size: number): Promise<void> {
    if (this.#offers >= this.#limits.offersAtOnce)
      throw problem('overloaded', `${this.#offers} offers are being taken in: come back in a second`);
    this.#offers += 1;
    try {
      const bytes = await body.take(size);
      await body.end();
      const hashes = hashCells(bytes);
      if (!equal(rootOf(keccak, hashes), root))
        throw problem('hash_mismatch', `the bytes are not column ${held.column} of ${held.dataRoot}`);
      const failed = await this.#options.store.keep(held, bytes, concat(...hashes));
      if (failed !== null) throw problem(failed.error.code, failed.error.detail);
      this.metrics.kept(size);
    } finally {
      this.#offers -= 1;
    }
  }

  #signingOf({ chainId, root }: CommitteeTerms): Signing {
    return (this.#signing ??= new Signing({ chainId, root }));
  }

  async #column(dataRoot: Hex): Promise<Response> {
    const { store } = this.#options;
    const held = (await store.held(dataRoot)) ?? missing(dataRoot);
    const { code } = await this.#options.chain.terms();
    const size = columnBytes(lengthOf(held.commitment), code.k);
    this.#read(size);
    const bytes = (await store.read(dataRoot)) ?? missing(dataRoot);
    return new Response(bytes as BodyInit, { headers: { ...OCTETS, 'agnt2-column': String(held.column) } });
  }

  async #commitment(dataRoot: Hex): Promise<Response> {
    const held = (await this.#options.store.held(dataRoot)) ?? missing(dataRoot);
    return new Response(held.commitment as BodyInit, { headers: { ...OCTETS, 'agnt2-column': String(held.column) } });
  }

  async #cells(dataRoot: Hex, rows: readonly number[]): Promise<Response> {
    this.#read(2048 * rows.length);
    const cells = (await this.#options.store.cells(dataRoot, rows)) ?? missing(dataRoot);
    return new Response(encodeCells(cells) as BodyInit, { headers: OCTETS });
  }

  /** Takes from what may be read, or throws `rate_limited`. What is larger than a burst is taken when the bucket is full. */
  #read(bytes: number): void {
    const { readBurst, readPerSecond } = this.#limits;
    const now = Date.now();
    const grown = this.#readable.bytes + (Math.max(0, now - this.#readable.atMs) / 1000) * readPerSecond;
    const level = Math.min(readBurst, grown);
    const lacking = Math.min(bytes, readBurst) - level;
    this.#readable = { bytes: lacking > 0 ? level : level - bytes, atMs: now };
    if (lacking > 0)
      throw problem('rate_limited', `${readPerSecond} bytes a second are given out`, {
        retryAfter: Math.ceil(lacking / readPerSecond),
      });
    this.metrics.served(bytes);
  }
}

function rootIn(text: string): Hex {
  if (!/^0x[0-9a-f]{64}$/.test(text)) throw problem('malformed', 'dataRoot: expected 0x and 64 lower-case hex digits');
  return text as Hex;
}

function rowsIn(text: string): number[] {
  const rows = /^\d{1,10}(?:,\d{1,10}){0,63}$/.test(text) ? text.split(',').map(Number) : [];
  if (rows.length === 0 || rows.length > MAX_CELLS)
    throw problem('malformed', `rows: expected 1 to ${MAX_CELLS} numbers, joined by commas`);
  return rows;
}

const lengthOf = (commitment: Uint8Array): number => readUint(commitment, 1, 7);

function missing(dataRoot: Hex): never {
  throw problem('not_found', `no column of ${dataRoot} is kept here`);
}

function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof Agnt2Error) return problem(error.code, error.detail);
  console.error(error);
  return problem('unavailable', `the member could not answer (${codeOf(error)}): try again`);
}
