// What these tools use of the CloudWatch SDK: loaded only by what asks for measurements.
export { CloudWatchClient, GetMetricDataCommand } from "@aws-sdk/client-cloudwatch";
