import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { AuditState } from "../state.ts";

/** On the main thread: a lock of another process is held for one small statement. */
const BUSY_MS = 250;

/**
 * Cursors, leases and used confirmations in a database of their own (0600), shared by the processes that write one trail. Opened at the
 * first use, and again after an error. Nothing in it is evidence: when it is damaged, it may be deleted.
 * @param now wall clock in milliseconds, which the processes have in common
 */
export function openSqliteState(file: string, now: () => number = Date.now): AuditState {
  return new SqliteState(file, now);
}

class SqliteState implements AuditState {
  readonly #file: string;
  readonly #now: () => number;
  readonly #holder = `${process.pid}-${randomBytes(8).toString("hex")}`;
  #db: DatabaseSync | undefined;

  constructor(file: string, now: () => number) {
    this.#file = file;
    this.#now = now;
  }

  lease(name: string, ttlMs: number): Promise<boolean> {
    const now = this.#now();
    return this.#use((db) => {
      const { changes } = db
        .prepare(
          `INSERT INTO leases (name, holder, until) VALUES (?, ?, ?)
           ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
           WHERE holder = excluded.holder OR until <= ? OR until > ?`,
        )
        // A lease that ends later than any could was given by a clock that ran ahead.
        .run(name, this.#holder, now + ttlMs, now, now + 2 * ttlMs);
      return changes === 1;
    });
  }

  release(name: string): Promise<void> {
    return this.#use((db) => {
      db.prepare("DELETE FROM leases WHERE name = ? AND holder = ?").run(name, this.#holder);
    });
  }

  shipped(): Promise<ReadonlyMap<string, number>> {
    return this.#use((db) => {
      const rows = db.prepare("SELECT writer, seq FROM shipped").all();
      return new Map(rows.map(({ writer, seq }) => [String(writer), Number(seq)]));
    });
  }

  markShipped(writer: string, seq: number): Promise<void> {
    return this.#use((db) => {
      db.prepare(
        `INSERT INTO shipped (writer, seq) VALUES (?, ?)
         ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > seq`,
      ).run(writer, seq);
    });
  }

  resetShipped(writer: string): Promise<void> {
    return this.#use((db) => {
      db.prepare("UPDATE shipped SET seq = 0 WHERE writer = ?").run(writer);
    });
  }

  useOnce(id: string, ttlMs: number): Promise<boolean> {
    const now = this.#now();
    return this.#use((db) => {
      db.prepare("DELETE FROM used WHERE id IN (SELECT id FROM used WHERE until <= ? LIMIT 100)").run(now);
      const { changes } = db
        .prepare("INSERT INTO used (id, until) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .run(id, now + ttlMs);
      return changes === 1;
    });
  }

  async close(): Promise<void> {
    this.#db?.close();
    this.#db = undefined;
  }

  async #use<T>(work: (db: DatabaseSync) => T): Promise<T> {
    try {
      this.#db ??= open(this.#file);
      return work(this.#db);
    } catch (error) {
      await this.close();
      const message = error instanceof Error ? error.message : String(error);
      throw new Error(`${this.#file}: ${message}`, { cause: error });
    }
  }
}

function open(file: string): DatabaseSync {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  try {
    // SQLite gives its side files the permissions of the database file.
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
  const db = new DatabaseSync(file, { timeout: BUSY_MS });
  try {
    db.exec("PRAGMA journal_mode = WAL");
    // A power cut may undo the last moves of a cursor: then rows are copied twice.
    db.exec("PRAGMA synchronous = NORMAL");
    db.exec(`
      CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS shipped (writer TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
      CREATE TABLE IF NOT EXISTS used (id TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT;
      CREATE INDEX IF NOT EXISTS used_until ON used (until);
    `);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}
