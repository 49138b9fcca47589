/**
 * Directory: names, service documents and lists of both, on itty-durable (decision 1). Nothing here is money or authority: a name says where
 * to look, and what is found there is checked against cells and signatures.
 *
 * An itty object answers any method to whoever reaches its `fetch`, so none is ever handed an outside `Request`: {@link directory} is the only door,
 * and the gateway has verified what comes through it. Its proxy binds methods to itself, so the class can have no `#private` members.
 */
import { createDurable, proxyDurable } from 'itty-durable';

export interface NameRecord {
  readonly name: string;
  /** `shard:serial`. */
  readonly agent: string;
  readonly services: readonly string[];
  readonly description: string;
  /** Time of the newest announcement: an older one can't come back. */
  readonly timeMs: number;
}

export interface DocumentRecord {
  /** SHA-256 of the document's bytes, 0x hex. */
  readonly hash: string;
  /** The bytes, base64: itty's arguments travel in a header. */
  readonly base64: string;
}

/** What a `claim` came to: the record now, or why not. */
export type ClaimResult =
  | { readonly record: NameRecord; readonly listed: boolean }
  | { readonly refused: 'name_taken' | 'stale' };

/** Names a page of the list holds: a page is one object, and one stored value. */
const LIST_PAGE = 1000;

/** One class, a small role each by the object's name: `name:<name>`, `agent:<id>`, `service:<id>`, `list`, `list:<page>`. */
export class Directory extends createDurable({ autoPersist: false, autoReturn: false }) {
  record: NameRecord | null = null;
  listed = false;
  document: DocumentRecord | null = null;
  name: string | null = null;
  names: string[] = [];
  count = 0;

  /** `name:`: the first to come holds it; the holder may change it by a newer announcement. */
  async claim(record: NameRecord): Promise<ClaimResult> {
    if (this.record && this.record.agent !== record.agent) return { refused: 'name_taken' };
    if (this.record && this.record.timeMs >= record.timeMs) return { refused: 'stale' };
    this.record = record;
    await this.persist();
    return { record, listed: this.listed };
  }
  async markListed(): Promise<boolean> {
    this.listed = true;
    await this.persist();
    return true;
  }
  async readRecord(): Promise<NameRecord | null> {
    return this.record;
  }

  /** `service:` */
  async writeDocument(document: DocumentRecord): Promise<boolean> {
    this.document = document;
    await this.persist();
    return true;
  }
  async readDocument(): Promise<DocumentRecord | null> {
    return this.document;
  }

  /** `agent:`: the name it announced last. */
  async writeName(name: string): Promise<boolean> {
    this.name = name;
    await this.persist();
    return true;
  }
  async readName(): Promise<string | null> {
    return this.name;
  }

  /** `list`: gives out places. */
  async takePlace(): Promise<number> {
    const place = this.count++;
    await this.persist();
    return place;
  }
  async readCount(): Promise<number> {
    return this.count;
  }
  /** `list:<page>`: a place left out by a crash stays empty. */
  async writePlace(place: number, name: string): Promise<boolean> {
    while (this.names.length < place) this.names.push('');
    this.names[place] = name;
    await this.persist();
    return true;
  }
  async readNames(): Promise<string[]> {
    return this.names;
  }
}

type Methods = Pick<
  Directory,
  | 'claim'
  | 'markListed'
  | 'readRecord'
  | 'writeDocument'
  | 'readDocument'
  | 'writeName'
  | 'readName'
  | 'takePlace'
  | 'readCount'
  | 'writePlace'
  | 'readNames'
>;

/** The typed door to the directory's objects. Never `await` a stub itself: an itty proxy answers `then`. */
export function directory(namespace: DurableObjectNamespace) {
  const at = (name: string): Methods => proxyDurable(namespace, { parse: true }).get(name) as Methods;

  return {
    /** Claims or changes a name; `name_taken` and `stale` come back as they are. */
    async claim(record: NameRecord): Promise<ClaimResult> {
      const result = await at(`name:${record.name}`).claim(record);
      if ('refused' in result) return result;
      if (!result.listed) {
        const place = await at('list').takePlace();
        await at(`list:${Math.floor(place / LIST_PAGE)}`).writePlace(place % LIST_PAGE, record.name);
        await at(`name:${record.name}`).markListed();
      }
      await at(`agent:${record.agent}`).writeName(record.name);
      return result;
    },
    lookup: (name: string): Promise<NameRecord | null> => at(`name:${name}`).readRecord(),
    nameOf: (agent: string): Promise<string | null> => at(`agent:${agent}`).readName(),

    putDocument: (service: string, document: DocumentRecord): Promise<boolean> =>
      at(`service:${service}`).writeDocument(document),
    document: (service: string): Promise<DocumentRecord | null> => at(`service:${service}`).readDocument(),

    /** Records in the order in which their names were first claimed, from place `after` on; `next` is the place to go on from. */
    async list(after: number, limit: number): Promise<{ records: NameRecord[]; next?: number }> {
      const count = await at('list').readCount();
      const places = Array.from({ length: Math.max(0, Math.min(limit, count - after)) }, (_, i) => after + i);
      const pages = new Map<number, string[]>();
      for (const place of places) {
        const page = Math.floor(place / LIST_PAGE);
        if (!pages.has(page)) pages.set(page, await at(`list:${page}`).readNames());
      }
      const names = places
        .map((place) => pages.get(Math.floor(place / LIST_PAGE))![place % LIST_PAGE])
        .filter((name) => name);
      const records = (await Promise.all(names.map((name) => at(`name:${name}`).readRecord()))).filter(
        (record) => record !== null,
      );
      const end = after + places.length;
      return end < count ? { records, next: end } : { records };
    },
  };
}
