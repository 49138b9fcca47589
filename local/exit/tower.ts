/**
 * The watchtower of a deployment that stops: while its exits take halves, L1 is shown the newest of everybody's sessions. Keeps nothing: what L1 has seen
 * is asked there, so it may be killed and begun again at any time.
 */
import { exitsAbi } from '../../contracts/abi.ts';
import type { Hex } from '../../protocol/bytes.ts';
import { Signing } from '../../protocol/eip712.ts';
import { formatId } from '../../protocol/ids.ts';
import { verifyP256 } from '../../protocol/keys.ts';
import { reason } from '../../workers/settlement/log.ts';
import { Refused, Sender } from '../../workers/settlement/sender.ts';
import { type SignedHalf, type Source, halfArgs } from './halves.ts';
import { type Tell, standingOf } from './leave.ts';
import { Places } from './places.ts';
import type { Deployment, LastState } from './state.ts';

/** One takes about 110,000 gas. */
const HALVES_A_CALL = 32;
const POLL_MS = 1_000;
/** For one transaction; then it is outbid. */
const SEND_MS = 60_000;

export interface Watching {
  readonly deployment: Deployment;
  /** Of the account that pays for gas. */
  readonly key: Hex;
  readonly maxFee: bigint;
  readonly sources: readonly Source[];
  /** The state to leave from; asked for once the exits are open. */
  readonly state: () => Promise<LastState>;
  /** Without, one look is all. */
  readonly waits: boolean;
  readonly tell: Tell;
}

/** A half that L1 should see, in the place of its session. */
type Row = SignedHalf & { readonly at: number };

export class Tower {
  readonly #watching: Watching;
  #places: Places | null = null;
  /** What was told, so that a look says only what is new. */
  readonly #told = new Set<string>();

  constructor(watching: Watching) {
    this.#watching = watching;
  }

  /** Looks until halves count no more. Returns whether they do no more, or all that was given is shown. */
  async run(): Promise<boolean> {
    for (;;) {
      let isDone = false;
      try {
        const { halvesUntil, now } = await standingOf(this.#watching.deployment);
        if (halvesUntil > 0 && now > halvesUntil) return true;
        if (halvesUntil > 0) isDone = await this.#look();
        else this.#tell('watches', {});
      } catch (error) {
        // L1, or a source, may be away for a while; the time for halves goes on.
        this.#tell('failed', { error: reason(error) });
      }
      if (!this.#watching.waits) return isDone;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Shows what L1 has not seen. Returns whether that was all of it. */
  async #look(): Promise<boolean> {
    const { deployment, key, maxFee, state } = this.#watching;
    const { client } = deployment.chain;
    this.#places ??= new Places(deployment, await state());
    const { newest, isWhole } = await this.#newest();
    const rows = await this.#unseen(newest);
    const log = (event: string, fields?: object): void => this.#watching.tell(event, { ...fields });
    let isAll = isWhole;
    for (let at = 0; at < rows.length; at += HALVES_A_CALL) {
      const deadline = Date.now() + SEND_MS;
      const sender = new Sender({ client, chainId: deployment.chainId, key, maxFee, deadline, log });
      const isStuck = !(await sender.settled(deadline - SEND_MS / 2));
      const outcome = await this.#show(sender, rows.slice(at, at + HALVES_A_CALL), isStuck);
      isAll &&= outcome === 'mined';
    }
    return isAll;
  }

  /** Of each direction of a session that stands, what says the most and more than the state; whether every source answered. */
  async #newest(): Promise<{ newest: Row[]; isWhole: boolean }> {
    const { chainId, root } = this.#watching.deployment;
    const signing = new Signing({ chainId, root });
    const rows = new Map<string, Row>();
    let isWhole = true;
    for (const source of this.#watching.sources) {
      try {
        for (const signed of await source()) {
          const { session, dir, paid } = signed.half;
          const where = `${session}:${dir}`;
          const standing = this.#places!.sessionAt(session);
          if (standing === null || paid <= standing.paid[dir] || paid <= (rows.get(where)?.half.paid ?? -1)) continue;
          // Here, so that what was made up can't stand in the way of what was signed.
          if (await verifyP256(standing.keys[dir], signing.half(signed.half), signed.signature))
            rows.set(where, { ...signed, at: standing.at });
          else this.#tell('refused', { session: formatId(session), dir, paid, error: 'bad_signature' });
        }
      } catch (error) {
        isWhole = false;
        this.#tell('failed', { error: reason(error) });
      }
    }
    return { newest: Array.from(rows.values()), isWhole };
  }

  async #unseen(rows: readonly Row[]): Promise<Row[]> {
    const { chain, exits } = this.#watching.deployment;
    const seen = await Promise.all(
      rows.map(({ at, half: { dir } }) =>
        chain.client.readContract({ address: exits, abi: exitsAbi, functionName: 'paidBy', args: [at, dir] }),
      ),
    );
    return rows.filter(({ half }, i) => BigInt(half.paid) > seen[i]);
  }

  /** Shows rows in one transaction; in smaller ones, if one of them spoils it. What became of it, or of the first that went wrong. */
  async #show(sender: Sender, rows: readonly Row[], isStuck: boolean): Promise<string> {
    const args = rows.map((row) => {
      const [half, r, s] = halfArgs(row);
      return { session: this.#places!.quadOfSession(row.half.session), half, r, s };
    });
    try {
      const { outcome, tx } = await sender.send(this.#places!.call('showHalves', args), isStuck);
      for (const { half } of outcome === 'mined' ? rows : [])
        this.#watching.tell('half', { session: formatId(half.session), dir: half.dir, paid: half.paid, tx });
      return outcome;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (rows.length === 1) {
        const { session, dir, paid } = rows[0].half;
        this.#tell('refused', { session: formatId(session), dir, paid, error: error.errorName });
        return 'refused';
      }
      const middle = rows.length >> 1;
      const first = await this.#show(sender, rows.slice(0, middle), isStuck);
      // One that stays unmined is outbid by the next look.
      if (first !== 'mined' && first !== 'refused') return first;
      const second = await this.#show(sender, rows.slice(middle), isStuck && first === 'refused');
      return second === 'mined' ? first : second;
    }
  }

  #tell(event: string, fields: Readonly<Record<string, unknown>>): void {
    const text = `${event} ${JSON.stringify(fields)}`;
    if (this.#told.has(text)) return;
    this.#told.add(text);
    this.#watching.tell(event, fields);
  }
}
