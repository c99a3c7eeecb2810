import {
  HOSTILE_TEXTS,
  LONG,
  NOT_BOOLEAN,
  NOT_LIST,
  NOT_TEXT,
  type WrongArguments,
} from "../../../test/support/wrong.ts";

const metric = { namespace: "AWS/EC2", metric_name: "CPUUtilization" };

/** Not a name of anything; everything else may be one. */
const NO_NAME = ["", LONG, ...NOT_TEXT];

const WRONG_DIMENSIONS = [
  null,
  "InstanceId=i-1",
  1,
  true,
  [],
  [{ Name: "InstanceId", Value: "i-1" }],
  { InstanceId: null },
  { InstanceId: 1 },
  { InstanceId: true },
  { InstanceId: [] },
  { InstanceId: ["i-1"] },
  { InstanceId: "" },
  { InstanceId: LONG },
  { "": "x" },
  { [LONG]: "x" },
  Object.fromEntries(Array.from({ length: 31 }, (_, index) => [`k${index}`, "v"])),
  JSON.parse('{"__proto__":"x"}'),
  JSON.parse('{"InstanceId":{"__proto__":"x"}}'),
];

const WRONG_STATISTICS = [
  "average",
  "Avg",
  "p",
  "p101",
  "p-1",
  "p99.9.9",
  "P99",
  "tm",
  "TM(10)",
  "TM()",
  "PR(a:b)",
  "IQM90",
  "Average ",
  "Average\n",
  "Average,Sum",
];

const WRONG_TIMES = [
  ...HOSTILE_TEXTS,
  ...NOT_TEXT,
  "yesterday",
  "1y",
  "-1h",
  "2026-13-01",
  "2026-02-30",
  "1h ago",
  "PT3H",
];

const wrong: Record<string, readonly unknown[]> = {
  namespace: [...NO_NAME, ":x", "a\nb", "a\u0000b"],
  metric_name: [...NO_NAME, "a\nb", "a\u0000b"],
  dimensions: WRONG_DIMENSIONS,
  recently_active: NOT_BOOLEAN,
  statistics: [
    ...NOT_LIST,
    ...WRONG_STATISTICS.map((statistic) => [statistic]),
    ["Average", "x"],
    Array.from({ length: 7 }, () => "Average"),
  ],
  start: [...WRONG_TIMES, "2099-01-01", "2020-01-01"],
  end: WRONG_TIMES,
  period_s: [null, 0, -60, 2, 15, 59, 61, 90, 604_860, 1e9, 1.5, "60", "", true, [], [60], {}],
  unit: [...HOSTILE_TEXTS, ...NOT_TEXT, "percent", "Bytes/second", "Bytes/Second/Second", "BYTES", "5"],
  states: [...NOT_LIST, ["alarm"], ["ALARM "], ["DISABLED"], ["__proto__"], ["OK", "OK", "OK", "OK"]],
  kinds: [...NOT_LIST, ["Metric"], ["MetricAlarm"], ["metric", "metric", "metric", "metric"]],
  points: NOT_BOOLEAN,
  queries: [
    ...NOT_LIST,
    [{}],
    [{ namespace: "AWS/EC2" }],
    [{ metric_name: "x" }],
    [{ ...metric, expression: "m1" }],
    [{ expression: "" }],
    [{ expression: LONG }],
    [{ expression: 1 }],
    [{ expression: 'LAMBDA("fn", 1)' }],
    [{ expression: "UNKNOWN_FUNCTION(1)" }],
    [{ expression: "SEARCH('x" }],
    [{ expression: "SEARCH(':aws.AccountId=444455556666 x', 'Sum')" }],
    [{ expression: "m1", statistic: "Sum" }],
    [{ expression: "m1", dimensions: {} }],
    [{ ...metric, id: "M1" }],
    [{ ...metric, id: "1" }],
    [{ ...metric, id: "m-1" }],
    [{ ...metric, id: "" }],
    [{ ...metric, id: LONG }],
    [{ ...metric, label: LONG }],
    [{ ...metric, hidden: "yes" }],
    [{ ...metric, hidden: true }],
    [{ ...metric, unknown: 1 }],
    [{ ...metric, period_s: 60 }],
    [
      { ...metric, id: "m1" },
      { ...metric, id: "m1" },
    ],
    ...WRONG_STATISTICS.map((statistic) => [{ ...metric, statistic }]),
    ...WRONG_DIMENSIONS.map((dimensions) => [{ ...metric, dimensions }]),
    Array.from({ length: 51 }, () => metric),
  ],
  offset: [null, -1, 501, 1.5, "0", true, [], {}],
};

const NOT_DASHBOARD = [
  ...HOSTILE_TEXTS.filter((text) => !/^[\w-]+$/.test(text) || text === LONG),
  ...NOT_TEXT,
  "a b",
  "a/b",
  "ä",
];

export const cloudwatchWrong: Record<string, WrongArguments> = {
  cloudwatch_list_metrics: {
    good: {},
    wrong: {
      ...wrong,
      dimensions: [
        ...WRONG_DIMENSIONS,
        Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`k${index}`, "v"])),
      ],
    },
  },
  cloudwatch_get_metric_statistics: { good: metric, wrong },
  cloudwatch_get_metrics: { good: { queries: [metric] }, wrong },
  cloudwatch_list_alarms: { good: {}, wrong: { ...wrong, name_prefix: NO_NAME } },
  cloudwatch_describe_alarm: { good: { name: "checkout-latency" }, wrong: { name: NO_NAME } },
  cloudwatch_list_dashboards: { good: {}, wrong: { name_prefix: NOT_DASHBOARD } },
  cloudwatch_get_dashboard: { good: { name: "checkout" }, wrong: { ...wrong, name: NOT_DASHBOARD } },
};
