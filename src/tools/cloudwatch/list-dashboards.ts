import type { DashboardEntry } from "@aws-sdk/client-cloudwatch";
import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { fit } from "../shared/fit.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { cursor, limit, listOutput, region } from "../shared/schemas.ts";
import { DashboardName } from "./dashboard.ts";
import { sdk } from "./metric.ts";
import { shortTime } from "./text.ts";

const Item = z.object({ name: z.string(), modified: z.string().optional(), size_bytes: z.int().optional() });

export const listDashboards = defineTool({
  name: "cloudwatch_list_dashboards",
  title: "List CloudWatch dashboards",
  description:
    "The account's dashboards by name; they belong to no region. Use cloudwatch_get_dashboard for the widgets of one and their data.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "cloudwatch:ListDashboards" }],
  input: z.strictObject({ name_prefix: DashboardName.optional(), region, limit, cursor }),
  output: listOutput(z.object({ matched: z.int(), counts_complete: z.boolean() }), Item),
  example: { name_prefix: "prod-" },
  subject: (given, regionOf) => ({ type: "cloudwatch:dashboard", id: "*", region: regionOf(given.region) }),
  async handler(given, { aws }) {
    const { CloudWatchClient, ListDashboardsCommand } = await sdk();
    const where = aws.regionOf(given.region);
    const listing = await listRegions<DashboardEntry, z.input<typeof Item>>({
      question: questionHash("cloudwatch_list_dashboards", { ...given, region: where }),
      regions: [where],
      limit: given.limit,
      cursor: given.cursor,
      countBy: () => "dashboard",
      fetchPage: async (region, token) => {
        const command = new ListDashboardsCommand({
          ...(given.name_prefix !== undefined && { DashboardNamePrefix: given.name_prefix }),
          ...(token && { NextToken: token }),
        });
        const answer = await aws.client(CloudWatchClient, region).send(command);
        return { items: answer.DashboardEntries ?? [], nextToken: answer.NextToken || undefined };
      },
      rows: (found) => found.map(({ item }) => itemOf(item)),
    });
    const { total, complete } = listing.counts;
    return listReply({ matched: total, counts_complete: complete }, listing);
  },
});

function itemOf({ DashboardName = "", LastModified, Size }: DashboardEntry): z.input<typeof Item> {
  const known = LastModified && !Number.isNaN(LastModified.getTime());
  return {
    name: fit(DashboardName, 260),
    ...(known && { modified: shortTime(LastModified) }),
    ...(Size !== undefined && { size_bytes: Size }),
  };
}
