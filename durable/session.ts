/**
 * Session: the relay between the two parties of one session (docs/protocol.md §8). One object a session, named by its id.
 *
 * It verifies halves and receipts before it keeps and passes them, one row a direction; calls it passes unread. It tells
 * both parties when they meet (`peer_online`), which starts their hello, and the one that stays when the other leaves
 * (`peer_offline`). Nobody needs to trust it with money: a half it hides or loses is in the parties' hellos again.
 */
import { DurableObject } from 'cloudflare:workers';
import { Reader, equal, fromUtf8, hex } from '../protocol/bytes.ts';
import { type Domain, Signing } from '../protocol/eip712.ts';
import { Agnt2Error, codeOf, malformed } from '../protocol/errors.ts';
import { type Direction, type Half, type SignedHalf, covers, decodeHalf, encodeHalf } from '../protocol/half.ts';
import { formatId, shardOf } from '../protocol/ids.ts';
import { verifyP256 } from '../protocol/keys.ts';
import {
  MAX_PACKET_BYTES,
  PacketType,
  decodeBind,
  decodeDirect,
  decodeHello,
  decodeNewest,
  decodeRecords,
  decodeSigned,
  encodeHalfPacket,
  encodeHello,
  encodeReceiptPacket,
} from '../protocol/packet.ts';
import { Contradictions } from './session/contradictions.ts';
import { type SessionFacts, shardStub } from './shard/api.ts';
import {
  acceptSocket,
  closeSocket,
  isUpgrade,
  newest,
  owesOf,
  partyOf,
  problemResponse,
  sendError,
  sendPacket,
  setOwes,
} from './socket.ts';
import { type TowerRow, unsettled } from './watchtower/api.ts';
import { Guard, type GuardEnv } from './watchtower/guard.ts';

export type Party = 'a' | 'b';

/** What the gateway knows of a session from its cell; a shard's `SessionFacts` with the domain will do. */
export interface RelayFacts {
  readonly id: number;
  /** Pinned keys, x ‖ y. */
  readonly keyA: Uint8Array;
  readonly keyB: Uint8Array;
  readonly depositA: number;
  readonly depositB: number;
  readonly domain: Domain;
}

export interface HalfJson {
  readonly dir: Direction;
  readonly seq: string;
  readonly calls: string;
  readonly paid: string;
  readonly root: string;
  readonly payerSignature: string;
  readonly payeeSignature?: string;
}

export interface SessionLive {
  readonly connected: { readonly a: boolean; readonly b: boolean };
  /** Newest of each direction. */
  readonly halves: readonly HalfJson[];
  /** Packets passed on, and their bytes; survives sleep to within the last window. */
  readonly frames: number;
  readonly bytes: number;
}

/** What the gateway may ask of a session's object. */
export interface SessionRpc {
  configure(facts: RelayFacts): Promise<void>;
  live(): Promise<SessionLive>;
  /** What its parties signed beyond what the chain has, as `facts` say. */
  unsettled(facts: SessionFacts): Promise<TowerRow[]>;
  fetch(request: Request): Promise<Response>;
}

interface Row extends Record<string, SqlStorageValue> {
  dir: number;
  record: ArrayBuffer;
  payer: ArrayBuffer;
  payee: ArrayBuffer | null;
}

/** The feed hears of a session's halves at most this often. */
const NOTE_MS = 1000;
/** An error report between parties is short; a longer one is none. */
const MAX_ERROR_BYTES = 4096;
/** Codes only the relay may say. */
const PRESENCE = new Set(['peer_online', 'peer_offline']);

const peerOf = (party: Party): Party => (party === 'a' ? 'b' : 'a');
const payerOf = (dir: Direction): Party => (dir === 0 ? 'a' : 'b');

export class Session extends DurableObject<GuardEnv> {
  readonly #sql: SqlStorage;
  readonly #guard: Guard;
  readonly #contradictions: Contradictions;
  #facts: (RelayFacts & { readonly signing: Signing }) | null = null;
  readonly #halves: [SignedHalf | null, SignedHalf | null] = [null, null];
  #frames = 0;
  #notedMs = 0;
  #bytes = 0;
  readonly #current: Record<Party, WebSocket | null>;
  /** Hellos each party has still to say. Until then what it sends is of an older pairing, and only money goes on. */
  readonly #owes: Record<Party, number>;
  /** The last packet of each party that waits for its verdict: packets leave in the order they came. */
  readonly #tails: Record<Party, Promise<void> | null> = { a: null, b: null };

  constructor(ctx: DurableObjectState, env: GuardEnv) {
    super(ctx, env);
    this.#guard = new Guard(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS facts (one INTEGER PRIMARY KEY, id INTEGER, key_a BLOB, key_b BLOB, deposit_a INTEGER, deposit_b INTEGER, chain_id INTEGER, root TEXT);
      CREATE TABLE IF NOT EXISTS half (dir INTEGER PRIMARY KEY, record BLOB NOT NULL, payer BLOB NOT NULL, payee BLOB);
      CREATE TABLE IF NOT EXISTS passed (one INTEGER PRIMARY KEY, frames INTEGER NOT NULL, bytes INTEGER NOT NULL);
    `);
    this.#contradictions = new Contradictions(this.#sql);
    const facts = this.#sql.exec('SELECT * FROM facts').toArray()[0];
    if (facts) {
      this.#setFacts({
        id: facts.id as number,
        keyA: new Uint8Array(facts.key_a as ArrayBuffer),
        keyB: new Uint8Array(facts.key_b as ArrayBuffer),
        depositA: facts.deposit_a as number,
        depositB: facts.deposit_b as number,
        domain: { chainId: facts.chain_id as number, root: facts.root as Domain['root'] },
      });
    }
    for (const row of this.#sql.exec<Row>('SELECT * FROM half')) {
      const half = decodeHalf(new Reader(new Uint8Array(row.record)));
      const payer = new Uint8Array(row.payer);
      this.#halves[half.dir] = row.payee === null ? { half, payer } : { half, payer, payee: new Uint8Array(row.payee) };
    }
    const passed = this.#sql.exec('SELECT * FROM passed').toArray()[0];
    this.#frames = (passed?.frames as number) ?? 0;
    this.#bytes = (passed?.bytes as number) ?? 0;
    this.#current = { a: newest(ctx, 'a'), b: newest(ctx, 'b') };
    this.#owes = { a: owesOf(this.#current.a), b: owesOf(this.#current.b) };
  }

  /** Sets what halves are checked against. Keys are pinned for good; deposits may have grown. Rejects with `wrong_session`. */
  async configure(facts: RelayFacts): Promise<void> {
    const known = this.#facts;
    if (known !== null && (known.id !== facts.id || !equal(known.keyA, facts.keyA) || !equal(known.keyB, facts.keyB))) {
      throw new Agnt2Error('wrong_session', 'this object relays another session');
    }
    if (known !== null && known.depositA === facts.depositA && known.depositB === facts.depositB) return;
    this.#sql.exec(
      'INSERT OR REPLACE INTO facts VALUES (1, ?, ?, ?, ?, ?, ?, ?)',
      facts.id,
      facts.keyA.slice().buffer,
      facts.keyB.slice().buffer,
      facts.depositA,
      facts.depositB,
      facts.domain.chainId,
      facts.domain.root,
    );
    this.#setFacts(facts);
  }

  #setFacts(facts: RelayFacts): void {
    this.#facts = { ...facts, signing: new Signing(facts.domain) };
  }

  async live(): Promise<SessionLive> {
    return {
      connected: { a: this.#current.a !== null, b: this.#current.b !== null },
      halves: this.#halves.flatMap((signed) => (signed === null ? [] : [halfJson(signed)])),
      frames: this.#frames,
      bytes: this.#bytes,
    };
  }

  async unsettled(facts: SessionFacts): Promise<TowerRow[]> {
    return this.#facts?.id === facts.id ? unsettled(this.#halves, facts) : [];
  }

  override async alarm(): Promise<void> {
    if (this.#facts !== null) await this.#guard.look(this.#facts.id, this.#halves);
  }

  /** The socket of the party the gateway has authenticated and named in `agnt2-party`. */
  override async fetch(request: Request): Promise<Response> {
    if (!isUpgrade(request))
      return problemResponse(426, 'upgrade_required', 'a session is a WebSocket', { upgrade: 'websocket' });
    const party = request.headers.get('agnt2-party');
    if (party !== 'a' && party !== 'b')
      return problemResponse(403, 'forbidden', 'only the two parties of a session may join it');
    if (this.#facts === null)
      return problemResponse(409, 'unknown_session', 'the gateway has not configured this session');
    const { client, server } = acceptSocket(this.ctx, party);
    this.#current[party] = server;
    this.#owes[party] = 0;
    this.#tails[party] = null;
    this.#greet(party, server);
    return new Response(null, { status: 101, webSocket: client });
  }

  /** What the newcomer may have missed, then to both that they may speak. */
  #greet(party: Party, ws: WebSocket): void {
    const [pays, earns]: [Direction, Direction] = party === 'a' ? [0, 1] : [1, 0];
    // A party that lost its store, and whose peer hides what was signed, has it from here.
    const halves = this.#halves.filter((signed) => signed !== null);
    if (halves.length > 0) sendPacket(ws, encodeHello({ halves, credit: 0 }));
    const contradiction = this.#contradictions.shown(earns);
    if (contradiction !== null) sendPacket(ws, contradiction);
    const theirs = this.#halves[earns];
    const receipt = this.#halves[pays];
    if (theirs !== null && theirs.payee === undefined) sendPacket(ws, encodeHalfPacket(theirs.half, theirs.payer));
    if (receipt?.payee !== undefined) sendPacket(ws, encodeReceiptPacket(receipt.half, receipt.payee));
    const peer = this.#current[peerOf(party)];
    if (peer === null) {
      sendError(ws, 'peer_offline', 'the other party is not connected');
      return;
    }
    for (const each of [party, peerOf(party)]) {
      this.#owe(each, this.#owes[each] + 1);
      sendError(this.#current[each]!, 'peer_online', 'both parties are connected');
    }
  }

  #owe(party: Party, hellos: number): void {
    this.#owes[party] = hellos;
    setOwes(this.#current[party]!, hellos);
  }

  override webSocketMessage(ws: WebSocket, message: string | ArrayBuffer): void | Promise<void> {
    const party = partyOf(ws) as Party;
    if (this.#current[party] !== ws) return;
    if (typeof message === 'string') {
      sendError(ws, 'malformed', 'binary packets only');
      return;
    }
    const packet = new Uint8Array(message);
    const before = this.#tails[party];
    if (before === null && this.#passes(packet)) {
      this.#pass(party, ws, packet);
      return;
    }
    const tail: Promise<void> = (before ?? Promise.resolve())
      .then(() => this.#take(party, ws, packet))
      .catch((error: unknown) => {
        sendError(ws, codeOf(error), error instanceof Agnt2Error ? error.detail : 'the relay failed');
      })
      .finally(() => {
        if (this.#tails[party] === tail) this.#tails[party] = null;
      });
    this.#tails[party] = tail;
    return tail;
  }

  override webSocketClose(ws: WebSocket): void {
    this.#gone(ws);
    // Answered, or the other side waits for the end of the handshake.
    closeSocket(ws, 1000, 'closed');
  }

  override webSocketError(ws: WebSocket): void {
    this.#gone(ws);
    closeSocket(ws, 1011, 'error');
  }

  #gone(ws: WebSocket): void {
    const party = partyOf(ws) as Party;
    if (this.#current[party] !== ws) return;
    this.#current[party] = null;
    this.#count();
    const { id } = this.#facts!;
    this.#tell({ kind: 'session', id: formatId(id), event: 'disconnect', party }, id);
    const peer = this.#current[peerOf(party)];
    if (peer !== null) sendError(peer, 'peer_offline', 'the other party left');
  }

  /** Whether a packet goes on without a look inside. */
  #passes(packet: Uint8Array): boolean {
    return packet[0] === PacketType.calls && packet.length <= MAX_PACKET_BYTES;
  }

  /** One packet, in its party's order. Throws, and nothing changes, what is then said to the sender. */
  async #take(party: Party, ws: WebSocket, packet: Uint8Array): Promise<void> {
    if (this.#current[party] !== ws) return;
    if (packet.length > MAX_PACKET_BYTES) throw malformed(`a packet has at most ${MAX_PACKET_BYTES} bytes`);
    switch (packet[0]) {
      case PacketType.calls:
        break;
      case PacketType.half: {
        const { half, signature } = decodeNewest(packet);
        await this.#verify(half, party, payerOf(half.dir), signature);
        this.#weigh({ half, payer: signature });
        this.#keep({ half, payer: signature });
        this.#note(half);
        break;
      }
      case PacketType.receipt: {
        const { half, signature } = decodeSigned(packet);
        await this.#verify(half, party, peerOf(payerOf(half.dir)), signature);
        this.#receipt(half, signature);
        break;
      }
      case PacketType.hello:
        await this.#hello(packet);
        if (this.#current[party] === ws && this.#owes[party] > 0) this.#owe(party, this.#owes[party] - 1);
        break;
      case PacketType.records:
        decodeRecords(packet);
        break;
      case PacketType.bind:
        decodeBind(packet);
        break;
      case PacketType.direct:
        decodeDirect(packet);
        break;
      case PacketType.error:
        checkReport(packet);
        break;
      default:
        throw malformed(packet.length === 0 ? 'an empty packet' : `packet type ${packet[0]}`);
    }
    this.#pass(party, ws, packet);
  }

  /** That `party` sends a half it may send, with `signer`'s signature. */
  async #verify(half: Half, party: Party | null, signer: Party, signature: Uint8Array): Promise<void> {
    const facts = this.#facts!;
    if (half.session !== facts.id) throw new Agnt2Error('wrong_session', 'a half of another session');
    if (party !== null && party !== signer)
      throw new Agnt2Error('bad_signature', 'a party signs what it owes, and receipts of what it is owed');
    if (!(await verifyP256(signer === 'a' ? facts.keyA : facts.keyB, facts.signing.half(half), signature))) {
      throw new Agnt2Error('bad_signature', 'not signed by the pinned key');
    }
  }

  /** What a verified half proves of its payer is shown to whom it pays, whatever else becomes of it. */
  #weigh(signed: SignedHalf): void {
    const { dir } = signed.half;
    const contradiction = this.#contradictions.weigh(this.#halves[dir], signed);
    const payee = this.#current[peerOf(payerOf(dir))];
    if (contradiction !== null && payee !== null) sendPacket(payee, contradiction);
  }

  /** Keeps a verified half. No await between the look at the newest and the write: two can't pass each other. */
  #keep(signed: SignedHalf): void {
    const known = this.#halves[signed.half.dir];
    if (known !== null) {
      const same = known.half.seq === signed.half.seq;
      if (same && equal(encodeHalf(known.half), encodeHalf(signed.half))) return;
      if (same || !covers(signed.half, known.half))
        throw new Agnt2Error('stale_half', `half ${known.half.seq} is newer or at odds with it`);
    }
    this.#write(signed);
  }

  /** Tells the shard's feed, for whoever watches; nothing depends on it. */
  #note({ session, dir, calls, paid }: Half): void {
    const now = Date.now();
    if (now - this.#notedMs < NOTE_MS) return;
    this.#notedMs = now;
    const event = {
      kind: 'session',
      id: formatId(session),
      event: 'half',
      dir,
      calls: String(calls),
      paid: String(paid),
    };
    this.#tell(event, session);
  }

  #tell(event: Record<string, string | number>, session: number): void {
    this.ctx.waitUntil(
      shardStub(this.env.SHARD, shardOf(session))
        .note(event)
        .catch(() => {}),
    );
  }

  #receipt(half: Half, payee: Uint8Array): void {
    const known = this.#halves[half.dir];
    if (known === null || half.seq > known.half.seq)
      throw new Agnt2Error('unknown_half', 'a receipt for a half that was not sent');
    if (half.seq < known.half.seq) return;
    if (!equal(encodeHalf(known.half), encodeHalf(half)))
      throw new Agnt2Error('unknown_half', 'a receipt for another half');
    if (known.payee === undefined) this.#write({ ...known, payee });
  }

  /** Keeps a half: the output gate holds it, and all behind it, until it is on disk. */
  #write(signed: SignedHalf): void {
    const { half, payer, payee } = signed;
    this.#halves[half.dir] = signed;
    this.#sql.exec(
      'INSERT OR REPLACE INTO half VALUES (?, ?, ?, ?)',
      half.dir,
      encodeHalf(half).buffer,
      payer.slice().buffer,
      payee?.slice().buffer ?? null,
    );
    this.#guard.kept();
    this.#count();
  }

  #count(): void {
    this.#sql.exec('INSERT OR REPLACE INTO passed VALUES (1, ?, ?)', this.#frames, this.#bytes);
  }

  /** A hello shows halves the relay may not have (its party signed while alone); they are kept like any other. */
  async #hello(packet: Uint8Array): Promise<void> {
    const { halves } = decodeHello(packet);
    for (const { half, payer, payee } of halves) {
      await this.#verify(half, null, payerOf(half.dir), payer);
      if (payee !== undefined) await this.#verify(half, null, peerOf(payerOf(half.dir)), payee);
    }
    for (const signed of halves) {
      this.#weigh(signed);
      const known = this.#halves[signed.half.dir];
      if (known === null || (signed.half.seq > known.half.seq && covers(signed.half, known.half))) this.#write(signed);
      else if (signed.payee !== undefined && signed.half.seq === known.half.seq)
        this.#receipt(signed.half, signed.payee);
    }
  }

  #pass(party: Party, ws: WebSocket, packet: Uint8Array): void {
    // Of an older pairing, while its peer is in a newer one.
    if (this.#owes[party] > 0 && packet[0] !== PacketType.half && packet[0] !== PacketType.receipt) return;
    const peer = this.#current[peerOf(party)];
    if (peer !== null && sendPacket(peer, packet)) {
      this.#frames += 1;
      this.#bytes += packet.length;
    } else if (packet[0] === PacketType.calls || packet[0] === PacketType.records) {
      sendError(ws, 'peer_offline', 'the other party is not connected');
    }
  }
}

/** A party's report of what it refused; presence is not its to tell. */
function checkReport(packet: Uint8Array): void {
  if (packet.length > MAX_ERROR_BYTES) throw malformed(`an error packet has at most ${MAX_ERROR_BYTES} bytes`);
  let code: unknown;
  try {
    code = (JSON.parse(fromUtf8(packet.subarray(1))) as { code?: unknown } | null)?.code;
  } catch {
    throw malformed('an error packet is JSON');
  }
  if (typeof code !== 'string' || PRESENCE.has(code)) throw malformed('an error packet has a code of its own');
}

const halfJson = ({ half, payer, payee }: SignedHalf): HalfJson => ({
  dir: half.dir,
  seq: String(half.seq),
  calls: String(half.calls),
  paid: String(half.paid),
  root: hex(half.root),
  payerSignature: hex(payer),
  ...(payee !== undefined && { payeeSignature: hex(payee) }),
});
