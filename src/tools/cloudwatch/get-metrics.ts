import type { MetricDataQuery } from "@aws-sdk/client-cloudwatch";
import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { region } from "../shared/schemas.ts";
import { SeriesSummary, shortNumber, summariseSeries } from "../shared/series.ts";
import { Time } from "../shared/time.ts";
import { MAX_EXPRESSION, refusedExpression } from "./expression.ts";
import { Dimensions, isAdditive, MetricName, Namespace, Statistic, toDimensions } from "./metric.ts";
import { freeIds, getMetricData, type Result } from "./metric-data.ts";
import { endsUnfinished, expectedPoints, type Grid, gridOf, Period, withoutUnfinished } from "./period.ts";
import { firstFitting, newestFitting, shortTime } from "./text.ts";

const Expression = z
  .string()
  .min(1)
  .max(MAX_EXPRESSION)
  .superRefine((expression, context) => {
    const refused = refusedExpression(expression);
    if (refused !== undefined) context.addIssue({ code: "custom", message: refused });
  });

const Query = z
  .strictObject({
    id: z
      .string()
      .regex(/^[a-z]\w{0,63}$/, "not an id such as m1")
      .optional(),
    namespace: Namespace.optional(),
    metric_name: MetricName.optional(),
    dimensions: Dimensions.optional(),
    statistic: Statistic.optional(),
    expression: Expression.optional(),
    label: z.string().max(255).optional(),
    hidden: z.boolean().optional(),
  })
  .superRefine((query, context) => {
    const { namespace, metric_name, dimensions, statistic } = query;
    const parts = [namespace, metric_name, dimensions, statistic];
    const complete = query.expression === undefined ? namespace !== undefined && metric_name !== undefined : true;
    const mixed = query.expression !== undefined && parts.some((part) => part !== undefined);
    if (complete && !mixed) return;
    context.addIssue({ code: "custom", message: "give namespace and metric_name, or an expression alone" });
  });
type Query = z.output<typeof Query>;

const MAX_QUERIES = 50;

const input = z.strictObject({
  queries: z
    .array(Query)
    .min(1)
    .max(MAX_QUERIES)
    .superRefine((queries, context) => {
      const ids = queries.flatMap(({ id }) => id ?? []);
      if (new Set(ids).size < ids.length) context.addIssue({ code: "custom", message: "each id may be used once" });
      if (queries.every(({ hidden }) => hidden)) context.addIssue({ code: "custom", message: "all are hidden" });
    })
    .describe("A metric each (statistic: Average), or an expression: math over ids, SEARCH('...'), SELECT ..."),
  start: Time.default("3h"),
  end: Time.optional(),
  period_s: Period.optional().describe("Default: for ~60 points"),
  points: z.boolean().default(false),
  region,
});

const Series = z.object({
  id: z.string(),
  label: z.string(),
  ...SeriesSummary.partial().shape,
  datapoints: z.int(),
  status: z.string().optional(),
  messages: z.array(z.string()).optional(),
  points: z.array(z.array(z.union([z.string(), z.number()]))).optional(),
  points_omitted: z.int().optional(),
});

const output = z.object({
  region: z.string(),
  start: z.string(),
  end: z.string(),
  period_s: z.int(),
  expected_points: z.int(),
  results: z.array(Series),
  results_omitted: z.int().optional(),
  messages: z.array(z.string()).optional(),
  as_of: z.string(),
});

/** Of all results together, as JSON. */
const MAX_RESULT_BYTES = 24_000;
const MAX_POINT_BYTES = 40_000;

export const getMetrics = defineTool({
  name: "cloudwatch_get_metrics",
  title: "Get several CloudWatch metrics or expressions",
  description:
    "Several metrics, metric math, SEARCH or Metrics Insights at once: latest, min, max, avg, p95 and trend of every result, points on request; says where data is partial. cloudwatch_get_metric_statistics shows one metric with its gaps.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "cloudwatch:GetMetricData" }],
  input,
  output,
  example: {
    queries: [
      { id: "errors", namespace: "AWS/Lambda", metric_name: "Errors", statistic: "Sum", hidden: true },
      { id: "calls", namespace: "AWS/Lambda", metric_name: "Invocations", statistic: "Sum", hidden: true },
      { expression: "100 * errors / calls", label: "Error rate" },
    ],
    start: "1d",
  },
  subject: (given, regionOf) => ({ type: "cloudwatch:metric", id: "*", region: regionOf(given.region) }),
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const grid = gridOf(given);
    const queries = queriesOf(given.queries, grid.periodS);
    const { results, messages } = await getMetricData(queries, grid, where, context);
    const sums = new Set(queries.filter(({ MetricStat }) => isAdditive(MetricStat?.Stat ?? "")).map(({ Id }) => Id));
    const shown = firstFitting(
      results.map((result) => seriesOf(result, sums.has(result.id) ? grid : undefined)),
      MAX_RESULT_BYTES,
    );
    const computed = new Set(queries.filter(({ Expression }) => Expression !== undefined).map(({ Id }) => Id));
    const affected = results.filter(({ id }) => sums.has(id) || computed.has(id));
    if (affected.some(({ points }) => endsUnfinished(points, grid))) messages.push(UNFINISHED);
    const pointBytes = MAX_POINT_BYTES / Math.max(1, shown.length);
    return {
      region: where,
      start: shortTime(grid.from),
      end: shortTime(grid.to),
      period_s: grid.periodS,
      expected_points: expectedPoints(grid),
      results: shown.map((series, index) => ({ ...series, ...(given.points && pointsOf(results[index], pointBytes)) })),
      ...(shown.length < results.length && { results_omitted: results.length - shown.length }),
      ...(messages.length > 0 && { messages }),
      as_of: new Date().toISOString(),
    };
  },
});

/** Queries as CloudWatch wants them; the nameless get names that nobody uses. */
function queriesOf(queries: readonly Query[], periodS: number): MetricDataQuery[] {
  const nextId = freeIds(
    queries.map(({ id }) => id),
    "q",
  );
  return queries.map((query) => ({
    Id: query.id ?? nextId(),
    ReturnData: query.hidden !== true,
    ...(query.label !== undefined && { Label: query.label }),
    ...(query.expression === undefined
      ? {
          MetricStat: {
            Metric: {
              Namespace: query.namespace,
              MetricName: query.metric_name,
              Dimensions: toDimensions(query.dimensions),
            },
            Period: periodS,
            Stat: query.statistic ?? "Average",
          },
        }
      : { Expression: query.expression, Period: periodS }),
  }));
}

const UNFINISHED =
  "The last period is not over: sums and counts leave it out of their figures, expressions over them do not.";

/** @param grid where the figures are to leave out what is unfinished */
function seriesOf({ id, label, points, status, messages }: Result, grid: Grid | undefined): z.input<typeof Series> {
  return {
    id: fit(id, 64),
    label: fit(label, 160),
    ...summariseSeries(grid ? withoutUnfinished(points, grid) : points),
    datapoints: points.length,
    ...(status && { status }),
    ...(messages.length > 0 && { messages }),
  };
}

/** The newest points that fit. */
function pointsOf(result: Result | undefined, maxBytes: number) {
  const all = (result?.points ?? []).map(({ time, value }) => [shortTime(time), shortNumber(value)]);
  const points = newestFitting(all, maxBytes);
  return { points, ...(points.length < all.length && { points_omitted: all.length - points.length }) };
}
