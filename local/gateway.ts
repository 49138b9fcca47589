/** The gateway's API, as much as the local stack asks of it. Numbers come from here, never from what a script meant to do. */
import { type ChunkRecord } from '../protocol/trace.ts';
import { hex, unhex } from '../protocol/bytes.ts';
import { keccak } from '../protocol/hash.ts';
import type { ReceiptJson } from '../protocol/receipt.ts';
import type { BatchJson, ChunkJson } from '../durable/shard/json.ts';

export interface StatusJson {
  chainId: number;
  root: string;
  stateRoot: string;
  shards: {
    shard: number;
    seq: string;
    time: number;
    agents: number;
    services: number;
    sessions: number;
    escrows: number;
    outbox: number;
    interactions: number;
  }[];
  l1: { head: number; finalized: number; inbox: number } | null;
}

export interface AgentJson {
  id: string;
  owner: string;
  balance: string;
  stake: string;
  nonce: number;
  name?: string;
  [field: string]: unknown;
}

export interface EscrowJson {
  id: string;
  status: string;
  [field: string]: unknown;
}

export interface SessionJson {
  id: string;
  a: string;
  b: string;
  status: string;
  callsAB: string;
  callsBA: string;
  paidAB: string;
  paidBA: string;
  live?: { halves?: unknown; frames?: unknown; connected?: unknown };
  [field: string]: unknown;
}

/** A problem the gateway answered with. */
export class GatewayError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(status: number, code: string, detail: string) {
    super(`${code}: ${detail}`);
    this.status = status;
    this.code = code;
  }
}

export class Gateway {
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  /** One request; throws {@link GatewayError} for a problem. */
  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    const answer = await fetch(this.url + path, { signal: AbortSignal.timeout(30_000), ...init });
    const text = await answer.text();
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      throw new GatewayError(answer.status, 'not_json', text.slice(0, 200));
    }
    if (!answer.ok) {
      const { code = 'unknown', detail = text } = body as { code?: string; detail?: string };
      throw new GatewayError(answer.status, code, detail);
    }
    return body as T;
  }

  status(): Promise<StatusJson> {
    return this.json('/status');
  }
  agent(id: string): Promise<AgentJson> {
    return this.json(`/agents/${id}`);
  }
  /** The agent whose machine key this is; null while there is none. */
  async agentByKey(publicKey: Uint8Array): Promise<AgentJson | null> {
    const { agents } = await this.json<{ agents: AgentJson[] }>(`/agents?key=${hex(keccak(publicKey))}`);
    return agents[0] ?? null;
  }
  agents(): Promise<AgentJson[]> {
    return this.#all('/agents', 'agents');
  }
  sessions(): Promise<SessionJson[]> {
    return this.#all('/sessions', 'sessions');
  }
  session(id: string): Promise<SessionJson> {
    return this.json(`/sessions/${id}`);
  }
  /** All batches there are, oldest first. */
  batches(): Promise<BatchJson[]> {
    return this.#all('/batches', 'batches');
  }
  batch(number: number): Promise<BatchJson> {
    return this.json(`/batches/${number}`);
  }

  async #all<T>(path: string, key: string): Promise<T[]> {
    const out: T[] = [];
    for (let after: string | undefined; ;) {
      const page = await this.json<Record<string, unknown>>(
        `${path}?limit=100${after === undefined ? '' : `&after=${after}`}`,
      );
      out.push(...(page[key] as T[]));
      if (page.next === undefined || page.next === null) return out;
      after = String(page.next);
    }
  }

  /** All chunks of a shard, oldest first. */
  async chunks(shard: number): Promise<ChunkJson[]> {
    const out: ChunkJson[] = [];
    for (let after: string | undefined; ;) {
      const query = `limit=100${after === undefined ? '' : `&after=${after}`}`;
      const page = await this.json<{ chunks: ChunkJson[]; next?: number }>(`/shards/${shard}/chunks?${query}`);
      out.push(...page.chunks);
      if (page.next === undefined || page.next === null) return out;
      after = String(page.next);
    }
  }

  /** All frames of a shard, as records. */
  async frames(shard: number): Promise<ChunkRecord[]> {
    return (await this.chunks(shard)).map(({ firstSeq, frames }) => ({
      shard,
      firstSeq: Number(firstSeq),
      frames: frames.map(({ bytes }) => unhex(bytes)),
    }));
  }

  /** Whether a batch that L1 has holds every shard's newest frame that is neither tick nor ack: those alone make no batch. */
  async isOnL1(): Promise<boolean> {
    const { shards, l1 } = await this.status();
    const all = await Promise.all(shards.map(({ shard, seq }) => this.#holds(shard, Number(seq), l1?.head ?? 0)));
    return all.every(Boolean);
  }

  async #holds(shard: number, end: number, head: number): Promise<boolean> {
    for (let seq = end - 1; seq >= 0; seq--) {
      const { kind, batch } = await this.json<{ kind: string; batch?: number }>(`/shards/${shard}/frames/${seq}`);
      if (kind !== 'tick' && kind !== 'ack') return batch !== undefined && head >= batch;
    }
    return true;
  }

  /** Submits one bundle; throws {@link GatewayError} when it was refused. */
  async submit(frame: Uint8Array): Promise<ReceiptJson> {
    const body = frame as Uint8Array<ArrayBuffer>;
    const { results } = await this.json<{
      results: [{ receipt?: ReceiptJson; error?: { code: string; detail: string } }];
    }>('/bundles', {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body,
    });
    const [{ receipt, error }] = results;
    if (!receipt) throw new GatewayError(200, error?.code ?? 'unknown', error?.detail ?? 'no receipt');
    return receipt;
  }
}
