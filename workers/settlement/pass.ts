/**
 * One pass of settlement. It keeps nothing between passes but what shard 0 and L1 keep, so it may die between any two lines, overlap with
 * another, or find that L1 went back in time: it looks at both, does what is missing, and looks again.
 */
import {
  type BatchRecord,
  type L1View,
  type SettlementMetrics,
  type ShardRpc,
  shardStub,
} from '../../durable/shard/api.ts';
import { type VerifierRpc, verifierStub } from '../../durable/verifier/api.ts';
import type { Hex } from '../../protocol/bytes.ts';
import type { Range } from '../../protocol/schedule.ts';
import { CommitteeChain } from '../committee/chain.ts';
import { collecting } from '../committee/demands.ts';
import { answers } from './answer.ts';
import { Chain, type Look, type Terms } from './chain.ts';
import { NoBlobs } from './blobs.ts';
import { compose, finishCut } from './compose.ts';
import { type Settings, type SettlementEnv, readSettings } from './env.ts';
import { feed, inboxAgrees } from './feed.ts';
import { Games } from './games.ts';
import { type Log, log as defaultLog, reason } from './log.ts';
import { orderOf } from './order.ts';
import { Diverged, checkExtends, finalizable, isDue, needsHeartbeat } from './plan.ts';
import { bringInLine } from './records.ts';
import { cellsShown } from './shown.ts';
import { Watch } from './watch.ts';
import { Modes } from './modes/index.ts';
import type { Mode } from './modes/mode.ts';
import { remedyFor } from './refusals.ts';
import { type L1Call, Refused, Sender } from './sender.ts';

/** Batches finalized in one transaction; the loop comes back for more. */
const FINALIZE_AHEAD = 8;
const MAX_STALE = 4;
const CLOCK_POLL_MS = 500;

/** What to do next at L1, and where in the data (`from`, see `modes/mode.ts`) it stands. `wait`: nothing, until L1's clock has moved. */
type Step = { readonly call: L1Call; readonly batch?: BatchRecord; readonly from?: number } | 'wait' | null;

class Pass {
  readonly #settings: Settings;
  readonly #shards: readonly ShardRpc[];
  readonly #verifier: VerifierRpc | null;
  readonly #chain: Chain;
  readonly #log: Log;
  readonly #modes: Modes;
  readonly #started = Date.now();
  readonly #deadline: number;
  #terms!: Terms;
  #sent = 0;
  #posterWei: bigint | null = null;
  #sender: Sender | null = null;
  #look: Look | null = null;
  #games: Games | null = null;
  #members: CommitteeChain | null = null;
  /** The order of the batch that is being posted. */
  #order: { readonly hash: Hex; readonly ranges: readonly Range[] } | null = null;
  /** The parts on L1 turned out to be something else: start with part 0. */
  #restart = false;

  constructor(settings: Settings, shards: readonly ShardRpc[], verifier: VerifierRpc | null, log: Log) {
    this.#settings = settings;
    this.#shards = shards;
    this.#verifier = verifier;
    this.#chain = new Chain(settings.rpc, settings.root);
    this.#log = log;
    this.#deadline = this.#started + settings.passMs;
    this.#modes = new Modes(this.#chain, shards, settings, (batch) => this.#orderOf(batch), log);
  }

  async run(): Promise<void> {
    let error: string | undefined;
    const attempt = async (work: () => Promise<void>): Promise<boolean> => {
      try {
        await work();
        return true;
      } catch (caught) {
        error ??= reason(caught);
        this.#log('pass_failed', { error: reason(caught), kind: (caught as Error)?.name ?? 'unknown' });
        return false;
      }
    };
    // Whether L1 is there or not.
    const isCut = await attempt(() => finishCut(this.#shards, this.#log));
    const isThere = await attempt(async () => void (this.#terms = await this.#chain.terms()));
    // Before everything else at L1, and whatever else is amiss: who stays silent in a game loses the bond.
    if (isThere) await attempt(() => this.#open());
    if (isThere) await attempt(() => this.#defend());
    if (isThere) await attempt(() => this.#show());
    if (isThere && isCut) await attempt(() => this.#settle());
    // Time goes on while L1 is away: deadlines must not wait for it.
    if (error !== undefined) await this.#tick();
    await this.#report(error);
  }

  async #tick(): Promise<void> {
    await Promise.all(this.#shards.map((shard) => shard.tickIfDue()));
  }

  /** Our account, if we have its key. */
  async #open(): Promise<void> {
    const { posterKey, chainId, maxFee, maxBlobFee } = this.#settings;
    if (posterKey === null) return;
    const sender = new Sender({
      client: this.#chain.client,
      chainId,
      key: posterKey,
      maxFee,
      maxBlobFee,
      deadline: this.#deadline,
      log: this.#log,
    });
    if (sender.account.address.toLowerCase() !== this.#terms.sequencer.toLowerCase()) {
      throw new Error(`POSTER_KEY is of ${sender.account.address}, Root's sequencer is ${this.#terms.sequencer}`);
    }
    this.#posterWei = await sender.balance();
    this.#sender = sender;
  }

  /** Answers in all games in which it is our turn. */
  async #defend(): Promise<void> {
    const [sender, verifier] = [this.#sender, this.#verifier];
    if (!sender || !verifier) return;
    await this.#sendAll(sender, this.#answers(verifier));
  }

  /** Shows what is demanded of our batches' data. */
  async #show(): Promise<void> {
    const [sender, committee] = [this.#sender, this.#committee];
    if (sender && committee)
      await this.#sendAll(sender, cellsShown(committee, this.#shards, this.#verifier, this.#log));
  }

  async #sendAll(sender: Sender, calls: AsyncGenerator<L1Call, undefined>): Promise<void> {
    let { value: first } = await calls.next();
    if (!first) return;
    await this.#send(sender, async () => {
      const call = first ?? (await calls.next()).value;
      first = undefined;
      return call ? { call } : null;
    });
  }

  /** All that one look asks for, then another look, until one asks for nothing: looks at many games take long. */
  async *#answers(verifier: VerifierRpc): AsyncGenerator<L1Call, undefined> {
    for (let asked = true; asked;) {
      asked = false;
      for await (const call of answers(this.#gamesAtL1, verifier, await this.#chain.look(), this.#log)) {
        asked = true;
        yield call;
      }
    }
  }

  /** The inbox, and what L1 needs of batches. */
  async #settle(): Promise<void> {
    // A third of the pass is for the inbox at most, so that a flood of items can't keep batches off L1.
    const { confirmations, passMs } = this.#settings;
    await feed(this.#chain, this.#shards[0], confirmations, this.#started + passMs / 3, this.#log);
    if (this.#sender) {
      await this.#send(this.#sender, async () => this.#next(await this.#newLook()));
      return;
    }
    await this.#newLook();
    await this.#tick();
    if (this.#settings.posterKey === null) this.#log('no_poster_key');
  }

  /** Sends what `next` asks for, one after the other, until that is nothing. */
  async #send(sender: Sender, next: () => Promise<Step>): Promise<void> {
    const { passMs } = this.#settings;
    let stuck = !(await sender.settled(this.#deadline - passMs / 3));
    if (stuck) this.#log('stuck', { note: 'a transaction of ours waited for most of a pass and will be replaced' });

    for (let stale = 0; Date.now() < this.#deadline;) {
      const step = await next();
      if (!step) return;
      if (step === 'wait') {
        await new Promise((resolve) => setTimeout(resolve, CLOCK_POLL_MS));
        continue;
      }
      try {
        const { outcome, tx } = await sender.send(step.call, stuck);
        stuck = false;
        this.#sent += 1;
        this.#restart = false;
        this.#log(outcome, { call: step.call.functionName, batch: step.batch?.number, tx });
        if (outcome === 'open') break;
        if (outcome === 'reverted') stale += 1;
      } catch (error) {
        const isRefused = error instanceof Refused;
        if (!isRefused && !(error instanceof NoBlobs)) throw error;
        stale += 1;
        const name = isRefused ? error.errorName : error.message;
        this.#log('refused', { call: step.call.functionName, batch: step.batch?.number, error: name });
        const goesOn = isRefused ? await this.#recover(error, step) : await this.#fallBack(step);
        if (!goesOn) return;
      }
      if (stale > MAX_STALE) throw new Error('L1 keeps refusing what its own state asks for');
    }
    await this.#newLook();
  }

  /** L1 as it is now, with the records of batches brought in line. */
  async #newLook(): Promise<Look> {
    const look = await this.#chain.look();
    const before = this.#look?.finalized ?? (await this.#shards[0].l1())?.finalized ?? 0;
    await bringInLine(this.#chain, this.#shards[0], look, before, this.#terms.window, this.#log);
    this.#look = look;
    return look;
  }

  /** The transaction that L1 needs next; null when there is none, or none yet. */
  async #next(look: Look): Promise<Step> {
    const postedAt: number[] = [];
    for (let n = look.finalized + 1; n <= look.head && postedAt.length < FINALIZE_AHEAD; n++) {
      const posted = await this.#chain.posted(n);
      if (await this.#chain.isContested(posted.batchHash)) break;
      postedAt.push(posted.postedAt);
    }
    const upTo = finalizable(look.finalized, postedAt, this.#terms.window, look.latest.timestamp);
    if (upTo !== null) return { call: this.#chain.call('finalize', [BigInt(upTo)]) };

    if (look.frozen) {
      this.#log('frozen', { note: 'this deployment takes no more batches: everybody leaves by the exits' });
      return null;
    }
    const batch = await this.#nextBatch(look);
    if (!batch) return this.#collect();
    if (batch.state === 'invalid') throw new Diverged(`batch ${batch.number} was shown to be wrong`);
    checkExtends(batch, look);
    if (batch.header.timeTo > look.latest.timestamp) {
      // The shard's clock is ours, L1's is its newest block's: the next block will do.
      this.#log('waiting_for_l1_clock', {
        batch: batch.number,
        timeTo: batch.header.timeTo,
        l1: look.latest.timestamp,
      });
      return 'wait';
    }
    return this.#modes.of(batch).next(batch, look, this.#restart);
  }

  get #gamesAtL1(): Games {
    return (this.#games ??= new Games(this.#chain, this.#terms.game));
  }

  /** null where the deployment has none. */
  get #committee(): CommitteeChain | null {
    if (BigInt(this.#terms.committee) === 0n) return null;
    return (this.#members ??= new CommitteeChain(this.#chain.rpc, this.#chain.root));
  }

  /** What challengers lost to us: it pays for the answers. */
  async #collect(): Promise<Step> {
    const { address } = this.#sender!.account;
    if (this.#verifier && (await this.#gamesAtL1.credits(address)) > 0n)
      return { call: this.#gamesAtL1.call('collect', []) };
    const call = this.#committee && (await collecting(this.#committee, address));
    return call && { call };
  }

  async #nextBatch(look: Look): Promise<BatchRecord | null> {
    // Right before the cut, so that a tick never stays behind alone and makes a batch of its own.
    await this.#tick();
    const [recorded] = await this.#shards[0].batches({ after: look.head, limit: 1 });
    if (recorded) return recorded;
    if (!isDue(look, this.#settings.batchSeconds)) return null;
    const isLate = needsHeartbeat(look, this.#terms.freezeAfter);
    if (!(await inboxAgrees(this.#chain, this.#shards[0], look))) {
      this.#log('inbox_diverged', {
        note: 'shard 0 consumed items that L1 does not hold (any more): no batch until it does',
      });
      return null;
    }
    return this.#compose(look, isLate);
  }

  /** With `failed`, in a mode after that one. */
  async #compose(look: Look, evenEmpty: boolean, instead?: BatchRecord, failed?: Mode): Promise<BatchRecord | null> {
    const composed = await compose(this.#shards, look, this.#log, evenEmpty, instead, (number, records) =>
      this.#modes.seal(number, records, failed),
    );
    if (!composed) return null;
    const { record, order } = composed;
    const { number, header, hash, cuts } = record;
    await this.#shards[0].recordBatch(record);
    this.#order = { hash, ranges: order };
    const { da, steps, timeFrom, timeTo, inboxCursor } = header;
    const { upTo: cut } = cuts;
    this.#log('composed', { batch: number, hash, da, cut, runs: order.length, steps, timeFrom, timeTo, inboxCursor });
    return record;
  }

  async #orderOf(batch: BatchRecord): Promise<readonly Range[]> {
    if (this.#order?.hash !== batch.hash)
      this.#order = { hash: batch.hash, ranges: await orderOf(this.#shards, batch) };
    return this.#order.ranges;
  }

  /** What to do about a refusal; false when only time can help. */
  async #recover({ errorName }: Refused, { batch, from = 0 }: Exclude<Step, string | null>): Promise<boolean> {
    const remedy = remedyFor(errorName, from);
    if (remedy === 'restart') this.#restart = true;
    if (remedy === 'anew' && batch) return this.#recompose(batch, errorName);
    if (remedy === 'next_mode') return this.#fallBack({ batch });
    if (remedy === 'none' || remedy === 'anew')
      throw new Error(`L1 refuses batch ${batch?.number ?? '?'}: ${errorName}`);
    return remedy !== 'wait';
  }

  /** L1 was away so long that no such batch can ever land: it leaves an overdue item out, or nobody keeps its data for long enough. Made anew, it can. */
  async #recompose(batch: BatchRecord, why: string): Promise<boolean> {
    const { inboxCursor } = await this.#shards[0].head();
    if (why === 'InboxOverdue' && inboxCursor <= batch.header.inboxCursor) return false;
    this.#log('recompose', { batch: batch.number, why, inboxCursor });
    return this.#instead(batch);
  }

  /** L1 does not take the batch's data where it is: another batch of the same number, in a mode after that one. */
  async #fallBack({ batch }: Pick<Exclude<Step, string | null>, 'batch'>): Promise<boolean> {
    if (!batch) return false;
    const failed = this.#modes.of(batch);
    this.#log('fall_back', { batch: batch.number, mode: failed.name });
    return this.#instead(batch, failed);
  }

  async #instead(batch: BatchRecord, failed?: Mode): Promise<boolean> {
    const look = this.#look;
    if (look?.head !== batch.number - 1) return false;
    this.#restart = false;
    return (await this.#compose(look, true, batch, failed)) !== null;
  }

  async #report(error: string | undefined): Promise<void> {
    const previous = await this.#shards[0].l1();
    const settlement: SettlementMetrics = {
      passAtMs: Date.now(),
      passMs: Date.now() - this.#started,
      ...(this.#posterWei === null ? {} : { posterWei: String(this.#posterWei) }),
      sent: this.#sent,
      ...(error === undefined ? {} : { error }),
    };
    const look = this.#look;
    const l1: L1View = look
      ? { head: look.head, finalized: look.finalized, inbox: look.inboxLength, unit: String(this.#terms.unit) }
      : {
          head: previous?.head ?? 0,
          finalized: previous?.finalized ?? 0,
          inbox: previous?.inbox ?? 0,
          ...(previous?.unit ? { unit: previous.unit } : {}),
        };
    await this.#shards[0].recordL1({ ...l1, settlement });
  }
}

/** A pass that still runs in this isolate. Others are kept apart by the nonce (see {@link Sender}). */
let running: Promise<void> | null = null;

/** Runs a pass, unless one is running. Never throws: what went wrong is logged and shown, and the next pass tries again. */
export async function runPass(env: SettlementEnv, log: Log = defaultLog): Promise<void> {
  if (running) return;
  running = (async () => {
    try {
      const settings = readSettings(env);
      const shards = Array.from({ length: settings.shards }, (_, shard) => shardStub(env.SHARD, shard));
      const verifier = env.VERIFIER ? verifierStub(env.VERIFIER) : null;
      await new Pass(settings, shards, verifier, log).run();
    } catch (error) {
      log('pass_failed', { error: reason(error), kind: (error as Error)?.name ?? 'unknown' });
    }
  })();
  try {
    await running;
  } finally {
    running = null;
  }
}

let watching: Promise<void> | null = null;

/** Looks at what was posted, and shows what is wrong with it, unless that is under way. Never throws. */
export async function runWatch(env: SettlementEnv, log: Log = defaultLog): Promise<void> {
  if (watching || !env.VERIFIER) return;
  const { VERIFIER } = env;
  watching = (async () => {
    try {
      await new Watch(readSettings(env), verifierStub(VERIFIER), log).run();
    } catch (error) {
      log('watch_failed', { error: reason(error), kind: (error as Error)?.name ?? 'unknown' });
    }
  })();
  try {
    await watching;
  } finally {
    watching = null;
  }
}
