import type { Client } from "pg";
import type { RemovablePart, RetentionStore } from "../retain.ts";
import type { Tombstone } from "../tombstone.ts";
import { connect, hangUp, type PostgresTarget } from "./postgres-connection.ts";
import { ROLES } from "./postgres-schema.ts";
import { StoreError } from "./store.ts";

const STATEMENT_TIMEOUT_MS = 600_000;
const BOUNDS = "pg_get_expr(c.relpartbound, c.oid)";

export interface PostgresRetentionOptions {
  /** Longest statement; default 10 min. */
  statementTimeoutMs?: number;
}

/**
 * Takes whole months out of a trail in PostgreSQL; logs in as a member of the role for retention.
 * @throws StoreError for a login that may not, before anything is exported for nothing
 */
export async function openPostgresRetention(
  target: PostgresTarget,
  { statementTimeoutMs = STATEMENT_TIMEOUT_MS }: PostgresRetentionOptions = {},
): Promise<RetentionStore> {
  const client = await connect(target, {
    application: "mcp-aws-server audit retain",
    statementTimeoutMs,
  });
  const retention = new PostgresRetention(client);
  try {
    await retention.check();
    return retention;
  } catch (error) {
    await retention.close();
    throw error;
  }
}

class PostgresRetention implements RetentionStore {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  async check(): Promise<void> {
    const { rows } = await this.#client.query(
      "SELECT current_user AS login, has_function_privilege('audit.retire_partition(text)', 'EXECUTE') AS may",
    );
    if (rows[0]?.may !== true) {
      throw new StoreError(
        `${rows[0]?.login} may not remove rows: log in as a member of ${ROLES.retention} (audit migrate --retention-user)`,
      );
    }
  }

  async parts(before: Date): Promise<RemovablePart[]> {
    const { rows } = await this.#client.query(
      `SELECT name, low, high FROM (
        SELECT c.relname AS name, substring(${BOUNDS} FROM $re$FROM \\('([^']+)'\\)$re$) AS low,
          substring(${BOUNDS} FROM $re$TO \\('([^']+)'\\)$re$) AS high
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'audit.trail'::regclass) p
       WHERE high::timestamptz <= $1::timestamptz ORDER BY high::timestamptz`,
      [before],
    );
    const parts: RemovablePart[] = [];
    for (const { name, low, high } of rows) parts.push(await this.#part(String(name), String(low), String(high)));
    return parts;
  }

  async #part(name: string, low: string, high: string): Promise<RemovablePart> {
    const { rows } = await this.#client.query(
      `SELECT writer, max(seq) AS seq, max("timestamp") AS youngest FROM audit.trail
        WHERE stored_at >= $1::timestamptz AND stored_at < $2::timestamptz GROUP BY writer`,
      [low, high],
    );
    const ends = new Map(rows.map((row) => [String(row.writer), Number(row.seq)]));
    const youngest = rows.reduce((latest: string, row) => (row.youngest > latest ? row.youngest : latest), "");
    return { name, ends, youngest };
  }

  /** The tombstones are committed first: a partition that has them is removed by the next run at the latest. */
  async remove(part: RemovablePart, tombstones: readonly Tombstone[]): Promise<number> {
    if (tombstones.length > 0) await this.#bury(tombstones);
    const { rows } = await this.#client.query("SELECT audit.retire_partition($1) AS rows", [part.name]);
    return Number(rows[0]?.rows ?? 0);
  }

  async #bury(tombstones: readonly Tombstone[]): Promise<void> {
    await this.#client.query("BEGIN");
    try {
      for (const tombstone of tombstones) {
        const { writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature } = tombstone;
        await this.#client.query(
          `INSERT INTO audit.tombstones
            (writer, seq, mac, digest, number, rows, "until", "time", key_id, manifest_sha256, signature)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
          [writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature],
        );
      }
      await this.#client.query("COMMIT");
    } catch (error) {
      // Rolls back too, and waits no second time for a server that does not answer.
      await hangUp(this.#client);
      throw error;
    }
  }

  async close(): Promise<void> {
    await hangUp(this.#client);
  }
}
