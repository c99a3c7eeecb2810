import type { DBInstance, DBSnapshot } from "@aws-sdk/client-rds";
import * as z from "zod";
import type { Resource, ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext, type WriteContext } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { tagsOf } from "../shared/tags.ts";
import {
  accountOf,
  DbInstanceId,
  dbInstanceSubject,
  engineOf,
  findDbInstance,
  NAME,
  sameName,
  sdk,
  statusOf,
} from "./db-instance.ts";
import { ABSENT, SnapshotChange, seekSnapshot } from "./snapshot.ts";
import { snapshotName, snapshotTags } from "./snapshot-naming.ts";
import { afterCreation, WAIT_S } from "./snapshot-progress.ts";

const input = z.strictObject({
  db_instance_id: DbInstanceId,
  region,
  snapshot_id: z
    .string()
    .regex(NAME, "not a snapshot identifier such as orders-db-before-upgrade")
    .max(255)
    .optional()
    .describe("Default: a name with instance and time"),
  dry_run: z.boolean().default(false).describe("Only say what would happen"),
  wait: z.boolean().default(false).describe("Wait until it is complete (up to 15 minutes)"),
});

/** What was looked up: the database, and the snapshot if there is one of that name. */
interface Found {
  instance: DBInstance;
  existing: DBSnapshot | undefined;
}

/** RDS takes snapshots in these states. */
const READY = ["available", "storage-optimization"];

export const createSnapshot = defineTool({
  name: "rds_create_snapshot",
  title: "Create an RDS snapshot",
  description:
    "Take a manual snapshot of one RDS DB instance, named and tagged for you unless you give snapshot_id; asking twice for one snapshot_id returns the first. Returns at once (rds_describe_snapshot follows it), or with wait once it is complete. Not for members of Aurora or Multi-AZ clusters.",
  service: "rds",
  effect: "write",
  // Without a snapshot_id each call makes another one.
  idempotent: false,
  iam: [
    { action: "rds:DescribeDBInstances", resource: "db" },
    { action: "rds:DescribeDBSnapshots", resource: ["db", "snapshot"] },
    { action: "rds:CreateDBSnapshot", resource: ["db", "snapshot"] },
    {
      action: "rds:AddTagsToResource",
      resource: "snapshot",
      impliedBy: "Grant permission to tag Amazon RDS resources during creation",
    },
  ],
  input,
  output: SnapshotChange,
  example: { db_instance_id: "orders-db", snapshot_id: "orders-db-before-upgrade", wait: true },
  deadlineS: (given) => (given.wait ? WAIT_S + 30 : undefined),
  waits: (given) => given.wait,
  dryRun: (given) => given.dry_run,
  subject: dbInstanceSubject,
  lookup,
  consequence: (given, { data }: { data: Found }) => ({
    action: `take a ${sizeOf(data.instance)} snapshot ${given.snapshot_id ? shortened(given.snapshot_id) : "named by the server"} of this ${engineOf(data.instance)} database`,
    before: given.snapshot_id ? "no such snapshot" : "no snapshot",
    after: "one more manual snapshot, billed until it is deleted",
  }),
  precheck: (given, resource) => {
    const { instance, existing } = resource.data;
    if (instance.DBClusterIdentifier) throw memberOfCluster(resource.id, instance.DBClusterIdentifier);
    if (existing) return alreadyThere(resource, existing);
    if (READY.includes(resource.state)) return undefined;
    throw new ToolError("conflict", `${resource.id} is ${resource.state}; a snapshot needs it available.`, {
      nextStep:
        given.snapshot_id === undefined && resource.state === "backing-up"
          ? "A snapshot is being taken already: rds_list_snapshots with status creating shows it."
          : "Wait until rds_describe_db_instance says available, then try again.",
    });
  },
  // Without a name of its own, any snapshot may be another call's.
  isDone: (given, resource) => {
    const existing = given.snapshot_id === undefined ? undefined : resource?.data.existing;
    if (resource === undefined || existing === undefined || otherSource(resource, existing)) return false;
    return ["creating", "available"].includes(statusOf(existing));
  },
  async handler(given, context) {
    const { resource } = context;
    const snapshotId = (given.snapshot_id ?? snapshotName(resource.id)).toLowerCase();
    const tags = snapshotTags(resource.data.instance);
    const common = { snapshot_id: snapshotId, db_instance_id: resource.id, region: resource.region, tags };
    if (given.dry_run) {
      return {
        ...common,
        previous_state: ABSENT,
        current_state: ABSENT,
        changed: false,
        message: `Dry run: snapshot ${snapshotId} of ${resource.id} (${engineOf(resource.data.instance)}, ${sizeOf(resource.data.instance)}) would be taken; nothing was changed. Whether AWS permits it was not asked.`,
      };
    }
    const created = await create(snapshotId, tags, context);
    if (created.raced) return alreadyThere(resource, created.snapshot);
    return afterCreation({ ...common, previous_state: ABSENT, changed: true }, created.snapshot, given.wait, context);
  },
});

async function lookup(
  given: z.output<typeof input>,
  subject: ResourceRef,
  context: ReadContext,
): Promise<Resource<Found>> {
  const { snapshot_id } = given;
  const [instance, existing] = await Promise.all([
    findDbInstance(given.db_instance_id, subject.region, context),
    snapshot_id === undefined ? undefined : seekSnapshot(snapshot_id, subject.region, context),
  ]);
  return {
    ...subject,
    id: instance.DBInstanceIdentifier ?? subject.id,
    account: accountOf(instance.DBInstanceArn),
    tags: tagsOf(instance.TagList),
    state: statusOf(instance),
    name: tagsOf(instance.TagList).Name || undefined,
    made: instance.DbiResourceId,
    ...(instance.DBClusterIdentifier && { partOf: [{ type: "rds:cluster", id: instance.DBClusterIdentifier }] }),
    data: { instance, existing },
  };
}

/** Sends the request; somebody else may have been quicker with the same name between the look-up and now. */
async function create(
  snapshotId: string,
  tags: Readonly<Record<string, string>>,
  { aws, resource }: WriteContext<Found>,
): Promise<{ snapshot: DBSnapshot; raced: boolean }> {
  const { CreateDBSnapshotCommand, RDSClient } = await sdk();
  const command = new CreateDBSnapshotCommand({
    DBInstanceIdentifier: resource.id,
    DBSnapshotIdentifier: snapshotId,
    Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
  });
  try {
    const answer = await aws.client(RDSClient, resource.region).send(command);
    return { snapshot: answer.DBSnapshot ?? {}, raced: false };
  } catch (error) {
    const taken = error instanceof ToolError && /^DBSnapshotAlreadyExists/.test(error.detail ?? "");
    const snapshot = taken ? await seekSnapshot(snapshotId, resource.region, { aws }) : undefined;
    if (!snapshot) throw error;
    return { snapshot, raced: true };
  }
}

/**
 * The reply about a snapshot of that name that was there before.
 * @throws ToolError `conflict` when it is of another database, or no snapshot to rely on
 */
function alreadyThere(resource: Resource<Found>, existing: DBSnapshot): SnapshotChange {
  const snapshotId = existing.DBSnapshotIdentifier ?? "";
  const other = otherSource(resource, existing);
  if (other) {
    throw taken(`There is a snapshot ${snapshotId} already, of ${other}; nothing was changed.`);
  }
  const state = statusOf(existing);
  const creating = state === "creating";
  if (!creating && state !== "available") {
    throw taken(
      `There is a snapshot ${snapshotId} of ${resource.id} already, but it is ${state}; nothing was changed.`,
    );
  }
  const when = existing.SnapshotCreateTime ? `taken ${existing.SnapshotCreateTime.toISOString()}` : "complete";
  return {
    snapshot_id: snapshotId,
    db_instance_id: resource.id,
    region: resource.region,
    previous_state: state,
    current_state: state,
    changed: false,
    message: `Snapshot ${snapshotId} of ${resource.id} already exists, nothing changed: it is ${creating ? "still being taken; rds_describe_snapshot shows how far it is" : when}.`,
    ...(creating && existing.PercentProgress !== undefined && { done_percent: existing.PercentProgress }),
  };
}

/** Whose the snapshot is, if not this instance's. One deleted and made anew under the same name is another instance. */
function otherSource(resource: Resource<Found>, existing: DBSnapshot): string | undefined {
  const name = existing.DBInstanceIdentifier;
  if (!sameName(name, resource.id)) return name ?? "another database";
  const [taken, present] = [existing.DbiResourceId, resource.data.instance.DbiResourceId];
  return taken && present && taken !== present ? `an earlier database called ${name}` : undefined;
}

function taken(message: string): ToolError {
  return new ToolError("conflict", message, {
    nextStep: "Choose another snapshot_id, or leave it out to have one made.",
  });
}

function memberOfCluster(id: string, cluster: string): ToolError {
  return new ToolError(
    "conflict",
    `${id} is a member of cluster ${cluster}: its data is the cluster's, and only the cluster can be snapshotted.`,
    {
      nextStep:
        "Ask a person to take a cluster snapshot (aws rds create-db-cluster-snapshot); no tool of this server does.",
    },
  );
}

function sizeOf(instance: DBInstance): string {
  return instance.AllocatedStorage === undefined ? "full" : `${instance.AllocatedStorage} GiB`;
}

/** What a person is asked is one line. */
function shortened(id: string): string {
  return id.length > 40 ? `${id.slice(0, 39)}…` : id;
}
