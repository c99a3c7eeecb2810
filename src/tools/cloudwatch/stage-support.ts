import {
  CloudWatchClient,
  PutDashboardCommand,
  PutMetricAlarmCommand,
  PutMetricDataCommand,
} from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  answerCloudwatch,
  describeAlarmHistory,
  describeAlarms,
  fakeComposite,
  metricData,
  metricStatistics,
  stateChange,
} from "../../../test/support/cloudwatch-answers.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

const HOUR_MS = 3_600_000;
const CPU = ["AWS/EC2", "CPUUtilization", "InstanceId", "i-0123456789abcdef0"];

/** A metric, an alarm on it under a composite one, and a dashboard that shows both, with a widget in another region. */
export async function stageCloudwatch({ proxy }: Pick<World, "proxy">): Promise<Stage> {
  const cloudwatch = new CloudWatchClient(awsClientConfig(proxy.url, "us-east-1"));
  const dimensions = [{ Name: "service", Value: "checkout" }];
  await cloudwatch.send(
    new PutMetricDataCommand({
      Namespace: "Shop",
      MetricData: [{ MetricName: "Latency", Dimensions: dimensions, Value: 42, Unit: "Milliseconds" }],
    }),
  );
  await cloudwatch.send(
    new PutMetricAlarmCommand({
      AlarmName: "checkout-latency",
      Namespace: "Shop",
      MetricName: "Latency",
      Dimensions: dimensions,
      Statistic: "Average",
      Period: 60,
      EvaluationPeriods: 3,
      Threshold: 500,
      ComparisonOperator: "GreaterThanThreshold",
      AlarmActions: ["arn:aws:sns:us-east-1:123456789012:ops-alerts"],
    }),
  );
  const widgets = [
    { type: "metric", properties: { title: "CPU", region: "us-east-1", metrics: [CPU] } },
    { type: "metric", properties: { title: "CPU in Ireland", region: "eu-west-1", metrics: [CPU] } },
    {
      type: "alarm",
      properties: { alarms: [`arn:aws:cloudwatch:us-east-1:${proxy.accountId}:alarm:checkout-latency`] },
    },
  ];
  const DashboardBody = JSON.stringify({ widgets });
  await cloudwatch.send(new PutDashboardCommand({ DashboardName: "checkout", DashboardBody }));
  cloudwatch.destroy();

  const composite = fakeComposite("checkout-broken", ["checkout-latency"], { ActionsSuppressor: "checkout-latency" });
  answerCloudwatch(proxy, "DescribeAlarms", describeAlarms([composite], true));
  answerCloudwatch(
    proxy,
    "DescribeAlarmHistory",
    describeAlarmHistory([stateChange("checkout-latency", HOUR_MS, "OK", "ALARM")]),
  );
  answerCloudwatch(
    proxy,
    "GetMetricStatistics",
    metricStatistics((_statistic, index) => index),
  );
  answerCloudwatch(
    proxy,
    "GetMetricData",
    metricData(() => [{ valueAt: (index) => index }]),
  );

  const latency = { namespace: "Shop", metric_name: "Latency", dimensions: { service: "checkout" } };
  return {
    cloudwatch_list_metrics: { calls: [{}, { namespace: "Shop" }] },
    cloudwatch_get_metric_statistics: { calls: [latency, { ...latency, statistics: ["Maximum", "p99.9"] }] },
    cloudwatch_get_metrics: {
      calls: [{ queries: [latency] }, { queries: [{ id: "m1", ...latency }, { expression: "m1 * 2" }], points: true }],
    },
    cloudwatch_list_alarms: { calls: [{}] },
    cloudwatch_describe_alarm: {
      calls: [{ name: "checkout-latency" }, { name: "checkout-broken" }],
      missing: { name: "no such alarm" },
    },
    cloudwatch_list_dashboards: { calls: [{}] },
    cloudwatch_get_dashboard: { calls: [{ name: "checkout" }], missing: { name: "no-such-dashboard" } },
  };
}
