import type { Client } from "pg";
import { type Checkpoint, toCheckpoint } from "../checkpoint.ts";
import { type Tombstone, toTombstone } from "../tombstone.ts";
import { connect, destroy, hangUp, type PostgresTarget } from "./postgres-connection.ts";
import { followChains } from "./postgres-follow.ts";
import { bytesOf, conditionOf, type PlacedRow, ROW_COLUMNS, toPlaced, utc } from "./postgres-rows.ts";
import type { AuditReader, ChainHead, RowFilter, StoredRow } from "./store.ts";

export interface PostgresReaderOptions {
  /** Longest statement; default 60 s. Pages take milliseconds, a search that no index helps may take long. */
  statementTimeoutMs?: number;
}

const STATEMENT_TIMEOUT_MS = 60_000;
const PAGE_ROWS = 500;
const PAGE_BYTES = 16 * 1024 * 1024;
const FOLLOW_ROWS = 100;
const CHECKPOINT_PAGE = 1_000;
const MAX_OPEN_INTENTS = 10_000;

type Row = Record<string, unknown>;

/** The names in a table whose key begins with `writer`: one look into the index for each, however many rows it has. */
const names = (table: string): string => `(
  WITH RECURSIVE names(writer) AS (
    (SELECT writer FROM audit.${table} ORDER BY writer LIMIT 1)
    UNION ALL
    SELECT (SELECT t.writer FROM audit.${table} t WHERE t.writer > names.writer ORDER BY t.writer LIMIT 1)
      FROM names WHERE names.writer IS NOT NULL
  ) SELECT writer FROM names WHERE writer IS NOT NULL)`;

/** Cuts a page where it would take too much memory; `before` needs the sizes only, not the bodies. */
const sized = (page: string): string => `
  SELECT * FROM (
    SELECT p.*, count(*) OVER () AS page_rows,
      sum(coalesce(octet_length(body), 0)) OVER (ORDER BY place_number) - coalesce(octet_length(body), 0) AS page_before
    FROM (${page}) p
  ) s WHERE page_before < ${PAGE_BYTES} ORDER BY place_number`;

/**
 * Reads a trail in PostgreSQL, on one connection that can only read, opened when it is first needed and again after it
 * was lost (but not in the middle of a frozen moment). Methods reject with the database's error, or with that of the
 * connection. Values that no version of this server writes come back as ones that fail verification.
 */
export function openPostgresReader(target: PostgresTarget, options: PostgresReaderOptions = {}): AuditReader {
  return new PostgresReader(target, options);
}

class PostgresReader implements AuditReader {
  readonly #target: PostgresTarget;
  readonly #options: PostgresReaderOptions;
  #client: Promise<Client> | undefined;
  #frozen = false;
  #closed = false;

  constructor(target: PostgresTarget, options: PostgresReaderOptions) {
    this.#target = target;
    this.#options = options;
  }

  async chains(): Promise<string[]> {
    const tables = ["trail", "checkpoints", "tombstones"].map(names).join(" UNION ");
    return (await this.#query(`SELECT left(writer, 4096) AS writer FROM (${tables}) n ORDER BY 1`)).map((row) =>
      String(row.writer),
    );
  }

  async heads(): Promise<ChainHead[]> {
    const rows = await this.#query(`
      SELECT n.writer, h.seq, h.mac FROM ${names("trail")} n
      CROSS JOIN LATERAL (SELECT seq, mac FROM audit.trail t WHERE t.writer = n.writer ORDER BY seq DESC LIMIT 1) h`);
    return rows.map((row) => ({ writer: String(row.writer), seq: Number(row.seq), mac: bytesOf(row.mac) }));
  }

  async *chain(writer: string, after?: number): AsyncGenerator<StoredRow, void> {
    const page = `SELECT ${ROW_COLUMNS}, row_number() OVER (ORDER BY seq, stored_at) AS place_number
      FROM (SELECT * FROM audit.trail WHERE writer = $1
        AND ($2::bigint IS NULL OR (seq, stored_at) > ($2::bigint, $3::timestamptz))
        ORDER BY seq, stored_at LIMIT ${PAGE_ROWS}) t`;
    // No lowest number to begin after: a row that has it would be passed over.
    const start = after === undefined ? [null, null] : [String(after), "infinity"];
    for await (const { row } of this.#pages(sized(page), [writer], start)) yield row;
  }

  async mac(writer: string, seq: number): Promise<Uint8Array | undefined> {
    const [row] = await this.#query("SELECT mac FROM audit.trail WHERE writer = $1 AND seq = $2 LIMIT 1", [
      writer,
      seq,
    ]);
    return row === undefined ? undefined : bytesOf(row.mac);
  }

  async *checkpoints(writer: string): AsyncGenerator<Checkpoint | undefined, void> {
    let after = "-9223372036854775808";
    for (;;) {
      const rows = await this.#query(
        `SELECT *, number::text AS place FROM audit.checkpoints WHERE writer = $1 AND number > $2::bigint
          ORDER BY number LIMIT ${CHECKPOINT_PAGE}`,
        [writer, after],
      );
      for (const row of rows) yield toCheckpoint(row);
      if (rows.length < CHECKPOINT_PAGE) return;
      after = String(rows.at(-1)?.place);
    }
  }

  async tombstones(writer: string): Promise<(Tombstone | undefined)[]> {
    const rows = await this.#query("SELECT * FROM audit.tombstones WHERE writer = $1 ORDER BY seq", [writer]);
    return rows.map(toTombstone);
  }

  async keyId(): Promise<string | undefined> {
    const [row] = await this.#query("SELECT value FROM audit.meta WHERE name = 'key_id'");
    return typeof row?.value === "string" ? row.value : undefined;
  }

  async estimate(): Promise<number> {
    // Sequence numbers have no gaps: what each chain has written, less what was removed on purpose.
    const [row] = await this.#query(`
      SELECT coalesce(sum(h.seq - coalesce(g.seq, 0)), 0)::float8 AS rows FROM ${names("trail")} n
      CROSS JOIN LATERAL (SELECT seq FROM audit.trail t WHERE t.writer = n.writer ORDER BY seq DESC LIMIT 1) h
      LEFT JOIN LATERAL (SELECT seq FROM audit.tombstones d WHERE d.writer = n.writer ORDER BY seq DESC LIMIT 1) g
        ON true`);
    return Math.max(0, Number(row?.rows ?? 0));
  }

  async *query(filter: RowFilter): AsyncGenerator<StoredRow, void> {
    const { where, values } = conditionOf(filter);
    if (filter.limit !== undefined) {
      for (const { row } of await this.#newest(where, values, filter.limit)) yield row;
      return;
    }
    // In the order of the trail's index on time; rows of a chain that bear the same time stay in their order.
    const order = "stored_at, writer, seq";
    const n = values.length;
    const page = `SELECT ${ROW_COLUMNS}, row_number() OVER (ORDER BY ${order}) AS place_number
      FROM (SELECT * FROM audit.trail WHERE ${where}
        AND (stored_at, writer, seq) > ($${n + 1}::timestamptz, $${n + 2}::text, $${n + 3}::bigint)
        ORDER BY ${order} LIMIT ${PAGE_ROWS}) t`;
    let place: unknown[] = ["-infinity", "", "0"];
    for (;;) {
      const rows = await this.#query(sized(page), [...values, ...place]);
      for (const row of rows) yield toPlaced(row).row;
      const last = rows.at(-1);
      if (last === undefined || isLast(rows)) return;
      place = [last.place_at, last.writer, last.place_seq];
    }
  }

  async *follow(n: number, signal: AbortSignal): AsyncGenerator<StoredRow, void> {
    // The last rows and the places from which to go on must be of one moment.
    await this.#query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    const places = new Map((await this.heads()).map(({ writer, seq }) => [writer, seq]));
    const last = n > 0 ? await this.#newest("true", [], n) : [];
    await this.#query("COMMIT");
    for (const { row } of last) yield row;
    yield* followChains({ heads: () => this.heads(), after: (asked) => this.#after(asked) }, places, signal);
  }

  async openIntents(since: string): Promise<StoredRow[]> {
    const recent = "stored_at >= $1::text::timestamptz - interval '2 days'";
    const rows = await this.#query(
      // One look into the index for each intent, and none into older months.
      `SELECT ${ROW_COLUMNS} FROM (
        SELECT i.* FROM audit.trail i
        LEFT JOIN LATERAL (SELECT true AS ended FROM audit.trail o
          WHERE o.call_id = i.call_id AND o.event = 'outcome' AND o.${recent} LIMIT 1) e ON true
        WHERE i.event = 'intent' AND i."timestamp" >= $1::text AND i.${recent} AND e.ended IS NULL
        ORDER BY i."timestamp", i.writer, i.seq LIMIT ${MAX_OPEN_INTENTS}) t`,
      [utc("since", since)],
    );
    return rows.map((row) => toPlaced(row).row);
  }

  async freeze(): Promise<void> {
    if (this.#frozen) await this.#query("COMMIT");
    this.#frozen = false;
    await this.#query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    // The moment is fixed by the first read.
    await this.#query("SELECT 1 FROM audit.meta LIMIT 1");
    this.#frozen = true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const client = await this.#client?.catch(() => undefined);
    if (client !== undefined) await hangUp(client);
  }

  /** Pages by sequence number until there is no more. */
  async *#pages(sql: string, values: unknown[], start: (string | null)[]): AsyncGenerator<PlacedRow, void> {
    let place = start;
    for (;;) {
      const rows = await this.#query(sql, [...values, ...place]);
      for (const row of rows) yield toPlaced(row);
      const last = rows.at(-1);
      if (last === undefined || isLast(rows)) return;
      place = [String(last.place_seq), String(last.place_at)];
    }
  }

  /** The newest rows that match, oldest first. */
  async #newest(where: string, values: unknown[], limit: number): Promise<PlacedRow[]> {
    // The few rows of a call are found by its index, which the planner would pass over for the sake of the order.
    const exact = where.includes("call_id");
    const rows = await this.#query(
      exact
        ? `WITH hits AS MATERIALIZED (SELECT * FROM audit.trail WHERE ${where})
            SELECT ${ROW_COLUMNS} FROM hits t ORDER BY t.stored_at DESC, t.writer DESC, t.seq DESC LIMIT $${values.length + 1}`
        : `SELECT ${ROW_COLUMNS} FROM (SELECT * FROM audit.trail WHERE ${where}
            ORDER BY stored_at DESC, writer DESC, seq DESC LIMIT $${values.length + 1}) t
            ORDER BY t.stored_at DESC, t.writer DESC, t.seq DESC`,
      [...values, limit],
    );
    return rows.map(toPlaced).reverse();
  }

  async #after(asked: ReadonlyMap<string, number>): Promise<PlacedRow[]> {
    const rows = await this.#query(
      `SELECT ${ROW_COLUMNS} FROM (
        SELECT t.* FROM unnest($1::text[], $2::bigint[]) AS p(writer, seq)
        CROSS JOIN LATERAL (SELECT * FROM audit.trail t WHERE t.writer = p.writer AND t.seq > p.seq
          ORDER BY t.seq LIMIT ${FOLLOW_ROWS}) t) t
        ORDER BY t.stored_at, t.writer, t.seq`,
      [[...asked.keys()], [...asked.values()]],
    );
    return rows.map(toPlaced);
  }

  async #query(sql: string, values: unknown[] = []): Promise<Row[]> {
    if (this.#closed) throw new Error("the audit trail's reader is closed");
    const client = await this.#connection();
    try {
      return (await client.query<Row>(sql, values)).rows;
    } catch (error) {
      // An error of a statement leaves the connection as it is; anything else is its end.
      if (!isStatementError(error)) this.#lose(client);
      throw error;
    }
  }

  async #connection(): Promise<Client> {
    if (this.#client === undefined) {
      // What was one moment would silently become two.
      if (this.#frozen) throw new Error("the connection to the audit database was lost while it was being read");
      this.#client = this.#open();
      this.#client.catch(() => {
        this.#client = undefined;
      });
    }
    return this.#client;
  }

  async #open(): Promise<Client> {
    const client = await connect(this.#target, {
      application: "mcp-aws-server audit reader",
      statementTimeoutMs: this.#options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS,
    });
    client.on("error", () => this.#lose(client));
    client.on("end", () => this.#lose(client));
    await client.query("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY");
    return client;
  }

  #lose(client: Client): void {
    destroy(client);
    void this.#client?.then(
      (current) => {
        if (current === client) this.#client = undefined;
      },
      () => undefined,
    );
  }
}

function isLast(rows: readonly Row[]): boolean {
  const [first] = rows;
  return rows.length === Number(first?.page_rows) && rows.length < PAGE_ROWS;
}

/** Five characters of SQLSTATE, and not of the classes that end a session. */
function isStatementError(error: unknown): boolean {
  if (!(error instanceof Error && "code" in error && typeof error.code === "string")) return false;
  return /^[0-9A-Z]{5}$/.test(error.code) && !/^(08|57P)/.test(error.code);
}
