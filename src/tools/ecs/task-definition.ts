import type { TaskDefinition } from "@aws-sdk/client-ecs";
import * as z from "zod";
import type { Resource, ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext, RegionOf } from "../../core/tool.ts";
import { tagsOf } from "../shared/tags.ts";
import { accountFromArn } from "./names.ts";
import { sdk } from "./service.ts";

// How a task definition is named and found. Inside, it is known by `family:revision`, however it was given.

const FAMILY = /^[A-Za-z0-9_-]{1,255}$/;
const REVISION = /^[1-9]\d{0,9}$/;
const ARN = /^arn:aws[a-z-]*:ecs:([a-z]{2,4}(?:-[a-z]+)+-\d{1,2}):(\d{12}):task-definition\/([^/]+)$/;
const MAX_LENGTH = 400;

/** What a name or an ARN says. Without a revision it means the latest ACTIVE one. */
interface Named {
  family: string;
  revision?: string;
  region?: string;
  account?: string;
}

/** Undefined for what is neither `family`, nor `family:revision`, nor the ARN of a task definition. */
export function parseTaskDefinition(text: string): Named | undefined {
  if (text.startsWith("arn:")) {
    const [, region, account, name = ""] = ARN.exec(text) ?? [];
    const parsed = parseTaskDefinition(name);
    return parsed?.revision && region && account ? { ...parsed, region, account } : undefined;
  }
  const [family = "", revision, ...rest] = text.split(":");
  if (!FAMILY.test(family) || rest.length > 0) return undefined;
  if (revision === undefined) return { family };
  return REVISION.test(revision) ? { family, revision } : undefined;
}

export const Family = z
  .string()
  .max(255)
  .refine((text) => FAMILY.test(text), "not a family such as web");

export const TaskDefinitionName = z
  .string()
  .max(MAX_LENGTH)
  .refine((text) => parseTaskDefinition(text) !== undefined, "not a family, family:revision or ARN, such as web:7")
  .describe("family (latest ACTIVE), family:revision or ARN");

/** Where one revision is; `account` is known only when an ARN was given, and is then compared. */
export interface DefinitionPlace {
  /** `family` or `family:revision`. */
  id: string;
  region: string;
  account: string | undefined;
}

interface Given {
  task_definition: string;
  region?: string | undefined;
}

/** Refuses the ARN of a thing in another region: of the same name here, it would be another thing. */
export function agreeingRegion<S extends z.ZodObject>(fields: S): S {
  return fields.refine(
    (given) => {
      const { task_definition, region } = given as { task_definition?: string; region?: string };
      const named = task_definition === undefined ? undefined : parseTaskDefinition(task_definition)?.region;
      return named === undefined || region === undefined || named === region;
    },
    { path: ["task_definition"], message: "the ARN is of another region" },
  );
}

export function definitionPlace(given: Given, regionOf: RegionOf): DefinitionPlace {
  const named = parseTaskDefinition(given.task_definition);
  const id = named?.revision ? `${named.family}:${named.revision}` : (named?.family ?? "");
  return { id, region: regionOf(given.region ?? named?.region), account: named?.account };
}

export function definitionSubject(given: Given, regionOf: RegionOf): ResourceRef {
  const { id, region } = definitionPlace(given, regionOf);
  return { type: "ecs:task-definition", id, region };
}

/** One revision as AWS knows it. */
export interface Found {
  definition: TaskDefinition;
  tags: Readonly<Record<string, string>>;
  account: string;
}

/**
 * Fetches one revision with its tags; of a family, the latest ACTIVE one.
 * @throws ToolError `not_found`
 */
export async function findDefinition(place: DefinitionPlace, { aws }: Pick<ReadContext, "aws">): Promise<Found> {
  const { DescribeTaskDefinitionCommand, ECSClient } = await sdk();
  const command = new DescribeTaskDefinitionCommand({ taskDefinition: place.id, include: ["TAGS"] });
  const answer = await aws
    .client(ECSClient, place.region)
    .send(command)
    .catch((error: unknown) => {
      // The one thing ECS can object to in a name that is well-formed.
      throw error instanceof ToolError && error.detail === "ClientException" ? noDefinition(place) : error;
    });
  const definition = answer.taskDefinition;
  const account = accountFromArn(definition?.taskDefinitionArn);
  if (!definition || (place.account !== undefined && place.account !== account)) throw noDefinition(place);
  return { definition, tags: tagsOf(answer.tags), account };
}

function noDefinition({ id, region }: DefinitionPlace): ToolError {
  const what = id.includes(":") ? `task definition ${id}` : `ACTIVE task definition of the family ${id}`;
  return new ToolError("not_found", `There is no ${what} in ${region}.`, {
    nextStep:
      "Check family, revision and region; ecs_list_task_definitions shows the families, and the revisions of one.",
  });
}

/** `family:revision`, by which everything here is called. */
export function nameOfDefinition({ family, revision, taskDefinitionArn }: TaskDefinition): string {
  return family && revision ? `${family}:${revision}` : shortName(taskDefinitionArn);
}

/** `family:revision` of an ARN, or of a name that is short already. */
export function shortName(arn: string | undefined): string {
  return arn?.split("/").at(-1) ?? "";
}

/** AWS documents the state as always present. */
export function statusOf({ status }: TaskDefinition): string {
  return status ?? "UNKNOWN";
}

/** As a write knows the revision it is about. */
export function definitionResource<D>(found: Found, region: string, data: D): Resource<D> {
  return {
    type: "ecs:task-definition",
    id: nameOfDefinition(found.definition),
    region,
    account: found.account,
    tags: found.tags,
    state: statusOf(found.definition),
    name: undefined,
    data,
  };
}

/** CPU and memory in the units people use: `0.25 vCPU, 512 MiB`. Undefined where the task has no size of its own. */
export function resourcesOf({ cpu, memory }: Pick<TaskDefinition, "cpu" | "memory">): string | undefined {
  const parts = [
    ...(Number(cpu) > 0 ? [`${Number(cpu) / 1024} vCPU`] : []),
    ...(Number(memory) > 0 ? [`${Number(memory)} MiB`] : []),
  ];
  return parts.length > 0 ? parts.join(", ") : undefined;
}
