import * as z from "zod";

/** One value of a measurement; `time` in milliseconds since 1970. */
export interface Point {
  time: number;
  value: number;
}

export const SeriesSummary = z.object({
  latest: z.number(),
  min: z.number(),
  max: z.number(),
  avg: z.number(),
  p95: z.number(),
  trend: z.enum(["rising", "falling", "flat"]),
});
export type SeriesSummary = z.infer<typeof SeriesSummary>;

/** Periods CloudWatch takes, in seconds, that divide an hour or a day. */
const PERIODS_S = [60, 300, 900, 3_600, 21_600, 86_400, 604_800];
const WANTED_POINTS = 60;

/** The period, in seconds, that gives nearest to 60 points for a stretch of this many milliseconds. */
export function choosePeriodS(rangeMs: number): number {
  const wanted = rangeMs / 1000 / WANTED_POINTS;
  const distance = (period: number) => Math.abs(Math.log(period / wanted));
  return PERIODS_S.reduce((best, period) => (distance(period) < distance(best) ? period : best));
}

/**
 * A series in six figures, or undefined without points. `trend` compares the mean of the last third with that of the
 * first: a difference above a tenth of the series' range, and of its mean, is a trend.
 * @param points in any order
 */
export function summariseSeries(points: readonly Point[]): SeriesSummary | undefined {
  const byTime = [...points].sort((a, b) => a.time - b.time);
  const latest = byTime.at(-1);
  if (!latest) return undefined;
  const sorted = byTime.map(({ value }) => value).sort((a, b) => a - b);
  const min = sorted[0] ?? 0;
  const max = sorted.at(-1) ?? 0;
  const avg = mean(sorted);
  const third = Math.max(1, Math.floor(byTime.length / 3));
  const change = meanOf(byTime.slice(-third)) - meanOf(byTime.slice(0, third));
  const notable = Math.abs(change) > 0.1 * (max - min) && Math.abs(change) > 0.1 * Math.abs(avg);
  return {
    latest: shortNumber(latest.value),
    min: shortNumber(min),
    max: shortNumber(max),
    avg: shortNumber(avg),
    p95: shortNumber(sorted[Math.ceil(0.95 * sorted.length) - 1] ?? max),
    trend: notable ? (change > 0 ? "rising" : "falling") : "flat",
  };
}

/** Six significant digits: more are noise, and tokens. */
export function shortNumber(value: number): number {
  return Number(value.toPrecision(6));
}

const meanOf = (points: readonly Point[]) => mean(points.map(({ value }) => value));

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
