import type { DBSnapshot } from "@aws-sdk/client-rds";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { parseTime } from "../../core/time.ts";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { atMoment, momentOf } from "../shared/moment.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { rowTags, shownTags } from "../shared/tags.ts";
import { Time } from "../shared/time.ts";
import { DbInstanceId, engineOf, PAGE_SIZE, pageBytes, sdk, statuses, statusOf } from "./db-instance.ts";
import { nothingFound } from "./nothing-found.ts";
import { typeOf } from "./snapshot.ts";

const input = z.strictObject({
  ...regionFields,
  db_instance_id: DbInstanceId.optional(),
  type: z.enum(["manual", "automated", "awsbackup"]).optional().describe("Default: manual and automated"),
  statuses,
  created_before: Time.optional().describe('ISO 8601 or an age: "30d" is older than 30 days'),
  created_after: Time.optional(),
  limit,
  cursor,
});
type Input = z.output<typeof input>;

const Item = z.object({
  snapshot_id: z.string(),
  db_instance_id: z.string(),
  type: z.string(),
  status: z.string(),
  done_percent: z.int().optional(),
  engine: z.string(),
  size_gib: z.int().optional(),
  encrypted: z.boolean(),
  created: z.string().optional(),
  region: z.string(),
  tags: z.record(z.string(), z.string()).optional(),
  tags_omitted: z.int().optional(),
});

const Summary = z.object({ matched: z.int(), by_status: z.record(z.string(), z.int()), counts_complete: z.boolean() });

export const listSnapshots = defineTool({
  name: "rds_list_snapshots",
  title: "List RDS snapshots",
  description:
    "Find snapshots of RDS DB instances (not of Aurora clusters) by instance, type, status or age, in one or several regions. Counts by status come first. Use rds_describe_snapshot to see with whom one is shared.",
  service: "rds",
  effect: "read",
  idempotent: true,
  iam: [{ action: "rds:DescribeDBSnapshots", resource: ["db", "snapshot"] }],
  input,
  output: listOutput(Summary, Item),
  example: { db_instance_id: "orders-db", type: "manual", created_before: "30d" },
  subject: everyOne("rds:snapshot"),
  async handler(given, { aws }) {
    const { DescribeDBSnapshotsCommand, RDSClient } = await sdk();
    const regions = regionsOf(given, aws.regionOf);
    const asked = momentOf(given.cursor);
    const wanted = matcherOf(given, asked.now);
    const listing = await listRegions<DBSnapshot, z.input<typeof Item>>({
      question: questionHash("rds_list_snapshots", { ...given, regions, now: asked.now }),
      regions,
      limit: given.limit,
      cursor: asked.cursor,
      maxPageBytes: pageBytes(given.limit),
      countBy: statusOf,
      fetchPage: async (region, token) => {
        const command = new DescribeDBSnapshotsCommand({
          ...(given.db_instance_id && { DBInstanceIdentifier: given.db_instance_id }),
          ...(given.type && { SnapshotType: given.type }),
          MaxRecords: PAGE_SIZE,
          ...(token && { Marker: token }),
        });
        const answer = await aws.client(RDSClient, region).send(command).catch(nothingFound);
        return { items: (answer.DBSnapshots ?? []).filter(wanted), nextToken: answer.Marker || undefined };
      },
      rows: (found) => found.map(({ item, region }) => itemOf(item, region)),
    });
    const { total, by, complete } = listing.counts;
    return listReply({ matched: total, by_status: by, counts_complete: complete }, atMoment(asked.now, listing));
  },
});

/** RDS filters by neither status nor age. A snapshot still being taken may have no time yet: it is new. */
function matcherOf({ statuses, created_before, created_after }: Input, now: number): (snapshot: DBSnapshot) => boolean {
  const moment = (text: string | undefined) =>
    text === undefined ? undefined : Date.parse(parseTime(text, now) ?? "");
  const before = moment(created_before);
  const after = moment(created_after);
  return (snapshot) => {
    const created = snapshot.SnapshotCreateTime?.getTime() ?? now;
    return (
      (statuses?.includes(statusOf(snapshot)) ?? true) &&
      (before === undefined || created < before) &&
      (after === undefined || created >= after)
    );
  };
}

function itemOf(snapshot: DBSnapshot, region: string): z.input<typeof Item> {
  const status = statusOf(snapshot);
  const percent = snapshot.PercentProgress;
  return {
    snapshot_id: snapshot.DBSnapshotIdentifier ?? "",
    db_instance_id: snapshot.DBInstanceIdentifier ?? "",
    type: cleanText(typeOf(snapshot), 16),
    status,
    ...(percent !== undefined && status !== "available" && { done_percent: percent }),
    engine: engineOf(snapshot),
    ...(snapshot.AllocatedStorage !== undefined && { size_gib: snapshot.AllocatedStorage }),
    encrypted: snapshot.Encrypted ?? false,
    ...(snapshot.SnapshotCreateTime && { created: snapshot.SnapshotCreateTime.toISOString() }),
    region,
    ...rowTags(shownTags(snapshot.TagList)),
  };
}
