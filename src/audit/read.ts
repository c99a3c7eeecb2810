import { setTimeout as sleep } from "node:timers/promises";
import { type Projection, parseBody } from "./record.ts";
import { openSqliteReader } from "./store/sqlite-reader.ts";
import type { RowFilter, StoredRow } from "./store/store.ts";

/** A row as the CLI shows it. Reading proves nothing: that is what `verifyTrail` is for. */
export interface TrailRow extends Projection {
  seq: number;
  writer: string;
  /** Every field that was recorded; `undefined` when the stored bytes are not JSON. */
  body: Record<string, unknown> | undefined;
}

export type TrailQuery = Omit<RowFilter, "after">;

export interface TailOptions {
  /** How many of the last rows to begin with, default 20. */
  n?: number | undefined;
  /** Go on with rows as they are written, until `signal` aborts. */
  follow?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface TrailReader {
  /** The last rows, oldest first. */
  tail(options?: TailOptions): AsyncGenerator<TrailRow, void>;
  /**
   * The rows that match, oldest first; with `limit`, the newest so many of them. Throws `RangeError` when `since` or
   * `until` is not a time.
   */
  query(query: TrailQuery): AsyncGenerator<TrailRow, void>;
  close(): void;
}

const POLL_MS = 200;

/** Opens a trail for reading, also while a server writes to it. Throws an `Error` when there is none at `file`. */
export function openTrailReader(file: string): TrailReader {
  const reader = openSqliteReader(file);

  async function* query(filter: RowFilter): AsyncGenerator<TrailRow, void> {
    for await (const row of reader.rows(filter)) yield decode(row);
  }

  async function* tail({ n = 20, follow = false, signal }: TailOptions = {}): AsyncGenerator<TrailRow, void> {
    let after = 0;
    for await (const row of query({ limit: n })) {
      after = row.seq;
      yield row;
    }
    while (follow && signal?.aborted !== true) {
      for await (const row of query({ after })) {
        after = row.seq;
        yield row;
      }
      await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  return { tail, query, close: () => reader.close() };
}

function decode({ prev: _prev, mac: _mac, id: _id, body, ...row }: StoredRow): TrailRow {
  return { ...row, body: parseBody(body) };
}
