import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type Alarm, conditionOf, parseAlarmArn, watchedBy } from "./alarm.ts";
import { actionText } from "./alarm-actions.ts";

const metric: Alarm = {
  kind: "metric",
  Namespace: "AWS/EC2",
  MetricName: "CPUUtilization",
  Dimensions: [{ Name: "InstanceId", Value: "i-1" }],
  Statistic: "Average",
  Period: 300,
  EvaluationPeriods: 3,
  DatapointsToAlarm: 2,
  Threshold: 80,
  ComparisonOperator: "GreaterThanThreshold",
};

const cases: [what: string, alarm: Alarm, watches: string, condition: string][] = [
  ["a metric alarm", metric, "AWS/EC2 CPUUtilization InstanceId=i-1", "Average > 80 in 2 of 3 periods of 5 min"],
  [
    "one without datapoints to alarm",
    { ...metric, DatapointsToAlarm: undefined, ComparisonOperator: "LessThanOrEqualToThreshold", Threshold: 0.1 },
    "AWS/EC2 CPUUtilization InstanceId=i-1",
    "Average ≤ 0.1 in 3 of 3 periods of 5 min",
  ],
  [
    "one on a percentile",
    { ...metric, Statistic: undefined, ExtendedStatistic: "p99", Period: 60 },
    "AWS/EC2 CPUUtilization InstanceId=i-1",
    "p99 > 80 in 2 of 3 periods of 1 min",
  ],
  [
    "metric math",
    {
      kind: "metric",
      EvaluationPeriods: 5,
      Threshold: 1,
      ComparisonOperator: "GreaterThanOrEqualToThreshold",
      Metrics: [
        {
          Id: "m1",
          MetricStat: { Metric: { Namespace: "N", MetricName: "Errors" }, Period: 60, Stat: "Sum" },
          ReturnData: false,
        },
        { Id: "e1", Expression: "100 * m1", Label: "rate", ReturnData: true, Period: 60 },
      ],
    },
    "rate = 100 * m1",
    "≥ 1 in 5 of 5 periods of 1 min",
  ],
  [
    "an anomaly band",
    {
      kind: "metric",
      EvaluationPeriods: 2,
      ComparisonOperator: "LessThanLowerOrGreaterThanUpperThreshold",
      ThresholdMetricId: "ad1",
      // CloudWatch may name the band before the metric.
      Metrics: [
        { Id: "ad1", Expression: "ANOMALY_DETECTION_BAND(m1, 2)", ReturnData: true },
        {
          Id: "m1",
          MetricStat: { Metric: { Namespace: "N", MetricName: "Latency" }, Period: 300, Stat: "p90" },
          ReturnData: true,
        },
      ],
    },
    "N Latency (p90)",
    "p90 outside the expected band in 2 of 2 periods of 5 min",
  ],
  [
    "a composite alarm",
    { kind: "composite", AlarmRule: 'ALARM("a") AND NOT ALARM("b")' },
    'ALARM("a") AND NOT ALARM("b")',
    "when its rule is true",
  ],
  [
    "a log alarm",
    {
      kind: "log",
      Threshold: 10,
      ComparisonOperator: "GreaterThanThreshold",
      QueryResultsToAlarm: 1,
      QueryResultsToEvaluate: 3,
      ScheduledQueryConfiguration: {
        QueryString: "filter @message like /ERROR/",
        LogGroupIdentifiers: ["/app/web"],
        AggregationExpression: "count(*)",
        ScheduledQueryRoleARN: undefined,
        ScheduleConfiguration: undefined,
      },
    },
    "count(*) of filter @message like /ERROR/ /app/web",
    "> 10 in 1 of 3 results",
  ],
  [
    "PromQL",
    { kind: "metric", EvaluationCriteria: { PromQLCriteria: { Query: "up == 0", PendingPeriod: 120 } } },
    "PromQL: up == 0",
    "any series for 2 min",
  ],
  ["one AWS says nothing of", { kind: "metric" }, "", "in ? of ? periods"],
];

describe("an alarm in words", () => {
  for (const [what, alarm, watches, condition] of cases) {
    test(what, () => assert.deepEqual([watchedBy(alarm), conditionOf(alarm).trim()], [watches, condition]));
  }
});

test("the name in an ARN may hold colons and slashes", () => {
  const arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a:b/c d";
  assert.deepEqual(parseAlarmArn(arn), { region: "us-east-1", account: "123456789012", name: "a:b/c d" });
  for (const other of [
    "",
    "x",
    "arn:aws:sns:us-east-1:123456789012:topic",
    "arn:aws:cloudwatch:us-east-1:123456789012:alarm:",
  ])
    assert.equal(parseAlarmArn(other), undefined);
});

describe("an action in words", () => {
  const own = { region: "us-east-1", account: "123456789012" };
  const actions: [arn: string, words: string][] = [
    ["arn:aws:sns:us-east-1:123456789012:ops-alerts", "SNS topic ops-alerts"],
    ["arn:aws:sns:eu-west-1:210987654321:ops", "SNS topic ops in eu-west-1 of another account"],
    ["arn:aws:lambda:us-east-1:123456789012:function:fix-it", "Lambda function fix-it"],
    [
      "arn:aws:autoscaling:us-east-1:123456789012:scalingPolicy:1-2-3:resource/ecs/service/c/s:policyName/scale-out",
      "Auto Scaling policy scale-out",
    ],
    ["arn:aws:automate:us-east-1:ec2:recover", "EC2 recover of the instance"],
    ["arn:aws:swf:us-east-1:123456789012:action/actions/AWS_EC2.InstanceId.Stop/1.0", "EC2 stop of the instance"],
    ["arn:aws:ssm:us-east-1:123456789012:opsitem:2#CATEGORY=Availability", "OpsItem (severity 2)"],
    ["arn:aws:ssm-incidents::123456789012:response-plan/outage", "Incident Manager plan outage"],
    ["arn:aws:new-service:us-east-1:123456789012:thing/x", "new-service thing/x"],
    ["nonsense", "nonsense"],
  ];
  for (const [arn, words] of actions) test(words, () => assert.equal(actionText(arn, own), words));
});
