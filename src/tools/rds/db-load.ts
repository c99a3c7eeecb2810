import type { DimensionKeyDescription, ResponsePartitionKey } from "@aws-sdk/client-pi";
import { cleanText } from "../../core/text.ts";
import type { ReadContext } from "../../core/tool.ts";
import { type Point, type SeriesSummary, shortNumber, summariseSeries } from "../shared/series.ts";
import type { TimeRange } from "../shared/time.ts";
import { sdk } from "./db-instance.ts";
import { type Dialect, maskSql } from "./mask-sql.ts";

// What Performance Insights knows of the load of one database, in average active sessions.

/** What every question to Performance Insights has in common. */
export interface LoadQuestion {
  /** The instance's `DbiResourceId`: Performance Insights does not know names, which can be used again. */
  resourceId: string;
  region: string;
  range: TimeRange;
  periodS: number;
}

const METRIC = "db.load.avg";
/** More pages than a series of the longest range has. */
const MAX_PAGES = 10;

function common({ resourceId, range, periodS }: LoadQuestion) {
  return {
    ServiceType: "RDS" as const,
    Identifier: resourceId,
    StartTime: new Date(range.from),
    EndTime: new Date(range.to),
    PeriodInSeconds: periodS,
  };
}

/** The load over time, in six figures; undefined when nothing was measured. */
export async function totalLoad(question: LoadQuestion, { aws }: ReadContext): Promise<SeriesSummary | undefined> {
  const { GetResourceMetricsCommand, PIClient } = await sdk();
  const client = aws.client(PIClient, question.region);
  const points: Point[] = [];
  let token: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const answer = await client.send(
      new GetResourceMetricsCommand({
        ...common(question),
        MetricQueries: [{ Metric: METRIC }],
        ...(token && { NextToken: token }),
      }),
    );
    for (const { Timestamp, Value } of (answer.MetricList ?? []).flatMap(({ DataPoints }) => DataPoints ?? [])) {
      // Where nothing was measured there is a point without a value.
      if (Timestamp && Value !== undefined && Number.isFinite(Value)) {
        points.push({ time: Timestamp.getTime(), value: Value });
      }
    }
    token = answer.NextToken || undefined;
    if (token === undefined) break;
  }
  return summariseSeries(points);
}

export interface WaitLoad {
  wait: string;
  avg_sessions: number;
}

/** What the sessions waited for (`CPU` where they worked), most first. */
export async function loadByWait(question: LoadQuestion, top: number, { aws }: ReadContext): Promise<WaitLoad[]> {
  const { DescribeDimensionKeysCommand, PIClient } = await sdk();
  const command = new DescribeDimensionKeysCommand({
    ...common(question),
    Metric: METRIC,
    GroupBy: { Group: "db.wait_event", Limit: top },
  });
  const answer = await aws.client(PIClient, question.region).send(command);
  return mostFirst(answer.Keys)
    .slice(0, top)
    .map((key) => ({ wait: waitOf(key.Dimensions), avg_sessions: shortNumber(key.Total) }));
}

export interface SqlLoad extends Record<string, unknown> {
  sql_id: string;
  sql: string;
  avg_sessions: number;
  waits: string[];
}

/** Enough to know a statement again. */
const MAX_SQL_TEXT = 300;
const WAITS_SHOWN = 3;

/** The statements (without their literals) with the most sessions, each with what it waited for. */
export async function loadBySql(
  question: LoadQuestion,
  top: number,
  dialect: Dialect,
  { aws }: ReadContext,
): Promise<SqlLoad[]> {
  const { DescribeDimensionKeysCommand, PIClient } = await sdk();
  const command = new DescribeDimensionKeysCommand({
    ...common(question),
    Metric: METRIC,
    GroupBy: { Group: "db.sql_tokenized", Limit: top },
    PartitionBy: { Group: "db.wait_event", Limit: WAITS_SHOWN + 2 },
  });
  const answer = await aws.client(PIClient, question.region).send(command);
  return mostFirst(answer.Keys)
    .slice(0, top)
    .map(({ Dimensions = {}, Total, Partitions }) => ({
      sql_id: cleanText(Dimensions["db.sql_tokenized.id"] ?? Dimensions["db.sql_tokenized.db_id"] ?? "", 64),
      sql: cleanText(maskSql(Dimensions["db.sql_tokenized.statement"] ?? "", dialect), MAX_SQL_TEXT),
      avg_sessions: shortNumber(Total),
      waits: waitsOf(Partitions, answer.PartitionKeys, Total),
    }));
}

/** `CPU 80 %`: the share of each partition, the largest first. */
function waitsOf(
  values: readonly number[] | undefined,
  keys: readonly ResponsePartitionKey[] | undefined,
  total: number,
): string[] {
  const shares = (values ?? []).map((value, index) => ({ value, wait: waitOf(keys?.[index]?.Dimensions) }));
  return shares
    .filter(({ value }) => Number.isFinite(value) && value > 0 && total > 0)
    .sort((a, b) => b.value - a.value)
    .slice(0, WAITS_SHOWN)
    .map(({ value, wait }) => `${wait} ${Math.round((value / total) * 100)} %`);
}

function waitOf(dimensions: Record<string, string> | undefined): string {
  const name = dimensions?.["db.wait_event.name"];
  const type = dimensions?.["db.wait_event.type"];
  // PostgreSQL's names repeat elsewhere without their type; MySQL's are paths that contain it.
  const whole = type && name && type !== name && !name.includes(type) ? `${type}:${name}` : (name ?? type ?? "unknown");
  return cleanText(whole, 80);
}

type Measured = DimensionKeyDescription & { Total: number };

function mostFirst(keys: readonly DimensionKeyDescription[] | undefined): Measured[] {
  const measured = (keys ?? []).flatMap((key) =>
    key.Total !== undefined && Number.isFinite(key.Total) ? [{ ...key, Total: key.Total }] : [],
  );
  return measured.sort((a, b) => b.Total - a.Total);
}
