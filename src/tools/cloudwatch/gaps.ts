import type { Grid } from "./period.ts";
import { shortTime } from "./text.ts";

export interface Gaps {
  /** Seconds from one point to the next, where data comes; longer than the period for metrics that report rarely. */
  everyS: number;
  missing: number;
  /** `2026-01-31T08:05Z → 2026-01-31T08:25Z (4 points)`, oldest first; the end is where data goes on. */
  gaps: string[];
  omitted: number;
}

const MAX_GAPS = 10;
/** CloudWatch shows a point some minutes after its period; until then it is not missing. */
const LATE_MS = 180_000;

/**
 * The stretches of a series without data. What counts as missing follows from how often the metric reports: one point
 * every five minutes looked at by the minute has no gaps.
 * @param times of the points, ascending
 */
export function findGaps(times: readonly number[], grid: Grid, now = Date.now()): Gaps {
  const stepMs = grid.periodS * 1000;
  const everyMs = Math.max(stepMs, usualDistance(times) ?? stepMs);
  const until = Math.min(grid.to, now - LATE_MS);
  const found: { from: number; to: number; count: number }[] = [];
  const add = (from: number, to: number, count: number) => count > 0 && found.push({ from, to, count });

  const [first] = times;
  const last = times.at(-1);
  if (first === undefined || last === undefined) {
    add(grid.from, until, Math.max(0, Math.floor((until - grid.from) / everyMs)));
  } else {
    const before = Math.floor((first - grid.from) / everyMs);
    add(first - before * everyMs, first, before);
    for (const [index, time] of times.entries()) {
      const next = times[index + 1];
      if (next !== undefined) add(time + everyMs, next, Math.round((next - time) / everyMs) - 1);
    }
    add(last + everyMs, until, Math.floor((until - last) / everyMs) - 1);
  }
  const shown = found.slice(-MAX_GAPS);
  return {
    everyS: everyMs / 1000,
    missing: found.reduce((sum, { count }) => sum + count, 0),
    gaps: shown.map(({ from, to, count }) => `${shortTime(from)} → ${shortTime(to)} (${count} points)`),
    omitted: found.length - shown.length,
  };
}

/** The most common distance between neighbours; of several, the shortest. Undefined with too few to tell. */
function usualDistance(times: readonly number[]): number | undefined {
  if (times.length < 4) return undefined;
  const counts = new Map<number, number>();
  for (const [index, time] of times.entries()) {
    const next = times[index + 1];
    if (next !== undefined) counts.set(next - time, (counts.get(next - time) ?? 0) + 1);
  }
  const [usual] = [...counts].sort(([a, countA], [b, countB]) => countB - countA || a - b);
  return usual?.[0];
}
