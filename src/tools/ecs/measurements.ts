import type { MetricDataQuery } from "@aws-sdk/client-cloudwatch";
import { once } from "../../core/once.ts";
import type { ReadContext } from "../../core/tool.ts";
import { choosePeriodS, type Point } from "../shared/series.ts";
import type { TimeRange } from "../shared/time.ts";

const sdk = once(() => import("./sdk-cloudwatch.ts"));

/** One measurement of a cluster or service, by the name it gets in the reply. */
export interface Measurement {
  key: string;
  namespace: "AWS/ECS" | "ECS/ContainerInsights";
  metric: string;
}

/** What Container Insights measures of a service and of a cluster alike; averages over the tasks. */
const INSIGHTS = {
  cpu_units: "CpuUtilized",
  cpu_units_reserved: "CpuReserved",
  memory_mib: "MemoryUtilized",
  memory_mib_reserved: "MemoryReserved",
  network_rx_bytes_per_s: "NetworkRxBytes",
  network_tx_bytes_per_s: "NetworkTxBytes",
};
const INSIGHTS_OF_SERVICE = {
  ...INSIGHTS,
  desired_tasks: "DesiredTaskCount",
  running_tasks: "RunningTaskCount",
  pending_tasks: "PendingTaskCount",
  deployments: "DeploymentCount",
};
const INSIGHTS_OF_CLUSTER = {
  ...INSIGHTS,
  tasks: "TaskCount",
  services: "ServiceCount",
  container_instances: "ContainerInstanceCount",
};
/** What every service is measured by, at no cost; a cluster only as far as it has EC2 instances. */
const BASIC_OF_SERVICE = { cpu_percent: "CPUUtilization", memory_percent: "MemoryUtilization" };
const BASIC_OF_CLUSTER = {
  ...BASIC_OF_SERVICE,
  cpu_reserved_percent: "CPUReservation",
  memory_reserved_percent: "MemoryReservation",
};

export function measurementsOf(thing: "service" | "cluster"): Measurement[] {
  const entries = (namespace: Measurement["namespace"], metrics: Record<string, string>) =>
    Object.entries(metrics).map(([key, metric]) => ({ key, namespace, metric }));
  return thing === "service"
    ? [...entries("AWS/ECS", BASIC_OF_SERVICE), ...entries("ECS/ContainerInsights", INSIGHTS_OF_SERVICE)]
    : [...entries("AWS/ECS", BASIC_OF_CLUSTER), ...entries("ECS/ContainerInsights", INSIGHTS_OF_CLUSTER)];
}

const DAY_MS = 86_400_000;

/** CloudWatch keeps minutes for 15 days and five minutes for 63: a finer period finds nothing. */
export function periodOf({ from, to }: TimeRange, now: number): number {
  const ageMs = now - from;
  const kept = ageMs > 63 * DAY_MS ? 3_600 : ageMs > 15 * DAY_MS ? 300 : 60;
  return Math.max(kept, choosePeriodS(to - from));
}

/** Of one GetMetricData; CloudWatch sends more points in further pages. */
const MAX_PAGES = 10;

/**
 * Averages of each measurement over the range.
 * @returns points by `namespace key`, none for what CloudWatch knows nothing of; `complete` is false when it could not
 *   answer in full
 */
export async function measure(
  wanted: readonly Measurement[],
  dimensions: { Name: string; Value: string }[],
  { from, to }: TimeRange,
  periodS: number,
  { aws }: Pick<ReadContext, "aws">,
  region: string,
): Promise<{ points: Map<Measurement, Point[]>; complete: boolean }> {
  const { CloudWatchClient, GetMetricDataCommand } = await sdk();
  const byId = new Map(wanted.map((one, index) => [`m${index}`, one]));
  const queries = [...byId].map(
    ([Id, { namespace, metric }]): MetricDataQuery => ({
      Id,
      MetricStat: {
        Metric: { Namespace: namespace, MetricName: metric, Dimensions: dimensions },
        Period: periodS,
        Stat: "Average",
      },
    }),
  );
  const points = new Map<Measurement, Point[]>(wanted.map((one) => [one, []]));
  let complete = true;
  let token: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const command = new GetMetricDataCommand({
      MetricDataQueries: queries,
      StartTime: new Date(from),
      EndTime: new Date(to),
      ...(token && { NextToken: token }),
    });
    const answer = await aws.client(CloudWatchClient, region).send(command);
    for (const { Id = "", Timestamps = [], Values = [], StatusCode } of answer.MetricDataResults ?? []) {
      const one = byId.get(Id);
      if (!one) continue;
      if (StatusCode === "InternalError" || StatusCode === "Forbidden") complete = false;
      for (const [index, time] of Timestamps.entries()) {
        const value = Values[index];
        if (value !== undefined && Number.isFinite(value)) points.get(one)?.push({ time: time.getTime(), value });
      }
    }
    token = answer.NextToken || undefined;
    if (token === undefined) return { points, complete };
  }
  return { points, complete: false };
}
