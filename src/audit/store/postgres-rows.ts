import { COLUMNS } from "../record.ts";
import type { RowFilter, StoredRow } from "./store.ts";

/** A row and where it lies; both as texts, which lose nothing. */
export interface PlacedRow {
  row: StoredRow;
  seq: string;
  at: string;
}

/** Our longest body has some 110 KB. A longer one was not written by us; it reads as empty and fails verification. */
const MAX_BODY_BYTES = 8 * 1024 * 1024;
const MAX_HASH_BYTES = 256;
const MAX_TEXT = 4_096;

/** A database that was edited may hold anything, and must not exhaust our memory with it. */
const bounded = (column: string, limit: number): string =>
  `CASE WHEN octet_length(${column}) <= ${limit} THEN ${column} END AS ${column}`;
const text = (column: string): string => `left(${column}, ${MAX_TEXT}) AS ${column}`;
const quoted = (column: string): string => `"${column}"`;

/** What a query selects from `audit.trail` so that `toPlaced` can read it. */
export const ROW_COLUMNS: string = [
  "seq",
  "seq::text AS place_seq",
  "stored_at::text AS place_at",
  "(extract(epoch FROM stored_at) * 1000)::float8 AS stored_ms",
  text("writer"),
  bounded("prev", MAX_HASH_BYTES),
  bounded("mac", MAX_HASH_BYTES),
  bounded("body", MAX_BODY_BYTES),
  text("id"),
  ...COLUMNS.map((column) => (column === "duration_ms" ? column : text(quoted(column)))),
].join(", ");

export function toPlaced(row: Record<string, unknown>): PlacedRow {
  return { row: toRow(row), seq: String(row.place_seq), at: String(row.place_at) };
}

function toRow(row: Record<string, unknown>): StoredRow {
  const duration = row.duration_ms;
  return {
    seq: Number(row.seq ?? 0),
    stored_at: Number(row.stored_ms ?? Number.NaN),
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

function textOf(value: unknown): string | null {
  return value === null || typeof value === "string" ? value : `not a text: ${String(value)}`;
}

export function bytesOf(value: unknown): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array(0);
}

/** Each filter as the condition it stands for, `?` being its value. */
const CONDITIONS: { [Name in Exclude<keyof RowFilter, "limit">]-?: string } = {
  // The second half is implied, but for clocks that went wrong, and spares the months before.
  since: `"timestamp" >= ? AND stored_at >= ?::timestamptz - interval '2 days'`,
  until: '"timestamp" <= ?',
  user: '"user" = ?',
  operation: "operation = ?",
  resource: "resource_id = ?",
  result: "result = ?",
  call_id: "call_id = ?",
  event: "event = ?",
  writer: "writer = ?",
};

/** The condition of a filter, and its values. Throws a `RangeError` for a time that is none. */
export function conditionOf(filter: RowFilter): { where: string; values: unknown[] } {
  const conditions = ["true"];
  const values: unknown[] = [];
  for (const name of Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[]) {
    const value = filter[name];
    if (value === undefined) continue;
    // Columns hold U+FFFD in place of NUL, which the database cannot store.
    values.push(name === "since" || name === "until" ? utc(name, value) : value.replaceAll("\0", "\uFFFD"));
    conditions.push(CONDITIONS[name].replaceAll("?", `$${values.length}::text`));
  }
  return { where: conditions.join(" AND "), values };
}

/** The column holds UTC, so the bound must. */
export function utc(name: string, time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) throw new RangeError(`${name} is not an ISO 8601 time: ${time}`);
  return date.toISOString();
}
