/** Every place of a state that holds money, whose it is, and the call that shows it (docs/protocol.md §11). */
import type { Abi } from 'viem';
import { exitsAbi, rootAbi } from '../../contracts/abi.ts';
import { type Hex, concat, hex, readUint } from '../../protocol/bytes.ts';
import {
  Agent,
  EXISTS,
  Escrow,
  EscrowStatus,
  Head,
  LEGS_A_CELL,
  LEG_BYTES,
  Leg,
  META_PEERS,
  MessageCell,
  OUTBOX_WITHDRAWAL,
  Outbox,
  Peer,
  Region,
  Session,
  SessionStatus,
  Workflow,
  WorkflowStatus,
  addressOf,
  get,
  getBytes,
  messageSlot,
  slotOf,
} from '../../protocol/cells.ts';
import type { Engine } from '../../protocol/engine.ts';
import { payOut } from '../../protocol/half.ts';
import { formatId, makeId, serialOf, shardOf } from '../../protocol/ids.ts';
import { decodeInboxItem } from '../../protocol/inbox.ts';
import { MESSAGE_KINDS } from '../../protocol/messages.ts';
import type { Shards } from '../../protocol/shards.ts';
import { prove } from '../../protocol/verifier.ts';
import { toWire } from '../../workers/settlement/sender.ts';
import { type Deployment, type LastState, messageKey } from './state.ts';

export interface Call {
  readonly address: Hex;
  readonly abi: Abi;
  readonly functionName: string;
  readonly args: readonly unknown[];
}

/** Base units that are an agent's, or go to an owner at once. */
export type Share = { readonly amount: number } & ({ readonly agent: number } | { readonly owner: Hex });

export interface Place {
  readonly kind: 'agent' | 'escrow' | 'leg' | 'message' | 'session' | 'deposit' | 'withdrawal';
  /** Says which to a person. */
  readonly name: string;
  /** Where it is in the state: what L1 knows it by. Of a deposit its index. */
  readonly at: number;
  /** Id of a session; 0 for anything else. */
  readonly session: number;
  /** Whose it is, as the state says it: halves and verdicts may still change that. Parties of a session even at 0. */
  readonly shares: readonly Share[];
  /** What is to be shown in time, before. */
  readonly first: (() => Call) | null;
  /** Can be shown only when halves and verdicts can't any more, unless `first` was shown. */
  readonly isTimed: boolean;
  readonly show: () => Call;
}

/** What the state says of a session; by direction. */
export interface StandingSession {
  readonly at: number;
  readonly paid: readonly [number, number];
  /** Of who pays in that direction, 64 bytes. */
  readonly keys: readonly [Uint8Array, Uint8Array];
}

/** A cell or quad with its proof, as Exits takes it. */
export interface Shown {
  readonly cellAddress: number;
  readonly cells: Hex;
  readonly proof: readonly Hex[];
}

const NOT_SHOWN: Shown = { cellAddress: 0, cells: '0x', proof: [] };
const QUAD = 4;

export class Places {
  readonly #state: LastState;
  readonly #deployment: Deployment;

  constructor(deployment: Deployment, state: LastState) {
    this.#deployment = deployment;
    this.#state = state;
  }

  get #shards(): Shards {
    return this.#state.shards;
  }

  /** Everything, agents first: then it is known who collects. */
  *all(): Generator<Place> {
    const engines = Array.from(this.#shards.engines);
    for (const engine of engines) yield* this.#agents(engine);
    for (const engine of engines) {
      yield* this.#escrows(engine);
      yield* this.#sessions(engine);
      for (const { shard: to } of engines) yield* this.#messages(engine, to);
      yield* this.#withdrawals(engine);
    }
    yield* this.#deposits();
  }

  /** The owner of an agent; null where there is no such agent. */
  ownerOf(agent: number): Hex | null {
    const cell = this.#shards.engine(shardOf(agent)).machine;
    return cell.agentExists(agent) ? hex(getBytes(cell.readAgent(agent), Agent.owner)) : null;
  }

  call(functionName: string, ...args: readonly unknown[]): Call {
    return { address: this.#deployment.exits, abi: exitsAbi as Abi, functionName, args };
  }

  shown(shard: number, region: number, slot: number): Shown {
    const { cell, proof } = prove(this.#shards, shard, region, slot);
    return { cellAddress: addressOf(shard, region, slot), cells: cell, proof };
  }

  #quad(shard: number, region: number, slot: number): Shown {
    const { trie } = this.#shards.engine(shard);
    const { proof } = prove(this.#shards, shard, region, slot);
    const cells = Array.from({ length: QUAD }, (_, i) => trie.read(region, slot + i).slice());
    // One level less: the quad's own.
    return { cellAddress: addressOf(shard, region, slot), cells: hex(concat(...cells)), proof: proof.slice(QUAD - 1) };
  }
  quadOfSession(session: number): Shown {
    return this.#quad(shardOf(session), Region.session, slotOf(Region.session, serialOf(session)));
  }

  /** A session that is there and not closed; null for any other. */
  sessionAt(session: number): StandingSession | null {
    const [shard, serial] = [shardOf(session), serialOf(session)];
    if (shard >= this.#deployment.shards) return null;
    const slot = slotOf(Region.session, serial);
    const { trie } = this.#shards.engine(shard);
    const cell = trie.read(Region.session, slot);
    if (get(cell, Session.serial) !== serial || get(cell, Session.status) === SessionStatus.closed) return null;
    const [paidAB, paidBA] = [get(cell, Session.paidAB), get(cell, Session.paidBA)];
    const [keyA, keyB] = [1, 2].map((i) => trie.read(Region.session, slot + i).slice());
    return { at: addressOf(shard, Region.session, slot), paid: [paidAB, paidBA], keys: [keyA, keyB] };
  }

  *#agents({ shard, machine, trie }: Engine): Generator<Place> {
    for (let serial = 1; serial <= get(machine.head(), Head.agents); serial++) {
      const cell = trie.read(Region.agent, serial);
      if ((get(cell, Agent.flags) & EXISTS) === 0) continue;
      const id = makeId(shard, serial);
      yield {
        kind: 'agent',
        session: 0,
        name: `agent ${formatId(id)}`,
        at: addressOf(shard, Region.agent, serial),
        shares: [{ agent: id, amount: get(cell, Agent.balance) + get(cell, Agent.stake) }],
        first: null,
        isTimed: false,
        show: () => this.call('showAgent', this.shown(shard, Region.agent, serial)),
      };
    }
  }

  *#escrows(engine: Engine): Generator<Place> {
    const { shard, machine, trie } = engine;
    const { open, contested, waiting, held } = EscrowStatus;
    for (const slot of slots(Region.escrow, get(machine.head(), Head.escrows))) {
      const cell = trie.read(Region.escrow, slot).slice();
      const status = get(cell, Escrow.status);
      const isHere = shardOf(get(cell, Escrow.service)) === shard;
      if (get(cell, Escrow.serial) === 0) continue;
      const id = makeId(shard, get(cell, Escrow.serial));
      const [payer, payee, amount, paid] = [Escrow.payer, Escrow.payee, Escrow.amount, Escrow.paid].map((field) =>
        get(cell, field),
      );
      const place = {
        kind: 'escrow',
        session: 0,
        name: `escrow ${formatId(id)}`,
        at: addressOf(shard, Region.escrow, slot),
      } as const;
      const shares = (released: number): Share[] =>
        [
          { agent: payer, amount: amount - released },
          { agent: payee, amount: released },
        ].filter((share) => share.amount > 0);
      const show = (): Call => this.call('showEscrow', this.shown(shard, Region.escrow, slot));
      const plain = { first: null, isTimed: false, show };
      if (status === open || status === contested || status === waiting)
        yield { ...place, shares: shares(0), ...plain };
      else if (status !== held || !isHere) continue;
      else if (get(cell, Escrow.workflow) === 0) yield { ...place, shares: shares(paid), ...plain };
      else yield { ...place, kind: 'leg', ...this.#leg(id, slot, cell, (release) => shares(release ? paid : 0)) };
    }
  }

  /** A held escrow of a workflow: by the workflow's record, or by the verdict on its way where that one is gone. */
  #leg(
    id: number,
    slot: number,
    cell: Uint8Array,
    shares: (release: boolean) => Share[],
  ): Pick<Place, 'shares' | 'first' | 'isTimed' | 'show'> {
    const workflow = get(cell, Escrow.workflow);
    const [shard, at] = [shardOf(workflow), slotOf(Region.workflow, serialOf(workflow))];
    const { trie } = this.#shards.engine(shard);
    const record = trie.read(Region.workflow, at).slice();
    const show = (): Call =>
      this.call('showLeg', this.shown(shardOf(id), Region.escrow, slot), this.#quad(shard, Region.workflow, at));
    if (get(record, Workflow.serial) === serialOf(workflow)) {
      const leg = get(cell, Escrow.flags) >>> 4;
      const legs = trie.read(Region.workflow, at + 1 + Math.floor(leg / LEGS_A_CELL));
      const joined = readUint(legs, LEG_BYTES * (leg % LEGS_A_CELL) + Leg.escrow.at, Leg.escrow.width);
      const release = get(record, Workflow.status) === WorkflowStatus.committed && joined === id;
      return { shares: shares(release), first: null, isTimed: false, show };
    }
    const verdict = this.#verdictOn(id, shard);
    return { shares: shares(verdict?.release ?? false), first: verdict?.show ?? null, isTimed: true, show };
  }

  #verdictOn(escrow: number, from: number): { release: boolean; show: () => Call } | null {
    const to = shardOf(escrow);
    for (const number of this.#unreceived(from, to)) {
      const payload = this.#state.payloads.get(messageKey(from, to, number));
      if (!payload || MESSAGE_KINDS[payload[0]] !== 'verdict' || readUint(payload, 1, 7) !== escrow) continue;
      const show = (): Call =>
        this.call('showVerdict', this.#message(from, to, number), this.#peer(from, to), hex(payload));
      return { release: payload[8] === 1, show };
    }
    return null;
  }

  *#unreceived(from: number, to: number): Generator<number> {
    const received = get(this.#shards.engine(to).trie.read(Region.meta, META_PEERS + from), Peer.received);
    const sent = get(this.#shards.engine(from).trie.read(Region.meta, META_PEERS + to), Peer.sent);
    for (let number = received + 1; number <= sent; number++) yield number;
  }
  #message(from: number, to: number, number: number): Shown {
    return this.shown(from, Region.message, messageSlot(to, number));
  }
  #peer(from: number, to: number): Shown {
    return this.shown(to, Region.meta, META_PEERS + from);
  }

  *#messages({ shard: from, trie }: Engine, to: number): Generator<Place> {
    if (from === to) return;
    for (const number of this.#unreceived(from, to)) {
      const slot = messageSlot(to, number);
      const cell = trie.read(Region.message, slot).slice();
      const amount = get(cell, MessageCell.amount);
      if (amount === 0) continue;
      const kind = MESSAGE_KINDS[get(cell, MessageCell.kind)];
      const agent = get(cell, MessageCell.agent);
      const payload = this.#state.payloads.get(messageKey(from, to, number)) ?? new Uint8Array();
      // A call is of an agent of its sender, unless it is a transfer.
      const isTransfer = kind === 'call' && shardOf(agent) === to;
      const isThere = this.ownerOf(agent) !== null;
      const addressee = (): Shown =>
        isTransfer && serialOf(agent) > 0 && serialOf(agent) < 2 ** 20
          ? this.shown(to, Region.agent, serialOf(agent))
          : NOT_SHOWN;
      yield {
        kind: 'message',
        session: 0,
        name: `message ${number} from shard ${from} to ${to}`,
        at: addressOf(from, Region.message, slot),
        shares: [
          kind === 'item'
            ? { owner: bringerOf(payload.subarray(1)), amount }
            : { agent: isTransfer && !isThere ? readUint(payload, 1, 4) : agent, amount },
        ],
        first: null,
        isTimed: false,
        show: () =>
          this.call('showMessage', this.#message(from, to, number), this.#peer(from, to), hex(payload), addressee()),
      };
    }
  }

  *#sessions({ shard, machine, trie }: Engine): Generator<Place> {
    for (const slot of slots(Region.session, get(machine.head(), Head.sessions))) {
      const cell = trie.read(Region.session, slot).slice();
      const status = get(cell, Session.status);
      if (get(cell, Session.serial) === 0) continue;
      if (status !== SessionStatus.open && status !== SessionStatus.exiting) continue;
      const id = makeId(shard, get(cell, Session.serial));
      const [a, b, depositA, depositB, paidAB, paidBA] = [
        Session.a,
        Session.b,
        Session.depositA,
        Session.depositB,
        Session.paidAB,
        Session.paidBA,
      ].map((field) => get(cell, field));
      const { outA, outB } = payOut(depositA, depositB, paidAB, paidBA);
      yield {
        kind: 'session',
        session: id,
        name: `session ${formatId(id)}`,
        at: addressOf(shard, Region.session, slot),
        shares: [
          { agent: a, amount: outA },
          { agent: b, amount: outB },
        ],
        first: null,
        isTimed: true,
        show: () => this.call('showSession', this.quadOfSession(id)),
      };
    }
  }

  *#withdrawals({ shard, machine, trie }: Engine): Generator<Place> {
    for (const slot of slots(Region.outbox, get(machine.head(), Head.outbox))) {
      const cell = trie.read(Region.outbox, slot).slice();
      const serial = get(cell, Outbox.serial);
      if (serial === 0 || get(cell, Outbox.kind) !== OUTBOX_WITHDRAWAL) continue;
      yield {
        kind: 'withdrawal',
        session: 0,
        name: `withdrawal ${formatId(makeId(shard, serial))}`,
        at: addressOf(shard, Region.outbox, slot),
        shares: [{ owner: hex(getBytes(cell, Outbox.recipient)), amount: get(cell, Outbox.amount) }],
        first: null,
        isTimed: false,
        show: () => {
          const { proof } = this.shown(shard, Region.outbox, slot);
          const { header, stateRoot } = this.#state;
          const args = [toWire(header), stateRoot, shard, hex(cell), proof];
          return { address: this.#deployment.root, abi: rootAbi as Abi, functionName: 'withdraw', args };
        },
      };
    }
  }

  *#deposits(): Generator<Place> {
    for (const { index, bytes, item } of this.#state.waiting) {
      if (item.kind !== 'register' && item.kind !== 'deposit') continue;
      yield {
        kind: 'deposit',
        session: 0,
        name: `deposit ${index} of the inbox`,
        at: index,
        shares: [{ owner: bringerOf(bytes), amount: item.amount }],
        first: null,
        isTimed: false,
        show: () => this.call('returnDeposit', BigInt(index), hex(bytes)),
      };
    }
  }
}

/** Slots of a ring that may hold a record: one that never ends keeps its place, so they are told by what is in them. */
function* slots(region: number, newest: number): Generator<number> {
  const size = region === Region.session ? 2 ** 20 / QUAD : 2 ** 20;
  for (let serial = 1; serial <= Math.min(newest, size); serial++) yield slotOf(region, serial);
}

/** Who brought an item that brings money. */
function bringerOf(bytes: Uint8Array): Hex {
  const item = decodeInboxItem(bytes);
  return hex(item.kind === 'deposit' ? item.from : item.owner);
}
