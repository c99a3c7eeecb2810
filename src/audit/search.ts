import { ToolError } from "../core/errors.ts";
import type { FoundRow, TrailPage, TrailPosition, TrailQuery, TrailSearch } from "../core/trail-search.ts";
import { parseBody } from "./record.ts";
import type { AuditReader, StoredRow } from "./store/store.ts";

/** Rows read at once: enough to count, few enough to hold nobody up. */
const MAX_ROWS = 2_000;
/** Searches at once; each has a connection of its own. */
const MAX_SEARCHES = 4;
/** Halvings of a stretch of time: enough to come from thirty years to a millisecond. */
const MAX_HALVINGS = 40;

/** Searches the trail by the rows' own time, with a reader of its own for each search. */
export function searchOf(openReader: () => Promise<AuditReader> | AuditReader): TrailSearch {
  let running = 0;
  return {
    async newest(query, page) {
      if (running >= MAX_SEARCHES) throw tooMany();
      running += 1;
      try {
        return await withReader(openReader, (reader) => search(reader, query, page));
      } finally {
        running -= 1;
      }
    },
  };
}

async function withReader<T>(
  openReader: () => Promise<AuditReader> | AuditReader,
  work: (reader: AuditReader) => Promise<T>,
): Promise<T> {
  try {
    const reader = await openReader();
    try {
      return await work(reader);
    } finally {
      await reader.close();
    }
  } catch (error) {
    throw new ToolError("audit_unavailable", "The audit trail cannot be read at the moment.", {
      nextStep: "Try again in a while; if it stays so, tell whoever runs the server.",
      detail: error instanceof Error ? error.message : String(error),
    });
  }
}

async function search(
  reader: AuditReader,
  query: TrailQuery,
  { after, limit }: { after?: TrailPosition | undefined; limit: number },
): Promise<TrailPage> {
  const until = after?.timestamp ?? query.until;
  const read = (since: string | undefined) => collect(reader, { ...query, since, until, limit: MAX_ROWS });
  const inOrder = (rows: readonly StoredRow[]) =>
    rows.filter((row) => after === undefined || byTime(row, after) > 0).sort(byTime);

  const stored = await read(query.since);
  const complete = stored.length < MAX_ROWS;
  const rows = complete ? inOrder(stored) : await newestOf(inOrder(stored), limit + 1, until, read, inOrder);
  return {
    rows: rows.slice(0, limit).map(toFound),
    more: rows.length > limit,
    counts: countsOf(stored, complete),
  };
}

/**
 * What was stored last need not be the newest by its own time (rows out of a spool are hours old), so the newest are
 * looked for in a stretch of time so short that all of it can be read.
 */
async function newestOf(
  stored: readonly StoredRow[],
  wanted: number,
  until: string,
  read: (since: string) => Promise<StoredRow[]>,
  inOrder: (rows: readonly StoredRow[]) => StoredRow[],
): Promise<StoredRow[]> {
  let from = Date.parse(stored[wanted - 1]?.timestamp ?? stored.at(-1)?.timestamp ?? until);
  let tooLate = Date.parse(until) + 1;
  let rows: StoredRow[] = [];
  let since = from;
  for (let halving = 0; halving < MAX_HALVINGS; halving += 1) {
    const all = await read(new Date(since).toISOString());
    rows = inOrder(all);
    if (all.length < MAX_ROWS) {
      if (rows.length >= wanted || halving === 0) return rows;
      tooLate = since;
    } else from = since;
    const middle = Math.floor((from + tooLate) / 2);
    if (middle === since) break;
    since = middle;
  }
  return rows;
}

async function collect(reader: AuditReader, filter: Parameters<AuditReader["query"]>[0]): Promise<StoredRow[]> {
  const rows: StoredRow[] = [];
  for await (const row of reader.query(filter)) rows.push(row);
  return rows;
}

/** Newest first; rows of one moment by chain, and in a chain the later one first. */
function byTime(a: Omit<TrailPosition, "timestamp"> & { timestamp: string | null }, b: typeof a): number {
  const [one, other] = [a.timestamp ?? "", b.timestamp ?? ""];
  if (one !== other) return one < other ? 1 : -1;
  if (a.writer !== b.writer) return a.writer < b.writer ? 1 : -1;
  return b.seq - a.seq;
}

function toFound({ timestamp, writer, seq, body }: StoredRow): FoundRow {
  return { at: { timestamp: timestamp ?? "", writer, seq }, fields: parseBody(body) ?? {} };
}

function countsOf(rows: readonly StoredRow[], complete: boolean): TrailPage["counts"] {
  const byResult = new Map<string, number>();
  for (const { result } of rows) byResult.set(result ?? "none", (byResult.get(result ?? "none") ?? 0) + 1);
  return { total: rows.length, byResult: Object.fromEntries(byResult), complete };
}

function tooMany(): ToolError {
  return new ToolError("overloaded", `${MAX_SEARCHES} searches of the audit trail are running already.`, {
    retryAfterS: 1,
    nextStep: "Retry, with fewer searches at once.",
  });
}
