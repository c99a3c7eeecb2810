import { followTrail, queryTrail, type TrailRow } from "../audit/read.ts";
import type { AuditReader } from "../audit/store/store.ts";
import { ConfigError, type Settings } from "../config.ts";
import { parseTime } from "../core/time.ts";
import { jsonLine, paint, print, printPainted, safe } from "./table.ts";
import { openTrailReader } from "./trail-source.ts";

/** `mcp-aws-server audit tail` */
export async function tailAudit(
  settings: Settings,
  options: { n: number; follow: boolean; json: boolean },
): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  await withTrail(settings, async (trail) => {
    const { n, follow } = options;
    const rows = follow ? followTrail(trail, n, stop.signal) : queryTrail(trail, { limit: n });
    for await (const row of rows) printPainted(show(row, options.json));
  });
}

/** `mcp-aws-server audit query`; the filters as they were given. */
export async function queryAudit(
  settings: Settings,
  { since, until, limit, ...exact }: Readonly<Record<string, unknown>>,
  json: boolean,
): Promise<void> {
  const filter = {
    ...exact,
    since: moment("--since", since),
    until: moment("--until", until),
    limit: Number(limit),
  };
  await withTrail(settings, async (trail) => {
    let count = 0;
    for await (const row of queryTrail(trail, filter)) {
      count += 1;
      printPainted(show(row, json));
    }
    if (count === 0 && !json) print("No rows match.");
  });
}

async function withTrail(settings: Settings, work: (trail: AuditReader) => Promise<void>): Promise<void> {
  try {
    const trail = await openTrailReader(settings);
    try {
      await work(trail);
    } finally {
      await trail.close();
    }
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`The trail cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function moment(flag: string, given: unknown): string | undefined {
  if (given === undefined) return undefined;
  const time = parseTime(String(given));
  if (!time) throw new ConfigError(`${flag}: "${given}" is neither an ISO time nor a duration such as 1h or 7d.`);
  return time;
}

/** A narrow terminal gets the columns that matter and short ones; what is no terminal is wide unless COLUMNS says. */
const NARROW = 110;

function show(row: TrailRow, json: boolean): string {
  if (json) return jsonLine(row);
  const width = process.stdout.columns ?? (Number(process.env.COLUMNS) || 200);
  const cell = (value: unknown, size: number) => cut(safe(value), size).padEnd(size);
  const good = row.result === "success" || row.result === "pending";
  // Of today's format: always UTC, to the millisecond.
  const time = safe(row.timestamp).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d).*$/, width < NARROW ? "$2" : "$1 $2");
  const took = row.duration_ms === null || row.duration_ms === undefined ? "" : `${Math.round(row.duration_ms)} ms`;
  const spare = Math.max(0, width - NARROW);
  const cells =
    width < NARROW
      ? [time, cell(row.user, 8), cell(row.operation, 20), cell(row.resource_id, Math.max(8, width - 66))]
      : [
          String(row.seq).padStart(6),
          time,
          cell(row.event, 8),
          cell(row.user, 12),
          cell(row.operation, 20 + Math.min(10, spare)),
          cell(row.resource_id, 20 + Math.max(0, Math.min(30, spare - 10))),
        ];
  return [...cells, paint(good ? "green" : "yellow", cell(row.result, 12)), took].join("  ").trimEnd();
}

function cut(text: string, size: number): string {
  return text.length <= size ? text : `${text.slice(0, size - 1)}…`;
}
