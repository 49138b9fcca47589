/** Who a name stands for and what its services cost, as the gateway knows it; remembered for a while. */
import { codeOf } from '../protocol/errors.ts';
import { parseId } from '../protocol/ids.ts';
import type { Core, DirectoryRecord } from './core.ts';
import { type PricedService, type PriceTable, readDocument } from './prices.ts';

export interface PeerService extends PricedService {
  /** Most one invoke may escrow. */
  readonly ceiling: number;
  readonly deadlineSeconds: number;
}

export interface Peer {
  readonly agent: number;
  readonly services: readonly PeerService[];
}

interface Entry {
  readonly peer: Promise<Peer>;
  readonly untilMs: number;
}

const TTL_MS = 30_000;
/** A name nobody holds yet may be taken any moment. */
const MISS_TTL_MS = 1000;
const MAX_ENTRIES = 10_000;

/** A service without a readable document costs its ceiling: the most the payee could ask for. */
function tableOf(metadata: unknown, ceiling: number): PriceTable {
  try {
    return readDocument(metadata);
  } catch {
    return { routes: [], free: [], defaultPrice: ceiling };
  }
}

export class Peers {
  readonly #core: Core;
  readonly #ttlMs: number;
  readonly #onPeer: (peer: Peer) => void;
  readonly #entries = new Map<string, Entry>();

  /** `onPeer` sees what was fetched before anybody calls it. */
  constructor(core: Core, ttlMs = TTL_MS, onPeer: (peer: Peer) => void = () => {}) {
    this.#core = core;
    this.#ttlMs = ttlMs;
    this.#onPeer = onPeer;
  }

  /** Resolves a name or an id like `0:7`. Throws `unknown_name`, `unknown_agent`, or what the gateway refuses with. */
  resolve(text: string): Promise<Peer> {
    const now = Date.now();
    const known = this.#entries.get(text);
    if (known !== undefined && known.untilMs > now) return known.peer;
    if (this.#entries.size >= MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
    const peer = this.#fetch(text);
    this.#entries.set(text, { peer, untilMs: now + this.#ttlMs });
    peer.catch((error: unknown) => {
      const miss = codeOf(error) === 'unknown_name' || codeOf(error) === 'unknown_agent';
      if (miss) this.#entries.set(text, { peer, untilMs: Date.now() + Math.min(MISS_TTL_MS, this.#ttlMs) });
      else this.#entries.delete(text);
    });
    return peer;
  }

  /** Forgets what a peer's own answer has proved wrong, its prices say. */
  forget(text: string): void {
    this.#entries.delete(text);
  }

  async #fetch(text: string): Promise<Peer> {
    const record: Pick<DirectoryRecord, 'agent' | 'services'> = text.includes(':')
      ? { agent: parseId(text), services: [] }
      : await this.#core.directory(text);
    const all = await this.#core.servicesOf(record.agent);
    const named = all.filter(({ id }) => record.services.length === 0 || record.services.includes(id));
    const peer: Peer = {
      agent: record.agent,
      services: named
        .filter(({ active, provider }) => active && provider === record.agent)
        .map(({ id, ceiling, deadlineSeconds, metadata }) => ({
          id,
          ceiling,
          deadlineSeconds,
          table: tableOf(metadata, ceiling),
        })),
    };
    this.#onPeer(peer);
    return peer;
  }
}
