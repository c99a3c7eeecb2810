import type { Service } from "@aws-sdk/client-ecs";
import * as z from "zod";
import type { Resource } from "../../core/call.ts";
import { cleanText } from "../../core/text.ts";
import { defineTool, type WriteContext } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { cut, imageOf } from "./container-view.ts";
import { agreeing, ClusterName, ServiceName, servicePlace, serviceSubject } from "./names.ts";
import { type Goal, OUTCOMES, WAIT_S, type Watched, watch } from "./rollout.ts";
import { sdk } from "./service.ts";
import {
  effectsOf,
  type Facts,
  lookupService,
  type Plan,
  planOf,
  refuse,
  scalingNote,
  stateOf,
  tasksAffected,
} from "./service-change.ts";
import { parseTaskDefinition, shortName, TaskDefinitionName } from "./task-definition.ts";

const input = agreeing(
  z.strictObject({
    cluster: ClusterName,
    service: ServiceName,
    region,
    desired_count: z.int().min(0).max(5_000).optional(),
    task_definition: TaskDefinitionName.optional(),
    force_new_deployment: z.boolean().default(false).describe("Replace all tasks"),
    allow_zero: z.boolean().default(false).describe("If the user wants it down"),
    beyond_limit: z.boolean().default(false).describe("If the user wants so many"),
    wait: z.boolean().default(false).describe("Until steady or failed (up to 10 minutes)"),
    dry_run: z.boolean().default(false).describe("Only check"),
  }),
).refine(
  (given) => given.desired_count !== undefined || given.task_definition !== undefined || given.force_new_deployment,
  {
    path: ["desired_count"],
    message: "nothing to change: give desired_count, task_definition or force_new_deployment",
  },
);
type Input = z.output<typeof input>;

const output = z.object({
  service: z.string(),
  cluster: z.string(),
  region: z.string(),
  previous_state: z.string(),
  current_state: z.string(),
  changed: z.boolean(),
  rollback_task_definition: z.string().optional(),
  deployment_id: z.string().optional(),
  rollout: z.enum(OUTCOMES).optional(),
  events: z.array(z.string()).optional(),
  autoscaling: z.string().optional(),
  waited_s: z.number().optional(),
  message: z.string(),
});
type Reply = z.input<typeof output>;

export const updateService = defineTool({
  name: "ecs_update_service",
  title: "Update an ECS service",
  description:
    "Scale a service, deploy another revision of its task definition, or force a new deployment. Returns state before and after and the revision to roll back to. Refuses zero and large steps unless told. Without wait, follow it with ecs_describe_service.",
  service: "ecs",
  effect: "write",
  idempotent: false,
  iam: [
    { action: "ecs:DescribeServices", resource: "service" },
    { action: "ecs:DescribeClusters", resource: "cluster" },
    { action: "ecs:DescribeTaskDefinition" },
    { action: "application-autoscaling:DescribeScalableTargets" },
    { action: "ecs:UpdateService", resource: "service" },
    {
      action: "iam:PassRole",
      resource: "role",
      condition: { StringEquals: { "iam:PassedToService": "ecs-tasks.amazonaws.com" } },
      impliedBy: "Grant a user permissions to pass a role to an AWS service (IAM User Guide)",
      effect: "deploy",
    },
  ],
  input,
  output,
  example: { cluster: "prod", service: "web", task_definition: "web:42", wait: true },
  deadlineS: (given) => (given.wait ? WAIT_S + 30 : undefined),
  waits: (given) => given.wait,
  dryRun: (given) => given.dry_run,
  raised: {
    to: ["destructive", "deploy"],
    when: (given, resource: Resource<Facts>) => effectsOf(planOf(given, resource.data), resource.data),
  },
  affects: (given, { data }) => tasksAffected(planOf(given, data), data),
  subject: serviceSubject,
  lookup: (given, _subject, context) => lookupService(given, servicePlace(given, context.aws.regionOf), context),
  consequence: (given, resource) => {
    const plan = planOf(given, resource.data);
    const note = scalingNote(plan, resource.data);
    return {
      action: actionOf(plan, resource.data),
      before: plan.before,
      after: [plan.after, ...(note ? [cut(note, 80)] : [])].join("; "),
    };
  },
  precheck: (given, resource, site) => {
    const plan = planOf(given, resource.data);
    if (!plan.desired && !plan.definition && !plan.force) {
      return { ...unchanged(resource, plan), message: `It is so already (${plan.before}); nothing was changed.` };
    }
    refuse(given, plan, resource, site);
    return undefined;
  },
  isDone: (given, resource) => {
    if (resource === undefined || (resource.data.service.status ?? "ACTIVE") !== "ACTIVE") return false;
    // A family stands for its latest revision, which may be another one by now.
    const named = given.task_definition === undefined || parseTaskDefinition(given.task_definition)?.revision;
    const { desired, definition, force } = planOf(given, resource.data);
    return Boolean(named) && !desired && !definition && !force;
  },
  handler: (given, context) => change(given, context),
});

async function change(given: Input, context: WriteContext<Facts>): Promise<Reply> {
  const { aws, resource } = context;
  const plan = planOf(given, resource.data);
  const note = scalingNote(plan, resource.data);
  const reply: Omit<Reply, "message"> = {
    ...unchanged(resource, plan),
    ...(plan.definition && { rollback_task_definition: plan.definition.from }),
    ...(note && { autoscaling: note }),
  };
  if (given.dry_run) {
    return { ...reply, message: `Dry run: would ${actionOf(plan, resource.data)}; nothing was changed.` };
  }

  const place = servicePlace(given, aws.regionOf);
  const { ECSClient, UpdateServiceCommand } = await sdk();
  const since = Date.now();
  const command = new UpdateServiceCommand({
    cluster: place.cluster,
    service: place.service,
    ...(plan.desired && { desiredCount: plan.desired.to }),
    ...(plan.definition && { taskDefinition: plan.definition.to }),
    ...(plan.force && { forceNewDeployment: true }),
  });
  const { service } = await aws.client(ECSClient, place.region).send(command);
  const deployment = service && newDeployment(service, plan, resource.data.service);
  const accepted: Omit<Reply, "message"> = {
    ...reply,
    current_state: service ? stateOf(service) : plan.after,
    changed: true,
    ...(deployment && { deployment_id: deployment }),
  };
  if (!given.wait) {
    const next = "AWS accepted the change; ecs_describe_service shows how it goes on.";
    return { ...accepted, message: [next, note].filter(Boolean).join(" ") };
  }
  const goal: Goal = {
    deployment,
    definition: plan.definition?.to ?? shortName(resource.data.service.taskDefinition),
    desired: plan.desired?.to ?? resource.data.service.desiredCount ?? 0,
    since,
  };
  return afterWatching(accepted, await watch(goal, place, context), plan, note);
}

/** The deployment this change started: the one that took the first place. A mere count starts none. */
function newDeployment(service: Service, plan: Plan, before: Service): string | undefined {
  const known = (before.deployments ?? []).map(({ id }) => id);
  const primary = service.deployments?.find(({ status }) => status === "PRIMARY");
  return (plan.definition || plan.force) && primary && !known.includes(primary.id) ? primary.id : undefined;
}

function afterWatching(accepted: Omit<Reply, "message">, seen: Watched, plan: Plan, note: string | undefined): Reply {
  const waited = Math.round(seen.elapsedMs / 100) / 10;
  const because = seen.reason ? `: ${cleanText(seen.reason, 300)}` : ".";
  const now = seen.service ? stateOf(seen.service) : accepted.current_state;
  const back = plan.definition ? ` Roll back with task_definition ${plan.definition.from}.` : "";
  const messages = {
    steady: `The service is steady: ${now}.`,
    failed: `AWS accepted the change, but the deployment failed${because}${back}`,
    rolled_back: `The deployment failed and ECS rolled the service back to ${now}${because}`,
    superseded: `Another change overtook this one${because}`,
    in_progress: `AWS accepted the change; after ${Math.round(waited)} s it is not steady yet. Describe it later.${back}`,
    not_watched: `AWS accepted the change, but it could not be watched${because}`,
  };
  return {
    ...accepted,
    current_state: now,
    rollout: seen.outcome,
    ...(seen.outcome !== "steady" && seen.events.length > 0 && { events: seen.events }),
    waited_s: waited,
    message: [messages[seen.outcome], note].filter(Boolean).join(" "),
  };
}

/** A reply about a service that this call has not changed. */
function unchanged(resource: Resource<Facts>, plan: Plan): Omit<Reply, "message"> {
  const [cluster = "", service = ""] = resource.id.split("/");
  return {
    service,
    cluster,
    region: resource.region,
    previous_state: plan.before,
    current_state: plan.before,
    changed: false,
  };
}

/** In words: what a person is asked, and what a rehearsal would have done. */
function actionOf(plan: Plan, { next, service }: Facts): string {
  const images = (next?.definition.containerDefinitions ?? []).map(({ image }) => cut(imageOf(image), 100));
  return [
    ...(plan.desired ? [countText(plan.desired)] : []),
    ...(plan.definition ? [`deploy ${plan.definition.to} (${images.join(", ")})`] : []),
    ...(plan.force && !plan.definition
      ? [`redeploy ${shortName(service.taskDefinition)}, pulling its images anew`]
      : []),
  ].join(" and ");
}

function countText({ from, to }: NonNullable<Plan["desired"]>): string {
  return to === 0 ? `stop all ${from} tasks of the service` : `scale the service from ${from} to ${to} tasks`;
}
