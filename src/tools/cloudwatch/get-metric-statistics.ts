import type { Datapoint, StandardUnit } from "@aws-sdk/client-cloudwatch";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { type Point, SeriesSummary, shortNumber, summariseSeries } from "../shared/series.ts";
import { Time } from "../shared/time.ts";
import { findGaps } from "./gaps.ts";
import {
  Dimensions,
  isAdditive,
  isPlain,
  MetricName,
  Namespace,
  type PlainStatistic,
  Statistic,
  sdk,
  toDimensions,
} from "./metric.ts";
import { endsUnfinished, type Grid, gridOf, Period, withoutUnfinished } from "./period.ts";
import { inWords, newestFitting, shortTime } from "./text.ts";

const input = z.strictObject({
  namespace: Namespace,
  metric_name: MetricName,
  dimensions: Dimensions.optional().describe("All of the metric's, name and value"),
  statistics: z.array(Statistic).min(1).max(6).default(["Average"]).describe("Average, Sum, Maximum, p99.9, tm90, ..."),
  start: Time.default("3h").describe("ISO 8601, or how long ago"),
  end: Time.optional(),
  period_s: Period.optional().describe("Default: for ~60 points"),
  unit: z
    .string()
    .max(24)
    .refine((text) => /^[A-Z][a-z]{1,12}(\/Second)?$/.test(text), "not a unit such as Seconds or Bytes/Second")
    .optional(),
  region,
});
type Input = z.output<typeof input>;

const Series = z.object({ statistic: z.string(), ...SeriesSummary.shape });

const output = z.object({
  metric: z.string(),
  region: z.string(),
  start: z.string(),
  end: z.string(),
  period_s: z.int(),
  unit: z.string().optional(),
  series: z.array(Series),
  missing_points: z.int(),
  gaps: z.array(z.string()).optional(),
  gaps_omitted: z.int().optional(),
  notes: z.array(z.string()).optional(),
  columns: z.array(z.string()),
  points: z.array(z.array(z.union([z.string(), z.number(), z.null()]))),
  points_omitted: z.int().optional(),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

/** Of the points as JSON; what does not fit is the oldest. */
const MAX_POINT_BYTES = 40_000;

export const getMetricStatistics = defineTool({
  name: "cloudwatch_get_metric_statistics",
  title: "Get statistics of one CloudWatch metric",
  description:
    "One metric over time: latest, min, max, avg, p95 and trend per statistic, then points and gaps. cloudwatch_list_metrics finds its dimensions; cloudwatch_get_metrics takes several metrics or expressions.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "cloudwatch:GetMetricStatistics" }],
  input,
  output,
  example: {
    namespace: "AWS/ApplicationELB",
    metric_name: "TargetResponseTime",
    dimensions: { LoadBalancer: "app/shop/50dc6c495c0c9188" },
    statistics: ["Average", "p99"],
    start: "6h",
  },
  subject: (given, regionOf) => ({
    type: "cloudwatch:metric",
    id: fit(`${given.namespace} ${given.metric_name}`, 512),
    region: regionOf(given.region),
  }),
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const statistics = [...new Set(given.statistics)];
    const grid = gridOf(given);
    const { datapoints, errors } = await fetchAll(given, statistics, grid, where, context);
    const { unit, points, notes } = oneUnit(datapoints);
    const rows = rowsOf(points, statistics);
    const times = rows.map(({ time }) => time);
    const { everyS, missing, gaps, omitted } = findGaps(times, grid);
    const endsOpen = endsUnfinished(rows, grid);
    if (rows.length === 0) notes.push(NO_DATA);
    if (everyS > grid.periodS) notes.push(`The metric reports every ${inWords(everyS)}.`);
    if (endsOpen)
      notes.push("The last point covers an unfinished period; sums and counts leave it out of the figures.");
    const fitting = newestFitting(
      rows.map((row) => [shortTime(row.time), ...row.values]),
      MAX_POINT_BYTES,
    );
    return {
      metric: fit([given.namespace, given.metric_name, ...pairsOf(given.dimensions)].join(" "), 512),
      region: where,
      start: shortTime(grid.from),
      end: shortTime(grid.to),
      period_s: grid.periodS,
      ...(unit && { unit }),
      series: statistics.flatMap((statistic, column) => {
        const values = valuesOf(rows, column);
        const figures = summariseSeries(isAdditive(statistic) ? withoutUnfinished(values, grid) : values);
        return figures ? [{ statistic, ...figures }] : [];
      }),
      missing_points: missing,
      ...(gaps.length > 0 && { gaps }),
      ...(omitted > 0 && { gaps_omitted: omitted }),
      ...(notes.length > 0 && { notes }),
      columns: ["time", ...statistics],
      points: fitting,
      ...(fitting.length < rows.length && { points_omitted: rows.length - fitting.length }),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

const NO_DATA =
  "No data in this range: the metric may not exist with exactly these dimensions, or reported nothing. cloudwatch_list_metrics shows what exists.";

const pairsOf = (dimensions: Readonly<Record<string, string>> = {}) =>
  Object.entries(dimensions).map(([name, value]) => `${name}=${value}`);

/** CloudWatch takes plain and extended statistics in requests of their own; one that fails does not spoil the other. */
async function fetchAll(given: Input, statistics: readonly string[], grid: Grid, where: string, context: ReadContext) {
  const plain = statistics.filter(isPlain);
  const extended = statistics.filter((statistic) => !isPlain(statistic));
  const asked = [
    ...(plain.length > 0 ? [{ Statistics: plain }] : []),
    ...(extended.length > 0 ? [{ ExtendedStatistics: extended }] : []),
  ];
  const answers = await Promise.allSettled(asked.map((some) => fetchSome(given, some, grid, where, context)));
  const failed = answers.filter((answer) => answer.status === "rejected");
  if (failed[0] && failed.length === answers.length) throw failed[0].reason;
  return {
    datapoints: answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : [])),
    errors: failed.map(({ reason }) => partialError(where, reason)),
  };
}

async function fetchSome(
  given: Input,
  some: { Statistics: PlainStatistic[] } | { ExtendedStatistics: string[] },
  grid: Grid,
  where: string,
  { aws }: ReadContext,
): Promise<Datapoint[]> {
  const { CloudWatchClient, GetMetricStatisticsCommand } = await sdk();
  const command = new GetMetricStatisticsCommand({
    Namespace: given.namespace,
    MetricName: given.metric_name,
    Dimensions: toDimensions(given.dimensions),
    StartTime: new Date(grid.from),
    EndTime: new Date(grid.to),
    Period: grid.periodS,
    ...(given.unit !== undefined && { Unit: given.unit as StandardUnit }),
    ...some,
  });
  const answer = await aws
    .client(CloudWatchClient, where)
    .send(command)
    .catch((error: unknown) => {
      throw "ExtendedStatistics" in some ? explained(error, some.ExtendedStatistics) : error;
    });
  return answer.Datapoints ?? [];
}

function explained(error: unknown, statistics: readonly string[]): unknown {
  if (!(error instanceof ToolError) || error.kind !== "invalid_input") return error;
  return new ToolError("invalid_input", `${statistics.join(", ")}: ${error.message}`, {
    nextStep: "Use other statistics, or ask for these with cloudwatch_get_metrics.",
  });
}

/** The points of the unit most of them have: the same metric in two units is two series. */
function oneUnit(datapoints: readonly Datapoint[]): {
  unit: string | undefined;
  points: Datapoint[];
  notes: string[];
} {
  const byUnit = Map.groupBy(datapoints, ({ Unit = "None" }) => Unit as string);
  const [main, ...others] = [...byUnit].sort(([, a], [, b]) => b.length - a.length);
  const names = others.map(([unit]) => fit(unit, 40)).slice(0, 10);
  const note = `Also reported in ${names.join(", ")}, which is not shown; ask for it with unit.`;
  return { unit: main && fit(main[0], 40), points: main?.[1] ?? [], notes: names.length > 0 ? [note] : [] };
}

interface Row {
  time: number;
  values: (number | null)[];
}

/** One row a point in time, ascending, whatever the order and the number of answers the statistics came in. */
function rowsOf(datapoints: readonly Datapoint[], statistics: readonly string[]): Row[] {
  const rows = new Map<number, Row>();
  for (const datapoint of datapoints) {
    const time = datapoint.Timestamp?.getTime();
    if (time === undefined) continue;
    const row = rows.get(time) ?? { time, values: statistics.map(() => null) };
    rows.set(time, row);
    for (const [column, statistic] of statistics.entries()) {
      const value = isPlain(statistic) ? datapoint[statistic] : datapoint.ExtendedStatistics?.[statistic];
      if (typeof value === "number" && Number.isFinite(value)) row.values[column] = shortNumber(value);
    }
  }
  return [...rows.values()].sort((a, b) => a.time - b.time);
}

function valuesOf(rows: readonly Row[], column: number): Point[] {
  return rows.flatMap(({ time, values }) => {
    const value = values[column];
    return typeof value === "number" ? [{ time, value }] : [];
  });
}
