import type { DBSnapshot } from "@aws-sdk/client-rds";
import * as z from "zod";
import type { ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext, RegionOf } from "../../core/tool.ts";
import { sameName, sdk } from "./db-instance.ts";

/** With `rds:` or `awsbackup:` before it when AWS made it. */
export const SnapshotId = z
  .string()
  .regex(/^([a-z]+:)?[A-Za-z](-?[A-Za-z0-9])*$/, "not a snapshot identifier such as orders-db-before-upgrade")
  .max(255);

/**
 * Fetches one snapshot of a DB instance.
 * @throws ToolError `not_found` when RDS knows no such snapshot in the region
 */
export async function findSnapshot(id: string, region: string, { aws }: Pick<ReadContext, "aws">): Promise<DBSnapshot> {
  const { DescribeDBSnapshotsCommand, RDSClient } = await sdk();
  const notFound = new ToolError("not_found", `There is no DB snapshot ${id} in ${region}.`, {
    nextStep:
      "Check the identifier and the region; rds_list_snapshots finds it. Snapshots of Aurora clusters are not shown here.",
  });
  const answer = await aws
    .client(RDSClient, region)
    .send(new DescribeDBSnapshotsCommand({ DBSnapshotIdentifier: id }))
    .catch((error: unknown) => {
      throw error instanceof ToolError && error.kind === "not_found" ? notFound : error;
    });
  const snapshot = answer.DBSnapshots?.find((candidate) => sameName(candidate.DBSnapshotIdentifier, id));
  if (!snapshot) throw notFound;
  return snapshot;
}

/** As `findSnapshot`, for whoever may do without. */
export async function seekSnapshot(...args: Parameters<typeof findSnapshot>): Promise<DBSnapshot | undefined> {
  try {
    return await findSnapshot(...args);
  } catch (error) {
    if (error instanceof ToolError && error.kind === "not_found") return undefined;
    throw error;
  }
}

/** The subject of a tool that names one snapshot. */
export function snapshotSubject(
  input: { snapshot_id: string; region?: string | undefined },
  regionOf: RegionOf,
): ResourceRef {
  return { type: "rds:snapshot", id: input.snapshot_id.toLowerCase(), region: regionOf(input.region) };
}

export function typeOf(snapshot: DBSnapshot): string {
  return snapshot.SnapshotType ?? "unknown";
}

/** What making and deleting a snapshot reply. */
export const SnapshotChange = z.object({
  snapshot_id: z.string(),
  db_instance_id: z.string(),
  region: z.string(),
  previous_state: z.string(),
  current_state: z.string(),
  changed: z.boolean(),
  message: z.string(),
  done_percent: z.int().optional(),
  tags: z.record(z.string(), z.string()).optional(),
  waited_s: z.number().optional(),
});
export type SnapshotChange = z.input<typeof SnapshotChange>;

/** The state of a snapshot that is not there. */
export const ABSENT = "absent";
