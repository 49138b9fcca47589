/** Who holds what is demanded at L1 shows it there: a member its own column's cells, the sequencer those of any. */
import { type Hex, hex } from '../../protocol/bytes.ts';
import type { CellAnswer } from '../../protocol/da/offer.ts';
import type { MemberRpc } from '../../durable/member/api.ts';
import { type Log, reason } from '../settlement/log.ts';
import { type L1Call, Refused, Sender } from '../settlement/sender.ts';
import type { CommitteeChain } from './chain.ts';
import { type Demand, Demands, availabilityCall } from './demands.ts';

/** One run's answers take no longer. */
const RUN_MS = 50_000;
/** Most wei for one unit of gas: what an unanswered demand costs is worth more than that. */
const MAX_FEE = 500_000_000_000n;

export const senderOf = (chain: CommitteeChain, chainId: number, key: Hex, log: Log): Sender =>
  new Sender({ client: chain.client, chainId, key, maxFee: MAX_FEE, deadline: Date.now() + RUN_MS, log });

const running = new WeakMap<CommitteeChain, Promise<number>>();

/**
 * Answers what is demanded of a member's column. How many it answered. Unless one is under way, for the same chain: then that one's answer. Never throws:
 * what fails is logged, and is there at the next run.
 */
export function answerDemands(
  chain: CommitteeChain,
  key: Hex,
  store: Pick<MemberRpc, 'cells' | 'held'>,
  log: Log,
): Promise<number> {
  const before = running.get(chain);
  if (before) return before;
  const cellOf = async ({ dataRoot, column, row }: Demand): Promise<CellAnswer | null> => {
    const held = await store.held(dataRoot);
    return held?.column === column ? ((await store.cells(dataRoot, [row]))?.[0] ?? null) : null;
  };
  const run = answerWith(chain, key, cellOf, log)
    .catch((error: unknown) => {
      log('answers_failed', { error: reason(error) });
      return 0;
    })
    .finally(() => running.delete(chain));
  running.set(chain, run);
  return run;
}

/** What is to be said to demands as they stand whose cell is at hand, the one with the least time left first. Throws when L1 is away. */
export async function* answersTo(
  chain: CommitteeChain,
  cellOf: (demand: Demand) => Promise<CellAnswer | null>,
): AsyncGenerator<{ readonly demand: Demand; readonly call: L1Call }, undefined> {
  const open = await new Demands(chain).open();
  if (open.length === 0) return;
  const now = await chain.now();
  for (const demand of open) {
    const cell = demand.deadline < now ? null : await cellOf(demand);
    if (!cell) continue;
    const args = [demand.wire, hex(cell.content), cell.path.map(hex)];
    yield { demand, call: await availabilityCall(chain, 'answer', args) };
  }
}

async function answerWith(
  chain: CommitteeChain,
  key: Hex,
  cellOf: (demand: Demand) => Promise<CellAnswer | null>,
  log: Log,
): Promise<number> {
  const { chainId } = await chain.terms();
  const sender = senderOf(chain, chainId, key, log);
  let answered = 0;
  for await (const { demand, call } of answersTo(chain, cellOf)) {
    try {
      const { outcome } = await sender.send(call);
      if (outcome === 'mined') answered += 1;
      log('demand_answered', { demand: demand.id, batch: demand.number, column: demand.column, outcome });
    } catch (error) {
      // Another was first, or the batch is gone.
      if (!(error instanceof Refused)) throw error;
      log('answer_refused', { demand: demand.id, error: error.errorName });
    }
  }
  return answered;
}
