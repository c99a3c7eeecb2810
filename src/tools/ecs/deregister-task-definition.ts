import * as z from "zod";
import type { Resource } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { defineTool } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { cut, firstOf } from "./container-view.ts";
import { type Users, usersOf } from "./definition-users.ts";
import { sdk } from "./service.ts";
import {
  agreeingRegion,
  definitionPlace,
  definitionResource,
  definitionSubject,
  findDefinition,
  nameOfDefinition,
  parseTaskDefinition,
  statusOf,
  TaskDefinitionName,
} from "./task-definition.ts";

const output = z.object({
  task_definition: z.string(),
  region: z.string(),
  previous_state: z.string(),
  current_state: z.string(),
  changed: z.boolean(),
  used_by: z.array(z.string()).optional(),
  message: z.string(),
});

/** What is known before anything is decided. */
interface Facts {
  users: Users;
  /** It is what the family's name alone stands for. */
  latest: boolean;
}

const NOBODY: Users = { services: [], looked_at: 0, complete: true };

export const deregisterTaskDefinition = defineTool({
  name: "ecs_deregister_task_definition",
  title: "Deregister a task definition revision",
  description:
    "Make one revision INACTIVE for good: no new task, deployment or rollback can use it. Running tasks go on. Refused while a service uses it; looks at up to 300 services in 10 clusters, and says if there are more.",
  service: "ecs",
  effect: "destructive",
  idempotent: true,
  iam: [
    { action: "ecs:DescribeTaskDefinition" },
    { action: "ecs:ListClusters" },
    { action: "ecs:ListServices" },
    { action: "ecs:DescribeServices", resource: "service" },
    { action: "ecs:DeregisterTaskDefinition" },
  ],
  input: agreeingRegion(
    z.strictObject({
      task_definition: TaskDefinitionName.refine(
        (text) => parseTaskDefinition(text)?.revision !== undefined,
        "name the revision, such as web:7",
      ).describe("family:revision or ARN"),
      region,
      even_if_used: z.boolean().default(false).describe("Although services use it"),
      dry_run: z.boolean().default(false).describe("Only check"),
    }),
  ),
  output,
  example: { task_definition: "web:7", dry_run: true },
  dryRun: (given) => given.dry_run,
  subject: definitionSubject,
  async lookup(given, _subject, context) {
    const place = definitionPlace(given, context.aws.regionOf);
    const found = await findDefinition(place, context);
    const name = nameOfDefinition(found.definition);
    if (statusOf(found.definition) !== "ACTIVE") {
      return definitionResource(found, place.region, { users: NOBODY, latest: false });
    }
    const family = { ...place, id: name.split(":")[0] ?? "" };
    const [latest, users] = await Promise.all([findDefinition(family, context), usersOf(name, place.region, context)]);
    return definitionResource(found, place.region, { users, latest: nameOfDefinition(latest.definition) === name });
  },
  consequence: (_given, resource: Resource<Facts>) => {
    const { users, latest } = resource.data;
    const notes = [
      ...(users.services.length > 0 ? [`used by ${firstOf(users.services, 3).join(", ")}`] : []),
      ...(users.complete ? [] : ["not all services could be checked"]),
      ...(latest ? ["the latest ACTIVE one of its family"] : []),
    ];
    return {
      action: "deregister this task definition revision, which cannot be undone",
      before: [resource.state, ...notes].join(", "),
      after: "INACTIVE: nothing new can run it, no rollback can use it",
    };
  },
  precheck: (given, resource) => {
    const { services } = resource.data.users;
    if (resource.state !== "ACTIVE") {
      return replyOf(resource, resource.state, `It is ${cut(resource.state)} already; nothing was changed.`);
    }
    if (services.length === 0 || given.even_if_used) return undefined;
    const some = firstOf(services, 10).join(", ");
    throw new ToolError("conflict", `${resource.id} is used by ${cut(some, 600)}.`, {
      nextStep:
        "Point them at another revision with ecs_update_service first; even_if_used lets their tasks go on, but leaves them no way to deploy or go back to it.",
    });
  },
  isDone: (_given, resource) => resource?.state === "INACTIVE" || resource?.state === "DELETE_IN_PROGRESS",
  async handler(given, { aws, resource }) {
    const { latest, users } = resource.data;
    const notes = [
      ...(users.complete ? [] : [` Only ${users.looked_at} services could be checked; others may use it.`]),
      ...(latest ? [" It was the latest ACTIVE revision: the family's name now means an older one, or none."] : []),
    ].join("");
    if (given.dry_run) return replyOf(resource, resource.state, `Dry run: nothing was changed.${notes}`);
    const { DeregisterTaskDefinitionCommand, ECSClient } = await sdk();
    const command = new DeregisterTaskDefinitionCommand({ taskDefinition: resource.id });
    const answer = await aws.client(ECSClient, resource.region).send(command);
    const state = answer.taskDefinition ? statusOf(answer.taskDefinition) : "INACTIVE";
    return replyOf(resource, state, `Deregistered.${notes}`);
  },
});

function replyOf(resource: Resource<Facts>, state: string, message: string): z.input<typeof output> {
  const { services } = resource.data.users;
  return {
    task_definition: resource.id,
    region: resource.region,
    previous_state: resource.state,
    current_state: state,
    changed: state !== resource.state,
    ...(services.length > 0 && { used_by: firstOf(services, 20) }),
    message,
  };
}
