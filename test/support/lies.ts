/**
 * A sequencer that lies, beside the product's own: it has the same key, posts a batch whose state nothing leads to, and defends that in games. And a
 * full node of the test's own, to tell it the truth.
 */
import { type PrivateKeyAccount, privateKeyToAccount } from 'viem/accounts';
import { rootAbi } from '../../contracts/abi.ts';
import { VerifierHost } from '../../durable/verifier/host.ts';
import type { L1 } from '../../local/l1.ts';
import { openSql } from '../../local/sql.ts';
import { hex } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import { type BatchHeader, encodeChunkRecord, placeFrames, sealData } from '../../protocol/trace.ts';
import { Chain } from '../../workers/settlement/chain.ts';
import { readSettings } from '../../workers/settlement/env.ts';
import { Games, outcomeOf } from '../../workers/settlement/games.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { Watch } from '../../workers/settlement/watch.ts';
import { Liar, type LiarsWorld } from '../mutants/liar.ts';

/** More than one answer of the sequencer can tell. */
const STEPS = 200;

export class Lies implements LiarsWorld {
  readonly l1: L1;
  readonly chain: Chain;
  readonly games: Games;
  readonly host: VerifierHost;
  readonly account: PrivateKeyAccount;
  readonly #shards: number;

  constructor(l1: L1, shards: number) {
    this.l1 = l1;
    this.#shards = shards;
    this.chain = new Chain(l1.rpc, l1.root);
    this.games = new Games(this.chain, l1.game);
    this.account = privateKeyToAccount(l1.posterKey);
    const sql = openSql(':memory:');
    this.host = new VerifierHost(sql, sql.together, { shards, chainId: l1.chainId, root: l1.root });
  }

  /** Follows L1, and says nothing. */
  async look(): Promise<void> {
    const settings = readSettings({
      SHARD: { getByName: () => null },
      SHARDS: String(this.#shards),
      CHAIN_ID: String(this.l1.chainId),
      ROOT_ADDRESS: this.l1.root,
      L1_RPC: this.l1.rpc,
      L1_CONFIRMATIONS: '0',
    });
    await new Watch(settings, this.host, () => {}).run();
  }

  async sequencer(call: Parameters<L1['write']>[1]): Promise<void> {
    await this.l1.write(this.account, call);
  }
  async later(): Promise<void> {}
  async bond(value: bigint): Promise<void> {
    await this.sequencer({ address: this.l1.root, abi: rootAbi, functionName: 'bond', args: [], value });
  }

  /** Posts a lie after L1's newest batch. It is told the truth up to a step, when it is asked. */
  async tell(seed: number): Promise<{ readonly number: number; answer(): Promise<boolean> }> {
    await this.look();
    const { known: previous } = await this.host.standing();
    const { header: last, hash: prev } = (await this.host.batch(previous))!;
    const { seq: firstSeq } = this.host.verifier.state().engine(0);
    const record = { shard: 0, firstSeq, frames: Array.from({ length: STEPS }, () => Uint8Array.of(0x77)) };
    const { steps, dataRoot } = sealData(placeFrames([record]));
    const header: BatchHeader = {
      ...last,
      number: previous + 1,
      prev,
      pre: last.post,
      post: hex(keccak(Uint8Array.of(seed))),
      steps,
      timeFrom: last.timeTo,
      dataRoot: hex(dataRoot),
    };
    const args = [toWire(header), hex(encodeChunkRecord(record))];
    await this.sequencer({ address: this.l1.root, abi: rootAbi, functionName: 'postBatch', args });
    await this.look();
    const ends = Array.from({ length: STEPS }, (_, i) => i + 1);
    const truth = (await this.host.commitments(header.number, ends)).map(hex);
    const liar = new Liar(this, 'parted', truth, seed);
    return { number: header.number, answer: async () => liar.answer(await this.#openAgainst(header.number)) };
  }

  async #openAgainst(number: number) {
    await this.look();
    const games = await this.host.games({ limit: 1000 });
    return games.filter((game) => outcomeOf(game) === null && game.moves[0].play.number === number);
  }

  async head(): Promise<number> {
    return Number(await this.l1.client.readContract({ address: this.l1.root, abi: rootAbi, functionName: 'head' }));
  }
  async bonded(): Promise<bigint> {
    return this.chain.bonded();
  }
}
