import type { CapacityProviderStrategyItem, Deployment, Service, ServiceEvent } from "@aws-sdk/client-ecs";
import { cleanText } from "../../core/text.ts";
import { nameFromArn } from "./names.ts";

// How a service is doing, from what ECS says of it.

export const LAUNCH_TYPES = ["FARGATE", "EC2", "EXTERNAL"] as const;

/** What a text beside an identifier may cost in a row. */
export const SHORT = 48;

/** `web:42`; of a long family only the beginning. */
export function shortRevision(arn: string | undefined, max: number): string {
  const [family = "", revision] = nameFromArn(arn).split(":");
  return `${cleanText(family, max)}${revision === undefined ? "" : `:${cleanText(revision, 8)}`}`;
}

/** What tasks run on: a launch type, or the capacity providers with their weights. */
export function launchOf(thing: {
  launchType?: string | undefined;
  capacityProviderStrategy?: CapacityProviderStrategyItem[] | undefined;
}): string {
  const strategy = (thing.capacityProviderStrategy ?? []).map(strategyText);
  return strategy.length > 0 ? strategy.join(", ") : (thing.launchType ?? "");
}

export function strategyText({ capacityProvider, weight = 0, base = 0 }: CapacityProviderStrategyItem): string {
  return `${nameFromArn(capacityProvider)} weight ${weight}${base > 0 ? ` base ${base}` : ""}`;
}

/** The deployment a service is meant to be on; services with an outside deployment controller have none. */
export function primaryOf(service: Service): Deployment | undefined {
  return service.deployments?.find(({ status }) => status === "PRIMARY");
}

/** Whether somebody should look: too few tasks, too many, or a deployment that is not through. */
export function needsAttention(service: Service): boolean {
  const rollout = primaryOf(service)?.rolloutState;
  return (
    (service.runningCount ?? 0) !== (service.desiredCount ?? 0) || rollout === "FAILED" || rollout === "IN_PROGRESS"
  );
}

/** One sentence: how the service is, and why as far as ECS says. */
export function healthOf(service: Service): string {
  const { desiredCount = 0, runningCount = 0, pendingCount = 0 } = service;
  const counts = `${runningCount} of ${desiredCount} running${pendingCount > 0 ? `, ${pendingCount} pending` : ""}`;
  if (service.status === "DRAINING") return `Being deleted: ${counts}.`;
  const primary = primaryOf(service);
  const failed = primary?.failedTasks ? `, ${primary.failedTasks} failed` : "";
  const revision = nameFromArn(primary?.taskDefinition);
  const because = primary?.rolloutStateReason ? `: ${primary.rolloutStateReason.replace(/\.$/, "")}` : "";
  if (primary?.rolloutState === "FAILED") return `Deployment of ${revision} failed${because}; ${counts}.`;
  if (primary?.rolloutState === "IN_PROGRESS") {
    const done = `${primary.runningCount ?? 0} of ${primary.desiredCount ?? 0} new tasks running${failed}`;
    return `Deployment of ${revision} in progress: ${done}; in all ${counts}.`;
  }
  if (desiredCount === 0 && runningCount === 0) return "Scaled to zero: nothing is meant to run.";
  if (runningCount < desiredCount) return `Too few tasks: ${counts}.`;
  if (runningCount > desiredCount) return `More tasks than desired: ${counts}; the rest are being stopped.`;
  return `Steady: ${counts}.`;
}

export function latestFirst(events: readonly ServiceEvent[] = []): ServiceEvent[] {
  return [...events].sort((a, b) => (b.createdAt?.getTime() ?? 0) - (a.createdAt?.getTime() ?? 0));
}
