import type { DBInstance } from "@aws-sdk/client-rds";
import * as z from "zod";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import type { SeriesSummary } from "../shared/series.ts";
import { Time, timeRange } from "../shared/time.ts";
import { DbInstanceId, dbInstanceSubject, engineOf, findDbInstance } from "./db-instance.ts";
import { type LoadQuestion, loadBySql, loadByWait, totalLoad, type WaitLoad } from "./db-load.ts";
import {
  howToEnable,
  insightsPeriodS,
  MAX_RANGE_MS,
  retentionDays,
  unsupported,
  withinRetention,
} from "./insights-limits.ts";
import { dialectOf } from "./mask-sql.ts";
import { vcpusOf } from "./vcpus.ts";

const Load = z.object({
  avg_sessions: z.number(),
  max_sessions: z.number(),
  p95_sessions: z.number(),
  latest_sessions: z.number(),
  trend: z.string(),
});

const output = z.object({
  db_instance_id: z.string(),
  engine: z.string(),
  region: z.string(),
  enabled: z.boolean(),
  summary: z.string(),
  retention_days: z.int().optional(),
  from: z.string().optional(),
  to: z.string().optional(),
  period_s: z.int().optional(),
  vcpus: z.int().optional(),
  load: Load.optional(),
  waits: z.array(z.object({ wait: z.string(), avg_sessions: z.number() })).optional(),
  top_sql: z
    .array(z.object({ sql_id: z.string(), sql: z.string(), avg_sessions: z.number(), waits: z.array(z.string()) }))
    .optional(),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});
type Output = z.input<typeof output>;

export const getPerformanceInsights = defineTool({
  name: "rds_get_performance_insights",
  title: "Get the load of an RDS database",
  description:
    "What loads one RDS or Aurora DB instance, from Performance Insights: average active sessions against its vCPUs, by what they wait for, and by SQL statement (literals masked, text cut). Says how to turn it on where it is off.",
  service: "rds",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "rds:DescribeDBInstances", resource: "db" },
    { action: "pi:GetResourceMetrics", resource: "metric-resource" },
    { action: "pi:DescribeDimensionKeys", resource: "metric-resource" },
  ],
  input: z.strictObject({
    db_instance_id: DbInstanceId,
    region,
    start: Time.default("1h").describe("ISO 8601 or an age, within the 7 days (or more, if paid for) that are kept"),
    end: Time.optional(),
    top: z.int().min(1).max(25).default(10).describe("How many waits and statements"),
  }),
  output,
  example: { db_instance_id: "orders-db", start: "3h" },
  subject: dbInstanceSubject,
  async handler(given, context) {
    const now = Date.now();
    const asked = timeRange(given, { maxMs: MAX_RANGE_MS, now });
    const where = context.aws.regionOf(given.region);
    const instance = await findDbInstance(given.db_instance_id, where, context);
    const about = {
      db_instance_id: instance.DBInstanceIdentifier ?? given.db_instance_id,
      engine: engineOf(instance),
      region: where,
    };
    const as_of = new Date().toISOString();
    const cannot = unsupported(instance);
    if (!instance.PerformanceInsightsEnabled || !instance.DbiResourceId) {
      return { ...about, enabled: false, summary: cannot ?? howToEnable(instance), as_of };
    }
    const range = withinRetention(asked, instance, now);
    const question = { resourceId: instance.DbiResourceId, region: where, range, periodS: insightsPeriodS(range) };
    const { load, errors, ...found } = await ask(question, given.top, instance, context);
    const vcpus = vcpusOf(instance);
    return {
      ...about,
      enabled: true,
      summary: summarise(load, vcpus, found.waits),
      retention_days: retentionDays(instance),
      from: new Date(range.from).toISOString(),
      to: new Date(range.to).toISOString(),
      period_s: question.periodS,
      ...(vcpus !== undefined && { vcpus }),
      ...(load && {
        load: {
          avg_sessions: load.avg,
          max_sessions: load.max,
          p95_sessions: load.p95,
          latest_sessions: load.latest,
          trend: load.trend,
        },
      }),
      ...found,
      as_of,
      ...(errors.length > 0 && { errors }),
    };
  },
});

/** Three questions at once; the answer to one is worth giving without the others, but not nothing at all. */
async function ask(
  question: LoadQuestion,
  top: number,
  instance: DBInstance,
  context: ReadContext,
): Promise<Pick<Output, "waits" | "top_sql"> & { load: SeriesSummary | undefined; errors: PartialError[] }> {
  const [load, waits, sql] = await Promise.allSettled([
    totalLoad(question, context),
    loadByWait(question, top, context),
    loadBySql(question, top, dialectOf(instance.Engine ?? ""), context),
  ]);
  const failed = [load, waits, sql].flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  if (failed.length === 3) throw failed[0];
  const errors: PartialError[] = [];
  for (const reason of failed) {
    const error = partialError(question.region, reason);
    if (errors.every(({ message }) => message !== error.message)) errors.push(error);
  }
  return {
    load: load.status === "fulfilled" ? load.value : undefined,
    ...(waits.status === "fulfilled" && { waits: waits.value }),
    ...(sql.status === "fulfilled" && { top_sql: sql.value }),
    errors,
  };
}

/** `On average 3.1 active sessions (max 9) on 2 vCPUs: overloaded. Mostly IO:DataFileRead (1.9).` */
function summarise(load: SeriesSummary | undefined, vcpus: number | undefined, waits: WaitLoad[] | undefined): string {
  const first = waits?.[0];
  const mostly = first ? ` Mostly ${first.wait} (${first.avg_sessions}).` : "";
  if (!load) return `No load was measured in this time.${mostly}`;
  const sessions = `On average ${load.avg} active sessions (max ${load.max})`;
  if (vcpus === undefined) return `${sessions}; how many vCPUs it has is not known.${mostly}`;
  const verdict =
    load.avg > vcpus
      ? "more than it can work on at once"
      : load.max > vcpus
        ? "more than it can work on at once at times"
        : "within what it can work on";
  return `${sessions} on ${vcpus} vCPUs: ${verdict}.${mostly}`;
}
