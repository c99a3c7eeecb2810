// What these tools use of the SDK, and nothing else: imported lazily by the handlers, bundled without the other several
// hundred commands.
export { CloudWatchClient, GetMetricStatisticsCommand } from "@aws-sdk/client-cloudwatch";
export { DescribeDimensionKeysCommand, GetResourceMetricsCommand, PIClient } from "@aws-sdk/client-pi";
export {
  CreateDBSnapshotCommand,
  DeleteDBSnapshotCommand,
  DescribeDBInstancesCommand,
  DescribeDBSnapshotAttributesCommand,
  DescribeDBSnapshotsCommand,
  DescribeEventsCommand,
  RDSClient,
} from "@aws-sdk/client-rds";
