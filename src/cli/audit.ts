import { existsSync } from "node:fs";
import { followTrail, queryTrail, type TrailRow } from "../audit/read.ts";
import { openSqliteReader } from "../audit/store/sqlite-reader.ts";
import type { AuditReader } from "../audit/store/store.ts";
import { trailFile } from "../audit/trail.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";
import { parseTime } from "../core/time.ts";
import { paint, print, safe } from "./table.ts";

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
    for await (const row of rows) print(show(row, options.json));
  });
}

/** `mcp-aws-server audit query` */
export async function queryAudit(settings: Settings, filters: Record<string, unknown>, json: boolean): Promise<void> {
  const text = (key: string) => (filters[key] === undefined ? undefined : String(filters[key]));
  const since = moment("--since", text("since"));
  const until = moment("--until", text("until"));
  await withTrail(settings, async (trail) => {
    const rows = queryTrail(trail, {
      since,
      until,
      user: text("user"),
      operation: text("operation"),
      resource: text("resource"),
      result: text("result"),
      call_id: text("callId"),
      event: text("event"),
      limit: Number(filters.limit),
    });
    let count = 0;
    for await (const row of rows) {
      count += 1;
      print(show(row, json));
    }
    if (count === 0 && !json) print("No rows match.");
  });
}

async function withTrail(settings: Settings, work: (trail: AuditReader) => Promise<void>): Promise<void> {
  const dir = stateDir(settings, process.env);
  requireTrail(trailFile(dir));
  const trail = openSqliteReader(trailFile(dir));
  try {
    await work(trail);
  } finally {
    await trail.close();
  }
}

function requireTrail(path: string): void {
  if (!existsSync(path)) throw new ConfigError(`There is no audit trail at ${path}; --state-dir names another place.`);
}

function moment(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const time = parseTime(text);
  if (!time) throw new ConfigError(`${flag}: "${text}" is neither an ISO time nor a duration such as 1h or 7d.`);
  return time;
}

function show(row: TrailRow, json: boolean): string {
  if (json) return JSON.stringify(row);
  const good = row.result === "success" || row.result === "pending";
  const took = row.duration_ms === null || row.duration_ms === undefined ? "" : `${row.duration_ms} ms`;
  return [
    String(row.seq).padStart(5),
    safe(row.timestamp),
    safe(row.event).padEnd(8),
    safe(row.user).padEnd(12),
    safe(row.operation).padEnd(22),
    safe(row.resource_id).padEnd(20),
    paint(good ? "green" : "yellow", safe(row.result).padEnd(12)),
    took,
  ]
    .join("  ")
    .trimEnd();
}
