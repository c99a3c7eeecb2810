import type { Problem, Warning } from "../audit/verify/findings.ts";
import { type Verification, verifyTrail } from "../audit/verify/trail.ts";
import { ConfigError, type Settings } from "../config.ts";
import { parseTime } from "../core/time.ts";
import { paint, print, printPainted, safe } from "./table.ts";
import { openTrailSource, type TrailSource } from "./trail-source.ts";

export interface VerifyFlags {
  since?: string | undefined;
  writer?: string | undefined;
  json?: boolean | undefined;
  /** Compare with the copy in the log service, default true. */
  copy?: boolean | undefined;
}

const SHOWN = 50;
const REDRAW_MS = 100;

/** `mcp-aws-server audit verify`; resolves with the exit code. */
export async function verifyAudit(
  settings: Settings,
  flags: VerifyFlags,
  open: (settings: Settings, withCopy: boolean) => Promise<TrailSource> = openTrailSource,
): Promise<number> {
  const since = flags.since === undefined ? undefined : parseTime(flags.since);
  if (flags.since !== undefined && since === undefined) {
    throw new ConfigError(`--since: "${flags.since}" is neither an ISO time nor a duration such as 1h or 7d.`);
  }
  const progress = new Progress();
  let found: Verification;
  try {
    const source = await open(settings, flags.copy !== false);
    try {
      found = await verifyTrail({
        ...source,
        since,
        writer: flags.writer,
        onProgress: ({ rows, estimate }) => progress.show(rows, estimate),
      });
    } finally {
      await source.close();
    }
  } catch (error) {
    // Whatever kept it from verifying says nothing about the trail, so it must not look like a finding.
    throw new ConfigError(`Not verified: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    progress.clear();
  }
  if (flags.json === true) print(JSON.stringify(found));
  else for (const line of describe(found)) printPainted(line);
  return found.ok ? 0 : 1;
}

function describe(found: Verification): string[] {
  const chains = found.chains.map((chain) => {
    const { writer, rows, after, checkpoints, covered_until, proven_until, tombstone } = chain;
    const parts = [`${rows} rows`, `${checkpoints} signed checkpoints`];
    if (tombstone !== undefined) parts.push(`up to row ${tombstone.seq} removed on ${safe(tombstone.time)}`);
    if (after > (tombstone?.seq ?? 0)) parts.push(`begun after row ${after}`);
    if (rows > 0) parts.push(`signed up to row ${covered_until}`, `proven up to row ${proven_until}`);
    return `  ${safe(writer)}: ${parts.join(", ")}`;
  });
  const warnings = found.warnings.slice(0, SHOWN).map((warning) => `${paint("yellow", "!")} ${place(warning)}`);
  const copy = found.copy;
  const outside = [
    ...(found.anchors_checked > 0 ? [`  ${found.anchors_checked} anchors checked`] : []),
    ...(copy === undefined
      ? []
      : [
          `  ${safe(copy.name)}: ${copy.matched} rows match, ${copy.not_yet_copied} not copied yet, ${copy.expired} expired`,
        ]),
  ];
  if (found.ok) return [`${paint("green", "✔ intact")}  ${found.rows} rows`, ...chains, ...outside, ...warnings];
  const groups = group(found.problems);
  const more = groups.length > SHOWN || found.problem_count > found.problems.length;
  return [
    `${paint("red", "✘ TAMPERED")}  ${found.problem_count} problems in ${found.rows} rows`,
    ...groups.slice(0, SHOWN).map(place),
    ...(more ? [`  … --json shows ${found.problems.length} of ${found.problem_count}`] : []),
    ...chains,
    ...outside,
    ...warnings,
    "Keep a copy of the trail and of its state directory before anything else; docs/audit.md explains each kind.",
  ];
}

function place({ writer, first, last, kind, message }: Problem | Warning): string {
  const rows = first === last ? `row ${first}` : `rows ${first}–${last}`;
  return `  ${writer === "" ? "" : `${safe(writer)}  `}${rows}  ${kind}: ${safe(message)}`;
}

/** Findings of the same kind about neighbouring rows become one. */
export function group(problems: readonly Problem[]): Problem[] {
  const groups: Problem[] = [];
  for (const problem of problems) {
    const before = groups.at(-1);
    const next = before?.kind === problem.kind && before.writer === problem.writer && problem.first === before.last + 1;
    if (before === undefined || !next) groups.push({ ...problem });
    else {
      before.last = problem.last;
      before.message = `rows ${before.first} to ${problem.last}, the last: ${problem.message}`;
    }
  }
  return groups;
}

/** A line on standard error that is drawn over; nothing when that is no terminal. */
class Progress {
  #drawn = 0;

  show(rows: number, estimate: number): void {
    if (!process.stderr.isTTY || performance.now() - this.#drawn < REDRAW_MS) return;
    this.#drawn = performance.now();
    const share = Math.min(1, rows / Math.max(1, estimate));
    const bar = "█".repeat(Math.round(share * 30)).padEnd(30, "░");
    process.stderr.write(`\r${bar} ${rows} of about ${estimate} rows`);
  }

  clear(): void {
    if (this.#drawn > 0) process.stderr.write("\r\u001b[K");
  }
}
