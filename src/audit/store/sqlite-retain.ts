import { DatabaseSync } from "node:sqlite";
import type { RemovablePart, RetentionStore } from "../retain.ts";
import type { Tombstone } from "../tombstone.ts";
import { createSchema } from "./sqlite-schema.ts";
import { StoreError } from "./store.ts";

/** Takes the beginning of the chain out of a SQLite trail. Servers may be writing: they wait for the lock meanwhile. */
export function openSqliteRetention(file: string): RetentionStore {
  return new SqliteRetention(new DatabaseSync(file, { timeout: 5_000 }));
}

class SqliteRetention implements RetentionStore {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
    db.exec("PRAGMA synchronous = FULL");
  }

  async parts(before: Date): Promise<RemovablePart[]> {
    const time = before.toISOString();
    // Neither the last checkpoint nor its row goes: writers continue from them, and the head file names them.
    const cut = this.#db
      .prepare(
        `SELECT writer, seq FROM checkpoints WHERE time < ?1 AND number < (SELECT max(number) FROM checkpoints)
          AND seq < coalesce((SELECT min(seq) FROM audit WHERE timestamp >= ?1 OR timestamp IS NULL), 9007199254740991)
          ORDER BY number DESC LIMIT 1`,
      )
      .get(time);
    if (cut === undefined) return [];
    const seq = Number(cut.seq);
    const range = this.#db
      .prepare("SELECT count(*) AS rows, max(timestamp) AS youngest FROM audit WHERE seq <= ?")
      .get(seq);
    if (Number(range?.rows) === 0) return [];
    const ends = new Map([[String(cut.writer), seq]]);
    return [{ name: "audit.db", ends, youngest: String(range?.youngest ?? "") }];
  }

  /** Tombstone and removal are one transaction. */
  async remove(_part: RemovablePart, tombstones: readonly Tombstone[]): Promise<number> {
    const db = this.#db;
    let removed = 0;
    db.exec("BEGIN EXCLUSIVE");
    try {
      for (const tombstone of tombstones) removed += this.#bury(tombstone);
      createSchema(db);
      db.exec("COMMIT");
    } catch (error) {
      if (db.isTransaction) db.exec("ROLLBACK");
      throw error;
    }
    try {
      // Gives the space back; what fails here (somebody is reading) is done by the next run.
      db.exec("VACUUM");
    } catch {
      // The rows are gone all the same.
    }
    return removed;
  }

  #bury(tombstone: Tombstone): number {
    const { writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature } = tombstone;
    const db = this.#db;
    const row = db.prepare("SELECT mac FROM audit WHERE seq = ? AND writer = ?").get(seq, writer);
    if (!(row?.mac instanceof Uint8Array) || Buffer.compare(row.mac, mac) !== 0)
      throw new StoreError(`row ${seq} is not the one that was exported: nothing is removed`);
    db.exec("DROP TRIGGER IF EXISTS audit_no_delete");
    db.exec("DROP TRIGGER IF EXISTS checkpoints_no_delete");
    db.prepare(
      `INSERT INTO tombstones (writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature);
    const { changes } = db.prepare("DELETE FROM audit WHERE seq <= ?").run(seq);
    db.prepare("DELETE FROM checkpoints WHERE number <= ?").run(number);
    return Number(changes);
  }

  async close(): Promise<void> {
    this.#db.close();
  }
}
