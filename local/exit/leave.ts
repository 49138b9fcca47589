/** Everybody's way out of a frozen deployment, or one owner's: opens, shows, waits and collects. What was done already is seen at L1. */
import type { Abi } from 'viem';
import { exitsAbi, rootAbi } from '../../contracts/abi.ts';
import { type Hex, unhex } from '../../protocol/bytes.ts';
import { formatId } from '../../protocol/ids.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { type SignedHalf, halfArgs } from './halves.ts';
import { type Call, type Place, Places } from './places.ts';
import { RefusedCall, type Sender } from './sender.ts';
import { type Deployment, ExitError, type LastState } from './state.ts';

/** What happened, for who reads along. */
export type Tell = (event: string, fields: Readonly<Record<string, unknown>>) => void;

/** Where the deployment and its exits are. */
export interface Standing {
  readonly frozen: boolean;
  readonly freezableAt: number;
  readonly head: number;
  readonly finalized: number;
  /** 0 while the exits are not open. */
  readonly halvesUntil: number;
  /** L1's clock, Unix seconds. */
  readonly now: number;
}

export interface Leaving {
  readonly deployment: Deployment;
  readonly state: LastState;
  readonly sender: Sender;
  /** Lower-case; undefined: everybody. */
  readonly owner: Hex | undefined;
  readonly halves: readonly SignedHalf[];
  /** Without, what has to wait is told, and the next run goes on. */
  readonly waits: boolean;
  readonly dryRun: boolean;
  readonly tell: Tell;
}

const POLL_MS = 1_000;
/** What another one did before us. */
const DONE = /^(AlreadyShown|AlreadyReturned|AlreadyWithdrawn|NothingToCollect|AlreadyOpen|IsFrozen|AlreadyFinal)/;

export async function standingOf({ chain, root, exits }: Deployment): Promise<Standing> {
  const at = { address: root, abi: rootAbi } as const;
  const { client } = chain;
  const [frozen, freezableAt, head, finalized, halvesUntil, block] = await Promise.all([
    client.readContract({ ...at, functionName: 'frozen' }),
    client.readContract({ ...at, functionName: 'freezableAt' }),
    client.readContract({ ...at, functionName: 'head' }),
    client.readContract({ ...at, functionName: 'finalized' }),
    client.readContract({ address: exits, abi: exitsAbi, functionName: 'halvesUntil' }),
    client.getBlock(),
  ]);
  return {
    frozen,
    freezableAt: Number(freezableAt),
    head: Number(head),
    finalized: Number(finalized),
    halvesUntil: Number(halvesUntil),
    now: Number(block.timestamp),
  };
}

/** Whether anything of a place is an owner's. Parties of a session count at 0, too: a newer half may say otherwise. */
export const isOf = (place: Place, owner: Hex, places: Places): boolean =>
  place.shares.some((share) => ('owner' in share ? share.owner : places.ownerOf(share.agent)) === owner);

/** Whether L1 has seen a place. */
export async function isShown({ chain, root, exits }: Deployment, place: Place): Promise<boolean> {
  const at = { address: exits, abi: exitsAbi } as const;
  if (place.kind === 'deposit')
    return chain.client.readContract({ ...at, functionName: 'returned', args: [BigInt(place.at)] });
  if (place.kind === 'withdrawal') {
    const { args } = place.show();
    const serial = BigInt(`0x${(args[3] as string).slice(6, 18)}`);
    const call = { address: root, abi: rootAbi, functionName: 'withdrawn', args: [args[2] as number, serial] } as const;
    return chain.client.readContract(call);
  }
  return chain.client.readContract({ ...at, functionName: 'shown', args: [place.at] });
}

export class Leave {
  readonly #leaving: Leaving;
  readonly #places: Places;

  constructor(leaving: Leaving) {
    this.#leaving = leaving;
    this.#places = new Places(leaving.deployment, leaving.state);
  }

  /** Goes as far as can be gone. Returns whether all is done. */
  async run(): Promise<boolean> {
    const { owner, deployment, tell } = this.#leaving;
    if (!(await this.#opened())) return false;
    const places = Array.from(this.#places.all()).filter((place) => !owner || isOf(place, owner, this.#places));
    tell('found', { places: places.length });
    for (const place of places) if (!place.isTimed) await this.#show(place);
    await this.#showInTime(places);
    const timed: Place[] = [];
    for (const place of places) if (place.isTimed && !(await isShown(deployment, place))) timed.push(place);
    // What was shown already is collected now, whatever has to wait.
    await this.#collect(places);
    if (timed.length === 0) return true;
    if (!(await this.#past((await standingOf(deployment)).halvesUntil, 'halves may be shown'))) return false;
    for (const place of timed) await this.#show(place);
    await this.#collect(places);
    return true;
  }

  /** Opens the exits, with all that comes before. */
  async #opened(): Promise<boolean> {
    const { deployment, state } = this.#leaving;
    let standing = await standingOf(deployment);
    if (standing.halvesUntil > 0) return true;
    if (!standing.frozen) {
      if (!(await this.#past(standing.freezableAt, 'the sequencer may still post'))) return false;
      await this.#do('freeze', { address: deployment.root, abi: rootAbi as Abi, functionName: 'freeze', args: [] });
    }
    standing = await standingOf(deployment);
    if (standing.head !== state.header.number) throw new ExitError('Another batch came meanwhile: run this again.');
    if (standing.finalized < standing.head) {
      const { postedAt } = await deployment.chain.posted(standing.head);
      if (!(await this.#past(postedAt + deployment.window, 'the last batch may still be challenged'))) return false;
      const args = [BigInt(standing.head)];
      await this.#do('finalize', { address: deployment.root, abi: rootAbi as Abi, functionName: 'finalize', args });
    }
    await this.#do('open', this.#places.call('open', toWire(state.header), state.stateRoot));
    return !this.#leaving.dryRun;
  }

  /** Halves and verdicts, which count only until the window ends. */
  async #showInTime(places: readonly Place[]): Promise<void> {
    const { deployment, halves, tell } = this.#leaving;
    const { halvesUntil, now } = await standingOf(deployment);
    const isLate = now > halvesUntil;
    for (const place of places) {
      if (!place.isTimed || (await isShown(deployment, place))) continue;
      if (place.first && !isLate) {
        await this.#do('verdict', place.first(), { for: place.name });
        await this.#show(place);
      }
      if (place.kind !== 'session') continue;
      const { session } = place;
      for (const signed of halves.filter(({ half }) => half.session === session)) {
        if (isLate) tell('late', { half: formatId(session), paid: signed.half.paid });
        else if (BigInt(signed.half.paid) > (await this.#paidBy(place.at, signed.half.dir)))
          await this.#do(
            'half',
            this.#places.call('showHalf', this.#places.quadOfSession(session), ...halfArgs(signed)),
            {
              session: formatId(session),
              paid: signed.half.paid,
            },
          );
      }
    }
  }

  #paidBy(cellAddress: number, dir: number): Promise<bigint> {
    const { chain, exits } = this.#leaving.deployment;
    const args = [cellAddress, dir] as const;
    return chain.client.readContract({ address: exits, abi: exitsAbi, functionName: 'paidBy', args });
  }

  async #show(place: Place): Promise<void> {
    if (await isShown(this.#leaving.deployment, place)) return;
    await this.#do('shown', place.show(), { what: place.name });
  }

  /** Pays claims out, of the owner's agents or of all that were shown. */
  async #collect(places: readonly Place[]): Promise<void> {
    const { deployment, owner } = this.#leaving;
    const { client } = deployment.chain;
    const agents = new Set(
      places.flatMap(({ shares }) => shares.flatMap((share) => ('agent' in share ? [share.agent] : []))),
    );
    for (const agent of agents) {
      const of = this.#places.ownerOf(agent);
      if (of === null || (owner && of !== owner)) continue;
      const at = { address: deployment.exits, abi: exitsAbi, args: [agent] } as const;
      const amount = await client.readContract({ ...at, functionName: 'claims' });
      if (amount === 0n) continue;
      await this.#do('collected', this.#places.call('collect', agent), {
        agent: formatId(agent),
        owner: of,
        amount: Number(amount),
      });
    }
  }

  /** Waits for L1's clock to pass a moment; false if it may not. */
  async #past(moment: number, why: string): Promise<boolean> {
    const { deployment, waits, tell } = this.#leaving;
    for (let told = false; ; told = true) {
      const { timestamp } = await deployment.chain.client.getBlock();
      if (Number(timestamp) > moment) return true;
      if (!told) tell('waits', { why, until: moment, seconds: moment - Number(timestamp) + 1 });
      if (!waits || this.#leaving.dryRun) return false;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Sends a call, unless somebody did it before; what L1 refuses is told, and does not stop the rest. */
  async #do(event: string, call: Call, fields: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const { sender, tell } = this.#leaving;
    try {
      const tx = await sender.send(call);
      tell(event, { ...fields, ...(tx ? { tx } : { dryRun: true }) });
    } catch (error) {
      if (!(error instanceof RefusedCall)) throw error;
      if (DONE.test(error.errorName)) return;
      if (event === 'freeze' || event === 'finalize' || event === 'open') throw error;
      tell('refused', { ...fields, call: call.functionName, error: error.errorName });
    }
  }
}

/** An address as the state has it: 20 bytes, lower-case. */
export const asOwner = (text: string): Hex => {
  unhex(text as Hex, 20);
  return text.toLowerCase() as Hex;
};
