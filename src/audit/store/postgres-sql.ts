import type { Client, QueryResult } from "pg";
import { sameMac } from "../chain.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { COLUMNS, parseBody, project, recordId } from "../record.ts";
import type { Batch } from "./postgres-chain.ts";
import { destroy } from "./postgres-connection.ts";
import { type ChainHead, StoreError } from "./store.ts";

const NAMES = COLUMNS.map((column) => `"${column}"`);
const TYPES = COLUMNS.map((column) => (column === "duration_ms" ? "float8[]" : "text[]"));
/** Bodies and MACs travel as one value each, in binary, and are cut up there: arrays of bytes would travel as text. */
const INSERT = `
INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, id, ${NAMES.join(", ")})
SELECT $1, $2::bigint + n, to_timestamp($3::float8 / 1000),
       substring($4::bytea FROM 32 * n - 31 FOR 32), substring($4::bytea FROM 32 * n + 1 FOR 32),
       substring($5::bytea FROM start FOR length), id, ${NAMES.join(", ")}
FROM unnest($6::int[], $7::int[], $8::int[], $9::text[], ${TYPES.map((type, i) => `$${i + 10}::${type}`).join(", ")})
  AS rows (n, start, length, id, ${NAMES.join(", ")})
ON CONFLICT (writer, seq, stored_at) DO NOTHING`;

/** Live rows wait meanwhile. */
const REPLAY_WAIT_MS = 500;
const LOCK_NOT_AVAILABLE = "55P03";

/** Runs one statement, for so long: a network that is gone answers nothing. The connection is ended then. */
export async function run(
  client: Client,
  timeoutMs: number,
  sql: string,
  values: unknown[] = [],
): Promise<QueryResult> {
  const timer = setTimeout(() => destroy(client), timeoutMs);
  try {
    return values.length > 0 ? await client.query(sql, values) : await client.query(sql);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Lets no other process store rows of a spool until the end of the transaction: each must see what the other stored. The
 * lock is a row that only those may lock who write to `state`, not an advisory lock, which every login may take. False
 * when it does not become free soon; the transaction has failed then.
 */
export async function lockReplay(client: Client, timeoutMs: number): Promise<boolean> {
  await run(client, timeoutMs, `SET LOCAL lock_timeout = ${REPLAY_WAIT_MS}`);
  try {
    // What is there already is locked, though the condition is false.
    await run(
      client,
      timeoutMs,
      `INSERT INTO state.leases (name, holder, "until") VALUES ('replay', '', 'infinity')
       ON CONFLICT (name) DO UPDATE SET holder = '' WHERE false`,
    );
  } catch (error) {
    if (codeOf(error) !== LOCK_NOT_AVAILABLE) throw error;
    return false;
  }
  await run(client, timeoutMs, "SET LOCAL lock_timeout = DEFAULT");
  return true;
}

/** Inserts a batch in one statement; resolves with how many rows were not there yet. */
export async function insertRows(client: Client, timeoutMs: number, batch: Batch): Promise<number> {
  const { writer, bodies, macs, before, after } = batch;
  const fields = bodies.map(parseBody);
  const projected = fields.map(project);
  const lengths = bodies.map((body) => body.byteLength);
  const starts: number[] = [];
  let start = 1;
  for (const length of lengths) {
    starts.push(start);
    start += length;
  }
  const timer = setTimeout(() => destroy(client), timeoutMs);
  try {
    const { rowCount } = await client.query({
      name: "append",
      text: INSERT,
      values: [
        writer,
        before.seq,
        after.storedAt,
        Buffer.concat([before.mac, ...macs]),
        Buffer.concat(bodies),
        bodies.map((_, i) => i + 1),
        starts,
        lengths,
        fields.map((row) => recordId(row) ?? null),
        ...COLUMNS.map((column) => projected.map((row) => row[column])),
      ],
    });
    return rowCount ?? 0;
  } finally {
    clearTimeout(timer);
  }
}

/** Whether the rows of a batch are in the database as this process made them. */
export async function holdsRows(client: Client, timeoutMs: number, batch: Batch): Promise<boolean> {
  const { rows } = await run(
    client,
    timeoutMs,
    "SELECT seq, mac FROM audit.trail WHERE writer = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
    [batch.writer, batch.before.seq, batch.after.seq],
  );
  return rows.length === batch.macs.length && batch.macs.every((mac, i) => sameMac(mac, rows[i]?.mac));
}

/** Inserts a checkpoint, perhaps again; false when there is another under its number. */
export async function insertCheckpoint(client: Client, timeoutMs: number, checkpoint: Checkpoint): Promise<boolean> {
  const { writer, number, seq, mac, digest, time, key_id, rows, signature } = checkpoint;
  const values = [writer, number, seq, Buffer.from(mac), Buffer.from(digest), time, key_id, rows];
  values.push(Buffer.from(signature));
  const inserted = await run(
    client,
    timeoutMs,
    `INSERT INTO audit.checkpoints (writer, number, seq, mac, digest, "time", key_id, rows, signature)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (writer, number) DO NOTHING`,
    values,
  );
  if (inserted.rowCount === 1) return true;
  const found = await run(
    client,
    timeoutMs,
    `SELECT FROM audit.checkpoints WHERE writer = $1 AND number = $2 AND seq = $3 AND mac = $4 AND digest = $5
       AND "time" = $6 AND key_id = $7 AND rows = $8 AND signature = $9`,
    values,
  );
  return found.rowCount === 1;
}

/** The head of one chain: its last row, or what its last tombstone covers when no row is left. */
export async function headOf(client: Client, timeoutMs: number, writer: string): Promise<ChainHead | undefined> {
  const { rows } = await run(
    client,
    timeoutMs,
    `(SELECT 0 AS rank, writer, seq, mac FROM audit.trail WHERE writer = $1 ORDER BY seq DESC LIMIT 1)
     UNION ALL
     (SELECT 1, writer, seq, mac FROM audit.tombstones WHERE writer = $1 ORDER BY seq DESC LIMIT 1)
     ORDER BY rank LIMIT 1`,
    [writer],
  );
  return rows[0];
}

/** The head of every chain, from one probe of the index each, however many rows there are. */
export async function allHeads(client: Client, timeoutMs: number): Promise<ChainHead[]> {
  const { rows } = await run(
    client,
    timeoutMs,
    `WITH RECURSIVE chains AS (
       (SELECT writer FROM audit.trail ORDER BY writer LIMIT 1)
       UNION ALL
       SELECT (SELECT t.writer FROM audit.trail t WHERE t.writer > chains.writer ORDER BY t.writer LIMIT 1)
         FROM chains WHERE chains.writer IS NOT NULL)
     SELECT chains.writer, head.seq, head.mac FROM chains
       CROSS JOIN LATERAL (
         SELECT seq, mac FROM audit.trail t WHERE t.writer = chains.writer ORDER BY seq DESC LIMIT 1) head`,
  );
  return rows;
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** Whether an error says that nothing was stored. Anything that ended the session leaves that open. */
export function isDefinite(error: unknown): boolean {
  if (error instanceof StoreError) return true;
  const severity = error instanceof Error && "severity" in error ? error.severity : undefined;
  return severity === "ERROR" && !/^(08|57|40003)/.test(String(codeOf(error)));
}
