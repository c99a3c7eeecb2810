import { statSync } from "node:fs";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { type Checkpoint, toCheckpoint } from "../checkpoint.ts";
import { COLUMNS } from "../record.ts";
import type { AuditReader, RowFilter, StoredRow } from "./store.ts";

/**
 * Opens a trail read-only, on a connection of its own: writers are neither blocked nor waited for. Throws an `Error`
 * when there is no such file or it is not a database.
 */
export function openSqliteReader(file: string): AuditReader {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new Error(`there is no audit trail at ${file}`);
  return new SqliteReader(new DatabaseSync(file, { readOnly: true, timeout: 5_000 }));
}

/** Each filter as the condition it stands for; values are always bound. */
const CONDITIONS: { [Name in Exclude<keyof RowFilter, "limit">]-?: string } = {
  since: "timestamp >= ?",
  until: "timestamp <= ?",
  user: "user = ?",
  operation: "operation = ?",
  resource: "resource_id = ?",
  result: "result = ?",
  call_id: "call_id = ?",
  event: "event = ?",
  after: "seq > ?",
};

class SqliteReader implements AuditReader {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  meta(): { writer: string; key_id: string } | undefined {
    if (!this.#has("meta")) return undefined;
    const select = this.#db.prepare("SELECT value FROM meta WHERE name = ?");
    const writer = select.get("writer")?.value;
    const key_id = select.get("key_id")?.value;
    return typeof writer === "string" && typeof key_id === "string" ? { writer, key_id } : undefined;
  }

  *rows(filter: RowFilter = {}): Iterable<StoredRow> {
    if (!this.#has("audit")) return;
    const conditions: string[] = [];
    const values: SQLInputValue[] = [];
    for (const [name, condition] of Object.entries(CONDITIONS)) {
      const value = bindable(name, filter);
      if (value === undefined) continue;
      conditions.push(condition);
      values.push(value);
    }
    const where = conditions.length > 0 ? `WHERE ${conditions.join(" AND ")}` : "";
    const select = `SELECT seq, writer, prev, mac, body, id, ${COLUMNS.join(", ")} FROM audit ${where}`;
    const sql =
      filter.limit === undefined
        ? `${select} ORDER BY seq`
        : `SELECT * FROM (${select} ORDER BY seq DESC LIMIT ?) ORDER BY seq`;
    if (filter.limit !== undefined) values.push(filter.limit);
    for (const row of this.#db.prepare(sql).iterate(...values)) yield toRow(row);
  }

  mac(seq: number): Uint8Array | undefined {
    const mac = this.#db.prepare("SELECT mac FROM audit WHERE seq = ?").get(seq)?.mac;
    return mac instanceof Uint8Array ? mac : undefined;
  }

  *checkpoints(): Iterable<Checkpoint | undefined> {
    if (!this.#has("checkpoints")) return;
    for (const row of this.#db.prepare("SELECT * FROM checkpoints ORDER BY number").iterate()) yield toCheckpoint(row);
  }

  freeze(): void {
    this.#db.exec("BEGIN");
    // The moment is fixed by the first read.
    this.#has("audit");
  }

  close(): void {
    this.#db.close();
  }

  #has(table: string): boolean {
    return this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?").get(table) !== undefined;
  }
}

function bindable(name: string, filter: RowFilter): SQLInputValue | undefined {
  if (name === "since" || name === "until") return utc(name, filter[name]);
  return filter[name as Exclude<keyof RowFilter, "limit">];
}

/** The column holds UTC, so the bound must. */
function utc(name: string, time: string | undefined): string | undefined {
  if (time === undefined) return undefined;
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) throw new RangeError(`${name} is not an ISO 8601 time: ${time}`);
  return date.toISOString();
}

/** Whoever edited the database may have changed types too; such a value reads as empty and fails verification. */
function toRow(row: Record<string, unknown>): StoredRow {
  const text = (name: string): string | null => {
    const value = row[name];
    if (value === null || typeof value === "string") return value;
    return `not a text: ${String(value)}`;
  };
  const bytes = (name: string): Uint8Array => {
    const value = row[name];
    return value instanceof Uint8Array ? value : new Uint8Array(0);
  };
  const duration = row.duration_ms;
  return {
    seq: Number(row.seq),
    writer: text("writer") ?? "",
    prev: bytes("prev"),
    mac: bytes("mac"),
    body: bytes("body"),
    id: text("id"),
    timestamp: text("timestamp"),
    event: text("event"),
    call_id: text("call_id"),
    user: text("user"),
    operation: text("operation"),
    resource_type: text("resource_type"),
    resource_id: text("resource_id"),
    region: text("region"),
    account: text("account"),
    result: text("result"),
    duration_ms: duration === null ? null : Number(duration),
  };
}
