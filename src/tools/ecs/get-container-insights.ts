import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { type Point, SeriesSummary, summariseSeries } from "../shared/series.ts";
import { Time, timeRange } from "../shared/time.ts";
import { containerInsightsOf, findCluster, refuseOtherAccount } from "./cluster.ts";
import { type Measurement, measure, measurementsOf, periodOf } from "./measurements.ts";
import {
  agreeing,
  ClusterName,
  type ClusterPlace,
  clusterPlace,
  clusterSubject,
  ServiceName,
  servicePlace,
  serviceSubject,
} from "./names.ts";
import { findService } from "./service.ts";

const output = z.object({
  cluster: z.string(),
  service: z.string().optional(),
  region: z.string(),
  container_insights: z.string(),
  summary: z.string(),
  start: z.string(),
  end: z.string(),
  period_s: z.int(),
  metrics: z.record(z.string(), SeriesSummary),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

const MAX_RANGE_MS = 93 * 86_400_000;

export const getContainerInsights = defineTool({
  name: "ecs_get_container_insights",
  title: "Get ECS Container Insights",
  description:
    "CPU, memory, network and task counts of an ECS service (or a whole cluster) over time, each as latest, min, max, avg, p95 and trend. Basic CPU and memory percentages come even where Container Insights is off; then it says how to turn it on. For single points use cloudwatch_get_metric_statistics.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ecs:DescribeClusters", resource: "cluster" },
    { action: "ecs:DescribeServices", resource: "service" },
    { action: "cloudwatch:GetMetricData" },
  ],
  input: agreeing(
    z.strictObject({
      cluster: ClusterName,
      service: ServiceName.optional(),
      start: Time.default("3h").describe("ISO 8601, or how long ago: 30m, 3h, 7d"),
      end: Time.optional(),
      region,
    }),
  ),
  output,
  example: { cluster: "prod", service: "web", start: "6h" },
  subject: (given, regionOf) =>
    given.service === undefined
      ? clusterSubject(given, regionOf)
      : serviceSubject({ ...given, service: given.service }, regionOf),
  async handler(given, context) {
    const now = Date.now();
    const range = timeRange(given, { maxMs: MAX_RANGE_MS, now });
    const periodS = periodOf(range, now);
    const place = clusterPlace(given, context.aws.regionOf);
    const service =
      given.service === undefined
        ? undefined
        : servicePlace({ ...given, service: given.service }, context.aws.regionOf);
    refuseOtherAccount(place, context.account);
    const errors: PartialError[] = [];
    // What cannot be read does not spoil the measurements; what is not there does.
    const tolerate = (thrown: unknown) => {
      const error = partialError(place.region, thrown);
      if (error.kind === "not_found") throw thrown;
      errors.push(error);
      return undefined;
    };
    const wanted = measurementsOf(service ? "service" : "cluster");
    const dimensions = [
      { Name: "ClusterName", Value: place.cluster },
      ...(service ? [{ Name: "ServiceName", Value: service.service }] : []),
    ];
    const [found, measured] = await Promise.all([
      findCluster(place, context, ["SETTINGS"]).catch(tolerate),
      measure(wanted, dimensions, range, periodS, context, place.region),
      service && findService(service, context).catch(tolerate),
    ]);
    const setting = found ? containerInsightsOf(found.cluster) : "unknown";
    const basic = summariesOf(wanted, measured.points, "AWS/ECS");
    const insights = summariesOf(wanted, measured.points, "ECS/ContainerInsights");
    return {
      cluster: place.cluster,
      ...(service && { service: service.service }),
      region: place.region,
      container_insights: setting,
      summary: summaryOf(place, setting, Object.keys(insights).length, Object.keys(basic).length, measured.complete),
      start: new Date(range.from).toISOString(),
      end: new Date(range.to).toISOString(),
      period_s: periodS,
      metrics: { ...basic, ...insights },
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

function summariesOf(
  wanted: readonly Measurement[],
  points: ReadonlyMap<Measurement, Point[]>,
  namespace: Measurement["namespace"],
): Record<string, SeriesSummary> {
  return Object.fromEntries(
    wanted.flatMap((one) => {
      const summary = one.namespace === namespace ? summariseSeries(points.get(one) ?? []) : undefined;
      return summary ? [[one.key, summary]] : [];
    }),
  );
}

function summaryOf(
  { cluster, region }: ClusterPlace,
  setting: string,
  insights: number,
  basic: number,
  complete: boolean,
): string {
  const parts = [];
  if (setting === "disabled") {
    parts.push(
      `Container Insights is disabled for this cluster. To enable it (its metrics are billed): aws ecs update-cluster-settings --cluster ${cluster} --settings name=containerInsights,value=enhanced --region ${region}`,
    );
    if (insights > 0) parts.push("What insights there are date from before it was disabled");
  } else if (insights === 0) {
    const on =
      setting === "unknown" ? "It is not known whether Container Insights is on" : `Container Insights is ${setting}`;
    parts.push(`${on}, but there are no insights for this time: nothing was running, or it was enabled later`);
  } else {
    parts.push("CPU, memory and network are averages per task; the rest are counts");
  }
  if (basic === 0)
    parts.push("There are no basic metrics either: only running tasks are measured, and whole clusters only on EC2");
  if (!complete) parts.push("CloudWatch could not give everything; ask again");
  return `${parts.join(". ")}.`;
}
