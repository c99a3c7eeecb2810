import type { CapacityProvider, Cluster, Service } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { describeAll, describeServices, MANY_AT_ONCE, stoppedTasks } from "./batches.ts";
import { containerInsightsOf, findCluster } from "./cluster.ts";
import { agreeing, ClusterName, type ClusterPlace, clusterPlace, clusterSubject, nameFromArn } from "./names.ts";
import { healthOf, latestFirst, needsAttention, strategyText } from "./running.ts";
import { inThere, sdk } from "./service.ts";
import { groupStopped, groupText, isFailure } from "./stopped.ts";

const output = z.object({
  cluster: z.string(),
  region: z.string(),
  account: z.string(),
  summary: z.string(),
  status: z.string(),
  running_tasks: z.int(),
  pending_tasks: z.int(),
  active_services: z.int(),
  container_instances: z.int(),
  services_checked: z.int(),
  services_with_problems: z.int(),
  /** Name → how it is. */
  problems: z.record(z.string(), z.string()),
  problems_omitted: z.int().optional(),
  recent_failures: z.array(z.string()),
  recent_failures_omitted: z.int().optional(),
  capacity_providers: z.array(z.string()),
  capacity_providers_omitted: z.int().optional(),
  statistics: z.record(z.string(), z.int()),
  settings: z.record(z.string(), z.string()),
  tags: z.record(z.string(), z.string()),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

/** Looked at, of one cluster: thirty requests. */
const MAX_SERVICES = 300;
const MAX_PROBLEMS = 20;
const MAX_GROUPS = 10;
const MAX_PROVIDERS = 20;

export const describeCluster = defineTool({
  name: "ecs_describe_cluster",
  title: "Describe an ECS cluster",
  description:
    "The health of one ECS cluster: services not at their desired count or in the middle of a deployment, why tasks failed in about the last hour, task counts, capacity providers, settings such as Container Insights. Use ecs_describe_service for a service it names.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ecs:DescribeClusters", resource: "cluster" },
    { action: "ecs:DescribeCapacityProviders", resource: "capacity-provider" },
    { action: "ecs:ListServices" },
    { action: "ecs:DescribeServices", resource: "service" },
    { action: "ecs:ListTasks", resource: "container-instance" },
    { action: "ecs:DescribeTasks", resource: "task" },
  ],
  input: agreeing(z.strictObject({ cluster: ClusterName, region })),
  output,
  example: { cluster: "prod" },
  subject: clusterSubject,
  async handler(given, context) {
    const place = clusterPlace(given, context.aws.regionOf);
    const include = ["SETTINGS", "STATISTICS", "CONFIGURATIONS", "TAGS"] as const;
    const { cluster, account } = await findCluster(place, context, [...include]);
    const errors: PartialError[] = [];
    const report = (thrown: unknown) => void errors.push(partialError(place.region, thrown));
    let failuresKnown = true;
    const [services, stopped, providers] = await Promise.all([
      servicesOf(place, context, report),
      stoppedTasks(place, context, (thrown) => {
        report(thrown);
        failuresKnown = false;
      }),
      providersOf(cluster, place, context, report),
    ]);
    const problems = services.filter(needsAttention).sort(worstFirst);
    const failures = groupStopped(stopped.filter(isFailure)).sort((a, b) => b.tasks - a.tasks);
    return {
      cluster: place.cluster,
      region: place.region,
      account,
      summary: summaryOf(cluster, services.length, problems.length, failuresKnown ? failures : undefined),
      status: cluster.status ?? "unknown",
      running_tasks: cluster.runningTasksCount ?? 0,
      pending_tasks: cluster.pendingTasksCount ?? 0,
      active_services: cluster.activeServicesCount ?? 0,
      container_instances: cluster.registeredContainerInstancesCount ?? 0,
      services_checked: services.length,
      services_with_problems: problems.length,
      problems: Object.fromEntries(problems.slice(0, MAX_PROBLEMS).map(problemOf)),
      ...(problems.length > MAX_PROBLEMS && { problems_omitted: problems.length - MAX_PROBLEMS }),
      recent_failures: failures.slice(0, MAX_GROUPS).map(groupText),
      ...(failures.length > MAX_GROUPS && { recent_failures_omitted: failures.length - MAX_GROUPS }),
      capacity_providers: providers.slice(0, MAX_PROVIDERS),
      ...(providers.length > MAX_PROVIDERS && { capacity_providers_omitted: providers.length - MAX_PROVIDERS }),
      statistics: statisticsOf(cluster),
      settings: settingsOf(cluster),
      tags: shownTags(cluster.tags),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

/** As many of the cluster's services as are looked at. */
async function servicesOf(
  place: ClusterPlace,
  context: ReadContext,
  report: (thrown: unknown) => void,
): Promise<Service[]> {
  const { ECSClient, ListServicesCommand } = await sdk();
  const names: string[] = [];
  let nextToken: string | undefined;
  try {
    do {
      const command = new ListServicesCommand({
        cluster: place.cluster,
        maxResults: MANY_AT_ONCE,
        ...(nextToken && { nextToken }),
      });
      const answer = await context.aws.client(ECSClient, place.region).send(command).catch(inThere(place));
      names.push(...(answer.serviceArns ?? []).map(nameFromArn));
      nextToken = answer.nextToken || undefined;
    } while (nextToken !== undefined && names.length < MAX_SERVICES);
  } catch (thrown) {
    report(thrown);
  }
  const { found } = await describeServices(place, names.slice(0, MAX_SERVICES), context, report);
  return [...found.values()];
}

/** The cluster's capacity providers, those of its default strategy with their weight; AWS's own need no describing. */
async function providersOf(
  cluster: Cluster,
  { region }: ClusterPlace,
  { aws }: ReadContext,
  report: (thrown: unknown) => void,
): Promise<string[]> {
  const names = cluster.capacityProviders ?? [];
  const { DescribeCapacityProvidersCommand, ECSClient } = await sdk();
  const { found } = await describeAll<CapacityProvider>({
    names: names.filter((name) => !name.startsWith("FARGATE")),
    batchSize: MANY_AT_ONCE,
    describe: async (capacityProviders) => {
      const command = new DescribeCapacityProvidersCommand({ capacityProviders });
      return (await aws.client(ECSClient, region).send(command)).capacityProviders ?? [];
    },
    nameOf: (provider) => provider.name ?? "",
    report,
  });
  return names.map((name) => {
    const strategy = cluster.defaultCapacityProviderStrategy?.find((item) => item.capacityProvider === name);
    const details = found.get(name);
    const scaling = details?.autoScalingGroupProvider?.managedScaling;
    const parts = [
      strategy ? `${strategyText(strategy)} by default` : name,
      details?.status,
      details?.updateStatus?.endsWith("FAILED") ? `${details.updateStatus}: ${details.updateStatusReason ?? ""}` : "",
      scaling?.status === "ENABLED" ? `managed scaling to ${scaling.targetCapacity ?? 100} %` : "",
      scaling?.status === "DISABLED" ? "no managed scaling" : "",
    ];
    return cleanText(parts.filter((part) => part).join(", "), 400);
  });
}

/** What lacks most tasks comes first. */
function worstFirst(a: Service, b: Service): number {
  const lacking = ({ desiredCount = 0, runningCount = 0 }: Service) => desiredCount - runningCount;
  return lacking(b) - lacking(a);
}

function problemOf(service: Service): [string, string] {
  const lacks = (service.runningCount ?? 0) < (service.desiredCount ?? 0);
  const said = lacks ? latestFirst(service.events)[0]?.message : undefined;
  return [service.serviceName ?? "", cleanText(`${healthOf(service)}${said ? ` Last event: ${said}` : ""}`, 300)];
}

/** @param failures undefined when they are not known */
function summaryOf(
  cluster: Cluster,
  checked: number,
  problems: number,
  failures: readonly { tasks: number }[] | undefined,
): string {
  const all = cluster.activeServicesCount ?? 0;
  const unchecked = all > checked ? ` (${all - checked} of ${all} services not looked at)` : "";
  const services =
    problems > 0
      ? `${problems} of ${checked} services need attention`
      : checked > 0
        ? `${checked} services are steady`
        : `no services${unchecked && " known"}`;
  const failed = failures?.reduce((sum, { tasks }) => sum + tasks, 0);
  const tasks = failed === undefined ? "failed tasks not known" : `${failed} tasks failed in about the last hour`;
  return `${cluster.status ?? "unknown"}: ${services}${unchecked}; ${tasks}.`;
}

/** ECS's `runningFargateTasksCount` is our `running_fargate_tasks`. */
function statisticsOf(cluster: Cluster): Record<string, number> {
  return Object.fromEntries(
    (cluster.statistics ?? []).flatMap(({ name, value }) => {
      const count = Number(value);
      if (!name || value === undefined || !Number.isInteger(count)) return [];
      const key = name
        .replace(/Count$/, "")
        .replace(/([a-z])([A-Z])/g, "$1_$2")
        .replace(/(EC2)([A-Z])/g, "$1_$2");
      return [[cleanText(key.toLowerCase(), 64), count]];
    }),
  );
}

function settingsOf(cluster: Cluster): Record<string, string> {
  const { executeCommandConfiguration, managedStorageConfiguration } = cluster.configuration ?? {};
  const facts: [string, string | undefined][] = [
    ["container_insights", containerInsightsOf(cluster)],
    ["service_connect_namespace", cluster.serviceConnectDefaults?.namespace],
    ["exec_logging", executeCommandConfiguration?.logging],
    ["exec_log_group", executeCommandConfiguration?.logConfiguration?.cloudWatchLogGroupName],
    ["storage_kms_key", managedStorageConfiguration?.kmsKeyId],
  ];
  return Object.fromEntries(facts.flatMap(([name, fact]) => (fact ? [[name, cleanText(fact, 256)]] : [])));
}
