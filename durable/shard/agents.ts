/**
 * Agents by key and by owner. Anybody may ask for those of nobody, so they are looked up in SQLite, not for: a row an agent, written with the chunk
 * that made it or changed its key, so both are durable or neither.
 */
import { type Hex, hex, unhex } from '../../protocol/bytes.ts';
import { Agent, Head, get, getBytes } from '../../protocol/cells.ts';
import { keccak } from '../../protocol/hash.ts';
import { makeId, serialOf } from '../../protocol/ids.ts';
import type { Machine } from '../../protocol/machine.ts';
import type { Page, PageQuery } from './api.ts';
import type { RecordJson } from './json.ts';
import { MAX_PAGE } from './lists.ts';
import { agentJson } from './views.ts';

/** Agents of one key looked through for those of an owner. */
const LOOKED_AT = 1024;
/** Agents written down before memory is tidied. */
const REST_EVERY = 2 ** 14;

export interface AgentsQuery extends PageQuery {
  /** keccak(x ‖ y), 0x hex. */
  readonly key?: Hex;
  readonly owner?: Hex;
}

export class AgentIndex {
  readonly #sql: SqlStorage;
  readonly #machine: Machine;

  constructor(sql: SqlStorage, machine: Machine) {
    this.#sql = sql;
    this.#machine = machine;
    sql.exec('CREATE TABLE IF NOT EXISTS agents (serial INTEGER PRIMARY KEY, key BLOB NOT NULL, owner BLOB NOT NULL)');
    sql.exec('CREATE INDEX IF NOT EXISTS agents_key ON agents (key)');
    sql.exec('CREATE INDEX IF NOT EXISTS agents_owner ON agents (owner)');
  }

  /** Writes down those of a log from before there was an index. `rest` is called now and then: no cell is in use. */
  restore(rest: () => void): void {
    const known = this.#sql.exec<{ n: number }>('SELECT coalesce(max(serial), 0) AS n FROM agents').one().n;
    const last = get(this.#machine.head(), Head.agents);
    for (let serial = known + 1; serial <= last; serial++) {
      this.note(makeId(this.#machine.shard, serial));
      if (serial % REST_EVERY === 0) rest();
    }
  }

  /** An agent may be new, or have another key. */
  note(id: number): void {
    const machine = this.#machine;
    if (!machine.isLocal(id) || !machine.agentExists(id)) return;
    const owner = getBytes(machine.readAgent(id), Agent.owner).slice();
    this.#sql.exec('INSERT OR REPLACE INTO agents VALUES (?, ?, ?)', serialOf(id), keccak(machine.keyOf(id)), owner);
  }

  /** Those with a key, an owner, or both, oldest first. */
  list({ key, owner, after = 0, limit = 20 }: AgentsQuery): Page<RecordJson> {
    const most = Math.min(limit, MAX_PAGE);
    const [column, value] = key ? ['key', key] : ['owner', owner!];
    // Of a key, those of other owners are passed over.
    const least = key && owner ? LOOKED_AT : most + 1;
    const rows = this.#sql.exec<{ serial: number; owner: ArrayBuffer }>(
      `SELECT serial, owner FROM agents WHERE ${column} = ? AND serial > ? ORDER BY serial LIMIT ?`,
      unhex(value),
      after,
      least,
    );
    const items: RecordJson[] = [];
    let [looked, last] = [0, after];
    for (const row of rows) {
      if (items.length === most) return { items, next: last };
      looked += 1;
      last = row.serial;
      if (owner && hex(new Uint8Array(row.owner)) !== owner.toLowerCase()) continue;
      const item = agentJson(this.#machine, makeId(this.#machine.shard, row.serial));
      if (item) items.push(item);
    }
    return looked === least ? { items, next: last } : { items };
  }
}
