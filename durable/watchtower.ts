/**
 * Watchtower: settles what parties have signed when somebody leaves a session with less than that. One object a deployment, named `watchtower`, because
 * all that it settles is signed by one agent, whose nonces go one after the other. Settling is anybody's to do, so any agent will do, and needs to hold
 * nothing; who gives it halves (session objects, the cron) looks again until the chain has them, so nothing here must survive.
 */
import { DurableObject } from 'cloudflare:workers';
import { MAX_FRAME_BYTES, signBundle } from '../protocol/bundle.ts';
import { type Hex, Writer, equal, unhex } from '../protocol/bytes.ts';
import { Signing } from '../protocol/eip712.ts';
import { codeOf } from '../protocol/errors.ts';
import { formatId, parseId, shardOf } from '../protocol/ids.ts';
import { MachineKey } from '../protocol/keys.ts';
import { type Interaction, encodeInteraction } from '../protocol/ops/index.ts';
import { decodeReceipt } from '../protocol/receipt.ts';
import { STATUSES, Status } from '../protocol/status.ts';
import { type Namespace, type ShardRpc, type SubmitResult, isFailure, shardStub } from './shard/api.ts';
import type { TowerAnswer, TowerRow, WatchtowerRpc } from './watchtower/api.ts';

export interface WatchtowerEnv {
  readonly SHARD: Namespace;
  readonly CHAIN_ID: string;
  readonly ROOT_ADDRESS: string;
  readonly SHARDS: string;
  /** The agent that settles, `shard:serial`, and its P-256 secret scalar, 0x hex. Without them nobody does but the parties themselves. */
  readonly WATCHTOWER_AGENT?: string;
  readonly WATCHTOWER_KEY?: string;
}

/** Seconds for which a bundle may wait. */
const EXPIRY = 120;
/** Room that the bundle's own fields take at most. */
const BUNDLE_BYTES = 160;
const TRIES = 5;
const FIRST_WAIT_MS = 250;
/** Answers remembered, so that nobody makes the tower ask in vain, or for what is on its way. */
const MAX_KNOWN = 16_384;
/** After so long what was sent and has not arrived is sent again. */
const AGAIN_MS = 30_000;
/** What does not get better: of the half, or of the session. */
const FINAL: ReadonlySet<string> = new Set([
  'malformed',
  'wrong_shard',
  'unknown_session',
  'session_closed',
  'bad_signature',
  'stale_half',
]);
/** What is wrong with one row of a bundle and refuses all of them. */
const ONE_OF_THEM: ReadonlySet<string> = new Set(['malformed', 'too_costly', 'wrong_shard']);

interface Pending extends TowerRow {
  readonly key: string;
  readonly bytes: number;
  readonly done: ((answer: TowerAnswer) => void)[];
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const settleOf = ({ half, signature }: TowerRow): Interaction => ({ op: 'settle', half, signature });

export class Watchtower extends DurableObject<WatchtowerEnv> implements WatchtowerRpc {
  readonly #signing: Signing;
  /** Rows that wait, by session and direction: of one direction the newest counts. */
  readonly #queue = new Map<string, Pending>();
  /** What came of the last row of a direction. */
  readonly #known = new Map<string, TowerRow & { readonly answer: TowerAnswer; readonly untilMs: number }>();
  #draining = false;
  #key: MachineKey | null = null;
  #nonce: number | null = null;

  constructor(ctx: DurableObjectState, env: WatchtowerEnv) {
    super(ctx, env);
    this.#signing = new Signing({ chainId: Number(env.CHAIN_ID), root: env.ROOT_ADDRESS as Hex });
  }

  async answer(rows: readonly TowerRow[]): Promise<TowerAnswer[]> {
    const { WATCHTOWER_AGENT, WATCHTOWER_KEY } = this.env;
    if (!WATCHTOWER_AGENT || !WATCHTOWER_KEY) return rows.map(() => 'no_agent');
    const answers = rows.map((row) => this.#enqueue(row));
    void this.#drain();
    return Promise.all(answers);
  }

  #enqueue({ half, signature }: TowerRow): TowerAnswer | Promise<TowerAnswer> {
    const key = `${half.session}:${half.dir}`;
    const known = this.#known.get(key);
    const isSame = known && known.half.seq === half.seq && equal(known.signature, signature);
    if (isSame && Date.now() < known.untilMs) return known.answer;
    const waiting = this.#queue.get(key);
    return new Promise((resolve) => {
      if (waiting && waiting.half.seq >= half.seq) {
        waiting.done.push(resolve);
        return;
      }
      // The newer one says all that the older one does.
      const done = [...(waiting?.done ?? []), resolve];
      const bytes = this.#bytesOf({ half, signature });
      if (bytes === null) this.#end({ half, signature, key, bytes: 0, done }, 'malformed');
      else this.#queue.set(key, { half, signature, key, bytes, done });
    });
  }

  /** Bytes of a row in a bundle; null for one that can't be in any. */
  #bytesOf(row: TowerRow): number | null {
    try {
      if (shardOf(row.half.session) >= Math.max(1, Number(this.env.SHARDS) || 1)) return null;
      const writer = new Writer();
      encodeInteraction(writer, settleOf(row));
      return writer.finish().length;
    } catch {
      return null;
    }
  }

  #end({ key, half, signature, done }: Pending, answer: TowerAnswer): void {
    if (answer !== 'unavailable') {
      this.#known.delete(key);
      this.#known.set(key, { half, signature, answer, untilMs: FINAL.has(answer) ? Infinity : Date.now() + AGAIN_MS });
      if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.keys().next().value!);
    }
    for (const resolve of done) resolve(answer);
  }

  async #drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    while (this.#queue.size > 0) {
      const rows: Pending[] = [];
      let bytes = BUNDLE_BYTES;
      for (const [key, row] of this.#queue) {
        if (bytes + row.bytes > MAX_FRAME_BYTES) break;
        bytes += row.bytes;
        rows.push(row);
        this.#queue.delete(key);
      }
      await this.#settle(rows);
    }
    this.#draining = false;
  }

  /** Settles rows in one bundle; in smaller ones, if one of them spoils it. Never throws. */
  async #settle(rows: readonly Pending[]): Promise<void> {
    let answer: TowerAnswer = 'unavailable';
    try {
      const result = await this.#submit(rows.map(settleOf));
      if (!isFailure(result)) {
        const outcomes = decodeReceipt(result.receipt).outcomes.slice(1);
        for (const [i, row] of rows.entries()) this.#end(row, this.#answerOf(row, outcomes[i].status));
        this.#log('settled', { rows: rows.length, ok: outcomes.filter(({ status }) => status === Status.ok).length });
        return;
      }
      const { code, detail } = result.error;
      if (ONE_OF_THEM.has(code) && rows.length > 1) {
        const middle = rows.length >> 1;
        await this.#settle(rows.slice(0, middle));
        await this.#settle(rows.slice(middle));
        return;
      }
      if (ONE_OF_THEM.has(code)) answer = code;
      this.#log('refused', { rows: rows.length, code, detail });
    } catch (error) {
      this.#log('failed', { rows: rows.length, error: String(error) });
    }
    for (const row of rows) this.#end(row, answer);
  }

  #answerOf({ half }: TowerRow, status: number): TowerAnswer {
    if (status !== Status.ok) return STATUSES[status];
    return shardOf(half.session) === shardOf(this.#agent) ? 'ok' : 'sent';
  }

  get #agent(): number {
    return parseId(this.env.WATCHTOWER_AGENT!);
  }

  /** Submits a bundle under the next nonce, again while what is amiss may pass. */
  async #submit(interactions: readonly Interaction[]): Promise<SubmitResult> {
    const home = shardStub(this.env.SHARD, shardOf(this.#agent));
    const key = (this.#key ??= await MachineKey.import(unhex(this.env.WATCHTOWER_KEY as Hex, 32)));
    for (let tries = 1; ; tries++) {
      let result: SubmitResult | null = null;
      try {
        const nonce = (this.#nonce ??= await nonceOf(home, this.#agent));
        const expiry = Math.floor(Date.now() / 1000) + EXPIRY;
        const frame = await signBundle(key, this.#signing, { actor: this.#agent, nonce, expiry }, interactions);
        [result] = await home.submit([{ frame, key: key.publicKey }]);
        if (!isFailure(result)) {
          this.#nonce = nonce + 1;
          return result;
        }
        const isOver = ONE_OF_THEM.has(result.error.code) || codeOf(result.error) === 'stale_key';
        if (isOver || tries === TRIES) return result;
      } catch (error) {
        if (tries === TRIES) throw error;
      } finally {
        // Taken or not, or by another of the same agent's: the shard knows.
        if (result === null || isFailure(result)) this.#nonce = null;
      }
      const after = result !== null && isFailure(result) ? Number(result.error.retryAfter ?? 0) * 1000 : 0;
      await wait(Math.max(after, FIRST_WAIT_MS * 2 ** (tries - 1)) * (0.5 + Math.random() / 2));
    }
  }

  #log(event: string, fields: Record<string, string | number>): void {
    const agent = formatId(this.#agent);
    console.log(JSON.stringify({ at: new Date().toISOString(), room: 'watchtower', event, agent, ...fields }));
  }
}

async function nonceOf(home: ShardRpc, agent: number): Promise<number> {
  const record = await home.agent(agent);
  if (record === null) throw new Error(`WATCHTOWER_AGENT ${formatId(agent)} is no agent of this deployment`);
  return Number(record.nonce);
}
