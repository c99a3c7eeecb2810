import type { Deployment, Service } from "@aws-sdk/client-ecs";
import { ToolError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import type { ReadContext } from "../../core/tool.ts";
import { pollUntil } from "../shared/poll.ts";
import type { ServicePlace } from "./names.ts";
import { findService } from "./service.ts";
import { shortName } from "./task-definition.ts";

// Watching a service after it was changed, until it is steady or has failed.

/** How long `wait` waits, in seconds; a little less than the call's own deadline. */
export const WAIT_S = 600;
const MAX_EVENTS = 5;
const MAX_EVENT = 240;
/** AWS's clock and ours may differ by that much. */
const CLOCK_SKEW_MS = 60_000;

export const OUTCOMES = ["in_progress", "steady", "failed", "rolled_back", "superseded", "not_watched"] as const;
type Outcome = (typeof OUTCOMES)[number];

/** What the change is to bring about. */
export interface Goal {
  /** The deployment it started, if it did. */
  deployment: string | undefined;
  /** `family:revision` the service is to run. */
  definition: string;
  desired: number;
  since: number;
}

export interface Watched {
  outcome: Outcome;
  service: Service | undefined;
  /** Why, in AWS's words; for `not_watched` in ours. */
  reason: string | undefined;
  events: string[];
  elapsedMs: number;
}

/** Never fails because of AWS: the change was accepted, and what went wrong is only the watching. */
export async function watch(goal: Goal, place: ServicePlace, context: ReadContext): Promise<Watched> {
  const seen = { goal: false };
  const last: Omit<Watched, "elapsedMs" | "events"> = { outcome: "in_progress", service: undefined, reason: undefined };
  const { elapsedMs } = await pollUntil({
    look: async () => {
      try {
        const { service } = await findService(place, context);
        Object.assign(last, { service, ...judge(service, goal, seen) });
      } catch (error) {
        if (context.signal.aborted || !(error instanceof ToolError)) throw error;
        // One that may go away by itself only postpones the next look.
        if (!error.retryable) Object.assign(last, { outcome: "not_watched", reason: error.message });
      }
    },
    done: () => last.outcome !== "in_progress",
    timeoutMs: WAIT_S * 1000,
    maxIntervalMs: 10_000,
    signal: context.signal,
    onLook: (_, elapsed) => context.progress(Math.round(elapsed / 1000), WAIT_S, progressOf(last.service, goal)),
  });
  return { ...last, events: eventsSince(last.service, goal.since), elapsedMs };
}

/** @param seen whether the service was seen as the change made it: until then, an old state may be just an old answer */
function judge(service: Service, goal: Goal, seen: { goal: boolean }): Pick<Watched, "outcome" | "reason"> {
  const deployments = service.deployments ?? [];
  const primary = deployments.find(({ status }) => status === "PRIMARY");
  const settled = service.runningCount === service.desiredCount && (service.pendingCount ?? 0) === 0;
  if (goal.deployment === undefined) {
    const reached = service.desiredCount === goal.desired;
    seen.goal ||= reached;
    if (!reached) return superseded(seen.goal, `the desired count is now ${service.desiredCount ?? 0}`);
    return { outcome: settled && deployments.length <= 1 ? "steady" : "in_progress", reason: undefined };
  }
  const own = deployments.find(({ id }) => id === goal.deployment);
  if (own?.rolloutState === "FAILED") return failed(own, primary, goal);
  if (own && own === primary) {
    seen.goal = true;
    const complete = own.rolloutState ? own.rolloutState === "COMPLETED" : settled && deployments.length === 1;
    return { outcome: complete ? "steady" : "in_progress", reason: undefined };
  }
  if (!primary || !seen.goal) return { outcome: "in_progress", reason: undefined };
  const other = shortName(primary.taskDefinition);
  if (other === goal.definition) return superseded(true, "another deployment of the same revision took its place");
  // ECS goes back to the last revision that ran well; somebody else's deployment looks alike but for its words.
  const back = /roll(ing|ed) back/i.test(primary.rolloutStateReason ?? "") || saysRollback(service, goal.since);
  if (back) return { outcome: "rolled_back", reason: primary.rolloutStateReason };
  return superseded(true, `the service is now to run ${other}`);
}

function failed(own: Deployment, primary: Deployment | undefined, goal: Goal): Pick<Watched, "outcome" | "reason"> {
  const back = primary !== undefined && primary !== own && shortName(primary.taskDefinition) !== goal.definition;
  return { outcome: back ? "rolled_back" : "failed", reason: own.rolloutStateReason };
}

function superseded(certain: boolean, reason: string): Pick<Watched, "outcome" | "reason"> {
  return certain ? { outcome: "superseded", reason } : { outcome: "in_progress", reason: undefined };
}

function saysRollback(service: Service, since: number): boolean {
  return eventsSince(service, since).some((message) => /rolling back/i.test(message));
}

/** The newest events since the change, newest first. */
function eventsSince(service: Service | undefined, since: number): string[] {
  return (service?.events ?? [])
    .filter(({ createdAt }) => createdAt !== undefined && createdAt.getTime() >= since - CLOCK_SKEW_MS)
    .sort((a, b) => (b.createdAt?.getTime() ?? 0) - (a.createdAt?.getTime() ?? 0))
    .slice(0, MAX_EVENTS)
    .map(({ message }) => cleanText(message ?? "", MAX_EVENT));
}

function progressOf(service: Service | undefined, goal: Goal): string {
  const { runningCount = 0, desiredCount = goal.desired, pendingCount = 0, deployments } = service ?? {};
  const failedTasks = deployments?.find(({ id }) => id === goal.deployment)?.failedTasks ?? 0;
  const failures = failedTasks > 0 ? `, ${failedTasks} failed` : "";
  return `${runningCount} of ${desiredCount} running, ${pendingCount} pending${failures}`;
}
