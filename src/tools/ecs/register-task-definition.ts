import type { RegisterTaskDefinitionCommandInput } from "@aws-sdk/client-ecs";
import * as z from "zod";
import type { Resource } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type Site } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { cut, firstOf } from "./container-view.ts";
import { applyChanges, type Changes, changeFields } from "./definition-change.ts";
import { changesBetween, MAX_CHANGES, type Registerable } from "./definition-diff.ts";
import { isAllowedImage } from "./image.ts";
import { sdk } from "./service.ts";
import {
  agreeingRegion,
  definitionPlace,
  definitionResource,
  definitionSubject,
  type Found,
  findDefinition,
  nameOfDefinition,
  TaskDefinitionName,
} from "./task-definition.ts";

const output = z.object({
  task_definition: z.string(),
  based_on: z.string(),
  region: z.string(),
  previous_state: z.string(),
  current_state: z.string(),
  changed: z.boolean(),
  changes: z.array(z.string()),
  message: z.string(),
});

/** Of the call, as every step sees it: the present revision, what becomes of it, and the difference. */
interface Plan {
  base: string;
  inactive: boolean;
  next: Registerable;
  changes: string[];
}

export const registerTaskDefinition = defineTool({
  name: "ecs_register_task_definition",
  title: "Register a task definition revision",
  description:
    "Copy a task definition into a new revision with other images, CPU, memory or environment (no secrets). Images must come from repositories it uses or the site allows. Returns what changed, values hidden. Deploy it with ecs_update_service.",
  service: "ecs",
  effect: "deploy",
  idempotent: false,
  iam: [
    { action: "ecs:DescribeTaskDefinition" },
    { action: "ecs:RegisterTaskDefinition", resource: "task-definition" },
    {
      action: "ecs:TagResource",
      resource: "task-definition",
      condition: { StringEquals: { "ecs:CreateAction": "RegisterTaskDefinition" } },
      impliedBy: "Grant permission to tag resources on creation (Amazon ECS Developer Guide)",
    },
    {
      action: "iam:PassRole",
      resource: "role",
      condition: { StringEquals: { "iam:PassedToService": "ecs-tasks.amazonaws.com" } },
      impliedBy: "Grant a user permissions to pass a role to an AWS service (IAM User Guide)",
    },
  ],
  input: agreeingRegion(
    z.strictObject({
      task_definition: TaskDefinitionName,
      region,
      ...changeFields,
      dry_run: z.boolean().default(false).describe("Only show the changes"),
    }),
  ).refine((given) => Object.keys(changeFields).some((field) => given[field as keyof Changes] !== undefined), {
    path: ["cpu_units"],
    message: "nothing to change: give containers, environment, cpu_units or memory_mib",
  }),
  output,
  example: { task_definition: "web", containers: [{ image: "registry.example/team/web:1.2.4" }], dry_run: true },
  secretArguments: ["environment"],
  dryRun: (given) => given.dry_run,
  subject: definitionSubject,
  async lookup(given, _subject, context) {
    const place = definitionPlace(given, context.aws.regionOf);
    const found = await findDefinition(place, context);
    return definitionResource(found, place.region, found);
  },
  consequence: (given, resource: Resource<Found>) => {
    const { base, changes } = planOf(given, resource);
    const roles = [resource.data.definition.taskRoleArn, resource.data.definition.executionRoleArn];
    const names = roles.flatMap((arn) => (arn ? [cut(arn.split("/").at(-1), 40)] : []));
    return {
      action: `register new code to run as ${names.join(" and ") || "no role"}, from ${base}`,
      before: base,
      after: `a new revision: ${changes.join("; ")}`,
    };
  },
  precheck: (given, resource, site) => {
    if (!["ACTIVE", "INACTIVE"].includes(resource.state)) {
      throw new ToolError(
        "conflict",
        `${resource.id} is ${cut(resource.state)} and cannot be the base of a revision.`,
        {
          nextStep: "Choose another revision; ecs_list_task_definitions shows them.",
        },
      );
    }
    const plan = planOf(given, resource);
    refuseImages(plan.next, resource.data, site);
    // A copy of a deregistered revision is how one comes back; AWS has no other way.
    if (plan.changes.length > 0 || plan.inactive) return undefined;
    return replyOf(resource, plan, plan.base, "It already is so; no revision was registered.");
  },
  // No `isDone`: a revision that looks as wanted may be anybody's.
  async handler(given, { aws, resource }) {
    const plan = planOf(given, resource);
    if (given.dry_run) return replyOf(resource, plan, plan.base, "Dry run: nothing was registered.");
    const { ECSClient, RegisterTaskDefinitionCommand } = await sdk();
    const answer = await aws
      .client(ECSClient, resource.region)
      .send(new RegisterTaskDefinitionCommand(withTags(plan.next, resource.tags)))
      .catch((error: unknown) => {
        throw withoutQuotes(error);
      });
    const name = answer.taskDefinition ? nameOfDefinition(answer.taskDefinition) : `${plan.next.family} (new revision)`;
    const message = `Registered ${name}; nothing runs it yet. ecs_update_service with this task_definition deploys it, and with ${plan.base} goes back.`;
    return replyOf(resource, plan, name, message);
  },
});

function planOf(given: Changes, { data }: Resource<Found>): Plan {
  const next = applyChanges(data.definition, given);
  return {
    base: nameOfDefinition(data.definition),
    inactive: data.definition.status === "INACTIVE",
    next,
    changes: changesBetween(data.definition, next),
  };
}

/** @param name of the revision that is there now: the new one, or still the base */
function replyOf(resource: Resource, plan: Plan, name: string, message: string): z.input<typeof output> {
  return {
    task_definition: name,
    based_on: plan.base,
    region: resource.region,
    previous_state: plan.base,
    current_state: name,
    changed: name !== plan.base,
    changes: firstOf(plan.changes, MAX_CHANGES),
    message,
  };
}

/** A new image must come from where an image of the base does, or from where the site says. */
function refuseImages(next: Registerable, { definition }: Found, site: Site): void {
  const inUse = (definition.containerDefinitions ?? []).flatMap(({ image }) => image ?? []);
  for (const { name, image = "" } of next.containerDefinitions ?? []) {
    if (inUse.includes(image) || isAllowedImage(image, inUse, site.imageRepositories)) continue;
    throw new ToolError("conflict", `The image of ${cut(name)} is from a repository that is not allowed here.`, {
      nextStep:
        "Use a repository the task definition uses already, or ask whoever runs the server to allow it (image_repositories).",
    });
  }
}

/** AWS refuses an empty list of tags, and tags of its own, which it sets again by itself. */
function withTags(next: Registerable, tags: Readonly<Record<string, string>>): RegisterTaskDefinitionCommandInput {
  const own = Object.entries(tags).filter(([key]) => !key.toLowerCase().startsWith("aws:"));
  return { ...next, ...(own.length > 0 && { tags: own.map(([key, value]) => ({ key, value })) }) };
}

/**
 * AWS quotes what it objects to, and may have cut it: every value of a task definition can be a secret, so its words
 * stay here. The mapped errors that do not repeat them are left as they are.
 */
function withoutQuotes(error: unknown): unknown {
  if (!(error instanceof ToolError) || !["invalid_input", "conflict", "not_found"].includes(error.kind)) return error;
  const { kind, detail } = error;
  return new ToolError(kind, `AWS refused the new revision (${detail ?? kind}); what it said may quote values.`, {
    nextStep:
      "Check cpu_units and memory_mib against what the launch type allows, and that the images exist; ask somebody with access to AWS if that is not it.",
    ...(detail !== undefined && { detail }),
  });
}
