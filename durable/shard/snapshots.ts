/**
 * Snapshots: pages of cells as they stood after a chunk, so that a restart replays only what came later. They are also where pages
 * are that there is no room for in memory.
 */
import { type ShardTrie } from '../../protocol/trie.ts';

export class Snapshots {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(
      'CREATE TABLE IF NOT EXISTS pages (region INTEGER, page INTEGER, cells BLOB NOT NULL, PRIMARY KEY (region, page)) WITHOUT ROWID',
    );
    sql.exec('CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID');
  }

  get(key: string): SqlStorageValue {
    const [row] = this.#sql.exec('SELECT value FROM meta WHERE key = ?', key);
    return row ? row.value : null;
  }
  put(key: string, value: SqlStorageValue): void {
    this.#sql.exec('INSERT OR REPLACE INTO meta VALUES (?, ?)', key, value);
  }

  /** Chunks the snapshot holds: replay starts with the chunk of this number. */
  get chunks(): number {
    return (this.get('snapshot') as number | null) ?? 0;
  }

  /** The cells of a page as last stored. */
  page(region: number, page: number): Uint8Array {
    const row = this.#sql
      .exec<{ cells: ArrayBuffer }>('SELECT cells FROM pages WHERE region = ? AND page = ?', region, page)
      .one();
    return new Uint8Array(row.cells);
  }

  /** Puts the stored pages into an empty trie, which keeps of them what there is room for. */
  load(trie: ShardTrie): void {
    for (const row of this.#sql.exec('SELECT region, page, cells FROM pages')) {
      trie.load({
        region: row.region as number,
        page: row.page as number,
        cells: new Uint8Array(row.cells as ArrayBuffer),
      });
      trie.evict();
    }
  }

  /** Stores what changed since the last one. Synchronous, so it commits whole, with the chunk it belongs to. */
  take(trie: ShardTrie, chunks: number): void {
    for (const { region, page, cells } of trie.takeChanged()) {
      this.#sql.exec('INSERT OR REPLACE INTO pages VALUES (?, ?, ?)', region, page, cells);
    }
    this.put('snapshot', chunks);
  }
}
