import type { FaultProxy, RuleHandle } from "./fault-proxy.ts";
import type { RespondAnswer, RespondBody } from "./faults.ts";

// CloudWatch's answers in AWS JSON 1.0, in the shapes its API reference documents, for what moto lacks or gets wrong:
// it neither pages nor combines the filters of DescribeAlarms, has no composite alarms and no DescribeAlarmHistory, and
// computes neither percentiles nor metric math.

/** Answers an operation of CloudWatch from now on. */
export function answerCloudwatch(proxy: FaultProxy, operation: string, body: RespondBody): RuleHandle {
  return proxy.rule({ service: "monitoring", operation, fault: { kind: "respond", status: 200, body } });
}

/** What a service says of a request it does not take. */
export function validationError(message: string): RespondAnswer {
  return { status: 400, body: JSON.stringify({ __type: "com.amazonaws.cloudwatch#ValidationError", message }) };
}

/** A moment as AWS JSON has it: seconds since 1970. */
export function epochS(moment: number | string): number {
  return (typeof moment === "number" ? moment : Date.parse(moment)) / 1000;
}

/** One page of a list, and the token of the next. Tokens can be used again, as CloudWatch's can. */
function pageOf<T>(all: readonly T[], token: unknown, size: number): { page: T[]; next: { NextToken?: string } } {
  const start = typeof token === "string" ? Number(Buffer.from(token, "base64").toString()) : 0;
  const end = start + size;
  return {
    page: all.slice(start, end),
    next: end < all.length ? { NextToken: Buffer.from(String(end)).toString("base64") } : {},
  };
}

/** An alarm as DescribeAlarms shows it. Composite ones have an `AlarmRule`, log alarms a `ScheduledQueryConfiguration`. */
export interface FakeAlarm {
  AlarmName: string;
  StateValue: string;
  [field: string]: unknown;
}

/** A believable metric alarm. */
export function fakeAlarm(name: string, more: Readonly<Record<string, unknown>> = {}): FakeAlarm {
  return {
    AlarmName: name,
    AlarmArn: `arn:aws:cloudwatch:us-east-1:123456789012:alarm:${name}`,
    AlarmConfigurationUpdatedTimestamp: epochS("2026-01-05T10:00:00Z"),
    ActionsEnabled: true,
    OKActions: [],
    AlarmActions: ["arn:aws:sns:us-east-1:123456789012:ops-alerts"],
    InsufficientDataActions: [],
    StateValue: "OK",
    StateReason: "Threshold Crossed: 1 datapoint [12.5] was not greater than the threshold (80.0).",
    StateReasonData: "{}",
    StateUpdatedTimestamp: epochS("2026-01-06T09:00:00Z"),
    StateTransitionedTimestamp: epochS("2026-01-06T08:05:00Z"),
    MetricName: "CPUUtilization",
    Namespace: "AWS/EC2",
    Statistic: "Average",
    Dimensions: [{ Name: "InstanceId", Value: "i-0123456789abcdef0" }],
    Period: 300,
    EvaluationPeriods: 3,
    DatapointsToAlarm: 2,
    Threshold: 80,
    ComparisonOperator: "GreaterThanThreshold",
    TreatMissingData: "missing",
    ...more,
  };
}

/** A believable composite alarm over these. */
export function fakeComposite(
  name: string,
  children: readonly string[],
  more: Readonly<Record<string, unknown>> = {},
): FakeAlarm {
  return {
    AlarmName: name,
    AlarmArn: `arn:aws:cloudwatch:us-east-1:123456789012:alarm:${name}`,
    AlarmRule: children.map((child) => `ALARM("${child}")`).join(" OR "),
    ActionsEnabled: true,
    AlarmActions: ["arn:aws:sns:us-east-1:123456789012:on-call"],
    StateValue: "OK",
    StateReason: "No child is in ALARM.",
    StateUpdatedTimestamp: epochS("2026-01-06T09:00:00Z"),
    StateTransitionedTimestamp: epochS("2026-01-06T08:05:00Z"),
    ...more,
  };
}

const kindOf = (alarm: FakeAlarm) =>
  "AlarmRule" in alarm ? "CompositeAlarm" : "ScheduledQueryConfiguration" in alarm ? "LogAlarm" : "MetricAlarm";

/**
 * DescribeAlarms: combines its filters, knows families, and pages.
 * @param withMoto also the alarms that were put into moto
 */
export function describeAlarms(alarms: readonly FakeAlarm[], withMoto = false): RespondBody {
  return async ({ parameters }, forward) => {
    const stored = withMoto ? (JSON.parse(await forward()).MetricAlarms as FakeAlarm[]) : [];
    const all = [...alarms, ...stored];
    const { AlarmNames, AlarmNamePrefix, AlarmTypes, StateValue, MaxRecords = 50, NextToken } = parameters;
    const { ChildrenOfAlarmName, ParentsOfAlarmName } = parameters;
    const parent = all.find(({ AlarmName }) => AlarmName === ChildrenOfAlarmName);
    const family = ChildrenOfAlarmName !== undefined || ParentsOfAlarmName !== undefined;
    if (family && (AlarmTypes ?? AlarmNames ?? AlarmNamePrefix ?? StateValue) !== undefined)
      return validationError("ChildrenOfAlarmName and ParentsOfAlarmName cannot be combined with other parameters");
    if (AlarmNames !== undefined && AlarmNamePrefix !== undefined)
      return validationError("AlarmNames and AlarmNamePrefix cannot be combined");
    const refers = (rule: unknown, name: unknown) => String(rule ?? "").includes(`"${name}"`);
    const types = (AlarmTypes ?? ["MetricAlarm"]) as string[];
    const matching = all.filter((alarm) => {
      if (ChildrenOfAlarmName !== undefined) return refers(parent?.AlarmRule, alarm.AlarmName);
      if (ParentsOfAlarmName !== undefined) return refers(alarm.AlarmRule, ParentsOfAlarmName);
      return (
        types.includes(kindOf(alarm)) &&
        (StateValue === undefined || alarm.StateValue === StateValue) &&
        ((AlarmNames as string[] | undefined)?.includes(alarm.AlarmName) ?? true) &&
        alarm.AlarmName.startsWith(String(AlarmNamePrefix ?? ""))
      );
    });
    const { page, next } = pageOf(matching, NextToken, Number(MaxRecords));
    const of = (kind: string) => page.filter((alarm) => kindOf(alarm) === kind);
    return JSON.stringify({
      MetricAlarms: of("MetricAlarm"),
      CompositeAlarms: of("CompositeAlarm"),
      LogAlarms: of("LogAlarm"),
      ...next,
    });
  };
}

export interface FakeHistoryItem {
  AlarmName: string;
  Timestamp?: number | undefined;
  [field: string]: unknown;
}

/** A change of state, `agoMs` milliseconds ago, as the history has it. */
export function stateChange(
  name: string,
  agoMs: number,
  from: string,
  to: string,
  reason = "Threshold Crossed",
): FakeHistoryItem {
  return {
    AlarmName: name,
    AlarmType: "MetricAlarm",
    Timestamp: epochS(Date.now() - agoMs),
    HistoryItemType: "StateUpdate",
    HistorySummary: `Alarm updated from ${from} to ${to}`,
    HistoryData: JSON.stringify({
      version: "1.0",
      oldState: { stateValue: from, stateReason: "before" },
      newState: { stateValue: to, stateReason: reason, stateReasonData: { version: "1.0", threshold: 80 } },
    }),
  };
}

/** DescribeAlarmHistory: by name and start, newest first, in pages. */
export function describeAlarmHistory(items: readonly FakeHistoryItem[]): RespondBody {
  return ({ parameters }) => {
    const { AlarmName, StartDate, MaxRecords = 100, NextToken } = parameters;
    const matching = items
      .filter((item) => AlarmName === undefined || item.AlarmName === AlarmName)
      .filter(({ Timestamp }) => Timestamp === undefined || Timestamp >= Number(StartDate ?? 0))
      .sort((a, b) => (b.Timestamp ?? 0) - (a.Timestamp ?? 0));
    const { page, next } = pageOf(matching, NextToken, Number(MaxRecords));
    return JSON.stringify({ AlarmHistoryItems: page, ...next });
  };
}

export interface FakeMetric {
  Namespace?: string;
  MetricName?: string;
  Dimensions?: { Name?: string; Value?: string }[];
}

/** ListMetrics: exact filters, 500 a page. */
export function listMetrics(metrics: readonly FakeMetric[]): RespondBody {
  return ({ parameters }) => {
    const { Namespace, MetricName, NextToken } = parameters;
    const filters = (parameters.Dimensions ?? []) as { Name: string; Value?: string }[];
    const matching = metrics.filter(
      (metric) =>
        (Namespace === undefined || metric.Namespace === Namespace) &&
        (MetricName === undefined || metric.MetricName === MetricName) &&
        filters.every(({ Name, Value }) =>
          metric.Dimensions?.some((own) => own.Name === Name && (Value === undefined || own.Value === Value)),
        ),
    );
    const { page, next } = pageOf(matching, NextToken, 500);
    return JSON.stringify({ Metrics: page, ...next });
  };
}

/** The moments of the points of a request, in milliseconds. */
function timesOf(start: unknown, end: unknown, periodS: number): number[] {
  const from = Number(start) * 1000;
  const count = Math.ceil((Number(end) * 1000 - from) / (periodS * 1000));
  return Array.from({ length: Math.max(0, count) }, (_, index) => from + index * periodS * 1000);
}

/**
 * GetMetricStatistics: one point a period, in no order, as CloudWatch has them.
 * @param valueAt of the statistic in the nth period; undefined where there is no data
 */
export function metricStatistics(
  valueAt: (statistic: string, index: number, time: number) => number | string | undefined,
  unit = "Percent",
): RespondBody {
  return ({ parameters }) => {
    const { StartTime, EndTime, Period, Statistics, ExtendedStatistics, MetricName } = parameters;
    if (Statistics !== undefined && ExtendedStatistics !== undefined)
      return validationError("Statistics and ExtendedStatistics cannot be combined");
    const datapoints = timesOf(StartTime, EndTime, Number(Period)).flatMap((time, index) => {
      const values = ((Statistics ?? ExtendedStatistics) as string[]).flatMap((statistic) => {
        const value = valueAt(statistic, index, time);
        return value === undefined ? [] : [[statistic, value] as const];
      });
      if (values.length === 0) return [];
      const found = Object.fromEntries(values);
      const statistics = Statistics === undefined ? { ExtendedStatistics: found } : found;
      return [{ Timestamp: time / 1000, Unit: unit, ...statistics }];
    });
    const shuffled = [...datapoints.filter((_, at) => at % 2 === 1), ...datapoints.filter((_, at) => at % 2 === 0)];
    return JSON.stringify({ Label: MetricName, Datapoints: shuffled });
  };
}

export interface FakeQuery {
  Id: string;
  Expression?: string;
  Label?: string;
  Period?: number;
  ReturnData?: boolean;
  MetricStat?: { Metric: FakeMetric; Period: number; Stat: string };
}

/** One series of a GetMetricData answer. */
export interface FakeSeries {
  label?: string;
  valueAt: (index: number, time: number) => number | string | undefined;
  status?: string;
  messages?: { Code: string; Value: string }[];
}

/**
 * GetMetricData: every query that returns data gives the series the test has for it; a query the test has an error for
 * spoils the whole request, as it does in AWS. `maxSeries` of them on one page.
 */
export function metricData(
  seriesOf: (query: FakeQuery, queries: readonly FakeQuery[]) => FakeSeries[] | { error: string },
  more: { messages?: { Code: string; Value: string }[]; maxSeries?: number } = {},
): RespondBody {
  return ({ parameters }) => {
    const queries = parameters.MetricDataQueries as FakeQuery[];
    const results: object[] = [];
    if (queries.length > 500) return validationError("MetricDataQueries has more than 500 members");
    if (new Set(queries.map(({ Id }) => Id)).size < queries.length) return validationError("Ids are not unique");
    if (queries.every(({ ReturnData }) => ReturnData === false)) return validationError("Nothing is returned");
    for (const query of queries) {
      const series = seriesOf(query, queries);
      if ("error" in series) return validationError(series.error);
      if (query.ReturnData === false) continue;
      const periodS = query.MetricStat?.Period ?? query.Period ?? 300;
      for (const { label, valueAt, status = "Complete", messages } of series) {
        const points = timesOf(parameters.StartTime, parameters.EndTime, periodS).flatMap((time, index) => {
          const value = valueAt(index, time);
          return value === undefined ? [] : [{ time: time / 1000, value }];
        });
        points.reverse();
        results.push({
          Id: query.Id,
          Label: label ?? query.Label ?? query.MetricStat?.Metric.MetricName ?? query.Id,
          Timestamps: points.map(({ time }) => time),
          Values: points.map(({ value }) => value),
          StatusCode: status,
          ...(messages && { Messages: messages }),
        });
      }
    }
    const { page, next } = pageOf(results, parameters.NextToken, more.maxSeries ?? 500);
    return JSON.stringify({ MetricDataResults: page, Messages: more.messages ?? [], ...next });
  };
}

/** GetDashboard, whatever the name; the body as it is. */
export function dashboard(body: unknown): RespondBody {
  return ({ parameters }) =>
    JSON.stringify({
      DashboardArn: `arn:aws:cloudwatch::123456789012:dashboard/${parameters.DashboardName}`,
      DashboardName: parameters.DashboardName,
      DashboardBody: typeof body === "string" ? body : JSON.stringify(body),
    });
}

/** ListDashboards by prefix, `size` a page. */
export function listDashboards(names: readonly string[], size: number): RespondBody {
  return ({ parameters }) => {
    const matching = names.filter((name) => name.startsWith(String(parameters.DashboardNamePrefix ?? "")));
    const { page, next } = pageOf(matching, parameters.NextToken, size);
    const entries = page.map((name) => ({
      DashboardName: name,
      DashboardArn: `arn:aws:cloudwatch::123456789012:dashboard/${name}`,
      LastModified: epochS("2026-01-05T10:00:00Z"),
      Size: 1_234,
    }));
    return JSON.stringify({ DashboardEntries: entries, ...next });
  };
}
