/**
 * Why what reads alarms is not limited to alarms in IAM: with a limit AWS leaves composite alarms out of its answer.
 * The CloudWatch API Reference says so of DescribeAlarms and DescribeAlarmHistory.
 */
export const COMPOSITES_NEED_ALL = "composite alarms are only told with * (CloudWatch API Reference, DescribeAlarms)";
