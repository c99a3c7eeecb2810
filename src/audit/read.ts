import { type Projection, parseBody } from "./record.ts";
import type { AuditReader, RowFilter, StoredRow } from "./store/store.ts";

/** A row as it is shown. Reading proves nothing: that is what verifying is for. */
export interface TrailRow extends Projection {
  seq: number;
  writer: string;
  /** Every field that was recorded; `undefined` when the stored bytes are not JSON. */
  body: Record<string, unknown> | undefined;
}

function toTrailRow({ prev: _prev, mac: _mac, id: _id, stored_at: _at, body, ...row }: StoredRow): TrailRow {
  return { ...row, body: parseBody(body) };
}

/**
 * The rows that match, oldest first; with `limit`, the newest so many of them. Throws `RangeError` when `since` or
 * `until` is not a time.
 */
export async function* queryTrail(reader: AuditReader, filter: RowFilter): AsyncGenerator<TrailRow, void> {
  for await (const row of reader.query(filter)) yield toTrailRow(row);
}

/** The last `n` rows, oldest first, and then those that are written until `signal` aborts. */
export async function* followTrail(
  reader: AuditReader,
  n: number,
  signal: AbortSignal,
): AsyncGenerator<TrailRow, void> {
  for await (const row of reader.follow(n, signal)) yield toTrailRow(row);
}
