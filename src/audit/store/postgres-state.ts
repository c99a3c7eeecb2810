import { randomUUID } from "node:crypto";
import type { Client } from "pg";
import type { AuditState } from "../state.ts";
import { connect, destroy, hangUp, type PostgresTarget } from "./postgres-connection.ts";
import { run } from "./postgres-sql.ts";

/** Opens the mutable state in schema `state`; connects when first asked, and anew after a failure. */
export function openPostgresState(target: PostgresTarget): AuditState {
  return new PostgresState(target);
}

/** One connection, one statement at a time: nothing here is urgent. Times are the database's. */
class PostgresState implements AuditState {
  readonly #target: PostgresTarget;
  readonly #holder = randomUUID();
  #client: Client | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(target: PostgresTarget) {
    this.#target = target;
  }

  async lease(name: string, ttlMs: number): Promise<boolean> {
    const rows = await this.#query(
      `INSERT INTO state.leases (name, holder, "until")
       VALUES ($1, $2, clock_timestamp() + $3::float8 * interval '1 ms')
       ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, "until" = excluded."until"
         WHERE leases.holder = excluded.holder OR leases."until" < clock_timestamp()
       RETURNING name`,
      [name, this.#holder, ttlMs],
    );
    return rows.length > 0;
  }

  async release(name: string): Promise<void> {
    await this.#query("DELETE FROM state.leases WHERE name = $1 AND holder = $2", [name, this.#holder]);
  }

  async shipped(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#query("SELECT writer, seq FROM state.shipped", []);
    return new Map(rows.map(({ writer, seq }) => [String(writer), Number(seq)]));
  }

  async markShipped(writer: string, seq: number): Promise<void> {
    await this.#query(
      `INSERT INTO state.shipped (writer, seq) VALUES ($1, $2)
       ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq WHERE shipped.seq < excluded.seq`,
      [writer, seq],
    );
  }

  async resetShipped(writer: string): Promise<void> {
    await this.#query("UPDATE state.shipped SET seq = 0 WHERE writer = $1", [writer]);
  }

  async useOnce(id: string, ttlMs: number): Promise<boolean> {
    // More may go than can come: the table holds what one ttl brings.
    await this.#query(
      'DELETE FROM state.used WHERE id IN (SELECT id FROM state.used WHERE "until" < clock_timestamp() LIMIT 100)',
      [],
    );
    const rows = await this.#query(
      `INSERT INTO state.used (id, "until") VALUES ($1, clock_timestamp() + $2::float8 * interval '1 ms')
       ON CONFLICT (id) DO NOTHING RETURNING id`,
      [id, ttlMs],
    );
    return rows.length === 1;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
    if (this.#client !== undefined) await hangUp(this.#client);
  }

  #query(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    const result = this.#turn.then(() => this.#send(sql, values));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #send(sql: string, values: unknown[]): Promise<Record<string, unknown>[]> {
    if (this.#closed) throw new Error("the audit state is closed");
    this.#client ??= await this.#connect();
    const client = this.#client;
    try {
      return (await run(client, this.#target.timeoutMs ?? 5_000, sql, values)).rows;
    } catch (error) {
      // Whatever it was: a new connection is cheap, and a broken one is no use.
      destroy(client);
      this.#client = undefined;
      throw error;
    }
  }

  async #connect(): Promise<Client> {
    const client = await connect(this.#target, { application: "mcp-aws-server state" });
    client.once("end", () => {
      if (this.#client === client) this.#client = undefined;
    });
    return client;
  }
}
