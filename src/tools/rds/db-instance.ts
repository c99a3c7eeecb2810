import type { DBInstance } from "@aws-sdk/client-rds";
import * as z from "zod";
import type { ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { once } from "../../core/once.ts";
import { cleanText } from "../../core/text.ts";
import type { ReadContext, RegionOf } from "../../core/tool.ts";

/** Loaded at the first call and remembered: `import()` alone would look the module up anew each time. */
export const sdk = once(() => import("./sdk.ts"));

/** Of one request to RDS, which takes no more. */
export const PAGE_SIZE = 100;

/** RDS's rule for what people name: a letter first, no two hyphens in a row, none at the end. */
export const NAME = /^[A-Za-z](-?[A-Za-z0-9])*$/;

export const DbInstanceId = z.string().regex(NAME, "not a DB instance identifier such as orders-db").max(63);

/** `available`, `backing-up`, `storage-full` …: AWS adds to the list now and then, so it is not an enumeration. */
const Status = z
  .string()
  .regex(/^[a-z][a-z-]*$/, "not a status such as available")
  .max(48);
export const statuses = z.array(Status).min(1).max(20).optional();

export function statusOf(thing: { DBInstanceStatus?: string | undefined; Status?: string | undefined }): string {
  return cleanText(thing.DBInstanceStatus ?? thing.Status ?? "unknown", 48);
}

/** `postgres 16.3`. */
export function engineOf(thing: { Engine?: string | undefined; EngineVersion?: string | undefined }): string {
  return cleanText([thing.Engine, thing.EngineVersion].filter(Boolean).join(" "), 64);
}

/**
 * Whether the instance has storage of its own. Aurora, DocumentDB and Neptune keep their data in a volume of the cluster
 * that grows by itself; AWS says 1 GiB for each of their instances.
 */
export function hasOwnStorage({ Engine = "" }: Pick<DBInstance, "Engine">): boolean {
  return !/^(aurora|docdb|neptune)/.test(Engine);
}

/** The account in an ARN; `unknown` where an answer leaves it out. */
export function accountOf(arn: string | undefined): string {
  return arn?.split(":")[4] || "unknown";
}

/** AWS keeps identifiers in lower case and takes them in any. */
export function sameName(one: string | undefined, other: string): boolean {
  return one?.toLowerCase() === other.toLowerCase();
}

/**
 * Room for a page of rows: 20 stay below 9 KB whatever their names, and what does not fit starts the next page. An
 * identifier cut short could not be used.
 */
export function pageBytes(limit: number): number {
  return Math.min(60_000, limit * 440);
}

/**
 * Fetches one DB instance.
 * @throws ToolError `not_found` when RDS knows no such instance in the region
 */
export async function findDbInstance(
  id: string,
  region: string,
  { aws }: Pick<ReadContext, "aws">,
): Promise<DBInstance> {
  const { DescribeDBInstancesCommand, RDSClient } = await sdk();
  const notFound = new ToolError("not_found", `There is no DB instance ${id} in ${region}.`, {
    nextStep: "Check the identifier and the region; rds_list_db_instances with several regions finds it.",
  });
  const answer = await aws
    .client(RDSClient, region)
    .send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: id }))
    .catch((error: unknown) => {
      throw error instanceof ToolError && error.kind === "not_found" ? notFound : error;
    });
  const instance = answer.DBInstances?.find((candidate) => sameName(candidate.DBInstanceIdentifier, id));
  if (!instance) throw notFound;
  return instance;
}

/** The subject of a tool that names one DB instance. */
export function dbInstanceSubject(
  input: { db_instance_id: string; region?: string | undefined },
  regionOf: RegionOf,
): ResourceRef {
  return { type: "rds:db", id: input.db_instance_id.toLowerCase(), region: regionOf(input.region) };
}
