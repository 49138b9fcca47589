/** Random interactions: mostly such as an actor could mean in this state, now and then any of a field's values. */
import { Writer, concat } from '../../protocol/bytes.ts';
import { ESCROW_STATUS, type Fields, KEY, SESSION, be } from './cells.ts';
import { rootBytes } from './genesis.ts';
import { OPERATION_NAMES } from './frames.ts';
import type { Random } from './random.ts';
import { newKey, sign, signAsOwner, signing } from './signatures.ts';
import type { Found, Survey } from './survey.ts';
import { type World, place } from './world.ts';

const MAX = Number.MAX_SAFE_INTEGER;
const { open, held, contested, fulfilled, refunded, expired }: Readonly<Record<string, bigint>> = ESCROW_STATUS;

/** Who acts, and its interaction. */
export interface Intent {
  readonly actor: number;
  readonly raw: Uint8Array;
}

const opcode = (name: string): number => OPERATION_NAMES.indexOf(name) + 1;
const key64 = ({ x, y }: Fields<typeof KEY>): Uint8Array => concat(be(32, x), be(32, y));

interface InvokeOptions {
  after?: number;
  workflow?: number;
  leg?: number;
  capability?: number;
  back?: number;
}

export class Intents {
  readonly world: World;
  readonly random: Random;
  now: Survey;

  constructor(world: World, random: Random, now: Survey) {
    this.world = world;
    this.random = random;
    this.now = now;
  }

  /** Begins an interaction. */
  write(name: string): Writer {
    return new Writer().u8(opcode(name));
  }

  /** An id out of the list, or one that is wrong in one of the ways an id can be. */
  id(from: readonly { readonly id: number }[], wrong = 0.05): number {
    const { random } = this;
    if (from.length > 0 && !random.chance(wrong)) return random.pick(from).id;
    const shard = random.below(this.world.shards);
    return random.weighted([
      [1, 0],
      [2, shard],
      [3, 1000 * 256 + shard],
      [1, 2 ** 28 + shard],
      [2, 256 + this.world.shards + random.below(3)],
      [0.2, 2 ** 32 - 1],
      [0.2, 2 ** 32 + shard],
      [1, 2 ** 52 + 256 + shard],
      [0.3, MAX],
      [3, from.length > 0 ? Math.max(0, random.pick(from).id + 256 * random.between(-1, 1)) : 256 + shard],
    ]);
  }

  balanceOf(actor: number): number {
    return Number(this.now.agents.find(({ id }) => id === actor)?.record.balance ?? 0n);
  }

  amount(upTo: number): number {
    const { random } = this;
    return random.weighted([
      [12, 1 + random.below(30)],
      [2, 0],
      [2, upTo],
      [1, Math.min(MAX, upTo + 1)],
      [3, random.below(Math.min(upTo, 2 ** 31) + 1)],
      [0.4, MAX],
    ]);
  }

  seconds(): number {
    return this.random.weighted([
      [4, 1 + this.random.below(60)],
      [4, 1 + this.random.below(3)],
      [1, 0],
      [1, 2 ** 25],
      [1, 2 ** 25 + 1],
      [0.3, MAX],
    ]);
  }

  invoke(service: number, amount: number, { after, workflow, leg = 0, capability, back }: InvokeOptions): Uint8Array {
    let options = 0;
    if (after !== undefined) options |= 1;
    if (workflow !== undefined) options |= 2;
    if (capability !== undefined) options |= 4;
    if (back !== undefined) options |= 8;
    const writer = this.write('invoke').varint(service).varint(amount).u8(options);
    if (after !== undefined) writer.varint(after);
    if (workflow !== undefined) writer.varint(workflow).u8(leg);
    if (capability !== undefined) writer.varint(capability);
    if (back !== undefined) writer.u8(back);
    return writer.finish();
  }

  #half(
    session: Found<typeof SESSION> | undefined,
    dir: 0 | 1,
    seq: number,
    calls: number,
    paid: number,
    root: number,
  ) {
    const id = session?.id ?? 0;
    const half = { session: id, dir, seq, calls, paid, root: rootBytes(root) };
    const key = session ? this.world.read(place.session(BigInt(id)) + 1 + dir, KEY) : { x: 0n, y: 0n };
    const right = this.random.chance(0.95);
    const signature = right ? sign(key64(key), signing.half(half)) : this.random.bytes(64);
    return { ...half, signature };
  }

  /** An interaction of this name by this actor, or nothing when it would be no use. */
  build(name: string, actor: number): Uint8Array | undefined {
    const { random, now } = this;
    const write = this.write(name);
    const mine = <T extends { readonly record: object }>(list: readonly T[], ...roles: string[]): T[] =>
      random.chance(0.15)
        ? [...list]
        : list.filter(({ record }) => roles.some((role) => (record as Record<string, bigint>)[role] === BigInt(actor)));
    const escrows = (role: string, ...statuses: bigint[]) => {
      const fitting = mine(now.escrows, role).filter(({ record }) => statuses.includes(record.status));
      return random.chance(0.1) ? now.escrows : fitting;
    };
    const session = (list: readonly Found<typeof SESSION>[]) => (list.length > 0 ? random.pick(list) : undefined);
    const balance = this.balanceOf(actor);
    switch (name) {
      case 'register':
        write.bytes(random.bytes(20)).bytes(newKey(new Uint8Array(64).fill(random.below(256))));
        return write.varint(this.amount(balance)).finish();
      case 'rotate': {
        const agent = this.id(now.agents);
        const { owner, epoch } = now.agents.find(({ id }) => id === agent)?.record ?? { owner: 0n, epoch: 0n };
        const key = newKey(new Uint8Array(64).fill(random.below(256)));
        const preimage = signing.rotate({ agent, epoch: Number(epoch), key });
        // A real signature takes a thousand times as long as anything else.
        const signature = random.chance(0.2) ? signAsOwner(owner, preimage) : random.bytes(65);
        return write.varint(agent).bytes(key).bytes(signature).finish();
      }
      case 'transfer':
        return write.varint(this.id(now.agents, 0.12)).varint(this.amount(balance)).finish();
      case 'withdraw':
      case 'stake':
        return write.varint(this.amount(balance)).finish();
      case 'publish': {
        const service = random.chance(0.5) ? 0 : this.id(mine(now.services, 'provider'), 0.15);
        write
          .varint(service)
          .u8(random.chance(0.85) ? 1 : 0)
          .varint(random.pick([100, 1000, 0, MAX]));
        write.varint(this.seconds()).varint(random.chance(0.6) ? 0 : this.id(now.agents));
        return write
          .varint(random.chance(0.9) ? random.below(60) : this.seconds())
          .bytes(new Uint8Array(32))
          .finish();
      }
      case 'invoke': {
        const options: InvokeOptions = {};
        if (random.chance(0.25)) options.after = this.id(now.escrows.slice(-6), 0.04);
        if (random.chance(0.25) && (options.after === undefined || random.chance(0.05)))
          options.back = random.weighted([
            [6, 1],
            [3, 2],
            [1, random.below(6)],
            [0.2, 255],
          ]);
        if (random.chance(0.25)) {
          options.workflow = random.chance(0.3) ? 0 : this.id(now.workflows);
          options.leg = random.below(random.chance(0.97) ? 3 : 14);
        }
        if (random.chance(0.25)) options.capability = this.id(mine(now.capabilities, 'grantee'));
        return this.invoke(this.id(now.services, 0.06), this.amount(Math.min(balance, 101)), options);
      }
      case 'respond': {
        const found = escrows('payee', open);
        if (found.length === 0 && random.chance(0.8)) return undefined;
        const escrow = this.id(found);
        const amount = Number(found.find(({ id }) => id === escrow)?.record.amount ?? 0n);
        const result = random.weighted([
          [6, 0],
          [1, 1],
          [1, 2],
        ]);
        const price =
          result === 0 || random.chance(0.1)
            ? random.weighted([
                [4, random.below(amount + 1)],
                [3, amount],
              ])
            : 0;
        return write
          .varint(escrow)
          .varint(Math.min(MAX, random.chance(0.04) ? amount + 1 : price))
          .u8(result)
          .finish();
      }
      case 'expire':
        return write.varint(this.id(now.escrows)).finish();
      case 'contest':
        return write.varint(this.id(escrows('payer', held))).finish();
      case 'rule': {
        const found = escrows('arbiter', contested);
        if (found.length === 0 && random.chance(0.7)) return undefined;
        const escrow = this.id(found);
        const paid = Number(found.find(({ id }) => id === escrow)?.record.paid ?? 0n);
        return write
          .varint(escrow)
          .varint(
            random.weighted([
              [3, random.below(paid + 1)],
              [1, 0],
              [1, paid],
              [2, paid + 1],
            ]),
          )
          .finish();
      }
      case 'grant': {
        const expiry =
          1000 +
          random.weighted([
            [1, -1],
            [3, 30],
            [6, 2 ** 26],
            [0.2, 2 ** 32 - 1001],
            [0.1, 2 ** 32 - 1000],
          ]);
        write.varint(this.id(now.agents)).varint(random.chance(0.6) ? 0 : this.id(now.services));
        return write
          .varint(random.pick([0, 40, 1000, MAX]))
          .varint(expiry)
          .finish();
      }
      case 'revoke':
        return write.varint(this.id(mine(now.capabilities, 'grantor'), 0.1)).finish();
      case 'open':
        write.varint(this.id(now.agents)).varint(this.amount(Math.min(balance, 200)));
        return write.varint(this.seconds()).finish();
      case 'fund':
        return write
          .varint(this.id(mine(now.sessions, 'a', 'b')))
          .varint(this.amount(balance))
          .finish();
      case 'exit':
        return write.varint(this.id(mine(now.sessions, 'a', 'b'))).finish();
      case 'finalize':
        return write.varint(this.id(now.sessions)).finish();
      case 'settle': {
        const found = session(now.sessions);
        const dir = random.below(2) as 0 | 1;
        const calls = random.weighted([
          [6, random.below(4)],
          [0.3, 2 ** 48 - 1],
          [0.1, 2 ** 48],
        ]);
        const half = this.#half(found, dir, random.below(4), calls, this.amount(100), random.below(3));
        write.varint(found && random.chance(0.95) ? found.id : this.id(now.sessions)).u8(dir);
        return write.varint(half.seq).varint(calls).varint(half.paid).bytes(half.root).bytes(half.signature).finish();
      }
      case 'close': {
        const found = session(mine(now.sessions, 'a', 'b'));
        const calls = () =>
          random.weighted([
            [6, random.below(4)],
            [0.3, 2 ** 48 - 1],
            [0.1, 2 ** 48],
          ]);
        const close = {
          session: found?.id ?? 0,
          paidAB: this.amount(100),
          paidBA: this.amount(50),
          callsAB: calls(),
          callsBA: calls(),
          rootAB: rootBytes(random.below(3)),
          rootBA: rootBytes(random.below(3)),
        };
        const other = found?.record.a === BigInt(actor) ? 1 : 0;
        const key = this.world.read(place.session(BigInt(close.session)) + 1 + other, KEY);
        const signature = random.chance(0.9) ? sign(key64(key), signing.close(close)) : random.bytes(64);
        write
          .varint(random.chance(0.95) ? close.session : this.id([]))
          .varint(close.paidAB)
          .varint(close.paidBA)
          .varint(close.callsAB)
          .varint(close.callsBA);
        return write.bytes(close.rootAB).bytes(close.rootBA).bytes(signature).finish();
      }
      case 'plan': {
        const legs = random.weighted([
          [3, 1],
          [5, 2],
          [2, 3],
          [0.5, 12],
          [0.2, 0],
          [0.2, 13],
        ]);
        write.varint(random.chance(0.9) ? random.between(5, 80) : this.seconds()).u8(legs);
        const fit = now.services.filter(({ record }) => record.arbiter === 0n || random.chance(0.1));
        for (let leg = 0; leg < legs; leg++) write.varint(this.id(now.agents, 0.02)).varint(this.id(fit, 0.02));
        return write.finish();
      }
      case 'abort':
        return write.varint(this.id(mine(now.workflows, 'planner'))).finish();
      case 'attest': {
        const kind = random.below(2);
        const list = kind === 0 ? escrows('payer', fulfilled, refunded, expired) : mine(now.sessions, 'a', 'b');
        return write
          .u8(kind)
          .varint(this.id(list))
          .u8(random.chance(0.97) ? random.between(1, 5) : 6)
          .finish();
      }
      case 'slash': {
        const found = session(now.sessions);
        const dir = random.below(2) as 0 | 1;
        write.varint(found?.id ?? this.id([])).u8(dir);
        for (let i = 0; i < 2; i++) {
          const half = this.#half(found, dir, random.below(2), random.below(2), random.below(2), random.below(2));
          write.varint(half.seq).varint(half.calls).varint(half.paid).bytes(half.root).bytes(half.signature);
        }
        return write.finish();
      }
      case 'tell':
        return write
          .varint(this.id(now.workflows))
          .u8(
            random.weighted([
              [9, random.below(3)],
              [1, random.below(256)],
            ]),
          )
          .finish();
      default:
        return write.finish();
    }
  }

  /** {@link build} and who acts. */
  by(actor: number, name: string): Intent | undefined {
    const raw = this.build(name, actor);
    return raw && { actor, raw };
  }
}
