/** A shard in memory with funded agents, for tests of the state transition: real keys, real signatures, one line a bundle. */
import { signBundle } from '../../protocol/bundle.ts';
import { Agent, Escrow, Outbox, Region, Session, EscrowStatus, SessionStatus, get } from '../../protocol/cells.ts';
import { Signing } from '../../protocol/eip712.ts';
import { Engine, inboxFrame, tickFrame } from '../../protocol/engine.ts';
import { encodeInboxItem } from '../../protocol/inbox.ts';
import { MachineKey, ownerAddress } from '../../protocol/keys.ts';
import type { Interaction } from '../../protocol/ops/index.ts';
import { type Outcome, STATUSES } from '../../protocol/status.ts';
import { Verdicts } from '../../protocol/verdicts.ts';
import { decodeBundle } from '../../protocol/bundle.ts';
import { serialOf } from '../../protocol/ids.ts';

export const DOMAIN = { chainId: 31337, root: '0x5fbdb2315678afecb367f032d93f642f64180aa3' } as const;

export interface Actor {
  readonly id: number;
  readonly key: MachineKey;
  readonly ownerSecret: Uint8Array;
  nonce: number;
}

export class World {
  readonly signing = new Signing(DOMAIN);
  readonly verdicts = new Verdicts();
  readonly engine: Engine;
  /** Base units that came in from L1. */
  deposited = 0;

  constructor(shard = 0) {
    this.engine = new Engine(shard, this.signing, { verify: this.verdicts.verify });
  }

  execute(frame: Uint8Array): Outcome[] {
    return this.engine.execute(this.engine.seq, frame);
  }

  tick(time: number): void {
    this.execute(tickFrame(time));
  }

  /** Registers through the inbox. */
  async agent(amount: number, ownerByte = this.engine.seq + 1): Promise<Actor> {
    const key = await MachineKey.import(MachineKey.randomSecret());
    const ownerSecret = new Uint8Array(32).fill((ownerByte % 200) + 1);
    const item = encodeInboxItem({
      kind: 'register',
      shard: 0,
      owner: ownerAddress(ownerSecret),
      key: key.publicKey,
      amount,
    });
    this.deposited += amount;
    return { id: this.execute(inboxFrame(item))[0].value, key, ownerSecret, nonce: 0 };
  }

  async sign(actor: Actor, interactions: readonly Interaction[], expiry = 0xf0000000): Promise<Uint8Array> {
    const frame = await signBundle(
      actor.key,
      this.signing,
      { actor: actor.id, nonce: actor.nonce, expiry },
      interactions,
    );
    await this.verdicts.prefetch(this.engine.machine, decodeBundle(frame));
    return frame;
  }

  /** Runs one accepted bundle; answers `status:value` of each interaction. */
  async run(actor: Actor, ...interactions: Interaction[]): Promise<string[]> {
    const [opening, ...outcomes] = this.execute(await this.sign(actor, interactions));
    if (opening.status !== 0) throw new Error(STATUSES[opening.status]);
    actor.nonce += 1;
    return outcomes.map(({ status, value }) => (value ? `${STATUSES[status]}:${value}` : STATUSES[status]));
  }

  balance(actor: Actor): number {
    return this.engine.machine.balance(actor.id);
  }
  agentCell(actor: Actor): Uint8Array {
    return this.engine.trie.read(Region.agent, serialOf(actor.id));
  }

  /** Everything anybody can claim: must equal what was deposited, always. */
  claims(): number {
    const { trie, machine } = this.engine;
    const head = machine.head();
    const count = (at: number, width: number): number => get(head, { at, width, kind: 'uint' });
    let sum = 0;
    for (let s = 1; s <= count(4, 4); s++)
      sum += get(trie.read(Region.agent, s), Agent.balance) + get(trie.read(Region.agent, s), Agent.stake);
    for (let s = 1; s <= count(22, 6); s++) {
      const cell = trie.read(Region.escrow, s);
      const status = get(cell, Escrow.status);
      if (status === EscrowStatus.open || status === EscrowStatus.held) sum += get(cell, Escrow.amount);
    }
    for (let s = 1; s <= count(16, 6); s++) {
      const cell = trie.read(Region.session, 4 * s);
      const status = get(cell, Session.status);
      if (status === SessionStatus.open || status === SessionStatus.exiting)
        sum += get(cell, Session.depositA) + get(cell, Session.depositB);
    }
    for (let s = 1; s <= count(28, 6); s++) sum += get(trie.read(Region.outbox, s), Outbox.amount);
    return sum;
  }
}
