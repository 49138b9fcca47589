/**
 * The challenger: executes every batch again from what L1 has of it, and shows at L1 what is wrong, by a direct proof or a game played to
 * its end. Asks nobody but L1 and the verifier, has a key of its own, and keeps nothing between passes but what those two keep: so a pass may
 * die between any two lines, and several challengers don't disturb each other.
 */
import { type Abi } from 'viem';
import { availabilityAbi, faultsAbi } from '../../contracts/abi.ts';
import type { FaultRecord, GameRecord, VerifierRpc, WatchMetrics } from '../../durable/verifier/api.ts';
import { type Hex, concat, unhex } from '../../protocol/bytes.ts';
import { encodeChunkRecord } from '../../protocol/trace.ts';
import type { KnownBatch, ProvenCell } from '../../protocol/verifier.ts';
import { Da, encodeCarrier } from '../../protocol/da/carrier.ts';
import { type Failure, isFailure } from '../../durable/shard/api.ts';
import { CommitteeChain } from '../committee/chain.ts';
import { collecting } from '../committee/demands.ts';
import { dissolving } from '../committee/guard.ts';
import { Chain, type Look, type Terms } from './chain.ts';
import type { Settings } from './env.ts';
import { Games, openGames, openingToWire, playOf, playToWire, turnOf } from './games.ts';
import { type Log, reason } from './log.ts';
import { challenge } from './moves.ts';
import { guardColumns, readCarrier } from './modes/read.ts';
import { NotShown, type PostedData, findPosted, postedRecords } from './posted.ts';
import { runway } from './runway.ts';
import { type L1Call, Refused, Sender, toWire } from './sender.ts';

const MAX_STALE = 4;
/** Faults are looked for so far back again, in case of a reorg. */
const REORG_BLOCKS = 64;
const LOG_BLOCKS = 1_000;
/** Errors that only say that L1 moved on since we looked. */
const MOVED_ON = new Set([
  'WrongPlay',
  'WrongDemand',
  'NotStanding',
  'DeadlinePassed',
  'DeadlineNotPassed',
  'TooLate',
  'WrongMove',
]);
const LOW_RUNWAY_HOURS = 24;
/** `IAvailability.Layout`. */
const LAYOUTS = ['count', 'first', 'last', 'next'];

interface Act {
  readonly call: L1Call;
  readonly why: string;
  readonly number: number;
}

export class Watch {
  readonly #settings: Settings;
  readonly #verifier: VerifierRpc;
  readonly #chain: Chain;
  readonly #log: Log;
  readonly #started = Date.now();
  readonly #deadline: number;
  #terms!: Terms;
  #games!: Games;
  #bond = 0n;
  /** Seconds that a move may take. */
  #moveWindow = 0;
  /** Batches that stand, are known, and are not what they say; the lowest first. */
  #lying: KnownBatch[] = [];
  /** The batch that is next, if its columns can't be had. */
  #hidden: PostedData | null = null;
  #open: GameRecord[] = [];

  constructor(settings: Settings, verifier: VerifierRpc, log: Log) {
    this.#settings = settings;
    this.#verifier = verifier;
    this.#chain = new Chain(settings.rpc, settings.root);
    this.#log = log;
    this.#deadline = this.#started + settings.passMs;
  }

  /** Never throws: what went wrong is logged and shown, and the next pass tries again. */
  async run(): Promise<void> {
    let error: string | undefined;
    let look: Look | null = null;
    try {
      this.#terms = await this.#chain.terms();
      this.#games = new Games(this.#chain, this.#terms.game);
      ({ challengeBond: this.#bond, moveWindow: this.#moveWindow } = await this.#games.terms());
      look = await this.#look();
      if (this.#settings.challengerKey) look = await this.#act(this.#settings.challengerKey, look);
    } catch (caught) {
      error = reason(caught);
      this.#log('watch_failed', { error, kind: (caught as Error)?.name ?? 'unknown' });
    }
    try {
      await this.#report(look, error);
    } catch (caught) {
      this.#log('watch_failed', { error: reason(caught), kind: (caught as Error)?.name ?? 'unknown' });
    }
  }

  async #look(): Promise<Look> {
    const look = await this.#chain.look();
    await this.#sync(look);
    this.#open = await openGames(this.#games, this.#verifier, look);
    return look;
  }

  // --- following L1 ---

  async #sync(look: Look): Promise<void> {
    this.#lying = [];
    this.#hidden = null;
    while (Date.now() < this.#deadline) {
      const { head, known } = await this.#verifier.standing();
      const parted = await this.#parted(known, look);
      if (parted !== null) {
        this.#log('went_back', { batch: parted });
        await this.#verifier.drop(parted);
        continue;
      }
      if (known > head) {
        this.#lying.push((await this.#verifier.batch(known))!);
        break;
      }
      if (head >= look.head || !(await this.#takeIn(head + 1, look))) break;
    }
    await this.#verifier.settle(look.finalized);
  }

  /** The lowest batch that is known otherwise than L1 now has it; null when there is none. */
  async #parted(known: number, look: Look): Promise<number | null> {
    let parted: number | null = null;
    for (let number = known; number > 0; number--) {
      const batch = await this.#verifier.batch(number);
      // Forgotten, because it is final.
      if (!batch) break;
      if (number <= look.head && (await this.#chain.posted(number)).batchHash === batch.hash) break;
      parted = number;
    }
    return parted;
  }

  /** False when it can't be taken in yet. */
  async #takeIn(number: number, look: Look): Promise<boolean> {
    let posted: PostedData | null = null;
    try {
      posted = await findPosted(this.#chain, number, look.latest);
      if (posted.block + this.#settings.confirmations > look.latest.number) return false;
      const { header } = posted;
      const intake = await this.#verifier.begin(header);
      if (typeof intake !== 'number') return this.#overtaken(number, intake.error.detail);
      const failed = await this.#bring(intake, posted, number <= look.finalized);
      if (failed) return this.#overtaken(number, failed.error.detail);
      const batch = await this.#verifier.finish(intake, unhex(await this.#chain.accumulator(header.inboxCursor)));
      if (isFailure(batch)) return this.#overtaken(number, batch.error.detail);
      const { fault } = batch.verdict;
      this.#log(fault === null ? 'verified' : 'lie', { batch: number, hash: batch.hash, fault, frames: batch.frames });
      return true;
    } catch (error) {
      if (!(error instanceof NotShown)) throw error;
      if (posted?.header.da === Da.committee) this.#hidden = posted;
      this.#log('not_shown', { batch: number, error: error.message });
      return false;
    }
  }

  /** Brings the data to the verifier, from wherever it is. */
  async #bring(intake: number, posted: PostedData, isFinal: boolean): Promise<Failure | null> {
    const { da } = posted.header;
    if (da !== Da.calldata) {
      // Until then members owe it: what they withhold is demanded, whoever else may have it.
      const archives = da === Da.committee && !isFinal ? [] : this.#settings.archives;
      const carrier = await readCarrier(this.#chain, posted, { ...this.#settings, archives });
      return this.#verifier.carry(intake, encodeCarrier(carrier));
    }
    for await (const records of postedRecords(this.#chain, posted)) {
      const failed = await this.#verifier.take(intake, concat(...records.map(encodeChunkRecord)));
      if (failed) return failed;
    }
    return null;
  }

  #overtaken(number: number, detail: string): false {
    this.#log('overtaken', { batch: number, detail });
    return false;
  }

  // --- showing ---

  async #act(key: Hex, first: Look): Promise<Look> {
    const sender = new Sender({
      client: this.#chain.client,
      chainId: this.#settings.chainId,
      key,
      maxFee: this.#settings.maxFee,
      deadline: this.#deadline,
      log: this.#log,
    });
    const me = sender.account.address.toLowerCase() as Hex;
    if (me === this.#terms.sequencer.toLowerCase())
      throw new Error('CHALLENGER_KEY is the sequencer’s: a challenger needs an account of its own');
    let look = first;
    let stuck = !(await sender.settled(this.#deadline - this.#settings.passMs / 3));
    for (let stale = 0; Date.now() < this.#deadline && stale <= MAX_STALE; look = await this.#look()) {
      const act = await this.#next(me, look);
      if (!act) break;
      const { functionName } = act.call;
      try {
        const { outcome, tx } = await sender.send(act.call, stuck);
        stuck = false;
        this.#log(outcome, { call: functionName, batch: act.number, why: act.why, tx });
        if (outcome === 'open') break;
        if (outcome === 'reverted') stale += 1;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        stale += 1;
        this.#log('refused', { call: functionName, batch: act.number, why: act.why, error: error.errorName });
        if (!MOVED_ON.has(error.errorName)) throw error;
      }
    }
    return look;
  }

  /** What to do at L1 next; null when there is nothing, or nothing yet. */
  async #next(me: Hex, look: Look): Promise<Act | null> {
    const now = look.latest.timestamp;
    for (const game of this.#open) {
      const play = playOf(game);
      const { number } = play;
      const isMine = play.challenger === me;
      if (!(await this.#games.isAlive(play, look))) {
        if (isMine) return { call: this.#games.call('dissolve', [playToWire(play)]), why: 'the batch is gone', number };
      } else if (turnOf(play) === 'sequencer') {
        if (now > play.deadline)
          return { call: this.#games.call('timeout', [playToWire(play)]), why: 'the sequencer did not answer', number };
      } else if (isMine && now <= play.deadline && this.#isLying(play.batchHash)) {
        return { call: await challenge(this.#verifier, this.#games, game), why: 'our turn', number };
      }
    }
    const lying = this.#lying[0];
    const act = lying && (await this.#show(me, lying, look));
    return act ?? (await this.#guard()) ?? (await this.#collect(me));
  }

  /** What members give to nobody is demanded; what nobody shows in time costs the sequencer and a member. */
  async #guard(): Promise<Act | null> {
    if (!this.#hidden) return null;
    const { number } = this.#hidden.header;
    const look = await guardColumns(this.#chain, this.#hidden, this.#settings);
    if (look.kind === 'call') return { call: look.call, why: `columns are withheld: ${look.why}`, number };
    this.#log('hidden', { batch: number, is: look.kind });
    return null;
  }

  #isLying(hash: Hex): boolean {
    return this.#lying.some((batch) => batch.hash === hash);
  }

  /** Shows a lie directly, or begins the game about it. */
  async #show(me: Hex, batch: KnownBatch, look: Look): Promise<Act | null> {
    const { header, verdict } = batch;
    const { number } = header;
    if (number <= look.finalized) {
      this.#log('too_late', { batch: number, fault: verdict.fault });
      return null;
    }
    const wire = toWire(header);
    const act = (functionName: string, ...args: readonly unknown[]): Act => ({
      call: { address: this.#terms.faults, abi: faultsAbi as Abi, functionName, args },
      why: verdict.fault ?? '',
      number,
    });
    const available = (functionName: string, ...args: readonly unknown[]): Act => {
      const { call, ...rest } = act(functionName, ...args);
      return { ...rest, call: { ...call, address: this.#terms.availability, abi: availabilityAbi as Abi } };
    };
    switch (verdict.fault) {
      case 'inbox':
        return act('proveInbox', wire, provenToWire(verdict.inbox));
      case 'time':
        return act('proveTime', wire, openingToWire(await this.#verifier.opening(number, verdict.tick)));
      case 'layout': {
        const { proof } = await this.#verifier.carrierProof(number);
        return available('proveLayout', wire, LAYOUTS.indexOf(verdict.kind), BigInt(verdict.index), proof);
      }
      case 'encoding': {
        const { place, proof } = await this.#verifier.carrierProof(number);
        return available('proveEncoding', wire, BigInt(place), proof);
      }
      case 'clock':
        return act('proveClock', wire, verdict.shard, provenToWire(verdict.head));
      case 'late': {
        const previous = toWire((await this.#verifier.batch(number - 1))!.header);
        const { from, to, sent, received } = verdict;
        return act('proveLate', previous, wire, from, to, provenToWire(sent), provenToWire(received));
      }
      case 'post': {
        const isOpen = await this.#isPlaying(me, batch.hash, look);
        const { postedAt } = await this.#chain.posted(number);
        if (isOpen || look.latest.timestamp >= postedAt + this.#terms.window) return null;
        return { call: this.#games.call('open', [wire], this.#bond), why: 'it does not come to its post', number };
      }
      default:
        return null;
    }
  }

  /** Whether a game of ours about a batch can still be won. One in which our time has passed is lost, though nobody has said so. */
  async #isPlaying(me: Hex, hash: Hex, look: Look): Promise<boolean> {
    for (const play of this.#open.map(playOf)) {
      if (play.challenger !== me || play.batchHash !== hash || !(await this.#games.isAlive(play, look))) continue;
      if (turnOf(play) === 'sequencer' || look.latest.timestamp <= play.deadline) return true;
    }
    return false;
  }

  async #collect(me: Hex): Promise<Act | null> {
    if ((await this.#games.credits(me)) > 0n)
      return { call: this.#games.call('collect', []), why: 'bonds are due to us', number: 0 };
    if ((await this.#chain.credits(me)) > 0n)
      return { call: this.#chain.call('collect', []), why: 'rewards are due to us', number: 0 };
    if (BigInt(this.#terms.committee) === 0n) return null;
    const committee = new CommitteeChain(this.#chain.rpc, this.#chain.root);
    const due = await collecting(committee, me);
    if (due) return { call: due, why: 'demands were closed', number: 0 };
    const call = await dissolving(committee, this.#chain, me);
    return call && { call, why: 'the batch of a demand is gone', number: 0 };
  }

  // --- telling ---

  async #report(look: Look | null, error: string | undefined): Promise<void> {
    const before = await this.#verifier.watch();
    if (!look) {
      if (before) await this.#verifier.recordWatch({ ...before, ...(error === undefined ? {} : { error }) });
      return;
    }
    const scanned = await this.#scanFaults(before?.scannedBlock ?? 0, look.latest.number);
    const { challengerKey } = this.#settings;
    const me = challengerKey ? Sender.addressOf(challengerKey) : null;
    const balance = async (of: Hex): Promise<bigint> => this.#chain.client.getBalance({ address: of });
    const [poster, challenger] = [await balance(this.#terms.sequencer), me ? await balance(me) : null];
    const plays = this.#open.map(playOf);
    const awaited = plays.map(({ deadline }) => deadline - this.#moveWindow);
    const { samples, hours } = runway(before?.samples ?? [], Date.now(), [poster, challenger ?? 0n]);
    const metrics: WatchMetrics = {
      atMs: Date.now(),
      tookMs: Date.now() - this.#started,
      head: look.head,
      verified: (await this.#verifier.standing()).head,
      finalized: look.finalized,
      games: {
        open: plays.length,
        ours: plays.filter((play) => play.challenger === me).length,
        hostile: plays.filter(({ batchHash }) => !this.#isLying(batchHash)).length,
      },
      lying: this.#lying.length,
      ...(awaited.length > 0 ? { awaitedSince: Math.min(...awaited) } : {}),
      bondWei: String(await this.#chain.bonded()),
      stakedWei: String(this.#bond * BigInt(plays.length)),
      ...(challenger === null ? {} : { challengerWei: String(challenger) }),
      ...(hours === null ? {} : { runwayHours: hours }),
      samples,
      scannedBlock: scanned,
      ...(error === undefined ? {} : { error }),
    };
    if (hours !== null && hours < LOW_RUNWAY_HOURS) this.#log('low_gas', { hours });
    await this.#verifier.recordWatch(metrics);
  }

  /** Notes what was shown at L1 without a game, by anybody. Returns the block up to which it looked. */
  async #scanFaults(scanned: number, latest: number): Promise<number> {
    const from = Math.max(0, scanned - REORG_BLOCKS);
    const to = Math.min(latest, from + LOG_BLOCKS);
    const at = { address: this.#terms.faults, abi: faultsAbi, fromBlock: BigInt(from), toBlock: BigInt(to) } as const;
    const data = { ...at, address: this.#terms.availability, abi: availabilityAbi } as const;
    const [shown, broken, unavailable] = await Promise.all([
      this.#chain.client.getContractEvents({ ...at, eventName: 'FaultShown', strict: true }),
      this.#chain.client.getContractEvents({ ...at, eventName: 'ReceiptBroken', strict: true }),
      this.#chain.client.getContractEvents({ ...data, eventName: 'FaultShown', strict: true }),
    ]);
    const where = (log: { transactionHash: Hex; blockNumber: bigint }): { tx: Hex; block: number } => ({
      tx: log.transactionHash,
      block: Number(log.blockNumber),
    });
    const faults: FaultRecord[] = [
      ...[...shown, ...unavailable].map((log) => ({ ...log.args, number: Number(log.args.number), ...where(log) })),
      ...broken.map((log) => ({ ...log.args, seq: Number(log.args.seq), ...where(log) })),
    ];
    if (faults.length > 0) await this.#verifier.recordFaults(faults);
    return to;
  }
}

const provenToWire = ({ stateRoot, cell, proof }: ProvenCell): Record<string, unknown> => ({ stateRoot, cell, proof });
