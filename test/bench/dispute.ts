/**
 * A dispute from the lie to the slash: a batch of 16,384 steps on a populated state, one of them wrong, the product's challenger against a sequencer
 * that tells the truth up to that step and something else from there on. And what a single step costs at L1.
 */
import { decodeFunctionData } from 'viem';
import '../../protocol/keccak/install.ts';
import { gameAbi, rootAbi } from '../../contracts/abi.ts';
import { VerifierHost } from '../../durable/verifier/host.ts';
import type { L1 } from '../../local/l1.ts';
import { openSql } from '../../local/sql.ts';
import { hex } from '../../protocol/bytes.ts';
import { stepsOf } from '../../protocol/engine.ts';
import { keccak } from '../../protocol/hash.ts';
import { bundleIn } from '../../protocol/step.ts';
import { readSettings } from '../../workers/settlement/env.ts';
import { outcomeOf } from '../../workers/settlement/games.ts';
import { Watch } from '../../workers/settlement/watch.ts';
import { Liar } from '../mutants/liar.ts';
import { Crowd, SHARDS } from './dispute-crowd.ts';
import { stepCosts } from './dispute-steps.ts';
import { type Suite, isShort, median } from './suite.ts';

const STEPS = 16_384;
/** What the wrong step is, in one dispute after the other. */
const WRONG = isShort
  ? (['invoke', 'Opening'] as const)
  : (['invoke', 'respond', 'transfer', 'withdraw', 'Opening'] as const);
const MAX_LOOKS = 12;

interface Dispute {
  readonly gas: number;
  /** By what was called, in order. */
  readonly moves: readonly (readonly [string, number])[];
  readonly seconds: number;
}

export const suite: Suite = {
  name: 'dispute',
  async run(progress) {
    progress('settling a few thousand agents');
    const crowd = await Crowd.start();
    const { l1 } = crowd;
    const sql = openSql(':memory:');
    const host = new VerifierHost(sql, sql.together, { shards: SHARDS, chainId: l1.chainId, root: l1.root });
    let failed: string | undefined;
    const look = async (): Promise<void> => {
      const settings = readSettings({
        SHARD: { getByName: () => null },
        SHARDS: String(SHARDS),
        CHAIN_ID: String(l1.chainId),
        ROOT_ADDRESS: l1.root,
        L1_RPC: l1.rpc,
        L1_CONFIRMATIONS: '0',
        CHALLENGER_KEY: l1.challengerKey,
        PASS_SECONDS: '600',
      });
      const log = (event: string, fields?: object): void => {
        if (event === 'watch_failed') failed = JSON.stringify(fields);
      };
      await new Watch(settings, host, log).run();
      if (failed) throw new Error(`the challenger's look failed: ${failed}`);
    };
    try {
      await crowd.post(crowd.first);
      await look();
      const honest = await crowd.trade(STEPS);
      if (honest.header.steps !== STEPS) throw new Error(`the batch has ${honest.header.steps} steps`);
      const names = honest.frames.flatMap(({ frame }) => {
        const bundle = bundleIn(frame);
        return Array.from({ length: stepsOf(frame) }, (_, i) =>
          i === 0 ? (bundle ? 'Opening' : 'Tick') : (bundle?.interactions[i - 1].op ?? ''),
        );
      });
      const truth = crowd.truth();
      const sequencer = {
        l1,
        sequencer: (call: Parameters<L1['write']>[1]) => l1.write(crowd.sequencer, call),
        later: () => Promise.reject(new Error('the liar has nothing to say')),
      };
      const dispute = async (wrong: number): Promise<Dispute> => {
        const post = hex(keccak(Uint8Array.of(1)));
        const first = Number((await l1.client.getBlock()).number) + 1;
        await crowd.post({ ...honest, header: { ...honest.header, post } });
        const start = performance.now();
        const liar = new Liar(sequencer, 'parted', truth, wrong);
        for (let looks = 0; looks < MAX_LOOKS; looks++) {
          await look();
          const head = await l1.client.readContract({ address: l1.root, abi: rootAbi, functionName: 'head' });
          if (Number(head) < honest.header.number) break;
          await liar.answer((await host.games()).filter((game) => outcomeOf(game) === null));
        }
        const seconds = (performance.now() - start) / 1000;
        const moves = await movesSince(l1, first);
        return { seconds, moves, gas: moves.reduce((sum, [, gas]) => sum + gas, 0) };
      };

      const disputes = new Map<string, Dispute>();
      for (const name of WRONG) {
        const wrong = names.findIndex((each, i) => each === name && i > STEPS / 2);
        const snapshot = await l1.request('evm_snapshot');
        const met = await dispute(wrong);
        disputes.set(name, met);
        const told = met.moves.map(([call, gas]) => `${call} ${gas}`).join(', ');
        progress(`step ${wrong}, ${name}: ${met.gas} gas, caught in ${met.seconds.toFixed(1)} s (${told})`);
        if (!met.moves.some(([call]) => call === 'pickAndStep')) throw new Error('the lie was not brought to a step');
        await l1.request('evm_revert', [snapshot]);
        // Only its own batch is forgotten.
        await host.drop(honest.header.number);
      }
      progress('every step of the trace vector, as a transaction of its own');
      const costs = await stepCosts(l1, progress);
      const all = [...disputes.values()];
      const most = Math.max(...costs.gas.values());
      return {
        metrics: {
          gasTotal: Math.max(...all.map(({ gas }) => gas)),
          ...Object.fromEntries(WRONG.map((name) => [`gasTotal_${name}`, disputes.get(name)!.gas])),
          gasStepMost: most,
          ...Object.fromEntries([...costs.gas].map(([name, gas]) => [`gasStep_${name}`, gas])),
          verifyMs: costs.callMs,
          rounds: all[0].moves.filter(([call]) => call === 'reveal').length,
          transactions: all[0].moves.length,
          catchSeconds: median(all.map(({ seconds }) => seconds)),
        },
        notes: {
          gasTotal: `all transactions of a dispute over ${STEPS} steps, calldata's floor included; the most of those whose wrong step is ${WRONG.join(', ')}`,
          gasStepMost: `of ${costs.count} steps; Full_ are the opening and the last call of a bundle of 256`,
          gasStep_invoke:
            'a transaction that calls Step.step, its base cost and calldata included: the dearest step of this operation, that succeeds, in the trace vector; thousands of cells lie beside those it uses',
          verifyMs: 'median over all these steps of the eth_call, by HTTP',
          rounds: 'reveals of the sequencer',
          catchSeconds: `median; from the lie on L1 until it is void and the bond is lost: executing the batch, and all moves of both sides, a block for each`,
        },
      };
    } finally {
      await l1.stop();
    }
  },
};

/** The game's transactions from a block on, in order: what they called, and the gas they took. */
async function movesSince(l1: L1, first: number): Promise<(readonly [string, number])[]> {
  const moves: (readonly [string, number])[] = [];
  const last = Number((await l1.client.getBlock()).number);
  for (let number = first; number <= last; number++) {
    const { transactions } = await l1.client.getBlock({ blockNumber: BigInt(number), includeTransactions: true });
    for (const { hash, to, input } of transactions) {
      if (to?.toLowerCase() !== l1.game.toLowerCase()) continue;
      const { functionName } = decodeFunctionData({ abi: gameAbi, data: input });
      if (functionName === 'collect') continue;
      moves.push([functionName, Number((await l1.client.getTransactionReceipt({ hash })).gasUsed)]);
    }
  }
  return moves;
}
