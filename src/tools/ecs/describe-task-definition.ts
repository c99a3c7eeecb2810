import type { TaskDefinition } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { ContainerView, cut, firstOf, named, parts, viewContainer, viewVolume } from "./container-view.ts";
import { changesBetween, MAX_CHANGES } from "./definition-diff.ts";
import {
  agreeingRegion,
  definitionPlace,
  definitionSubject,
  findDefinition,
  nameOfDefinition,
  resourcesOf,
  statusOf,
  TaskDefinitionName,
} from "./task-definition.ts";

const MAX_CONTAINERS = 20;
const MAX_VOLUMES = 30;

const output = z.object({
  task_definition: z.string(),
  status: z.string(),
  summary: z.string(),
  region: z.string(),
  account: z.string(),
  resources: z.string().optional(),
  network_mode: z.string().optional(),
  launch_types: z.array(z.string()).optional(),
  platform: z.string().optional(),
  task_role: z.string().optional(),
  execution_role: z.string().optional(),
  containers: z.array(ContainerView),
  containers_omitted: z.int().optional(),
  volumes: z.array(z.string()).optional(),
  hidden: z.array(z.string()).optional(),
  compared_to: z.string().optional(),
  changes: z.array(z.string()).optional(),
  registered: z.string().optional(),
  registered_by: z.string().optional(),
  deregistered: z.string().optional(),
  tags: z.record(z.string(), z.string()),
  as_of: z.string(),
});

export const describeTaskDefinition = defineTool({
  name: "ecs_describe_task_definition",
  title: "Describe a task definition",
  description:
    "One revision: images, ports, names of environment variables, where secrets come from, log group, roles, CPU and memory. Values that could be secret (environment, commands, labels, options) are never shown. compare_to lists what differs from another revision.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [{ action: "ecs:DescribeTaskDefinition" }],
  input: agreeingRegion(
    z.strictObject({
      task_definition: TaskDefinitionName,
      region,
      compare_to: z.int().min(1).max(9_999_999_999).optional().describe("Another revision's number"),
    }),
  ),
  output,
  example: { task_definition: "web:42", compare_to: 41 },
  subject: definitionSubject,
  async handler(given, context) {
    const place = definitionPlace(given, context.aws.regionOf);
    const [family = ""] = place.id.split(":");
    const [found, other] = await Promise.all([
      findDefinition(place, context),
      given.compare_to && findDefinition({ ...place, id: `${family}:${given.compare_to}` }, context),
    ]);
    const { definition } = found;
    const changes = other ? changesBetween(other.definition, definition) : undefined;
    return {
      ...viewOf(definition),
      region: place.region,
      account: found.account,
      ...(other &&
        changes && { compared_to: nameOfDefinition(other.definition), changes: firstOf(changes, MAX_CHANGES) }),
      tags: shownTags(Object.entries(found.tags).map(([key, value]) => ({ key, value }))),
      as_of: new Date().toISOString(),
    };
  },
});

/** The definition as a reader may see it. */
function viewOf(definition: TaskDefinition) {
  const containers = definition.containerDefinitions ?? [];
  const volumes = definition.volumes ?? [];
  const { runtimePlatform, registeredAt, registeredBy, deregisteredAt, networkMode, requiresCompatibilities } =
    definition;
  const platform = [runtimePlatform?.operatingSystemFamily, runtimePlatform?.cpuArchitecture].filter(Boolean).join("/");
  const resources = resourcesOf(definition);
  const hidden = hiddenIn(definition);
  const shown = containers.slice(0, MAX_CONTAINERS);
  return {
    task_definition: nameOfDefinition(definition),
    status: statusOf(definition),
    summary: summaryOf(definition),
    ...(resources && { resources }),
    ...(networkMode && { network_mode: networkMode }),
    ...(requiresCompatibilities?.length && { launch_types: requiresCompatibilities }),
    ...(platform && { platform }),
    ...(definition.taskRoleArn && { task_role: roleName(definition.taskRoleArn) }),
    ...(definition.executionRoleArn && { execution_role: roleName(definition.executionRoleArn) }),
    containers: shown.map((container) => viewContainer(container, shown.length)),
    ...(containers.length > shown.length && { containers_omitted: containers.length - shown.length }),
    ...(volumes.length > 0 && { volumes: firstOf(volumes.map(viewVolume), MAX_VOLUMES) }),
    ...(hidden.length > 0 && { hidden }),
    ...(registeredAt && { registered: registeredAt.toISOString() }),
    ...(registeredBy && { registered_by: roleName(registeredBy) }),
    ...(deregisteredAt && { deregistered: deregisteredAt.toISOString() }),
  };
}

function summaryOf(definition: TaskDefinition): string {
  const containers = definition.containerDefinitions ?? [];
  const plain = containers.reduce((sum, { environment }) => sum + (environment?.length ?? 0), 0);
  const secret = containers.reduce((sum, { secrets }) => sum + (secrets?.length ?? 0), 0);
  const privileged = containers.some((container) => container.privileged);
  return [
    `${statusOf(definition)} with ${containers.length} container${containers.length === 1 ? "" : "s"}`,
    `${plain} plain environment variables, ${secret} from secret stores`,
    ...(statusOf(definition) === "ACTIVE" ? [] : ["it cannot be used for new tasks or deployments"]),
    ...(privileged ? ["a container runs privileged"] : []),
  ].join("; ");
}

/** Of the task itself: what is there but not shown. */
function hiddenIn(definition: TaskDefinition): string[] {
  return [
    ...named(
      "proxy properties",
      (definition.proxyConfiguration?.properties ?? []).map(({ name }) => name ?? ""),
    ),
    ...parts("placement constraints", definition.placementConstraints),
    ...parts("inference accelerators", definition.inferenceAccelerators),
  ];
}

/** The last parts of a role's or user's ARN: `assumed-role/deploy/ci`, `web-task`. */
function roleName(arn: string): string {
  return cut(arn.replace(/^arn:[^/]*:(role\/)?/, ""), 200);
}
