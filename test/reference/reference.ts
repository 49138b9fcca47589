/**
 * A slow, plain reading of the state transition from docs/protocol.md alone, for all shards of a deployment at once:
 * what the engine is tested against.
 */
import { concat } from '../../protocol/bytes.ts';
import { keccak } from '../../protocol/hash.ts';
import { AGENT, ESCROW_STATUS, HEAD, INBOX, MESSAGE, PEER, be, big } from './cells.ts';
import {
  type Interaction,
  type Item,
  decodeBundle,
  decodeInteraction,
  decodeItem,
  decodeWhole,
  stepsOf,
} from './frames.ts';
import { invokeByOrder } from './invoke.ts';
import { expire, giveBackBudget, grow, joinRefusal, rate, slash, verdict } from './moves.ts';
import { interact, interactThere, replaceKey, tell, withdraw } from './ops.ts';
import { KIND_NAMES, type Payload, decodeCall, decodePayload, encodeItem } from './payloads.ts';
import { CODES, Refused, check } from './statuses.ts';
import { type Checks, ROOM, Step } from './step.ts';
import { World, place, shardOf } from './world.ts';

export interface ReferenceOutcome {
  readonly status: number;
  readonly value: bigint;
}

interface Result {
  readonly status: string;
  readonly value: bigint;
}

const OUT_OF_ORDER: Result = { status: 'out_of_order', value: 0n };
const BUNDLE_REFUSED: Result = { status: 'bundle_refused', value: 0n };
/** No deadline may overflow a u32. */
const MAX_TIME = 0xf0000000n;
const MAX_NONCE = 2n ** 32n - 1n;
/** What gets money out or ends something. */
export const ACTS: readonly string[] =
  'transfer respond expire contest settle exit finalize close abort revoke unstake tell'.split(' ');

export class Reference {
  readonly world: World;
  readonly #checks: Checks;
  /** The operation of the act that ran last, as it is counted. */
  #acted: string | undefined;
  /** How often each `what status` occurred, and the most cells it looked at (a quad once). */
  readonly seen = new Map<string, { count: number; cells: number }>();

  constructor({ shards, ...checks }: Checks & { readonly shards: number }) {
    this.world = new World(shards);
    this.#checks = checks;
  }

  cells(shard: number): Map<number, Uint8Array> {
    return this.world.cells(shard);
  }
  root(shard: number): Uint8Array {
    return this.world.root(shard);
  }
  stateRoot(): Uint8Array {
    return this.world.stateRoot();
  }
  money(): bigint {
    return this.world.money() + this.world.forgotten;
  }

  execute(shard: number, seq: number, frame: Uint8Array): ReferenceOutcome[] {
    const results = this.#frame(shard, BigInt(seq), frame);
    return results.map(({ status, value }) => ({ status: CODES.get(status)!, value }));
  }

  #step(shard: number, room: bigint = ROOM.other): Step {
    return new Step(this.world, this.#checks, shard, room);
  }

  /** Runs one step; what it wrote goes when it is refused, but the serials it took stay. */
  #attempt(step: Step, act: () => bigint): Result {
    const mark = this.world.mark();
    try {
      return { status: 'ok', value: act() };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.world.rollback(mark);
      step.retakeSerials();
      return { status: error.status, value: 0n };
    }
  }

  #note(what: string, { status }: Result): void {
    const key = `${what} ${status}`;
    const seen = this.seen.get(key) ?? { count: 0, cells: 0 };
    this.seen.set(key, seen);
    seen.count += 1;
    seen.cells = Math.max(seen.cells, this.world.touchedQuads());
    this.world.settle();
  }

  #frame(shard: number, seq: bigint, frame: Uint8Array): Result[] {
    this.world.settle();
    const head = this.world.read(place.head(shard), HEAD);
    if (head.seq !== seq) {
      this.#note('frame', OUT_OF_ORDER);
      return [OUT_OF_ORDER, ...Array.from({ length: stepsOf(frame) - 1 }, () => BUNDLE_REFUSED)];
    }
    this.world.update(place.head(shard), HEAD, { seq: seq + 1n });
    if (frame[0] === 0x10) return this.#bundle(shard, frame);
    const [what, result] = this.#system(shard, frame);
    this.#note(what, result);
    return [result];
  }

  #system(shard: number, frame: Uint8Array): [what: string, result: Result] {
    const step = this.#step(shard);
    const body = frame.subarray(1);
    switch (frame[0]) {
      case 0x01:
        return ['tick', this.#attempt(step, () => this.#tick(step, body))];
      case 0x02:
        return this.#inbox(this.#step(shard, ROOM.answer), body);
      case 0x03:
        return this.#receive(this.#step(shard, ROOM.answer), body);
      case 0x04:
        return ['ack', this.#attempt(step, () => this.#acknowledge(step, body))];
      case 0x05:
        return [
          'advance',
          this.#attempt(step, () => {
            check(body.length === 7, 'malformed');
            check(step.isHere(big(body)), 'wrong_shard');
            expire(step, big(body));
            return 0n;
          }),
        ];
      case 0x06:
        return [
          'tell frame',
          this.#attempt(step, () => {
            check(body.length === 8, 'malformed');
            const workflow = big(body.subarray(0, 7));
            check(step.isHere(workflow), 'wrong_shard');
            tell(step, workflow, BigInt(body[7]));
            return 0n;
          }),
        ];
      default:
        return ['frame', { status: 'malformed', value: 0n }];
    }
  }

  #tick(step: Step, body: Uint8Array): bigint {
    const time = big(body);
    check(body.length === 4 && time < MAX_TIME, 'malformed');
    check(time > step.time, 'stale_time');
    step.setHead({ time });
    return 0n;
  }

  #bundle(shard: number, frame: Uint8Array): Result[] {
    const bundle = decodeBundle(frame);
    const opening = this.#attempt(this.#step(shard), () => {
      check(bundle !== undefined, 'malformed');
      const { actor, nonce, expiry, body, signature } = bundle;
      const step = this.#step(shard);
      check(step.isHere(actor), 'wrong_shard');
      const agent = step.agent(actor);
      check(nonce === agent.nonce && nonce !== MAX_NONCE, 'bad_nonce');
      check(expiry >= step.time, 'expired');
      check(step.signed(step.key(actor), this.#checks.signing.bundle(body), signature), 'bad_signature');
      step.setAgent(actor, { nonce: nonce + 1n });
      return 0n;
    });
    this.#note('bundle', opening);
    if (bundle === undefined || opening.status !== 'ok')
      return [opening, ...Array.from({ length: stepsOf(frame) - 1 }, () => BUNDLE_REFUSED)];
    const outcomes = bundle.interactions.map((interaction) => {
      const step = this.#step(shard, interaction.name === 'respond' ? ROOM.respond : ROOM.other);
      const result = this.#attempt(step, () => interact(step, bundle.actor, interaction));
      this.#note(interaction.name, result);
      return result;
    });
    return [opening, ...outcomes];
  }

  #inbox(step: Step, bytes: Uint8Array): [what: string, result: Result] {
    if (step.shard !== 0) return ['inbox', { status: 'wrong_shard', value: 0n }];
    const at = place.inbox(0);
    const { accumulator, cursor } = this.world.read(at, INBOX);
    const next = big(keccak(concat(be(32, accumulator), keccak(bytes))));
    this.world.write(at, INBOX, { accumulator: next, cursor: cursor + 1n });
    const item = decodeItem(bytes);
    if (item === undefined) return ['inbox', { status: 'malformed', value: 0n }];
    const to = item.name === 'register' ? Number(item.fields.shard) : shardOf(item.fields.agent);
    this.#acted = undefined;
    const result = this.#item(step, item, () => {
      check(to < this.world.shards, 'wrong_shard');
      if (to === step.shard) return this.#applyItem(step, item);
      const { agent = 0n, amount } = item.fields;
      const brings = item.name === 'register' || item.name === 'deposit' ? amount : 0n;
      return step.sendBytes(to, encodeItem(bytes), agent, brings);
    });
    return [this.#acted ?? `inbox ${item.name}`, result];
  }

  /** Does what an item asks; what it brought goes back when that can't be done. */
  #item(step: Step, { name, fields }: Item, act: () => bigint): Result {
    const result = this.#attempt(step, act);
    if (result.status === 'ok' || (name !== 'register' && name !== 'deposit')) return result;
    const { agent = 0n, amount } = fields;
    const refund = this.#attempt(step, () => step.newWithdrawal(agent, fields.owner ?? fields.from, amount, false));
    if (refund.status !== 'ok') this.world.forgotten += amount;
    return { status: result.status, value: refund.value };
  }

  #applyItem(step: Step, { name, fields: f, rest }: Item): bigint {
    if (name === 'register') return step.newAgent(f.owner, { x: f.keyX, y: f.keyY }, f.amount);
    const { owner, epoch } = step.agent(f.agent);
    if (name === 'deposit') {
      step.credit(f.agent, f.amount);
      return 0n;
    }
    check(owner === f.owner, 'not_owner');
    if (name === 'withdraw') return withdraw(step, f.agent, f.amount, false);
    if (name === 'act') return this.#act(step, f.agent, decodeWhole(rest));
    check(epoch < 65_535n, 'epoch_exhausted');
    return replaceKey(step, f.agent, { x: f.keyX, y: f.keyY });
  }

  /** An interaction that its actor's owner forces. */
  #act(step: Step, actor: bigint, interaction: Interaction | undefined): bigint {
    check(interaction !== undefined, 'malformed');
    check(ACTS.includes(interaction.name), 'unsupported');
    this.#acted = `act ${interaction.name}`;
    return interact(step, actor, interaction);
  }

  #acknowledge(step: Step, body: Uint8Array): bigint {
    check(body.length === 7, 'malformed');
    const to = body[0];
    const number = big(body.subarray(1));
    check(to !== step.shard && to < this.world.shards, 'malformed');
    const peer = place.peer(step.shard, to);
    const { acked, sent } = this.world.read(peer, PEER);
    check(number > acked && number <= sent, 'stale_ack');
    check(this.world.read(place.peer(to, step.shard), PEER).received >= number, 'not_received');
    this.world.update(peer, PEER, { acked: number });
    return 0n;
  }

  #receive(step: Step, body: Uint8Array): [what: string, result: Result] {
    const from = body[0];
    const payload = body.subarray(1);
    const start = this.world.mark();
    const peer = place.peer(step.shard, from ?? 0);
    const kind = KIND_NAMES[payload[0]] ?? '';
    const arrival = this.#attempt(step, () => {
      check(body.length > 0 && from !== step.shard && from < this.world.shards, 'malformed');
      const received = this.world.read(peer, PEER).received + 1n;
      const message = this.world.read(place.message(from, step.shard, received), MESSAGE);
      check(message.number === received && message.hash === big(keccak(payload)), 'no_message');
      if (['call', 'invoke', 'leg', 'verdict', 'slash'].includes(kind)) step.needRoom(from);
      this.world.update(peer, PEER, { received });
      return 0n;
    });
    if (arrival.status !== 'ok') return [arrival.status === 'congested' ? `receive ${kind}` : 'receive', arrival];
    const [what, result] = this.#apply(step, from, kind, payload);
    if (result.status === 'congested') this.world.rollback(start);
    return [what, result];
  }

  #apply(step: Step, from: number, kind: string, payload: Uint8Array): [what: string, result: Result] {
    switch (kind) {
      case 'call':
        return this.#call(step, from, payload);
      case 'item': {
        const item = decodeItem(payload.subarray(1))!;
        this.#acted = undefined;
        const result = this.#item(step, item, () => this.#applyItem(step, item));
        return [this.#acted ?? `item ${item.name}`, result];
      }
      case 'invoke': {
        const message = decodePayload('invoke', payload);
        const result = this.#attempt(step, () => invokeByOrder(step, message));
        if (result.status !== 'ok') {
          const { order, amount: refund, payer } = message;
          const report = {
            order,
            escrow: 0n,
            payee: 0n,
            status: ESCROW_STATUS.refunded,
            paid: 0n,
            refund,
            penalty: 0n,
          };
          step.send(from, 'report', report, payer, refund);
        }
        return ['message invoke', result];
      }
      case 'leg': {
        const { workflow, leg, escrow, payer, service } = decodePayload('leg', payload);
        const refusal = joinRefusal(step, workflow, leg, escrow, payer, service);
        if (refusal !== undefined) step.send(from, 'verdict', { escrow, release: 0n }, 0n, 0n);
        return ['message leg', { status: refusal ?? 'ok', value: 0n }];
      }
      default:
        return [
          `message ${kind}`,
          this.#attempt(step, () => {
            this.#effect(step, kind, payload);
            return 0n;
          }),
        ];
    }
  }

  #call(step: Step, from: number, payload: Uint8Array): [what: string, result: Result] {
    const { actor, value, rest } = decodeCall(payload);
    const interaction = decodeInteraction(rest)!;
    const after = rest.subarray(interaction.raw.length);
    const key = () => ({ x: big(after.subarray(0, 32)), y: big(after.subarray(32, 64)) });
    const result = this.#attempt(step, () => interactThere(step, { id: actor, key }, interaction));
    if (result.status !== 'ok' && result.status !== 'congested' && value > 0n)
      step.send(from, 'credit', { agent: actor, amount: value, calls: 0n, volume: 0n }, actor, value);
    return [`call ${interaction.name}`, result];
  }

  #effect(step: Step, kind: string, payload: Uint8Array): void {
    if (kind === 'report') this.#report(step, decodePayload('report', payload));
    if (kind === 'credit') {
      const { agent, amount, calls, volume } = decodePayload('credit', payload);
      grow(step, agent, amount, calls, volume);
    }
    if (kind === 'verdict') {
      const { escrow, release } = decodePayload('verdict', payload);
      verdict(step, escrow, release === 1n);
    }
    if (kind === 'rating') {
      const { agent, score } = decodePayload('rating', payload);
      rate(step, agent, score);
    }
    if (kind === 'slash') {
      const { agent, reporter } = decodePayload('slash', payload);
      slash(step, agent, reporter);
    }
  }

  #report(step: Step, { order, escrow, payee, status, paid, refund, penalty }: Payload<'report'>): void {
    const { status: before, payer, capability } = step.escrow(order);
    check(before === ESCROW_STATUS.sent || before === ESCROW_STATUS.held, 'escrow_not_open');
    step.setEscrow(order, { payee, link: escrow, paid, status });
    step.setAgent(payer, { balance: this.world.read(place.agent(payer), AGENT).balance + refund + penalty });
    giveBackBudget(step, capability, refund);
  }
}
