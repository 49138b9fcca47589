/**
 * A deployment whose sequencer is honest, the product's own code over shards in memory, at an L1 whose clock the test turns: for challengers that
 * are not. Its data goes where the test says.
 */
import { privateKeyToAccount } from 'viem/accounts';
import { gameAbi, rootAbi, testTokenAbi } from '../../contracts/abi.ts';
import type { GameRecord, Play } from '../../durable/verifier/api.ts';
import { VerifierHost } from '../../durable/verifier/host.ts';
import { L1 } from '../../local/l1.ts';
import { newRun } from '../../local/paths.ts';
import { openSql } from '../../local/sql.ts';
import { signBundle } from '../../protocol/bundle.ts';
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { Da } from '../../protocol/da/carrier.ts';
import { RevealTree, segmentEnds } from '../../protocol/dispute.ts';
import { Signing } from '../../protocol/eip712.ts';
import { keccak } from '../../protocol/hash.ts';
import { makeId } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type BatchHeader, placeFrames } from '../../protocol/trace.ts';
import { Chain } from '../../workers/settlement/chain.ts';
import type { SettlementEnv } from '../../workers/settlement/env.ts';
import { Games, openingToWire, playOf, playToWire, revealedOf, turnOf } from '../../workers/settlement/games.ts';
import { runPass, runWatch } from '../../workers/settlement/pass.ts';
import { findPosted } from '../../workers/settlement/posted.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { MemoryShard } from '../support/memory-shard.ts';
import { Carriage } from './carriage.ts';

const SHARDS = 2;
export const WINDOW = 5_000;
export const MOVE_WINDOW = 600;
/** More than one reveal's: a game goes through every kind of move. */
const INTERACTIONS = 100;
const BURNED: Hex = '0x000000000000000000000000000000000000dead';
/** Passes until nothing more can be under way. */
const MAX_PASSES = 60;
/** Of a lie: more than one answer of the sequencer can tell. */
const LIE_STEPS = 200;

interface Event {
  readonly event: string;
  readonly [field: string]: unknown;
}

export class HonestWorld {
  readonly l1: L1;
  readonly host: VerifierHost;
  readonly games: Games;
  readonly chain: Chain;
  readonly events: Event[] = [];
  readonly #shards: readonly MemoryShard[];
  readonly #signing: Signing;
  readonly #agents: { readonly key: MachineKey; readonly id: number; nonce: number }[] = [];
  readonly carriage: Carriage;

  private constructor(l1: L1, game: Hex, carriage: Carriage) {
    this.l1 = l1;
    this.carriage = carriage;
    const { chainId, root } = l1;
    this.#signing = new Signing({ chainId, root });
    this.#shards = Array.from({ length: SHARDS }, (_, shard) => new MemoryShard(shard, this.#signing, SHARDS));
    // L1's clock is its newest block's.
    for (const shard of this.#shards) shard.lag = 5;
    const sql = openSql(':memory:');
    this.host = new VerifierHost(sql, sql.together, { shards: SHARDS, chainId, root });
    this.chain = new Chain(l1.rpc, root);
    this.games = new Games(this.chain, game);
  }

  /** `da`: where all data goes. */
  static async start(da: number = Da.calldata): Promise<HonestWorld> {
    const carriage = new Carriage(da);
    const l1 = await L1.start({
      dir: newRun(),
      blockTime: 0,
      window: WINDOW,
      moveWindow: MOVE_WINDOW,
      inboxDelay: 10_000_000,
      freezeAfter: 100_000_000,
      shards: SHARDS,
      ...carriage.terms,
    });
    await carriage.open(l1);
    const world = new HonestWorld(l1, l1.game, carriage);
    const owner: Hex = `0x${'ab'.repeat(20)}`;
    await l1.fund(owner);
    const token = { address: l1.token, abi: testTokenAbi };
    await l1.as(owner, { ...token, functionName: 'mint', args: [owner, 10n ** 12n] });
    await l1.as(owner, { ...token, functionName: 'approve', args: [l1.root, 10n ** 12n] });
    for (let i = 0; i < 2 * SHARDS; i++) {
      const shard = i % SHARDS;
      const key = await MachineKey.import(MachineKey.randomSecret());
      const args = [shard, hex(key.publicKey.subarray(0, 32)), hex(key.publicKey.subarray(32)), 1_000_000n];
      await l1.as(owner, { address: l1.root, abi: rootAbi, functionName: 'register', args });
      world.#agents.push({ key, id: makeId(shard, 1 + Math.floor(i / SHARDS)), nonce: 0 });
    }
    await world.pass();
    world.#travel();
    await world.pass();
    return world;
  }
  async stop(): Promise<void> {
    await this.carriage.close();
    await this.l1.stop();
  }

  // --- the honest side ---

  #env(): SettlementEnv {
    const { l1 } = this;
    return {
      SHARD: { getByName: (name: string) => this.#shards[Number(name.slice('shard-'.length))] },
      SHARDS: String(SHARDS),
      CHAIN_ID: String(l1.chainId),
      ROOT_ADDRESS: l1.root,
      L1_RPC: l1.rpc,
      L1_CONFIRMATIONS: '0',
      POSTER_KEY: l1.posterKey,
      CHALLENGER_KEY: l1.challengerKey,
      VERIFIER: { getByName: () => this.host },
      PASS_SECONDS: '60',
      BATCH_SECONDS: '0',
      SEQUENCER_KEY: l1.sequencerSecret,
      DA_MODES: this.carriage.name,
      ...this.carriage.vars,
    };
  }

  /** What the cron does; first the verifier, so that what was posted is known when it has to be answered for. */
  async pass(): Promise<void> {
    await this.l1.request('evm_mine');
    await this.#run(this.#env());
    const failed = this.events.find(({ event }) => event === 'pass_failed' || event === 'watch_failed');
    if (failed) throw new Error(`a pass failed: ${JSON.stringify(failed)}`);
  }

  /** The same, while no shard answers. */
  async passWithoutShards(): Promise<void> {
    const gone = new Proxy({}, { get: () => () => Promise.reject(new Error('the shard is gone')) });
    await this.#run({ ...this.#env(), SHARD: { getByName: () => gone } });
    this.events.splice(0);
  }
  /** The same, while L1 does not answer one method of its node's. Returns what happened. */
  async passWithout(method: string): Promise<readonly Event[]> {
    const { fetch: realFetch } = globalThis;
    globalThis.fetch = (async (url, init) => {
      if (typeof init?.body === 'string' && init.body.includes(`"${method}"`)) throw new TypeError('L1 is gone');
      return realFetch(url, init);
    }) as typeof fetch;
    try {
      await runPass(this.#env(), this.#log);
    } finally {
      globalThis.fetch = realFetch;
    }
    return this.events.splice(0);
  }
  /** The same, without the verifier's object. */
  async passWithoutVerifier(): Promise<void> {
    await runPass({ ...this.#env(), VERIFIER: undefined }, this.#log);
  }
  readonly #log = (event: string, fields: object = {}): void => void this.events.push({ event, ...fields });
  async #run(env: SettlementEnv): Promise<void> {
    await runWatch(env, this.#log);
    await runPass(env, this.#log);
    await runWatch(env, this.#log);
  }
  /** What the challenger does. */
  async watch(): Promise<void> {
    await runWatch(this.#env(), this.#log);
  }

  #travel(): void {
    for (const one of this.#shards) for (const two of this.#shards) if (one !== two) one.deliver(two);
    for (const one of this.#shards) for (const two of this.#shards) if (one !== two) one.acknowledge(two);
  }

  /** Something happens, on all shards and between them. */
  async work(): Promise<void> {
    for (const [one, agent] of this.#agents.entries()) {
      const to = (further: number): number => this.#agents[(one + further) % this.#agents.length].id;
      const interactions = Array.from({ length: INTERACTIONS }, (_, i) => ({
        op: 'transfer' as const,
        // Most stay on the shard; a few cross.
        to: to(i % 50 === 0 ? 1 : SHARDS),
        amount: 1 + i,
      }));
      const head = { actor: agent.id, nonce: agent.nonce++, expiry: 0xf0000000 };
      this.#shards[agent.id % 256].run(await signBundle(agent.key, this.#signing, head, interactions));
    }
    this.#travel();
  }

  /** Something happens, and becomes a batch. */
  async batch(): Promise<BatchHeader> {
    const before = await this.read('head');
    await this.work();
    await this.pass();
    const number = await this.read('head');
    if (number !== before + 1) throw new Error(`the batch was not posted: ${JSON.stringify(this.events.slice(-5))}`);
    return (await this.host.batch(number))!.header;
  }

  /** What was slashed is paid again: without a bond nothing is posted. */
  async rebond(): Promise<void> {
    const value = 10n ** 17n;
    await this.sequencer({ address: this.l1.root, abi: rootAbi, functionName: 'bond', args: [], value });
  }

  // --- and one that is not ---

  /** Posts, with the sequencer's key, a batch after the newest whose state nothing leads to. Answers with the true commitment after each of its steps. */
  async lie(): Promise<Hex[]> {
    const { header: last, hash: prev } = await findPosted(
      this.chain,
      await this.read('head'),
      await this.chain.block(),
    );
    const frames = Array.from({ length: LIE_STEPS }, () => Uint8Array.of(0x77));
    const placed = placeFrames([{ shard: 0, firstSeq: this.host.verifier.state().engine(0).seq, frames }]);
    const { da, steps, dataRoot } = this.carriage.seal(placed);
    const header: BatchHeader = {
      ...last,
      number: last.number + 1,
      prev,
      pre: last.post,
      post: hex(keccak(Uint8Array.of(last.number))),
      da,
      steps,
      timeFrom: last.timeTo,
      dataRoot: hex(dataRoot),
    };
    await this.carriage.post(header, placed);
    await this.watch();
    const ends = Array.from({ length: LIE_STEPS }, (_, i) => i + 1);
    return (await this.host.commitments(header.number, ends)).map(hex);
  }
  async sequencer(call: Parameters<L1['write']>[1]): Promise<void> {
    await this.l1.write(privateKeyToAccount(this.l1.posterKey), call);
  }
  async later(): Promise<void> {
    await this.mineAt((await this.now()) + MOVE_WINDOW + 1);
  }

  // --- L1 ---

  async read(functionName: 'head' | 'finalized' | 'bonded'): Promise<number> {
    return Number(await this.l1.client.readContract({ address: this.l1.root, abi: rootAbi, functionName }));
  }
  async now(): Promise<number> {
    return Number((await this.l1.client.getBlock()).timestamp);
  }
  /** The next block has this time; mined only with a transaction, or when told. */
  async nextAt(time: number): Promise<void> {
    await this.l1.request('anvil_setNextBlockTimestamp', [time]);
  }
  async mineAt(time: number): Promise<void> {
    await this.nextAt(time);
    await this.l1.request('evm_mine');
  }
  /** Who the sequencer is, at L1. */
  get poster(): Hex {
    return privateKeyToAccount(this.l1.posterKey).address;
  }

  /** Wei that the game holds, that were burned, and that were ever credited to the sequencer. */
  async money(): Promise<{ held: bigint; burned: bigint; credited: bigint }> {
    const { client, game: address } = this.l1;
    const credits = await client.getContractEvents({
      address,
      abi: gameAbi,
      eventName: 'Credited',
      args: { account: this.poster },
      fromBlock: 0n,
      strict: true,
    });
    return {
      held: await client.getBalance({ address }),
      burned: await client.getBalance({ address: BURNED }),
      credited: credits.reduce((sum, { args }) => sum + args.amount, 0n),
    };
  }

  /** Passes, until in no game it is the sequencer's turn: one is enough, unless games are very many. */
  async answered(): Promise<void> {
    for (let passes = 0; passes < MAX_PASSES; passes++) {
      await this.pass();
      if ((await this.#open()).every((record) => turnOf(playOf(record)) === 'challenger')) return;
    }
    throw new Error('games are not answered');
  }

  async #open(): Promise<GameRecord[]> {
    const ids = Array.from({ length: await this.games.count() }, (_, i) => i + 1);
    const standing = await this.games.standing(ids);
    return this.records(ids.filter((_, i) => BigInt(standing[i]) !== 0n));
  }

  /** Passes and time, until every game is over and every batch final. */
  async outlast(): Promise<void> {
    for (let passes = 0; passes < MAX_PASSES; passes++) {
      await this.pass();
      const open = await this.#open();
      if (open.length === 0 && (await this.read('finalized')) === (await this.read('head'))) return;
      const now = await this.now();
      const next = open.length > 0 ? Math.min(...open.map((record) => playOf(record).deadline)) + 1 : now + WINDOW;
      await this.mineAt(Math.max(now + 1, next));
    }
    throw new Error('games or batches do not come to an end');
  }

  async records(ids: readonly number[]): Promise<GameRecord[]> {
    const found = await this.games.records(ids, 0, await this.chain.block());
    return found.filter((record) => record !== null);
  }
}

/** Somebody with ether who plays games against batches that are good. */
export class Hostile {
  readonly world: Pick<HonestWorld, 'l1' | 'chain' | 'games' | 'host'>;
  readonly address: Hex;

  constructor(world: Hostile['world'], address: Hex) {
    this.world = world;
    this.address = address;
  }

  async call(functionName: string, args: readonly unknown[], value = 0n): Promise<void> {
    const { game: address } = this.world.l1;
    await this.world.l1.as(this.address, { address, abi: gameAbi, functionName, args, value });
  }

  async open(number: number): Promise<number> {
    const { l1, chain, games } = this.world;
    await l1.fund(this.address);
    const { header } = await findPosted(chain, number, await chain.block());
    await this.call('open', [toWire(header)], (await games.terms()).challengeBond);
    return games.count();
  }

  async record(id: number): Promise<GameRecord> {
    const { games, chain } = this.world;
    return (await games.record(id, 0, await chain.block()))!;
  }
  async play(id: number): Promise<Play> {
    return playOf(await this.record(id));
  }

  /** The arguments that pick a segment out of what the sequencer revealed; `segment` counts round it, so that any number is one. */
  #picked(record: GameRecord, segment: number): { readonly args: unknown[]; readonly from: number } {
    const play = playOf(record);
    const claimed = [...revealedOf(record), play.post];
    const i = (segment + claimed.length) % claimed.length;
    const tree = new RevealTree(claimed.map((commitment) => unhex(commitment)));
    const before = i === 0 ? [play.pre, []] : [claimed[i - 1], tree.path(i - 1).map(hex)];
    const args = [playToWire(play), BigInt(i), ...before, claimed[i], tree.path(i).map(hex)];
    return { args, from: play.from + (segmentEnds(play.length)[i - 1] ?? 0) };
  }

  async pick(id: number, segment: number): Promise<void> {
    await this.call('pick', this.#picked(await this.record(id), segment).args);
  }
  async pickAndStep(id: number, segment: number): Promise<void> {
    const record = await this.record(id);
    const { args, from } = this.#picked(record, segment);
    await this.call('pickAndStep', [...args, ...(await this.#witnessed(playOf(record).number, from))]);
  }
  /** `other`: the witness of that step instead of its own. */
  async step(id: number, other?: number): Promise<void> {
    const play = await this.play(id);
    const [opening] = await this.#witnessed(play.number, play.from);
    const [, witness] = await this.#witnessed(play.number, other ?? play.from);
    await this.call('step', [playToWire(play), opening, witness]);
  }
  async #witnessed(number: number, step: number): Promise<unknown[]> {
    const { opening, witness } = await this.world.host.step(number, step);
    return [openingToWire(opening), witness];
  }
}
