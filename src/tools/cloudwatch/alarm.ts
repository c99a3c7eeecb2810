import type {
  AlarmType,
  CompositeAlarm,
  DescribeAlarmsCommandOutput,
  LogAlarm,
  MetricAlarm,
  MetricDataQuery,
} from "@aws-sdk/client-cloudwatch";
import * as z from "zod";
import { shortNumber } from "../shared/series.ts";
import { metricText } from "./metric.ts";
import { inWords } from "./text.ts";

export const KINDS = ["metric", "composite", "log"] as const;
export type Kind = (typeof KINDS)[number];

export const ALARM_TYPES: Readonly<Record<Kind, AlarmType>> = {
  metric: "MetricAlarm",
  composite: "CompositeAlarm",
  log: "LogAlarm",
};
export const ALL_TYPES = Object.values(ALARM_TYPES);

/** The urgent ones first. */
export const STATES = ["ALARM", "INSUFFICIENT_DATA", "OK"] as const;

/** Names may hold any character; they are never anything but text. */
export const AlarmName = z.string().min(1).max(255);

/** An alarm of any kind; what only one kind has is absent from the others. */
export type Alarm = { kind: Kind } & MetricAlarm &
  Pick<
    CompositeAlarm,
    | "AlarmRule"
    | "ActionsSuppressor"
    | "ActionsSuppressedBy"
    | "ActionsSuppressedReason"
    | "ActionsSuppressorWaitPeriod"
    | "ActionsSuppressorExtensionPeriod"
  > &
  Pick<LogAlarm, "ScheduledQueryConfiguration" | "QueryResultsToAlarm" | "QueryResultsToEvaluate">;

export function alarmsOf(answer: Partial<DescribeAlarmsCommandOutput>): Alarm[] {
  const { CompositeAlarms = [], MetricAlarms = [], LogAlarms = [] } = answer;
  return [
    ...CompositeAlarms.map((alarm): Alarm => ({ kind: "composite", ...alarm })),
    ...MetricAlarms.map((alarm): Alarm => ({ kind: "metric", ...alarm })),
    ...LogAlarms.map((alarm): Alarm => ({ kind: "log", ...alarm })),
  ];
}

/** AWS documents the state as always present. */
export function stateOf(alarm: Pick<Alarm, "StateValue">): string {
  return alarm.StateValue ?? "UNKNOWN";
}

/** Since when it is in its state; AWS's older field also moves when only the reason changes. */
export function sinceOf(alarm: Alarm): Date | undefined {
  const since = alarm.StateTransitionedTimestamp ?? alarm.StateUpdatedTimestamp;
  return since && !Number.isNaN(since.getTime()) ? since : undefined;
}

/** What the alarm looks at: a metric, an expression, other alarms, or log lines. */
export function watchedBy(alarm: Alarm): string {
  if (alarm.kind === "composite") return alarm.AlarmRule ?? "";
  if (alarm.kind === "log") {
    const {
      QueryString = "",
      LogGroupIdentifiers = [],
      AggregationExpression = "",
    } = alarm.ScheduledQueryConfiguration ?? {};
    return [AggregationExpression, "of", QueryString, ...LogGroupIdentifiers].filter((part) => part).join(" ");
  }
  const promQl = alarm.EvaluationCriteria?.PromQLCriteria?.Query;
  if (promQl !== undefined) return `PromQL: ${promQl}`;
  const watched = watchedQuery(alarm);
  return watched ? queryText(watched) : metricText(alarm.Namespace, alarm.MetricName, alarm.Dimensions);
}

/** One line of a metric-math alarm: `e1: 100*m2/m1 (Error rate)`. */
export function queryText({ Expression, Label, MetricStat }: MetricDataQuery): string {
  const { Metric, Stat = "" } = MetricStat ?? {};
  const what = Expression ?? `${metricText(Metric?.Namespace, Metric?.MetricName, Metric?.Dimensions)} (${Stat})`;
  return Label ? `${Label} = ${what}` : what;
}

/** Of a metric-math alarm, the one series that is compared. */
function watchedQuery({ Metrics = [], ThresholdMetricId }: Alarm): MetricDataQuery | undefined {
  const compared = Metrics.filter(({ Id }) => Id !== ThresholdMetricId);
  return compared.find(({ ReturnData }) => ReturnData === true) ?? compared[0];
}

const OPERATORS: Readonly<Record<string, string>> = {
  GreaterThanOrEqualToThreshold: "≥",
  GreaterThanThreshold: ">",
  LessThanThreshold: "<",
  LessThanOrEqualToThreshold: "≤",
  GreaterThanUpperThreshold: "above the expected band",
  LessThanLowerThreshold: "below the expected band",
  LessThanLowerOrGreaterThanUpperThreshold: "outside the expected band",
};

/** When it alarms, in words: `Average > 80 in 2 of 3 periods of 5 min`. */
export function conditionOf(alarm: Alarm): string {
  const { ComparisonOperator = "", Threshold, EvaluationPeriods, DatapointsToAlarm } = alarm;
  if (alarm.kind === "composite") return "when its rule is true";
  const promQl = alarm.EvaluationCriteria?.PromQLCriteria;
  if (promQl) return `any series for ${inWords(promQl.PendingPeriod ?? 0)}`;
  const statistic = alarm.Statistic ?? alarm.ExtendedStatistic ?? watchedQuery(alarm)?.MetricStat?.Stat;
  const operator = OPERATORS[ComparisonOperator] ?? ComparisonOperator;
  const compared = [statistic, operator, Threshold === undefined ? undefined : shortNumber(Threshold)];
  const condition = compared.filter((part) => part !== undefined && part !== "").join(" ");
  if (alarm.kind === "log")
    return `${condition} in ${ofMany(alarm.QueryResultsToAlarm, alarm.QueryResultsToEvaluate)} results`;
  const period = alarm.Period ?? watchedQuery(alarm)?.Period ?? watchedQuery(alarm)?.MetricStat?.Period;
  const periods = ofMany(DatapointsToAlarm ?? EvaluationPeriods, EvaluationPeriods);
  return `${condition} in ${periods} periods${period === undefined ? "" : ` of ${inWords(period)}`}`;
}

function ofMany(some: number | undefined, all: number | undefined): string {
  return `${some ?? "?"} of ${all ?? "?"}`;
}

/** The name in an alarm's ARN; a name may have colons of its own. Undefined for anything else. */
export function parseAlarmArn(arn: string): { region: string; account: string; name: string } | undefined {
  const [, region, account, name] = /^arn:[\w-]+:cloudwatch:([\w-]*):(\d*):alarm:(.+)$/s.exec(arn) ?? [];
  return region !== undefined && account !== undefined && name !== undefined ? { region, account, name } : undefined;
}
