import type { ReadContext } from "../../core/tool.ts";
import { sdk } from "./db-instance.ts";

/** Three times as long as RDS ever takes to publish a value. */
const LOOK_BACK_MS = 15 * 60_000;

/** The newest minute's average of one of the instance's CloudWatch metrics; undefined when there is none (stopped, new). */
export async function latestMetric(
  metric: "FreeStorageSpace" | "CPUUtilization" | "DatabaseConnections",
  dbInstanceId: string,
  region: string,
  { aws }: Pick<ReadContext, "aws">,
): Promise<number | undefined> {
  const { CloudWatchClient, GetMetricStatisticsCommand } = await sdk();
  const now = Date.now();
  const answer = await aws.client(CloudWatchClient, region).send(
    new GetMetricStatisticsCommand({
      Namespace: "AWS/RDS",
      MetricName: metric,
      Dimensions: [{ Name: "DBInstanceIdentifier", Value: dbInstanceId }],
      StartTime: new Date(now - LOOK_BACK_MS),
      EndTime: new Date(now),
      Period: 60,
      Statistics: ["Average"],
    }),
  );
  // CloudWatch gives the points in no order.
  const points = (answer.Datapoints ?? []).filter(({ Average }) => Number.isFinite(Average));
  points.sort((a, b) => (a.Timestamp?.getTime() ?? 0) - (b.Timestamp?.getTime() ?? 0));
  return points.at(-1)?.Average;
}
