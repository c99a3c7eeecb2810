import type { Container, Task } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { imageOf } from "./container-view.ts";
import {
  accountFromArn,
  agreeing,
  ClusterName,
  inAccount,
  nameFromArn,
  TaskId,
  type TaskPlace,
  taskPlace,
  taskSubject,
} from "./names.ts";
import { inThere, sdk } from "./service.ts";
import { endOf, ownerOf, whyStopped } from "./stopped.ts";

const ContainerDetail = z.object({
  name: z.string(),
  status: z.string(),
  health: z.string().optional(),
  exit_code: z.int().optional(),
  explanation: z.string().optional(),
  image: z.string(),
  image_digest: z.string().optional(),
  addresses: z.array(z.string()).optional(),
});

const output = z.object({
  task: z.string(),
  cluster: z.string(),
  region: z.string(),
  account: z.string(),
  summary: z.string(),
  status: z.string(),
  desired_status: z.string(),
  health: z.string().optional(),
  stop_code: z.string().optional(),
  stopped_reason: z.string().optional(),
  containers: z.array(ContainerDetail),
  containers_omitted: z.int().optional(),
  of: z.string(),
  task_definition: z.string(),
  times: z.record(z.string(), z.string()),
  placement: z.record(z.string(), z.string()),
  overrides: z.array(z.string()).optional(),
  tags: z.record(z.string(), z.string()),
  as_of: z.string(),
});

/** ECS allows ten containers in a task definition; agents and sidecars it adds come on top. */
const MAX_CONTAINERS = 30;
const MAX_ADDRESSES = 10;

export const describeTask = defineTool({
  name: "ecs_describe_task",
  title: "Describe an ECS task",
  description:
    "Everything about one ECS task, running or stopped in about the last hour: containers with health, exit codes and what they mean, stop reason, times, placement and addresses, what was overridden (names only). ecs_list_tasks finds tasks.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [{ action: "ecs:DescribeTasks", resource: "task" }],
  input: agreeing(z.strictObject({ cluster: ClusterName, task: TaskId, region })),
  output,
  example: { cluster: "prod", task: "0123456789abcdef0123456789abcdef" },
  subject: taskSubject,
  async handler(given, context) {
    const place = taskPlace(given, context.aws.regionOf);
    const task = await findTask(place, context);
    const containers = task.containers ?? [];
    const overrides = overridesOf(task);
    return {
      task: place.task,
      cluster: place.cluster,
      region: place.region,
      account: accountFromArn(task.taskArn),
      summary: summaryOf(task),
      status: task.lastStatus ?? "unknown",
      desired_status: task.desiredStatus ?? "unknown",
      ...(task.healthStatus && task.healthStatus !== "UNKNOWN" && { health: task.healthStatus }),
      ...(task.stopCode && { stop_code: task.stopCode }),
      ...(task.stoppedReason && { stopped_reason: cleanText(task.stoppedReason) }),
      containers: containers.slice(0, MAX_CONTAINERS).map(containerOf),
      ...(containers.length > MAX_CONTAINERS && { containers_omitted: containers.length - MAX_CONTAINERS }),
      of: ownerOf(task),
      task_definition: nameFromArn(task.taskDefinitionArn),
      times: timesOf(task),
      placement: placementOf(task),
      ...(overrides.length > 0 && { overrides }),
      tags: shownTags(task.tags),
      as_of: new Date().toISOString(),
    };
  },
});

/** @throws ToolError `not_found`; ECS answers 200 for a task it does not know, or no longer */
async function findTask(place: TaskPlace, { aws }: ReadContext): Promise<Task> {
  const { DescribeTasksCommand, ECSClient } = await sdk();
  const command = new DescribeTasksCommand({ cluster: place.cluster, tasks: [place.task], include: ["TAGS"] });
  const answer = await aws.client(ECSClient, place.region).send(command).catch(inThere(place));
  const task = answer.tasks?.find((candidate) => nameFromArn(candidate.taskArn) === place.task);
  if (task && inAccount(place, task.taskArn)) return task;
  throw new ToolError("not_found", `There is no task ${place.task} in cluster ${place.cluster} in ${place.region}.`, {
    nextStep:
      "ECS forgets tasks about an hour after they stop; ecs_list_tasks shows those it knows, with status STOPPED the stopped ones.",
  });
}

function summaryOf(task: Task): string {
  const status = task.lastStatus ?? "unknown";
  if (task.stoppedAt || task.desiredStatus === "STOPPED") {
    return `${status === "STOPPED" ? "Stopped" : `Stopping (${status})`}: ${whyStopped(task)}.`;
  }
  const unwell = (task.containers ?? []).filter(({ healthStatus }) => healthStatus === "UNHEALTHY");
  const health =
    unwell.length > 0
      ? `, unhealthy containers: ${unwell.map(({ name }) => name).join(", ")}`
      : task.healthStatus === "HEALTHY"
        ? ", healthy"
        : "";
  return `${status}${health}.`;
}

function containerOf(container: Container): z.input<typeof ContainerDetail> {
  const explanation = endOf(container);
  const addresses = [
    ...(container.networkInterfaces ?? []).flatMap((one) => [one.privateIpv4Address, one.ipv6Address]),
    ...(container.networkBindings ?? []).map(
      ({ bindIP = "", hostPort, hostPortRange, containerPort, containerPortRange }) =>
        `${bindIP}:${hostPort ?? hostPortRange ?? "?"} → ${containerPort ?? containerPortRange ?? "?"}`,
    ),
  ].flatMap((address) => (address ? [address] : []));
  return {
    name: cleanText(container.name ?? "", 255),
    status: container.lastStatus ?? "unknown",
    ...(container.healthStatus && container.healthStatus !== "UNKNOWN" && { health: container.healthStatus }),
    ...(typeof container.exitCode === "number" && { exit_code: container.exitCode }),
    ...(explanation && { explanation: cleanText(explanation, 400) }),
    image: container.image === undefined ? "" : cleanText(imageOf(container.image), 300),
    ...(container.imageDigest && { image_digest: cleanText(container.imageDigest, 100) }),
    ...(addresses.length > 0 && { addresses: addresses.slice(0, MAX_ADDRESSES) }),
  };
}

/** What happened when, in the order of a task's life. */
function timesOf(task: Task): Record<string, string> {
  const times: [string, Date | undefined][] = [
    ["created", task.createdAt],
    ["pull_started", task.pullStartedAt],
    ["pull_stopped", task.pullStoppedAt],
    ["started", task.startedAt],
    ["stopping", task.stoppingAt],
    ["execution_stopped", task.executionStoppedAt],
    ["stopped", task.stoppedAt],
  ];
  return Object.fromEntries(times.flatMap(([name, time]) => (time ? [[name, time.toISOString()]] : [])));
}

function placementOf(task: Task): Record<string, string> {
  const network = new Map(
    (task.attachments ?? [])
      .filter(({ type }) => type === "ElasticNetworkInterface")
      .flatMap(({ details = [] }) => details.map(({ name = "", value = "" }) => [name, value])),
  );
  const facts: [string, string | undefined][] = [
    ["launch_type", task.launchType],
    ["capacity_provider", task.capacityProviderName],
    ["platform_version", task.platformVersion],
    ["cpu_units", task.cpu],
    ["memory_mib", task.memory],
    ["az", task.availabilityZone],
    ["container_instance", nameFromArn(task.containerInstanceArn)],
    ["connectivity", task.connectivity],
    ["started_by", task.startedBy],
    ["private_ip", network.get("privateIPv4Address")],
    ["subnet_id", network.get("subnetId")],
    ["network_interface_id", network.get("networkInterfaceId")],
    ["exec", task.enableExecuteCommand ? "enabled" : undefined],
  ];
  return Object.fromEntries(facts.flatMap(([name, fact]) => (fact ? [[name, cleanText(fact, 256)]] : [])));
}

/** What was set for this run alone, by name: the values of commands and environments may be secrets. */
function overridesOf(task: Task): string[] {
  const { containerOverrides = [], taskRoleArn, executionRoleArn, cpu, memory } = task.overrides ?? {};
  const containers = containerOverrides.flatMap((one) => {
    const names = (one.environment ?? []).map(({ name = "" }) => name);
    const parts = [
      ...(one.command?.length ? ["command"] : []),
      ...(names.length > 0 ? [`environment ${names.join(", ")}`] : []),
      ...(one.environmentFiles?.length ? [`${one.environmentFiles.length} environment files`] : []),
      ...(one.cpu ? [`${one.cpu} CPU units`] : []),
      ...(one.memory ? [`${one.memory} MiB`] : []),
    ];
    return parts.length > 0 ? [cleanText(`${one.name ?? ""}: ${parts.join("; ")}`, 300)] : [];
  });
  return [
    ...containers.slice(0, MAX_CONTAINERS),
    ...(taskRoleArn ? [`task role ${nameFromArn(taskRoleArn)}`] : []),
    ...(executionRoleArn ? [`execution role ${nameFromArn(executionRoleArn)}`] : []),
    ...(cpu ? [`${cpu} CPU units`] : []),
    ...(memory ? [`${memory} MiB`] : []),
  ];
}
