import type { DBInstance, DBSnapshot } from "@aws-sdk/client-rds";
import * as z from "zod";
import type { Resource, ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { tagsOf } from "../shared/tags.ts";
import { accountOf, engineOf, findDbInstance, sdk, statusOf } from "./db-instance.ts";
import { findSnapshot, SnapshotChange, SnapshotId, snapshotSubject, typeOf } from "./snapshot.ts";

const input = z.strictObject({
  snapshot_id: SnapshotId,
  region,
  dry_run: z.boolean().default(false).describe("Only say what would happen"),
});

/** What was looked up: the snapshot, and the database it was taken of, if that still exists. */
interface Found {
  snapshot: DBSnapshot;
  source: DBInstance | undefined;
}

export const deleteSnapshot = defineTool({
  name: "rds_delete_snapshot",
  title: "Delete an RDS snapshot",
  description:
    "Delete one manual snapshot of an RDS DB instance, for good: what is in it cannot be brought back. Automated snapshots are refused; RDS deletes them itself when their retention ends. Look at it with rds_describe_snapshot first.",
  service: "rds",
  effect: "destructive",
  idempotent: true,
  iam: [
    { action: "rds:DescribeDBSnapshots", resource: ["db", "snapshot"] },
    { action: "rds:DescribeDBInstances", resource: "db" },
    { action: "rds:DeleteDBSnapshot", resource: "snapshot" },
  ],
  input,
  output: SnapshotChange,
  example: { snapshot_id: "orders-db-before-upgrade" },
  dryRun: (given) => given.dry_run,
  subject: snapshotSubject,
  lookup,
  consequence: (_given, { state, data }: { state: string; data: Found }) => ({
    action: `delete for good this ${describe(data.snapshot)} snapshot${data.source ? "" : " of a database that no longer exists"}`,
    before: state,
    after: "deleted",
  }),
  precheck: (_given, resource) => {
    const { snapshot } = resource.data;
    const type = typeOf(snapshot);
    if (type !== "manual") throw notManual(resource.id, type);
    if (resource.state === "deleting" || resource.state === "deleted") {
      return reply(resource, resource.state, false, `Snapshot is already ${resource.state}; nothing was changed.`);
    }
    if (resource.state === "creating") {
      throw new ToolError("conflict", `${resource.id} is still being taken and cannot be deleted.`, {
        nextStep: "Wait until rds_describe_snapshot says available, then delete it.",
      });
    }
    return undefined;
  },
  isDone: (_given, resource) => resource === undefined || ["deleting", "deleted"].includes(resource.state),
  async handler(given, { aws, resource }) {
    const { snapshot, source } = resource.data;
    const what = `snapshot ${resource.id} of ${snapshot.DBInstanceIdentifier ?? "an unknown database"}`;
    if (given.dry_run) {
      const last = source ? "" : " Its database no longer exists.";
      const message = `Dry run: ${what} (${describe(snapshot)}) would be deleted; nothing was changed.${last} Whether AWS permits it was not asked.`;
      return reply(resource, resource.state, false, message);
    }
    const { DeleteDBSnapshotCommand, RDSClient } = await sdk();
    const command = new DeleteDBSnapshotCommand({ DBSnapshotIdentifier: resource.id });
    const answer = await aws.client(RDSClient, resource.region).send(command);
    // AWS may answer with the state before the deletion.
    const said = statusOf(answer.DBSnapshot ?? {});
    const state = said.startsWith("delet") ? said : "deleted";
    return reply(resource, state, true, `AWS accepted the deletion of ${what}.`);
  },
});

async function lookup(
  given: z.output<typeof input>,
  subject: ResourceRef,
  context: ReadContext,
): Promise<Resource<Found>> {
  const snapshot = await findSnapshot(given.snapshot_id, subject.region, context);
  const source = await sourceOf(snapshot, subject.region, context);
  const tags = tagsOf(snapshot.TagList);
  return {
    ...subject,
    id: snapshot.DBSnapshotIdentifier ?? subject.id,
    account: accountOf(snapshot.DBSnapshotArn),
    tags,
    state: statusOf(snapshot),
    name: tags.Name || undefined,
    made: `${snapshot.DbiResourceId ?? ""} ${snapshot.SnapshotCreateTime?.toISOString() ?? ""}`,
    // By name as well as by tags: what protects a database by its name holds for its snapshots after it is gone.
    ...(snapshot.DBInstanceIdentifier && {
      partOf: [
        {
          type: "rds:db",
          id: snapshot.DBInstanceIdentifier,
          // A copy from elsewhere: its database is in whichever region the first one was made.
          ...(snapshot.SourceRegion && { region: "" }),
          ...(source && { tags: tagsOf(source.TagList) }),
        },
      ],
    }),
    data: { snapshot, source },
  };
}

/** A database that cannot be looked at for another reason than being gone may be a protected one: that fails the call. */
async function sourceOf(snapshot: DBSnapshot, region: string, context: ReadContext): Promise<DBInstance | undefined> {
  if (!snapshot.DBInstanceIdentifier) return undefined;
  try {
    return await findDbInstance(snapshot.DBInstanceIdentifier, region, context);
  } catch (error) {
    if (error instanceof ToolError && error.kind === "not_found") return undefined;
    throw error;
  }
}

function notManual(id: string, type: string): ToolError {
  const backup = type === "awsbackup";
  return new ToolError("conflict", `${id} is an ${type} snapshot; only manual ones can be deleted here.`, {
    nextStep: backup
      ? "AWS Backup manages it: its backup plan decides when it goes. Leave it, or ask the plan's owner."
      : "RDS deletes it when the instance's backup retention ends (backup_retention_days in rds_describe_db_instance); leave it.",
  });
}

/** `100 GiB postgres 16.3`. */
function describe(snapshot: DBSnapshot): string {
  const size = snapshot.AllocatedStorage === undefined ? "" : `${snapshot.AllocatedStorage} GiB `;
  const taken = snapshot.SnapshotCreateTime ? `, taken ${snapshot.SnapshotCreateTime.toISOString().slice(0, 16)}Z` : "";
  return `${size}${engineOf(snapshot)}${taken}`;
}

function reply(resource: Resource<Found>, state: string, changed: boolean, message: string): SnapshotChange {
  return {
    snapshot_id: resource.id,
    db_instance_id: resource.data.snapshot.DBInstanceIdentifier ?? "",
    region: resource.region,
    previous_state: resource.state,
    current_state: state,
    changed,
    message,
  };
}
