import type { Deployment, LoadBalancer, Service, ServiceEvent, TaskSet } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { Autoscaling, autoscalingOf } from "./autoscaling.ts";
import { stoppedTasks } from "./batches.ts";
import { agreeing, ClusterName, nameFromArn, ServiceName, servicePlace, serviceSubject } from "./names.ts";
import { healthOf, latestFirst, launchOf } from "./running.ts";
import { findService } from "./service.ts";
import { groupStopped, groupText } from "./stopped.ts";

const DeploymentDetail = z.object({
  status: z.string(),
  rollout: z.string().optional(),
  why: z.string().optional(),
  task_definition: z.string(),
  desired: z.int(),
  running: z.int(),
  pending: z.int(),
  failed: z.int(),
  created: z.string().optional(),
  updated: z.string().optional(),
});

const output = z.object({
  service: z.string(),
  cluster: z.string(),
  region: z.string(),
  account: z.string(),
  summary: z.string(),
  status: z.string(),
  desired: z.int(),
  running: z.int(),
  pending: z.int(),
  task_definition: z.string(),
  deployments: z.array(DeploymentDetail),
  deployments_omitted: z.int().optional(),
  events: z.array(z.string()),
  events_omitted: z.int().optional(),
  stopped_tasks: z.array(z.string()),
  stopped_tasks_omitted: z.int().optional(),
  load_balancers: z.array(z.string()),
  autoscaling: Autoscaling.optional(),
  config: z.record(z.string(), z.string()),
  tags: z.record(z.string(), z.string()),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

const MAX_DEPLOYMENTS = 5;
const MAX_EVENTS = 10;
const MAX_GROUPS = 8;
const MAX_LOAD_BALANCERS = 10;

export const describeService = defineTool({
  name: "ecs_describe_service",
  title: "Describe an ECS service",
  description:
    "How one ECS service is doing and why: desired, running and pending tasks, deployments with rollout state, last events, why its tasks stopped lately, load balancers, autoscaling bounds, configuration. Next: ecs_list_tasks, ecs_describe_task, ecs_get_container_insights.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ecs:DescribeServices", resource: "service" },
    { action: "ecs:ListTasks", resource: "container-instance" },
    { action: "ecs:DescribeTasks", resource: "task" },
    { action: "application-autoscaling:DescribeScalableTargets" },
    { action: "application-autoscaling:DescribeScalingPolicies" },
  ],
  input: agreeing(z.strictObject({ cluster: ClusterName, service: ServiceName, region })),
  output,
  example: { cluster: "prod", service: "web" },
  subject: serviceSubject,
  async handler(given, context) {
    const place = servicePlace(given, context.aws.regionOf);
    const { service, account } = await findService(place, context);
    const errors: PartialError[] = [];
    const report = (thrown: unknown) => void errors.push(partialError(place.region, thrown));
    const [stopped, autoscaling] = await Promise.all([
      stoppedTasks(place, context, report),
      autoscalingOf(place, context, report),
    ]);
    const { loadBalancers = [] } = service;
    const deployments = deploymentsOf(service);
    const events = latestFirst(service.events);
    const groups = groupStopped(stopped);
    return {
      service: place.service,
      cluster: place.cluster,
      region: place.region,
      account,
      summary: `${healthOf(service)}${atMaximum(service, autoscaling)}`,
      status: service.status ?? "unknown",
      desired: service.desiredCount ?? 0,
      running: service.runningCount ?? 0,
      pending: service.pendingCount ?? 0,
      task_definition: nameFromArn(service.taskDefinition) || (deployments[0]?.task_definition ?? ""),
      deployments: deployments.slice(0, MAX_DEPLOYMENTS),
      ...omitted("deployments", deployments.length, MAX_DEPLOYMENTS),
      events: events.slice(0, MAX_EVENTS).map(eventText),
      ...omitted("events", events.length, MAX_EVENTS),
      stopped_tasks: groups.slice(0, MAX_GROUPS).map(groupText),
      ...omitted("stopped_tasks", groups.length, MAX_GROUPS),
      load_balancers: loadBalancers.slice(0, MAX_LOAD_BALANCERS).map(loadBalancerText),
      ...(autoscaling && { autoscaling }),
      config: configOf(service),
      tags: shownTags(service.tags),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

function omitted(what: string, count: number, shown: number): Record<string, number> {
  return count > shown ? { [`${what}_omitted`]: count - shown } : {};
}

function eventText({ createdAt, message = "" }: ServiceEvent): string {
  return `${createdAt ? `${createdAt.toISOString()} ` : ""}${cleanText(message, 400)}`;
}

/** Under an outside deployment controller (CodeDeploy, say) a service has task sets instead. */
function deploymentsOf({ deployments = [], taskSets = [] }: Service): z.input<typeof DeploymentDetail>[] {
  return deployments.length > 0 ? deployments.map(deploymentOf) : taskSets.map(taskSetOf);
}

function taskSetOf(taskSet: TaskSet): z.input<typeof DeploymentDetail> {
  return deploymentOf({
    ...taskSet,
    desiredCount: taskSet.computedDesiredCount,
    rolloutState: undefined,
    rolloutStateReason: taskSet.stabilityStatus,
  });
}

function atMaximum({ desiredCount = 0 }: Service, bounds: z.input<typeof Autoscaling> | undefined): string {
  if (!bounds || desiredCount < bounds.max || bounds.max === bounds.min) return "";
  return ` Autoscaling is at its maximum of ${bounds.max}.`;
}

function deploymentOf(deployment: Deployment): z.input<typeof DeploymentDetail> {
  return {
    status: deployment.status ?? "unknown",
    ...(deployment.rolloutState && { rollout: deployment.rolloutState }),
    ...(deployment.rolloutStateReason && { why: cleanText(deployment.rolloutStateReason, 300) }),
    task_definition: nameFromArn(deployment.taskDefinition),
    desired: deployment.desiredCount ?? 0,
    running: deployment.runningCount ?? 0,
    pending: deployment.pendingCount ?? 0,
    failed: deployment.failedTasks ?? 0,
    ...(deployment.createdAt && { created: deployment.createdAt.toISOString() }),
    ...(deployment.updatedAt && { updated: deployment.updatedAt.toISOString() }),
  };
}

/** `web:8080 → target group tg-web` */
function loadBalancerText({
  containerName = "",
  containerPort,
  targetGroupArn,
  loadBalancerName,
}: LoadBalancer): string {
  const [, targetGroup = ""] = targetGroupArn?.split("/") ?? [];
  const target = targetGroupArn ? `target group ${targetGroup}` : `load balancer ${loadBalancerName ?? ""}`;
  return cleanText(`${containerName}:${containerPort ?? "?"} → ${target}`, 400);
}

function configOf(service: Service): Record<string, string> {
  const { deploymentConfiguration: how, networkConfiguration, deploymentController } = service;
  const network = networkConfiguration?.awsvpcConfiguration;
  const breaker = how?.deploymentCircuitBreaker;
  const healthy = [how?.minimumHealthyPercent, how?.maximumPercent];
  const facts: [string, string | undefined][] = [
    ["launch", launchOf(service)],
    ["platform_version", service.platformVersion],
    ["scheduling", service.schedulingStrategy],
    ["deployment_controller", deploymentController?.type],
    ["deployment_strategy", how?.strategy],
    ["healthy_percent", healthy.every((bound) => bound === undefined) ? undefined : healthy.join(" to ")],
    ["circuit_breaker", breaker && (breaker.enable ? `on, rollback ${breaker.rollback ? "on" : "off"}` : "off")],
    ["deployment_alarms", how?.alarms?.enable ? how.alarms.alarmNames?.slice(0, 5).join(", ") : undefined],
    ["health_check_grace_period_s", service.healthCheckGracePeriodSeconds?.toString()],
    ["subnets", network?.subnets?.slice(0, 16).join(", ")],
    ["security_groups", network?.securityGroups?.slice(0, 5).join(", ")],
    ["public_ip", network?.assignPublicIp],
    ["exec", service.enableExecuteCommand ? "enabled" : undefined],
    ["created", service.createdAt?.toISOString()],
  ];
  return Object.fromEntries(facts.flatMap(([name, fact]) => (fact ? [[name, cleanText(fact, 512)]] : [])));
}
