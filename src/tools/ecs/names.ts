import * as z from "zod";
import type { ResourceRef } from "../../core/call.ts";
import type { RegionOf } from "../../core/tool.ts";

// What identifies a cluster, a service or a task: its name (of a task: its id), or its ARN. Inside, only names are used:
// policy, cursors and the audit trail know each thing by one name, however it was given.

type Kind = "cluster" | "service" | "task";

/** What a name or an ARN says; an ARN of the old form does not name the cluster. */
export interface Named {
  name: string;
  cluster?: string;
  region?: string;
  account?: string;
}

const NAME = /^[A-Za-z0-9_-]{1,255}$/;
const TASK_ID = /^[0-9a-f]{32}$|^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ARN = /^arn:aws[a-z-]*:ecs:([a-z]{2,4}(?:-[a-z]+)+-\d{1,2}):(\d{12}):([a-z-]+)\/(?:([^/]+)\/)?([^/]+)$/;
/** The longest ARN: two names and what stands around them. */
const MAX_LENGTH = 600;

/** Undefined for what is neither a name nor an ARN of this kind. */
export function parseName(kind: Kind, text: string): Named | undefined {
  const isName = (name: string) => (kind === "task" ? TASK_ID : NAME).test(name);
  if (!text.startsWith("arn:")) return isName(text) ? { name: text } : undefined;
  const [, region, account, type, cluster, name = ""] = ARN.exec(text) ?? [];
  if (type !== kind || !region || !account || !isName(name)) return undefined;
  if (kind === "cluster") return cluster === undefined ? { name, cluster: name, region, account } : undefined;
  if (cluster === undefined) return { name, region, account };
  return NAME.test(cluster) ? { name, cluster, region, account } : undefined;
}

/** The last part of an ARN: the name of a cluster, service or capacity provider, the id of a task or instance. */
export function nameFromArn(arn: string | undefined): string {
  return arn?.split("/").at(-1) ?? "";
}

export function accountFromArn(arn: string | undefined): string {
  return /^arn:[^:]*:[^:]*:[^:]*:(\d{12}):/.exec(arn ?? "")?.[1] ?? "unknown";
}

const named = (kind: Kind, example: string) =>
  z
    .string()
    .max(MAX_LENGTH)
    .refine((text) => parseName(kind, text) !== undefined, `not a ${kind} ${example}, or the ARN of a ${kind}`);

export const ClusterName = named("cluster", "name such as prod").describe("Name or ARN");
export const ServiceName = named("service", "name such as web").describe("Name or ARN");
export const TaskId = named("task", "id such as 0123456789abcdef0123456789abcdef").describe("Id or ARN");

/** The arguments that say what a call is about. */
interface Given {
  region?: string | undefined;
  cluster: string;
  service?: string | undefined;
  task?: string | undefined;
}

/** Where something is, by name. `account` is known only when an ARN was given, and is then to be compared. */
export interface ClusterPlace {
  cluster: string;
  region: string;
  account: string | undefined;
}
export interface ServicePlace extends ClusterPlace {
  service: string;
}
export interface TaskPlace extends ClusterPlace {
  task: string;
}

const partsOf = ({ cluster, service, task }: Given) =>
  (
    [
      ["cluster", cluster],
      ["service", service],
      ["task", task],
    ] as const
  ).flatMap(([kind, text]) => {
    const parsed = text === undefined ? undefined : parseName(kind, text);
    return parsed ? [{ kind, ...parsed }] : [];
  });

/**
 * Refuses arguments that contradict each other: an ARN names its region, account and cluster, and a thing of the same
 * name elsewhere is another thing.
 */
export function agreeing<S extends z.ZodObject>(fields: S): S {
  return fields.superRefine((given, context) => {
    const parts = partsOf(given as unknown as Given);
    const cluster = parts.find(({ kind }) => kind === "cluster")?.name;
    let region = (given as unknown as Given).region;
    let account: string | undefined;
    for (const part of parts) {
      const refuse = (what: string) =>
        context.addIssue({ code: "custom", path: [part.kind], message: `the ARN is of another ${what}` });
      if (region !== undefined && part.region !== undefined && part.region !== region) refuse("region");
      else if (account !== undefined && part.account !== undefined && part.account !== account) refuse("account");
      else if (cluster !== undefined && part.cluster !== undefined && part.cluster !== cluster) refuse("cluster");
      region ??= part.region;
      account ??= part.account;
    }
  });
}

export function clusterPlace(given: Given, regionOf: RegionOf): ClusterPlace {
  const parts = partsOf(given);
  const region = given.region ?? parts.find((part) => part.region !== undefined)?.region;
  return {
    cluster: parts.find(({ kind }) => kind === "cluster")?.name ?? "",
    region: regionOf(region),
    account: parts.find((part) => part.account !== undefined)?.account,
  };
}

export function servicePlace(given: Given & { service: string }, regionOf: RegionOf): ServicePlace {
  return { ...clusterPlace(given, regionOf), service: parseName("service", given.service)?.name ?? "" };
}

export function taskPlace(given: Given & { task: string }, regionOf: RegionOf): TaskPlace {
  return { ...clusterPlace(given, regionOf), task: parseName("task", given.task)?.name ?? "" };
}

// Subjects of tools, for policy and audit. A service or task is known by its cluster and name: `prod/web`.

export function clusterSubject(given: Given, regionOf: RegionOf): ResourceRef {
  const { cluster, region } = clusterPlace(given, regionOf);
  return { type: "ecs:cluster", id: cluster, region };
}

export function serviceSubject(given: Given & { service: string }, regionOf: RegionOf): ResourceRef {
  const { cluster, service, region } = servicePlace(given, regionOf);
  return { type: "ecs:service", id: `${cluster}/${service}`, region };
}

export function taskSubject(given: Given & { task: string }, regionOf: RegionOf): ResourceRef {
  const { cluster, task, region } = taskPlace(given, regionOf);
  return { type: "ecs:task", id: `${cluster}/${task}`, region };
}

/** Whether what AWS found is in the account an ARN named. */
export function inAccount(place: ClusterPlace, foundArn: string | undefined): boolean {
  return place.account === undefined || place.account === accountFromArn(foundArn);
}
