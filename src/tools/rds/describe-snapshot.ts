import type { DBSnapshot } from "@aws-sdk/client-rds";
import * as z from "zod";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { accountOf, sdk, statusOf } from "./db-instance.ts";
import { findSnapshot, SnapshotId, snapshotSubject, typeOf } from "./snapshot.ts";

const output = z.object({
  snapshot_id: z.string(),
  summary: z.string(),
  status: z.string(),
  done_percent: z.int().optional(),
  type: z.string(),
  db_instance_id: z.string(),
  db_resource_id: z.string().optional(),
  region: z.string(),
  az: z.string().optional(),
  account: z.string(),
  engine: z.string(),
  version: z.string().optional(),
  size_gib: z.int().optional(),
  storage_type: z.string().optional(),
  encrypted: z.boolean(),
  kms_key: z.string().optional(),
  shared: z.enum(["no", "with_accounts", "public", "unknown"]),
  shared_with: z.array(z.string()).optional(),
  shared_with_omitted: z.int().optional(),
  copy_of: z.string().optional(),
  vpc_id: z.string().optional(),
  created: z.string().optional(),
  data_as_of: z.string().optional(),
  tags: z.record(z.string(), z.string()),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});
type Sharing = Pick<z.input<typeof output>, "shared" | "shared_with" | "shared_with_omitted">;

export const describeSnapshot = defineTool({
  name: "rds_describe_snapshot",
  title: "Describe an RDS snapshot",
  description:
    "Everything about one snapshot of an RDS DB instance: status and progress, type, source instance, engine, size, encryption, tags, and whether it is private, shared with accounts, or public.",
  service: "rds",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "rds:DescribeDBSnapshots", resource: ["db", "snapshot"] },
    { action: "rds:DescribeDBSnapshotAttributes", resource: "snapshot" },
  ],
  input: z.strictObject({ snapshot_id: SnapshotId, region }),
  example: { snapshot_id: "orders-db-before-upgrade" },
  output,
  subject: snapshotSubject,
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const snapshot = await findSnapshot(given.snapshot_id, where, context);
    const errors: PartialError[] = [];
    const sharing = await sharingOf(snapshot, where, context).catch((thrown: unknown): Sharing => {
      errors.push(partialError(where, thrown));
      return { shared: "unknown" };
    });
    const status = statusOf(snapshot);
    return {
      snapshot_id: snapshot.DBSnapshotIdentifier ?? given.snapshot_id,
      summary: summarise(snapshot, status, sharing),
      status,
      ...(snapshot.PercentProgress !== undefined && { done_percent: snapshot.PercentProgress }),
      type: typeOf(snapshot),
      db_instance_id: snapshot.DBInstanceIdentifier ?? "",
      ...(snapshot.DbiResourceId && { db_resource_id: snapshot.DbiResourceId }),
      region: where,
      ...(snapshot.AvailabilityZone && { az: snapshot.AvailabilityZone }),
      account: accountOf(snapshot.DBSnapshotArn),
      engine: snapshot.Engine ?? "",
      ...(snapshot.EngineVersion && { version: snapshot.EngineVersion }),
      ...(snapshot.AllocatedStorage !== undefined && { size_gib: snapshot.AllocatedStorage }),
      ...(snapshot.StorageType && { storage_type: snapshot.StorageType }),
      encrypted: snapshot.Encrypted ?? false,
      ...(snapshot.KmsKeyId && { kms_key: snapshot.KmsKeyId.split("/").at(-1) ?? "" }),
      ...sharing,
      ...(snapshot.SourceDBSnapshotIdentifier && { copy_of: snapshot.SourceDBSnapshotIdentifier }),
      ...(snapshot.VpcId && { vpc_id: snapshot.VpcId }),
      ...(snapshot.SnapshotCreateTime && { created: snapshot.SnapshotCreateTime.toISOString() }),
      // Differs from `created` where the snapshot is a copy.
      ...(snapshot.OriginalSnapshotCreateTime && { data_as_of: snapshot.OriginalSnapshotCreateTime.toISOString() }),
      tags: shownTags(snapshot.TagList),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

/** What a reader is shown of a long list of accounts. */
const MAX_ACCOUNTS = 20;

/** Who else may restore it. Automated snapshots cannot be shared, and RDS refuses to be asked. */
async function sharingOf(snapshot: DBSnapshot, where: string, { aws }: ReadContext): Promise<Sharing> {
  if (typeOf(snapshot) === "automated") return { shared: "no" };
  const { DescribeDBSnapshotAttributesCommand, RDSClient } = await sdk();
  const command = new DescribeDBSnapshotAttributesCommand({ DBSnapshotIdentifier: snapshot.DBSnapshotIdentifier });
  const answer = await aws.client(RDSClient, where).send(command);
  const attributes = answer.DBSnapshotAttributesResult?.DBSnapshotAttributes ?? [];
  const accounts = attributes.flatMap(({ AttributeName, AttributeValues }) =>
    AttributeName === "restore" ? (AttributeValues ?? []) : [],
  );
  if (accounts.includes("all")) return { shared: "public" };
  if (accounts.length === 0) return { shared: "no" };
  return {
    shared: "with_accounts",
    shared_with: accounts.slice(0, MAX_ACCOUNTS),
    ...(accounts.length > MAX_ACCOUNTS && { shared_with_omitted: accounts.length - MAX_ACCOUNTS }),
  };
}

function summarise(snapshot: DBSnapshot, status: string, { shared, shared_with, shared_with_omitted = 0 }: Sharing) {
  const progress = status === "creating" ? `, ${snapshot.PercentProgress ?? 0} % done` : "";
  const remarks = [
    shared === "public" && "public: anybody with an AWS account can restore it",
    shared === "with_accounts" && `shared with ${(shared_with?.length ?? 0) + shared_with_omitted} other accounts`,
    shared === "unknown" && "could not be told whether it is shared",
    !snapshot.Encrypted && "not encrypted",
  ].filter(Boolean);
  return `${status}${progress}; ${remarks.length > 0 ? remarks.join("; ") : "private and encrypted"}.`;
}
