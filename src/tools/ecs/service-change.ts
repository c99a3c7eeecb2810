import type { Service } from "@aws-sdk/client-ecs";
import type { Resource } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext, Site } from "../../core/tool.ts";
import { tagsOf } from "../shared/tags.ts";
import { scalingSdk } from "./autoscaling.ts";
import { cut } from "./container-view.ts";
import { isAllowedImage, parseImage } from "./image.ts";
import type { ServicePlace } from "./names.ts";
import { findService, sdk } from "./service.ts";
import {
  type Found,
  findDefinition,
  nameOfDefinition,
  parseTaskDefinition,
  shortName,
  statusOf,
} from "./task-definition.ts";

// What a service is before it is changed, what becomes of it, and what forbids that.

export interface Wanted {
  desired_count?: number | undefined;
  force_new_deployment: boolean;
  task_definition?: string | undefined;
  allow_zero: boolean;
  beyond_limit: boolean;
}

/** All that a decision about the service needs; looked up once. */
export interface Facts {
  service: Service;
  /** What it runs; absent if that was deleted, or if it runs task sets of its own. */
  present: Found | undefined;
  /** What it is to run, if that was named. */
  next: Found | undefined;
  /** Bounds of Application Auto Scaling; `unknown` when AWS would not say. */
  scaling: { min: number; max: number } | "none" | "unknown";
}

/** @throws ToolError `not_found` for the service, its cluster or the named task definition */
export async function lookupService(
  given: Wanted,
  place: ServicePlace,
  context: ReadContext,
): Promise<Resource<Facts>> {
  const { service, account } = await findService(place, context);
  const running = shortName(service.taskDefinition);
  const [clusterTags, present, next, scaling] = await Promise.all([
    tagsOfCluster(place, context),
    running === ""
      ? undefined
      : findDefinition({ id: running, region: place.region, account: undefined }, context).catch(gone),
    given.task_definition === undefined ? undefined : findNext(given.task_definition, place, account, context),
    given.desired_count === undefined ? ("none" as const) : scalingOf(place, context),
  ]);
  return {
    type: "ecs:service",
    id: `${place.cluster}/${place.service}`,
    region: place.region,
    account,
    tags: tagsOf(service.tags),
    state: stateOf(service),
    name: undefined,
    made: service.createdAt?.toISOString(),
    partOf: [
      { type: "ecs:cluster", id: place.cluster, tags: clusterTags },
      // What runs now is as much part of it as what is to run.
      ...[present, next].flatMap((found) =>
        found ? [{ type: "ecs:task-definition", id: nameOfDefinition(found.definition), tags: found.tags }] : [],
      ),
    ],
    data: { service, present, next, scaling },
  };
}

function gone(error: unknown): undefined {
  if (!(error instanceof ToolError) || error.kind !== "not_found") throw error;
}

function findNext(text: string, { region }: ServicePlace, account: string, context: ReadContext): Promise<Found> {
  const named = parseTaskDefinition(text);
  if ((named?.region ?? region) !== region || (named?.account ?? account) !== account) {
    throw new ToolError("invalid_input", "task_definition: the ARN is of another region or account than the service.", {
      nextStep: "Name a revision of the service's own family, such as web:7.",
    });
  }
  const id = named?.revision ? `${named.family}:${named.revision}` : (named?.family ?? "");
  return findDefinition({ id, region, account: undefined }, context);
}

async function tagsOfCluster({ cluster, region }: ServicePlace, { aws }: ReadContext): Promise<Record<string, string>> {
  const { DescribeClustersCommand, ECSClient } = await sdk();
  const command = new DescribeClustersCommand({ clusters: [cluster], include: ["TAGS"] });
  return tagsOf((await aws.client(ECSClient, region).send(command)).clusters?.[0]?.tags);
}

/** Only says what autoscaling will do; a service may be changed without it. */
async function scalingOf({ cluster, service, region }: ServicePlace, { aws }: ReadContext): Promise<Facts["scaling"]> {
  const { ApplicationAutoScalingClient, DescribeScalableTargetsCommand } = await scalingSdk();
  const command = new DescribeScalableTargetsCommand({
    ServiceNamespace: "ecs",
    ResourceIds: [`service/${cluster}/${service}`],
    ScalableDimension: "ecs:service:DesiredCount",
  });
  try {
    const answer = await aws.client(ApplicationAutoScalingClient, region).send(command);
    const { MinCapacity: min, MaxCapacity: max } = answer.ScalableTargets?.[0] ?? {};
    return min === undefined || max === undefined ? "none" : { min, max };
  } catch (error) {
    if (!(error instanceof ToolError) || error.kind === "cancelled") throw error;
    return "unknown";
  }
}

/** What this call does to the service: only what differs from what is so already. */
export interface Plan {
  before: string;
  after: string;
  desired: { from: number; to: number } | undefined;
  definition: { from: string; to: string } | undefined;
  force: boolean;
}

export function planOf(given: Wanted, { service, next }: Facts): Plan {
  const [count, running] = [service.desiredCount ?? 0, shortName(service.taskDefinition)];
  const to = given.desired_count ?? count;
  const wanted = next ? nameOfDefinition(next.definition) : running;
  return {
    before: stateOf(service),
    after: stateText(to, wanted),
    desired: to === count ? undefined : { from: count, to },
    definition: wanted === running ? undefined : { from: running, to: wanted },
    force: given.force_new_deployment,
  };
}

/** How many tasks the call touches: the larger of those there are and those asked for. */
export function tasksAffected({ desired }: Plan, { service }: Facts): number {
  return Math.max(1, service.desiredCount ?? 0, service.runningCount ?? 0, desired?.to ?? 0);
}

/** How grave a change is, besides being a write. */
export function effectsOf(plan: Plan, { service, present }: Facts): ("destructive" | "deploy")[] {
  const replaces = plan.definition !== undefined || plan.force;
  const stopsAll = plan.desired?.to === 0 || (replaces && service.deploymentConfiguration?.minimumHealthyPercent === 0);
  const newCode = plan.definition !== undefined || (plan.force && !isPinned(present));
  return [...(stopsAll ? (["destructive"] as const) : []), ...(newCode ? (["deploy"] as const) : [])];
}

/** Whether tasks started anew run the same code: a tag may have moved to another image since. */
function isPinned(found: Found | undefined): boolean {
  const images = found?.definition.containerDefinitions?.map(({ image = "" }) => parseImage(image)) ?? [];
  return images.length > 0 && images.every((image) => image?.digest !== undefined);
}

export function stateOf({ desiredCount, taskDefinition }: Service): string {
  return stateText(desiredCount ?? 0, shortName(taskDefinition));
}

function stateText(desired: number, definition: string): string {
  return `desired ${desired}${definition ? `, ${definition}` : ""}`;
}

/** What autoscaling is going to do about the count that is set; undefined if nothing. */
export function scalingNote(plan: Plan, { scaling }: Facts): string | undefined {
  if (plan.desired === undefined || scaling === "none") return undefined;
  if (scaling === "unknown") return "Whether the service scales by itself could not be found out.";
  const { min, max } = scaling;
  const { to } = plan.desired;
  const bounds = `Application Auto Scaling keeps it between ${min} and ${max}`;
  if (to >= min && to <= max) return `${bounds}, and may change the count again.`;
  return `${bounds}: it will undo ${to}. Change those bounds to make it last.`;
}

/**
 * Refuses what must not happen to this service.
 * @throws ToolError `conflict`
 */
export function refuse(given: Wanted, plan: Plan, { id, data }: Resource<Facts>, site: Site): void {
  const { service, present, next } = data;
  if (service.status !== undefined && service.status !== "ACTIVE") {
    throw conflict(`${id} is ${cut(service.status)}.`, "It is being deleted; nothing can be changed any more.");
  }
  const controller = service.deploymentController?.type ?? "ECS";
  if (controller !== "ECS" && (plan.definition || plan.force)) {
    throw conflict(
      `Deployments of ${id} are made by ${controller === "CODE_DEPLOY" ? "CodeDeploy" : "an external controller"}, not by ECS.`,
      "Change only desired_count here; deploy with the tool that controls the service.",
    );
  }
  if (plan.desired) refuseCount(given, plan.desired, service, id, site);
  if (plan.definition && next) refuseDefinition(plan.definition, next, present, site);
}

function refuseCount(
  given: Wanted,
  { from, to }: { from: number; to: number },
  service: Service,
  id: string,
  { maxScaleFactor }: Site,
): void {
  if (service.schedulingStrategy === "DAEMON") {
    throw conflict(`${id} runs one task on every instance (DAEMON) and has no count.`, "Leave desired_count out.");
  }
  if (to === 0 && !given.allow_zero) {
    throw conflict(
      `desired_count 0 stops every task of ${id}.`,
      "If the user wants the service down, repeat with allow_zero: true.",
    );
  }
  // Nothing or one task says little about a service's size, so from there it may grow to what the factor makes of one.
  const most = Math.max(from, 1) * maxScaleFactor;
  if (to > most && !given.beyond_limit) {
    throw conflict(
      `${to} tasks are more than ${maxScaleFactor} times the present ${from}; in one call up to ${most} are allowed.`,
      "Scale in steps, or, if the user wants exactly that, repeat with beyond_limit: true.",
    );
  }
}

function refuseDefinition(
  change: { from: string; to: string },
  next: Found,
  present: Found | undefined,
  site: Site,
): void {
  const [family, own] = [change.to, change.from].map((name) => name.split(":")[0] ?? "");
  if (family !== own) {
    throw conflict(
      `${change.to} is of another family than ${change.from}.`,
      "Name a revision of the service's own family.",
    );
  }
  if (statusOf(next.definition) !== "ACTIVE") {
    throw conflict(
      `${change.to} is ${cut(statusOf(next.definition))} and cannot be deployed.`,
      "Choose an ACTIVE revision, or make one of it with ecs_register_task_definition.",
    );
  }
  const inUse = (present?.definition.containerDefinitions ?? []).flatMap(({ image }) => image ?? []);
  for (const { name, image = "" } of next.definition.containerDefinitions ?? []) {
    if (inUse.includes(image) || isAllowedImage(image, inUse, site.imageRepositories)) continue;
    throw conflict(
      `The image of ${cut(name)} in ${change.to} is from a repository that is not allowed here.`,
      "Use a repository the service runs already, or ask whoever runs the server to allow it (image_repositories).",
    );
  }
}

function conflict(message: string, nextStep: string): ToolError {
  return new ToolError("conflict", message, { nextStep });
}
