/** Data with a committee: L1 gets a certificate of a few hundred bytes, whatever the batch's size. */
import type { Abi } from 'viem';
import { committeeAbi, rootAbi } from '../../../contracts/abi.ts';
import type { BatchRecord } from '../../../durable/shard/api.ts';
import { hex, unhex } from '../../../protocol/bytes.ts';
import { Da } from '../../../protocol/da/carrier.ts';
import { Signing } from '../../../protocol/eip712.ts';
import { MachineKey } from '../../../protocol/keys.ts';
import { CommitteeChain } from '../../committee/chain.ts';
import { collect, isTooFew } from '../../committee/collect.ts';
import type { Chain } from '../chain.ts';
import type { Settings } from '../env.ts';
import type { Log } from '../log.ts';
import { toWire } from '../sender.ts';
import type { CanNot, Mode, Part, Records, Sealed } from './mode.ts';
import { endpointsOf } from './read.ts';
import { wholeOf } from './whole.ts';

/** What `postBatch` may answer to a certificate: the committee's errors too, so that one that is stale is known as such. */
export const POSTING: Abi = [...rootAbi, ...committeeAbi.filter(({ type }) => type === 'error')];

/** Seconds on top of `retention` that members are asked for, so that a certificate can wait for a block. */
const MARGIN = 3_600;

export class CommitteeMode implements Mode {
  readonly name = 'committee';
  readonly da = Da.committee;
  readonly #chain: Chain;
  readonly #settings: Settings;
  readonly #log: Log;

  constructor(chain: Chain, settings: Settings, log: Log) {
    this.#chain = chain;
    this.#settings = settings;
    this.#log = log;
  }

  async seal(number: number, records: Records): Promise<Sealed | CanNot> {
    const { sequencerKey, members, chainId, passMs } = this.#settings;
    const { committee } = await this.#chain.terms();
    if (BigInt(committee) === 0n) return { cannot: 'the deployment names no committee' };
    if (sequencerKey === null) return { cannot: 'SEQUENCER_KEY is missing: nobody can offer columns' };
    const l1 = new CommitteeChain(this.#chain.rpc, this.#chain.root);
    const [{ code, quorum, retention }, epoch, now] = await Promise.all([l1.terms(), l1.epoch(), l1.now()]);
    if (epoch === 0) return { cannot: 'the committee has not begun' };
    const whole = await wholeOf(records);
    if ('cannot' in whole) return whole;
    const { data, steps, frames } = whole;
    const result = await collect(await endpointsOf(l1, epoch, members), {
      number,
      data,
      epoch,
      until: now + retention + MARGIN,
      code,
      quorum,
      key: await MachineKey.import(unhex(sequencerKey)),
      signing: new Signing({ chainId, root: this.#chain.root }),
      timeoutMs: passMs / 4,
    });
    this.#log('collected', { batch: number, outcomes: result.outcomes.join() });
    if (isTooFew(result)) return { cannot: `${result.signed} of ${quorum} signatures` };
    const { dataRoot, certificate } = result;
    return { da: this.da, steps, frames, dataRoot, certificate: hex(certificate) };
  }

  async next(batch: BatchRecord): Promise<Part> {
    const args = [toWire(batch.header), batch.certificate ?? '0x'];
    return { call: { ...this.#chain.call('postBatch', args), abi: POSTING }, batch, from: 0 };
  }
}
