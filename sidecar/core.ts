/** The gateway's API (docs/api.md) with types: requests and answers as JSON, checked as they come. Bodies of calls don't pass here. */
import { ESCROW_STATUS, Region, SESSION_STATUS, WORKFLOW_STATUS, addressOf, slotOf } from '../protocol/cells.ts';
import { type Hex, concat, hex, unhex } from '../protocol/bytes.ts';
import type { Domain } from '../protocol/eip712.ts';
import { Agnt2Error, malformed } from '../protocol/errors.ts';
import { keccak } from '../protocol/hash.ts';
import { formatId, parseId, serialOf, shardOf } from '../protocol/ids.ts';
import { type ReceiptJson, type SignedReceipt, receiptFromJson } from '../protocol/receipt.ts';
import { refusal } from './errors.ts';
import { readAmount } from './prices.ts';

export interface NetworkFacts {
  readonly domain: Domain;
  /** x ‖ y. */
  readonly sequencerKey: Uint8Array;
  /** Frames executed per shard. */
  readonly seq: ReadonlyMap<number, number>;
}

export interface AgentFacts {
  /** L1 address. */
  readonly owner: Hex;
  readonly nonce: number;
  readonly balance: number;
}

export interface ServiceFacts {
  readonly id: number;
  readonly provider: number;
  readonly active: boolean;
  readonly ceiling: number;
  readonly deadlineSeconds: number;
  readonly metadataHash: Uint8Array;
  /** The document as the gateway has it; null when nobody brought it. */
  readonly metadata: unknown;
}

/** An escrow; or an order, its payer's record of one on another shard. */
export interface EscrowFacts {
  readonly id: number;
  readonly payer: number;
  readonly payee: number;
  readonly service: number;
  readonly amount: number;
  readonly paid: number;
  readonly deadline: number;
  readonly status: (typeof ESCROW_STATUS)[number];
  /** The workflow it is of, and which leg; 0 if none. */
  readonly workflow: number;
  readonly leg: number;
  /** The order that opened it; 0 if none. */
  readonly order: number;
  /** Of an order: the escrow it opened, null while there is none. */
  readonly escrow: EscrowFacts | null;
}

export interface EscrowsPage {
  readonly escrows: readonly EscrowFacts[];
  /** Where to go on; null on the last page. */
  readonly next: number | null;
  /** The newest id looked at: what came later has a greater one. */
  readonly upTo: number;
}

export interface WorkflowFacts {
  readonly deadline: number;
  readonly status: (typeof WORKFLOW_STATUS)[number];
  readonly legs: readonly { readonly payer: number; readonly service: number; readonly done: boolean }[];
}

export interface SessionFacts {
  readonly id: number;
  readonly a: number;
  readonly b: number;
  readonly depositA: number;
  readonly depositB: number;
  readonly paidAB: number;
  readonly paidBA: number;
  readonly exitAt: number;
  readonly exitDelay: number;
  readonly status: (typeof SESSION_STATUS)[number];
}

export interface FrameFacts {
  readonly bytes: Uint8Array;
  readonly receipt: SignedReceipt | null;
}

export interface DirectoryRecord {
  readonly agent: number;
  readonly services: readonly number[];
  readonly description: string;
}

/** One bundle's fate: a promise of its place, or why it was refused. */
export type BundleResult =
  | { readonly receipt: SignedReceipt }
  /** `place` is where the same bundle stands already, when it is `replayed`. */
  | { readonly error: Agnt2Error; readonly place?: Place };

export interface Place {
  readonly shard: number;
  readonly seq: number;
}

type Json = Record<string, unknown>;
const TIMEOUT_MS = 15_000;

function object(value: unknown): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw malformed('the gateway answered no object');
  return value as Json;
}
function amount(value: unknown, what: string): number {
  const read = readAmount(value);
  if (read === null) throw malformed(`the gateway's ${what} is no amount`);
  return read;
}
const id = (value: unknown): number => (value === null || value === undefined ? 0 : parseId(String(value)));
/** A status by its name or its number. */
function named<const T extends readonly string[]>(names: T, value: unknown): T[number] {
  const name = typeof value === 'number' ? names[value] : names.find((n) => n === value);
  if (name === undefined) throw malformed('the gateway named an unknown status');
  return name;
}

function receiptOf(value: unknown, steps?: unknown): SignedReceipt {
  const json = object(value);
  return receiptFromJson({ ...json, outcomes: json.outcomes ?? steps ?? [] } as unknown as ReceiptJson);
}

interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** What of `fetch` is used here. Rejects when no answer comes before `signal` aborts; `json` when it breaks off or is none. */
export type Fetch = (
  url: string,
  init: Asked & { readonly signal: AbortSignal },
) => Promise<Pick<Response, 'ok' | 'status' | 'json'>>;

/** A gateway has no business elsewhere; Workers know no `error`. */
const platformFetch: Fetch = (url, init) => fetch(url, { ...(init as RequestInit), redirect: 'manual' });

export class Core {
  readonly #base: string;
  readonly #carry: Fetch;

  /** `base`: the gateway's URL, without a trailing slash. `carry`: how requests get there, where the platform's `fetch` is not meant to. */
  constructor(base: string, carry: Fetch = platformFetch) {
    this.#base = base;
    this.#carry = carry;
  }

  get base(): string {
    return this.#base;
  }

  /** One JSON request. Throws the gateway's own code, `gateway_unavailable` when it can't be reached or says 5xx, `gateway_failed` for nonsense. */
  async #fetch(path: string, init: Asked = {}): Promise<unknown> {
    let response: Awaited<ReturnType<Fetch>>;
    try {
      response = await this.#carry(this.#base + path, { ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
    } catch (cause) {
      throw refusal('gateway_unavailable', "the gateway can't be reached", cause);
    }
    let body: unknown;
    try {
      body = await response.json();
    } catch (cause) {
      // Cut off in the middle of an answer: nobody knows what it would have said.
      if (response.ok || response.status >= 500)
        throw refusal('gateway_unavailable', "the gateway's answer broke off", cause);
      throw refusal('gateway_failed', `the gateway answered ${response.status} without a reason`, cause);
    }
    if (response.ok) return body;
    const { code, detail, place } = (body ?? {}) as { code?: unknown; detail?: unknown; place?: unknown };
    if (typeof code !== 'string') {
      throw refusal(
        response.status >= 500 ? 'gateway_unavailable' : 'gateway_failed',
        `the gateway answered ${response.status} without a code`,
      );
    }
    throw new GatewayRefusal(code, typeof detail === 'string' ? detail : '', response.status, readPlace(place));
  }

  async status(): Promise<NetworkFacts> {
    const json = object(await this.#fetch('/status'));
    const key = object(json.sequencerKey);
    const shards = Array.isArray(json.shards) ? json.shards.map(object) : [];
    return {
      domain: { chainId: Number(json.chainId), root: String(json.root) as Hex },
      sequencerKey: concat(unhex(String(key.x), 32), unhex(String(key.y), 32)),
      seq: new Map(shards.map((shard) => [Number(shard.shard), amount(shard.seq, 'seq')])),
    };
  }

  /** The gateway's clock, ms. */
  async time(): Promise<number> {
    return amount(object(await this.#fetch('/healthz')).timeMs, 'time');
  }

  async agent(agent: number): Promise<AgentFacts> {
    const json = object(await this.#fetch(`/agents/${formatId(agent)}`));
    return {
      owner: hex(unhex(String(json.owner), 20)),
      nonce: amount(json.nonce, 'nonce'),
      balance: amount(json.balance, 'balance'),
    };
  }

  /** The agents that have this machine key, x ‖ y, oldest first. */
  async agentsByKey(key: Uint8Array): Promise<number[]> {
    const found: number[] = [];
    let after = '';
    for (let page = 0; page < 1000; page++) {
      const json = object(await this.#fetch(`/agents?key=${hex(keccak(key))}${after}`));
      for (const agent of Array.isArray(json.agents) ? json.agents : []) found.push(id(object(agent).id));
      if (json.next === undefined || json.next === null) break;
      after = `&after=${encodeURIComponent(String(json.next))}`;
    }
    return found;
  }

  /** An agent's machine key now, x ‖ y. */
  async key(agent: number): Promise<Uint8Array> {
    const json = object(await this.#fetch(`/agents/${formatId(agent)}/key`));
    return concat(unhex(String(json.x), 32), unhex(String(json.y), 32));
  }

  async service(service: number): Promise<ServiceFacts> {
    return serviceOf(object(await this.#fetch(`/services/${formatId(service)}`)));
  }

  /** Every service of a provider. */
  async servicesOf(provider: number): Promise<ServiceFacts[]> {
    const out: ServiceFacts[] = [];
    let after = '';
    for (let page = 0; page < 100; page++) {
      const json = object(await this.#fetch(`/services?provider=${formatId(provider)}&limit=100${after}`));
      for (const service of Array.isArray(json.services) ? json.services : []) out.push(serviceOf(object(service)));
      if (json.next === undefined || json.next === null) return out;
      after = `&after=${encodeURIComponent(String(json.next))}`;
    }
    return out;
  }

  /** An escrow or order; with `waitMs`, an order that has opened none yet is answered when it has, or after that time. */
  async escrow(escrow: number, waitMs = 0): Promise<EscrowFacts> {
    const facts = escrowOf(object(await this.#fetch(`/escrows/${formatId(escrow)}${waiting(waitMs)}`)));
    if (facts.id !== escrow) throw malformed('the gateway answered for another escrow');
    return facts;
  }

  /** A page of the escrows of a payer (orders too) or of a payee (not yet started ones too) on its own shard. */
  async escrows(of: 'payer' | 'payee', agent: number, statuses: string, after: number): Promise<EscrowsPage> {
    const query = `${of}=${formatId(agent)}&status=${statuses}&limit=100&after=${formatId(after)}`;
    const json = object(await this.#fetch(`/escrows?${query}`));
    return {
      escrows: (Array.isArray(json.escrows) ? json.escrows : []).map((escrow) => escrowOf(object(escrow))),
      next: json.next === undefined || json.next === null ? null : id(json.next),
      upTo: id(json.upTo),
    };
  }

  async session(session: number): Promise<SessionFacts> {
    const facts = sessionOf(object(await this.#fetch(`/sessions/${formatId(session)}`)));
    if (facts.id !== session) throw malformed('the gateway answered for another session');
    return facts;
  }

  /** Every session of an agent, on whatever shard, closed ones too. */
  async sessionsOf(agent: number): Promise<SessionFacts[]> {
    const out: SessionFacts[] = [];
    let after = '';
    for (let page = 0; page < 100; page++) {
      const json = object(await this.#fetch(`/sessions?agent=${formatId(agent)}&limit=100${after}`));
      for (const session of Array.isArray(json.sessions) ? json.sessions : []) out.push(sessionOf(object(session)));
      if (json.next === undefined || json.next === null) return out;
      after = `&after=${encodeURIComponent(String(json.next))}`;
    }
    return out;
  }

  async workflow(workflow: number): Promise<WorkflowFacts> {
    const json = object(await this.#fetch(`/workflows/${formatId(workflow)}`));
    const legs = Array.isArray(json.legs) ? json.legs.map(object) : [];
    return {
      deadline: amount(json.deadline, 'deadline'),
      status: named(WORKFLOW_STATUS, json.status),
      legs: legs.map((leg) => ({ payer: id(leg.payer), service: id(leg.service), done: leg.done === true })),
    };
  }

  /** The frame that received a message; null while none has, for at most `waitMs`. */
  async received(from: number, to: number, number: number, waitMs = 0): Promise<Place | null> {
    const json = object(await this.#fetch(`/messages/${from}/${to}/${number}${waiting(waitMs)}`));
    if (json.state !== 'received') return null;
    const place = readPlace(json.place);
    if (place?.shard !== to) throw malformed('the gateway names no place of the message');
    return place;
  }

  /** The keys a session pinned, x ‖ y each: what its halves are checked with, whatever the agents' keys are now. */
  async sessionKeys(session: number): Promise<{ a: Uint8Array; b: Uint8Array }> {
    const address = addressOf(shardOf(session), Region.session, slotOf(Region.session, serialOf(session)));
    const [a, b] = await Promise.all([this.#cell(address + 1), this.#cell(address + 2)]);
    return { a, b };
  }

  async #cell(address: number): Promise<Uint8Array> {
    return unhex(String(object(await this.#fetch(`/cells/${address}`)).cell), 64);
  }

  async frame(shard: number, seq: number): Promise<FrameFacts> {
    const json = object(await this.#fetch(`/shards/${shard}/frames/${seq}`));
    const receipt = json.receipt ?? null;
    return { bytes: unhex(String(json.bytes)), receipt: receipt === null ? null : receiptOf(receipt, json.steps) };
  }

  /** The batch that holds a frame; null while none does. */
  async batchOf(shard: number, seq: number): Promise<number | null> {
    const { batch } = object(await this.#fetch(`/shards/${shard}/frames/${seq}`));
    return batch === undefined || batch === null ? null : amount(batch, 'batch');
  }

  /** All that L1 needs to pay a withdrawal, as `Root.withdraw` takes it. Throws `not_final`, `not_found`. */
  async withdrawal(batch: number, outboxId: number): Promise<unknown> {
    return this.#fetch(`/batches/${batch}/withdrawals/${formatId(outboxId)}`);
  }

  async receipt(shard: number, seq: number): Promise<SignedReceipt> {
    const json = object(await this.#fetch(`/receipts/${shard}/${seq}`));
    return receiptOf(json.receipt ?? json);
  }

  /** The record of a name. Throws `unknown_name`. */
  async directory(name: string): Promise<DirectoryRecord> {
    let json: Json;
    try {
      json = object(await this.#fetch(`/directory/${name}`));
    } catch (error) {
      if (error instanceof GatewayRefusal && error.status === 404)
        throw refusal('unknown_name', `nobody holds the name ${name}`, error);
      throw error;
    }
    const services = Array.isArray(json.services) ? json.services : [];
    return {
      agent: id(json.agent),
      services: services.map(id),
      description: typeof json.description === 'string' ? json.description : '',
    };
  }

  /** Submits frames of bundles, in order. Throws when no answer came; what the shard says of each is a result. */
  async submit(bundles: readonly Uint8Array[]): Promise<BundleResult[]> {
    const many = bundles.length > 1;
    const body = many
      ? concat(...bundles.flatMap((b) => [Uint8Array.of(b.length >> 8, b.length & 255), b]))
      : bundles[0];
    const type = many ? 'application/vnd.agnt2.bundles' : 'application/octet-stream';
    let json: Json;
    try {
      json = object(await this.#fetch('/bundles', { method: 'POST', headers: { 'content-type': type }, body }));
    } catch (error) {
      // One refused bundle is answered by its problem itself; a gateway in trouble is no verdict on the bundle.
      if (!many && error instanceof GatewayRefusal && error.status < 500 && error.status !== 429)
        return [{ error, place: error.place }];
      if (error instanceof GatewayRefusal)
        throw refusal('gateway_unavailable', `the gateway can't take bundles now: ${error.code}`, error);
      throw error;
    }
    const results = Array.isArray(json.results) ? json.results.map(object) : [];
    if (results.length !== bundles.length)
      throw refusal('gateway_failed', 'the gateway answered for another number of bundles');
    return results.map((result): BundleResult => {
      if (result.receipt !== undefined) return { receipt: receiptOf(result.receipt) };
      const { code, detail, place } = object(result.error);
      return { error: new Agnt2Error(String(code), String(detail ?? '')), place: readPlace(place) };
    });
  }

  async putMetadata(service: number, document: Uint8Array): Promise<void> {
    await this.#fetch(`/services/${formatId(service)}/metadata`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: document,
    });
  }

  /** `record` is the JSON body; its signature covers exactly these bytes and the time. */
  async putDirectory(name: string, record: Uint8Array, signature: Hex, timeMs: number): Promise<void> {
    await this.#fetch(`/directory/${name}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json', 'agnt2-signature': signature, 'agnt2-time': String(timeMs) },
      body: record,
    });
  }
}

/** A refusal in the gateway's own words, with its HTTP status. */
export class GatewayRefusal extends Agnt2Error {
  readonly status: number;
  readonly place: Place | undefined;
  constructor(code: string, detail: string, status: number, place?: Place) {
    super(code, detail);
    this.status = status;
    this.place = place;
  }
}

/** `shard:seq` of a frame; undefined for anything else. */
function readPlace(value: unknown): Place | undefined {
  const match = /^(\d{1,3}):(\d{1,15})$/.exec(typeof value === 'string' ? value : '');
  return match ? { shard: Number(match[1]), seq: Number(match[2]) } : undefined;
}

const waiting = (ms: number): string => (ms > 0 ? `?wait=${ms}` : '');

function escrowOf(json: Json): EscrowFacts {
  return {
    id: id(json.id),
    payer: id(json.payer),
    payee: id(json.payee),
    service: id(json.service),
    amount: amount(json.amount, 'escrow amount'),
    paid: amount(json.paid, 'escrow paid'),
    deadline: amount(json.deadline, 'deadline'),
    status: named(ESCROW_STATUS, json.status),
    workflow: id(json.workflow),
    leg: Number(json.flags) >> 4,
    order: id(json.order),
    escrow: json.escrow === undefined || json.escrow === null ? null : escrowOf(object(json.escrow)),
  };
}

function sessionOf(json: Json): SessionFacts {
  return {
    id: id(json.id),
    a: id(json.a),
    b: id(json.b),
    depositA: amount(json.depositA, 'deposit'),
    depositB: amount(json.depositB, 'deposit'),
    paidAB: amount(json.paidAB, 'paid'),
    paidBA: amount(json.paidBA, 'paid'),
    exitAt: amount(json.exitAt, 'exitAt'),
    exitDelay: amount(json.exitDelay, 'exitDelay'),
    status: named(SESSION_STATUS, json.status),
  };
}

function serviceOf(json: Json): ServiceFacts {
  return {
    id: id(json.id),
    provider: id(json.provider),
    active: typeof json.active === 'boolean' ? json.active : (Number(json.flags) & 2) !== 0,
    ceiling: amount(json.ceiling, 'ceiling'),
    deadlineSeconds: amount(json.deadlineSeconds, 'deadlineSeconds'),
    metadataHash: unhex(String(json.metadataHash), 32),
    metadata: json.metadata ?? null,
  };
}
