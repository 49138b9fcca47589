/**
 * Member: what a member of a committee keeps, one object a Worker, named `member`. It judges nothing: its Worker checks what is offered and signs for it
 * when it is on disk here.
 */
import { DurableObject } from 'cloudflare:workers';
import type { Hex } from '../protocol/bytes.ts';
import type { CellAnswer } from '../protocol/da/offer.ts';
import type { Held, MemberRpc, MemberStats } from './member/api.ts';
import { type Bucket, BucketCellar, SqlCellar } from './member/cellar.ts';
import { MemberHost } from './member/host.ts';
import type { Failure } from './shard/api.ts';

export interface MemberObjectEnv {
  /** An R2 bucket for the columns. Without one they are in the object's SQLite. */
  readonly COLUMNS?: Bucket;
  /** Bytes of columns to be kept at most; by default half of what an object may hold. */
  readonly MEMBER_MAX_BYTES?: string;
}

/** An object may have 10 GB. */
const MAX_BYTES = 5e9;
/** Promises end one by one; what is past is deleted a minute's worth at a time. */
const SWEEP_MS = 60_000;

export class Member extends DurableObject<MemberObjectEnv> implements MemberRpc {
  readonly #host: MemberHost;
  /** When the alarm is set for, as far as this life of the object knows. */
  #alarmAt = Infinity;

  constructor(ctx: DurableObjectState, env: MemberObjectEnv) {
    super(ctx, env);
    const { sql } = ctx.storage;
    const hashes = new SqlCellar(sql);
    this.#host = new MemberHost(
      sql,
      { columns: env.COLUMNS ? new BucketCellar(env.COLUMNS) : hashes, hashes },
      { maxBytes: Number(env.MEMBER_MAX_BYTES) || MAX_BYTES, expires: (atMs) => this.#arm(atMs) },
    );
  }

  keep(held: Held, column: Uint8Array, hashes: Uint8Array): Promise<Failure | null> {
    return this.#host.keep(held, column, hashes);
  }
  held(dataRoot: Hex): Promise<Held | null> {
    return this.#host.held(dataRoot);
  }
  read(dataRoot: Hex, from?: number, to?: number): Promise<Uint8Array | null> {
    return this.#host.read(dataRoot, from, to);
  }
  cells(dataRoot: Hex, rows: readonly number[]): Promise<CellAnswer[] | null> {
    return this.#host.cells(dataRoot, rows);
  }
  stats(): Promise<MemberStats> {
    return this.#host.stats();
  }

  override async alarm(): Promise<void> {
    this.#alarmAt = Infinity;
    const next = await this.#host.sweep(Date.now());
    if (next !== null) this.#arm(Math.max(next, Date.now() + SWEEP_MS));
  }

  #arm(atMs: number): void {
    if (atMs >= this.#alarmAt) return;
    this.#alarmAt = atMs;
    const { storage } = this.ctx;
    // One that another life set for earlier stays.
    this.ctx.waitUntil(
      storage.getAlarm().then((at) => (at === null || at > atMs ? storage.setAlarm(atMs) : undefined)),
    );
  }
}
