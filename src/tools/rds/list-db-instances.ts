import type { DBInstance, Filter } from "@aws-sdk/client-rds";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { rowTags, shownTags } from "../shared/tags.ts";
import { DbInstanceId, hasOwnStorage, NAME, PAGE_SIZE, pageBytes, sdk, statuses, statusOf } from "./db-instance.ts";
import { nothingFound } from "./nothing-found.ts";

const input = z.strictObject({
  ...regionFields,
  engine: z
    .string()
    .regex(/^[a-z][a-z0-9-]*$/, "not an engine such as postgres or aurora-mysql")
    .max(32)
    .optional(),
  statuses,
  name_contains: z.string().min(1).max(63).optional().describe("Part of the identifier"),
  db_instance_ids: z.array(DbInstanceId).min(1).max(100).optional(),
  cluster_id: z.string().regex(NAME, "not a cluster identifier").max(63).optional(),
  limit,
  cursor,
});
type Input = z.output<typeof input>;

const Item = z.object({
  db_instance_id: z.string(),
  status: z.string(),
  engine: z.string(),
  version: z.string().optional(),
  class: z.string(),
  region: z.string(),
  az: z.string().optional(),
  multi_az: z.boolean(),
  storage_gib: z.int().optional(),
  cluster_id: z.string().optional(),
  replica_of: z.string().optional(),
  public: z.boolean().optional(),
  tags: z.record(z.string(), z.string()).optional(),
  tags_omitted: z.int().optional(),
});

const Summary = z.object({ matched: z.int(), by_status: z.record(z.string(), z.int()), counts_complete: z.boolean() });

export const listDbInstances = defineTool({
  name: "rds_list_db_instances",
  title: "List RDS database instances",
  description:
    "Find RDS and Aurora DB instances by engine, status, cluster, name or id, in one or several regions. Counts by status come first. Use rds_describe_db_instance for storage, backups, pending changes and certificates of one.",
  service: "rds",
  effect: "read",
  idempotent: true,
  iam: [{ action: "rds:DescribeDBInstances", resource: "db" }],
  input,
  output: listOutput(Summary, Item),
  example: { engine: "postgres", statuses: ["available"], regions: ["us-east-1", "eu-west-1"] },
  subject: everyOne("rds:db"),
  async handler(given, { aws }) {
    const { DescribeDBInstancesCommand, RDSClient } = await sdk();
    const regions = regionsOf(given, aws.regionOf);
    const wanted = matcherOf(given);
    const listing = await listRegions<DBInstance, z.input<typeof Item>>({
      question: questionHash("rds_list_db_instances", { ...given, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      maxPageBytes: pageBytes(given.limit),
      countBy: statusOf,
      fetchPage: async (region, token) => {
        const command = new DescribeDBInstancesCommand({
          Filters: filtersOf(given),
          MaxRecords: PAGE_SIZE,
          ...(token && { Marker: token }),
        });
        const answer = await aws.client(RDSClient, region).send(command).catch(nothingFound);
        return { items: (answer.DBInstances ?? []).filter(wanted), nextToken: answer.Marker || undefined };
      },
      rows: (found) => found.map(({ item, region }) => itemOf(item, region)),
    });
    const { total, by, complete } = listing.counts;
    return listReply({ matched: total, by_status: by, counts_complete: complete }, listing);
  },
});

function filtersOf({ engine, cluster_id }: Input): Filter[] {
  return [
    ...(engine === undefined ? [] : [{ Name: "engine", Values: [engine] }]),
    ...(cluster_id === undefined ? [] : [{ Name: "db-cluster-id", Values: [cluster_id] }]),
  ];
}

/** RDS filters by neither status nor part of a name; and one id that does not exist would fail its own filter. */
function matcherOf({ statuses, name_contains, db_instance_ids }: Input): (instance: DBInstance) => boolean {
  const part = name_contains?.toLowerCase();
  const ids = db_instance_ids && new Set(db_instance_ids.map((id) => id.toLowerCase()));
  return (instance) => {
    const id = instance.DBInstanceIdentifier?.toLowerCase() ?? "";
    return (
      (statuses?.includes(statusOf(instance)) ?? true) &&
      (part === undefined || id.includes(part)) &&
      (ids?.has(id) ?? true)
    );
  };
}

function itemOf(instance: DBInstance, region: string): z.input<typeof Item> {
  return {
    db_instance_id: instance.DBInstanceIdentifier ?? "",
    status: statusOf(instance),
    engine: cleanText(instance.Engine ?? "", 32),
    ...(instance.EngineVersion && { version: cleanText(instance.EngineVersion, 48) }),
    class: cleanText(instance.DBInstanceClass ?? "", 48),
    region,
    ...(instance.AvailabilityZone && { az: cleanText(instance.AvailabilityZone, 32) }),
    multi_az: instance.MultiAZ ?? false,
    ...(instance.AllocatedStorage !== undefined &&
      hasOwnStorage(instance) && { storage_gib: instance.AllocatedStorage }),
    ...(instance.DBClusterIdentifier && { cluster_id: cleanText(instance.DBClusterIdentifier, 63) }),
    ...(instance.ReadReplicaSourceDBInstanceIdentifier && {
      replica_of: cleanText(instance.ReadReplicaSourceDBInstanceIdentifier, 160),
    }),
    ...(instance.PubliclyAccessible && { public: true }),
    ...rowTags(shownTags(instance.TagList)),
  };
}
