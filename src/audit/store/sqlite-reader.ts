import { statSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { type Checkpoint, toCheckpoint } from "../checkpoint.ts";
import { COLUMNS } from "../record.ts";
import { type Tombstone, toTombstone } from "../tombstone.ts";
import { checkFormat } from "./sqlite-schema.ts";
import { type AuditReader, type ChainHead, type RowFilter, type StoredRow, UnreadableError } from "./store.ts";

/**
 * Opens a trail read-only, on a connection of its own: writers are neither blocked nor waited for. Throws an `Error`
 * when there is no such file or an older version wrote it, an `UnreadableError` when it is not a database.
 */
export function openSqliteReader(file: string): AuditReader {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new Error(`there is no audit trail at ${file}`);
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5_000 });
  try {
    reading(() => checkFormat(db));
  } catch (error) {
    db.close();
    throw error;
  }
  return new SqliteReader(db);
}

/** A reader of a trail in which there is nothing: what a vanished database is compared as. */
export function emptySqliteReader(): AuditReader {
  return new SqliteReader(new DatabaseSync(":memory:"));
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
  writer: "writer = ?",
};

const ROW = `SELECT seq, writer, prev, mac, body, id, ${COLUMNS.join(", ")} FROM audit`;
const POLL_MS = 200;

type Table = "meta" | "audit" | "checkpoints" | "tombstones";

class SqliteReader implements AuditReader {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  async chains(): Promise<string[]> {
    // The name in `meta` is the chain's, whatever its rows say; without it, that of whatever there is.
    const names = [
      this.#first("meta", "SELECT value AS name FROM meta WHERE name = 'writer'"),
      this.#first("checkpoints", "SELECT writer AS name FROM checkpoints ORDER BY number LIMIT 1"),
      this.#first("tombstones", "SELECT writer AS name FROM tombstones ORDER BY seq LIMIT 1"),
      this.#first("audit", "SELECT writer AS name FROM audit ORDER BY seq LIMIT 1"),
    ].map((row) => row?.name);
    const name = names.find((found) => typeof found === "string");
    const filled = (["audit", "checkpoints", "tombstones"] as const).some(
      (table) => this.#first(table, `SELECT 1 FROM ${table} LIMIT 1`) !== undefined,
    );
    return filled && typeof name === "string" ? [name] : [];
  }

  async heads(): Promise<ChainHead[]> {
    const row = this.#first("audit", "SELECT seq, writer, mac FROM audit ORDER BY seq DESC LIMIT 1");
    if (row === undefined) return [];
    return [{ writer: textOf(row.writer) ?? "", seq: Number(row.seq), mac: bytesOf(row.mac) }];
  }

  *chain(_writer: string, after?: number): Iterable<StoredRow> {
    // From the very beginning: numbers below 1, which only somebody else can have written, must be seen.
    if (after === undefined) yield* this.#rows(`${ROW} ORDER BY seq`);
    else yield* this.#rows(`${ROW} WHERE seq > ? ORDER BY seq`, after);
  }

  async mac(_writer: string, seq: number): Promise<Uint8Array | undefined> {
    const mac = this.#first("audit", "SELECT mac FROM audit WHERE seq = ?", seq)?.mac;
    return mac instanceof Uint8Array ? mac : undefined;
  }

  *checkpoints(_writer: string): Iterable<Checkpoint | undefined> {
    for (const row of this.#select("checkpoints", "SELECT * FROM checkpoints ORDER BY number")) yield toCheckpoint(row);
  }

  async tombstones(_writer: string): Promise<(Tombstone | undefined)[]> {
    return [...this.#select("tombstones", "SELECT * FROM tombstones ORDER BY seq")].map(toTombstone);
  }

  async keyId(): Promise<string | undefined> {
    const value = this.#first("meta", "SELECT value FROM meta WHERE name = 'key_id'")?.value;
    return typeof value === "string" ? value : undefined;
  }

  async estimate(): Promise<number> {
    // Both ends of the primary key: counting would read everything.
    const row = this.#first("audit", "SELECT max(seq) - min(seq) + 1 AS rows FROM audit");
    return Number(row?.rows ?? 0);
  }

  *query(filter: RowFilter): Iterable<StoredRow> {
    const conditions: string[] = [];
    const values: SQLInputValue[] = [];
    for (const [name, condition] of Object.entries(CONDITIONS)) {
      const value = bindable(name, filter);
      if (value === undefined) continue;
      conditions.push(condition);
      values.push(value);
    }
    const select = conditions.length > 0 ? `${ROW} WHERE ${conditions.join(" AND ")}` : ROW;
    if (filter.limit === undefined) yield* this.#rows(`${select} ORDER BY seq`, ...values);
    else yield* this.#rows(`SELECT * FROM (${select} ORDER BY seq DESC LIMIT ?) ORDER BY seq`, ...values, filter.limit);
  }

  async *follow(n: number, signal: AbortSignal): AsyncGenerator<StoredRow, void> {
    let after = (await this.heads())[0]?.seq ?? 0;
    for (const row of this.query({ limit: n })) {
      after = row.seq;
      yield row;
    }
    while (!signal.aborted) {
      for (const row of this.chain("", after)) {
        after = row.seq;
        yield row;
        if (signal.aborted) return;
      }
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async openIntents(since: string): Promise<StoredRow[]> {
    const open =
      "event = 'intent' AND timestamp >= ? AND NOT EXISTS " +
      "(SELECT 1 FROM audit ended WHERE ended.call_id = audit.call_id AND ended.event = 'outcome')";
    return [...this.#rows(`${ROW} WHERE ${open} ORDER BY timestamp, seq`, utc("since", since))];
  }

  async freeze(): Promise<void> {
    reading(() => {
      if (this.#db.isTransaction) this.#db.exec("COMMIT");
      this.#db.exec("BEGIN");
      // The moment is fixed by the first read.
      this.#has("audit");
    });
  }

  async close(): Promise<void> {
    this.#db.close();
  }

  *#rows(sql: string, ...values: SQLInputValue[]): Iterable<StoredRow> {
    for (const row of this.#select("audit", sql, ...values)) yield toRow(row);
  }

  *#select(table: Table, sql: string, ...values: SQLInputValue[]): Iterable<Record<string, SQLOutputValue>> {
    const rows = reading(() => (this.#has(table) ? this.#db.prepare(sql).iterate(...values) : undefined));
    if (rows === undefined) return;
    try {
      for (;;) {
        const { done, value } = reading(() => rows.next());
        if (done === true) return;
        yield value;
      }
    } finally {
      rows.return?.();
    }
  }

  #first(table: Table, sql: string, ...values: SQLInputValue[]): Record<string, SQLOutputValue> | undefined {
    return reading(() => (this.#has(table) ? this.#db.prepare(sql).get(...values) : undefined));
  }

  #has(table: Table): boolean {
    return this.#db.prepare("SELECT 1 FROM sqlite_schema WHERE name = ?").get(table) !== undefined;
  }
}

/** Primary result codes of SQLite that say nothing about the file: busy, locked, interrupted, out of memory. */
const PASSING = new Set([5, 6, 9, 7]);

/** Runs a read; what is wrong with the file, or a number beyond what this server writes, becomes an `UnreadableError`. */
function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
    const beyond = error.code === "ERR_OUT_OF_RANGE";
    const damaged =
      error.code === "ERR_SQLITE_ERROR" && "errcode" in error && !PASSING.has(Number(error.errcode) & 255);
    if (beyond || damaged) throw new UnreadableError(error.message, { cause: error });
    throw error;
  }
}

function bindable(name: string, filter: RowFilter): SQLInputValue | undefined {
  if (name !== "since" && name !== "until") return filter[name as Exclude<keyof RowFilter, "limit">];
  const time = filter[name];
  return time === undefined ? undefined : utc(name, time);
}

/** The column holds UTC, so the bound must. */
function utc(name: string, time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) throw new RangeError(`${name} is not an ISO 8601 time: ${time}`);
  return date.toISOString();
}

/** Whoever edited the database may have changed types too; such a value reads as empty and fails verification. */
function toRow(row: Record<string, SQLOutputValue>): StoredRow {
  const duration = row.duration_ms;
  return {
    seq: Number(row.seq),
    writer: textOf(row.writer) ?? "",
    prev: bytesOf(row.prev),
    mac: bytesOf(row.mac),
    body: bytesOf(row.body),
    id: textOf(row.id),
    timestamp: textOf(row.timestamp),
    event: textOf(row.event),
    call_id: textOf(row.call_id),
    user: textOf(row.user),
    operation: textOf(row.operation),
    resource_type: textOf(row.resource_type),
    resource_id: textOf(row.resource_id),
    region: textOf(row.region),
    account: textOf(row.account),
    result: textOf(row.result),
    duration_ms: duration === null ? null : Number(duration),
  };
}

function textOf(value: SQLOutputValue | undefined): string | null {
  if (value === null || typeof value === "string") return value;
  return `not a text: ${String(value)}`;
}

function bytesOf(value: SQLOutputValue | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(0);
}
