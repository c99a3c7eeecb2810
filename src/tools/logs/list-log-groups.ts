import type { LogGroup } from "@aws-sdk/client-cloudwatch-logs";
import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { isoTime, roomFor } from "./lines.ts";
import { sdk } from "./log-group.ts";

/** The most DescribeLogGroups gives at once. */
const PAGE_SIZE = 50;

const NamePart = z.string().regex(/^[.\-_/#A-Za-z0-9]{1,512}$/, "not part of a log group name");

const fields = z.strictObject({
  ...regionFields,
  prefix: NamePart.optional(),
  name_contains: NamePart.optional(),
  limit,
  cursor,
});

const input = fields.refine((given) => given.prefix === undefined || given.name_contains === undefined, {
  path: ["prefix"],
  message: "give either prefix or name_contains, not both",
});

const Item = z.object({
  name: z.string(),
  region: z.string(),
  stored_bytes: z.number().optional(),
  retention: z.string(),
  class: z.string(),
  created: z.string().optional(),
  data_protection: z.string().optional(),
});

const Counts = z.record(z.string(), z.int());
const Summary = z.object({
  matched: z.int(),
  by_retention: Counts,
  by_class: Counts,
  counts_complete: z.boolean(),
});

export const listLogGroups = defineTool({
  name: "cloudwatch_list_log_groups",
  title: "List log groups",
  description:
    "Find log groups by prefix or part of the name: stored size, retention, class. Counts by retention and class come first. cloudwatch_filter_logs and cloudwatch_query_logs read them.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "logs:DescribeLogGroups" }],
  input,
  output: listOutput(Summary, Item),
  example: { name_contains: "lambda", regions: ["us-east-1", "eu-west-1"] },
  subject: everyOne("logs:log-group"),
  async handler(given, { aws }) {
    const { CloudWatchLogsClient, DescribeLogGroupsCommand } = await sdk();
    const regions = regionsOf(given, aws.regionOf);
    const listing = await listRegions<LogGroup, z.input<typeof Item>>({
      question: questionHash("cloudwatch_list_log_groups", { ...given, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      // Names are not cut, because they are what the other tools need: long ones make a page of fewer rows.
      maxPageBytes: roomFor(given.limit),
      countBy: (group) => `${retentionOf(group)}|${classOf(group)}`,
      fetchPage: async (region, token) => {
        const answer = await aws.client(CloudWatchLogsClient, region).send(
          new DescribeLogGroupsCommand({
            limit: PAGE_SIZE,
            ...(given.prefix && { logGroupNamePrefix: given.prefix }),
            ...(given.name_contains && { logGroupNamePattern: given.name_contains }),
            ...(token && { nextToken: token }),
          }),
        );
        return { items: answer.logGroups ?? [], nextToken: answer.nextToken || undefined };
      },
      rows: (found) => found.map(({ item, region }) => itemOf(item, region)),
    });
    const { total, by, complete } = listing.counts;
    const summary = {
      matched: total,
      by_retention: sumBy(by, (group) => group.split("|")[0] ?? ""),
      by_class: sumBy(by, (group) => group.split("|")[1] ?? ""),
      counts_complete: complete,
    };
    return listReply(summary, listing);
  },
});

/** Only the two together are counted page by page; each alone is their sum. */
function sumBy(counts: Readonly<Record<string, number>>, part: (group: string) => string): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [group, count] of Object.entries(counts)) sums[part(group)] = (sums[part(group)] ?? 0) + count;
  return sums;
}

function retentionOf({ retentionInDays }: LogGroup): string {
  return retentionInDays ? `${retentionInDays}d` : "never";
}

/** Groups from before there were classes are of the standard one. */
function classOf({ logGroupClass }: LogGroup): string {
  return logGroupClass?.slice(0, 32) ?? "STANDARD";
}

function itemOf(group: LogGroup, region: string): z.input<typeof Item> {
  const created = isoTime(group.creationTime);
  return {
    name: group.logGroupName ?? "",
    region,
    ...(group.storedBytes !== undefined && { stored_bytes: group.storedBytes }),
    retention: retentionOf(group),
    class: classOf(group),
    ...(created && { created }),
    ...(group.dataProtectionStatus && { data_protection: group.dataProtectionStatus }),
  };
}
