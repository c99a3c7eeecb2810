import { existsSync } from "node:fs";
import { followTrail, queryTrail, type TrailRow } from "../audit/read.ts";
import type { AuditReader } from "../audit/store/store.ts";
import { verifyTrail } from "../audit/verify.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";
import { parseTime } from "../core/time.ts";
import { paint, print, safe } from "./table.ts";
import { openTrailSource } from "./trail-source.ts";

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
      print(show(row, json));
    }
    if (count === 0 && !json) print("No rows match.");
  });
}

/** `mcp-aws-server audit verify`; returns the exit code. */
export async function verifyAudit(settings: Settings, json: boolean): Promise<number> {
  const dir = stateDir(settings, process.env);
  // A database that vanished beside its keys and head is for verify to report; nothing at all is the user's mistake.
  requireTrail(dir);
  const found = await verifyTrail({ dir });
  if (json) print(JSON.stringify(found));
  else if (found.ok) {
    const tail =
      found.rows > 0 && found.covered_until < (found.head?.seq ?? 0) ? `, signed up to row ${found.covered_until}` : "";
    print(`${paint("green", "✔ intact")}  ${found.rows} rows, ${found.checkpoints} signed checkpoints${tail}`);
  } else {
    print(`${paint("red", "✘ TAMPERED")}  ${found.problem_count} problems in ${found.rows} rows`);
    for (const problem of found.problems.slice(0, 50))
      print(`  row ${problem.seq}  ${problem.kind}: ${safe(problem.message)}`);
    print(
      "Keep a copy of the state directory and compare with anchors kept elsewhere; docs/audit.md explains each kind.",
    );
  }
  return found.ok ? 0 : 1;
}

async function withTrail(settings: Settings, work: (trail: AuditReader) => Promise<void>): Promise<void> {
  const trail = await openTrailSource(settings);
  try {
    await work(trail);
  } finally {
    await trail.close();
  }
}

function requireTrail(path: string): void {
  if (!existsSync(path)) throw new ConfigError(`There is no audit trail at ${path}; --state-dir names another place.`);
}

function moment(flag: string, given: unknown): string | undefined {
  if (given === undefined) return undefined;
  const time = parseTime(String(given));
  if (!time) throw new ConfigError(`${flag}: "${given}" is neither an ISO time nor a duration such as 1h or 7d.`);
  return time;
}

/** A narrow terminal gets the columns that matter and short ones; what is no terminal is not cut to its width. */
const NARROW = 110;

function show(row: TrailRow, json: boolean): string {
  if (json) return JSON.stringify(row);
  const width = process.stdout.columns ?? 200;
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
