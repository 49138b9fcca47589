/**
 * A session's store in a file, for Node (never imported where Workers run). WAL with `synchronous = NORMAL`: a crash of
 * the process loses nothing. A power cut may lose the last moments; the peer and the relay hold copies of the halves, and
 * the records come back on resume.
 */
import type { Database } from '../database.ts';
import { openDatabase } from '../sqlite.ts';
import { SESSION_SCHEMA, SqlStore } from './store-sql.ts';

/** Opens (or makes) the file that holds the sessions of one sidecar; null for none. */
export function openSessions(path: string | null): Database {
  const db = openDatabase(path);
  db.exec('PRAGMA synchronous = NORMAL;');
  db.exec(SESSION_SCHEMA);
  return db;
}

/** Opens the store of `session` in the file at `path`. */
export const sqliteStore = (path: string, session: number): SqlStore => new SqlStore(openSessions(path), session);
