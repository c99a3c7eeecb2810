// What these tools use of the CloudWatch SDK, and nothing else: imported lazily by the handlers, bundled without the rest.
export {
  CloudWatchClient,
  DescribeAlarmHistoryCommand,
  DescribeAlarmsCommand,
  GetDashboardCommand,
  GetMetricDataCommand,
  GetMetricStatisticsCommand,
  ListDashboardsCommand,
  ListMetricsCommand,
} from "@aws-sdk/client-cloudwatch";
