import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { choosePeriodS } from "../shared/series.ts";
import { type TimeRange, timeRange } from "../shared/time.ts";

/** The points of a series: one every `periodS` from `from`, the last before `to`; milliseconds since 1970. */
export interface Grid extends TimeRange {
  periodS: number;
}

const SECONDS = { hour: 3_600, day: 86_400 };
/** How long CloudWatch keeps points, by the period they are kept in. */
const KEPT: readonly [ageS: number, periodS: number][] = [
  [3 * SECONDS.hour, 1],
  [15 * SECONDS.day, 60],
  [63 * SECONDS.day, 300],
  [455 * SECONDS.day, 3_600],
];
const KEPT_DAYS = 455;
/** Periods to choose from, in seconds. */
const STEPS = [60, 300, 900, 3_600, 21_600, 86_400, 604_800];
/** What a reader is given unless they ask for a period of their own. */
const MAX_CHOSEN = 120;
/** CloudWatch's own limit for one request. */
const MAX_POINTS = 1_440;
/** Starts given as an age are a moment older when they are looked at. */
const GRACE_S = 60;

const SUB_MINUTE = [1, 5, 10, 20, 30];

export const Period = z
  .int()
  .min(1)
  .max(604_800)
  .refine((period) => period % 60 === 0 || SUB_MINUTE.includes(period), "1, 5, 10, 20, 30 or a multiple of 60 seconds");

/** Of a series' range and period, as arguments. */
export interface Span {
  start: string;
  end?: string | undefined;
  period_s?: number | undefined;
}

/**
 * Where the points of a series lie. Without a period: the finest that gives at most 120 points and that CloudWatch still
 * has for data of that age. Starts on a whole period, so that the same question gives the same points.
 * @throws ToolError `invalid_input` for a range or a period CloudWatch has nothing for
 */
export function gridOf(span: Span, now = Date.now()): Grid {
  const range = timeRange(span, { maxMs: (KEPT_DAYS + 1) * SECONDS.day * 1000, now });
  const { from } = range;
  // There are no points of the future.
  const to = Math.min(range.to, now);
  const finest = finestPeriodS(from, now);
  if (finest === undefined) throw wrong(`start: CloudWatch keeps metrics for ${KEPT_DAYS} days only.`, "a later start");
  const wanted = span.period_s ?? chosen({ from, to }, finest);
  if (wanted % finest !== 0) {
    const message = `period_s: data of that age is kept for periods of ${finest} s, so it must be a multiple of ${finest}.`;
    throw wrong(message, "that, or leave period_s out");
  }
  const stepMs = wanted * 1000;
  const floor = Math.floor(from / stepMs) * stepMs;
  const aligned = (to - floor) / stepMs > MAX_POINTS ? floor + stepMs : floor;
  if ((to - aligned) / stepMs > MAX_POINTS) {
    const least = Math.ceil((to - from) / 1000 / MAX_POINTS);
    throw wrong(`period_s: more than ${MAX_POINTS} points; at least ${least} s are needed for this range.`, "that");
  }
  return { from: aligned, to, periodS: wanted };
}

/** The shortest period, in seconds, of data since then that CloudWatch still has; undefined when it has none. */
export function finestPeriodS(from: number, now = Date.now()): number | undefined {
  const ageS = (now - from) / 1000 - GRACE_S;
  return KEPT.find(([kept]) => ageS <= kept)?.[1];
}

/** How many points a series without gaps has. */
export function expectedPoints({ from, to, periodS }: Grid): number {
  return Math.ceil((to - from) / (periodS * 1000));
}

/** Whether the last of these points covers a period that was not over at the end of the range. */
export function endsUnfinished(
  points: readonly { time: number }[],
  { to, periodS }: Pick<Grid, "to" | "periodS">,
): boolean {
  const last = points.at(-1);
  return last !== undefined && last.time + periodS * 1000 > to;
}

/**
 * The points a summary may be made of: half a period's sum is about half, which would look like a fall.
 * @param points ascending
 */
export function withoutUnfinished<T extends { time: number }>(
  points: readonly T[],
  grid: Pick<Grid, "to" | "periodS">,
): T[] {
  return points.length > 1 && endsUnfinished(points, grid) ? points.slice(0, -1) : [...points];
}

function chosen({ from, to }: TimeRange, finest: number): number {
  const near = choosePeriodS(to - from);
  const rangeS = (to - from) / 1000;
  return STEPS.find((step) => step >= near && step % finest === 0 && rangeS / step <= MAX_CHOSEN) ?? near;
}

function wrong(message: string, what: string): ToolError {
  return new ToolError("invalid_input", message, { nextStep: `Use ${what}.` });
}
