import type { DimensionFilter, Metric } from "@aws-sdk/client-cloudwatch";
import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { fit } from "../shared/fit.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { Dimensions, dimensionsOf, MetricName, Namespace, sdk } from "./metric.ts";

/** Ten requests: enough for most accounts to be counted whole. */
const MAX_SCAN = 5_000;
/** CloudWatch's own bound. */
const MAX_FILTERS = 10;

const input = z.strictObject({
  ...regionFields,
  namespace: Namespace.optional().describe("e.g. AWS/EC2"),
  metric_name: MetricName.optional(),
  dimensions: Dimensions.refine(
    (given) => Object.keys(given).length <= MAX_FILTERS,
    `at most ${MAX_FILTERS} dimensions`,
  )
    .optional()
    .describe('Name and value; "*" for any value'),
  recently_active: z.boolean().default(false).describe("In the last 3 hours"),
  limit,
  cursor,
});

const Item = z.object({
  namespace: z.string(),
  metric_name: z.string(),
  dimensions: z.record(z.string(), z.string()).optional(),
  dimensions_omitted: z.int().optional(),
  region: z.string(),
});

const Counts = z.record(z.string(), z.int());
const Summary = z.object({
  matched: z.int(),
  by_namespace: Counts.optional(),
  by_metric: Counts.optional(),
  counts_complete: z.boolean(),
});

export const listMetrics = defineTool({
  name: "cloudwatch_list_metrics",
  title: "List CloudWatch metrics",
  description:
    "Find metrics by namespace, name and dimensions; counts by namespace come first, within a namespace by metric name. cloudwatch_get_metric_statistics reads one.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "cloudwatch:ListMetrics" }],
  input,
  output: listOutput(Summary, Item),
  example: { namespace: "AWS/ApplicationELB", dimensions: { LoadBalancer: "*" }, recently_active: true },
  subject: everyOne("cloudwatch:metric"),
  async handler(given, { aws }) {
    const { CloudWatchClient, ListMetricsCommand } = await sdk();
    const regions = regionsOf(given, aws.regionOf);
    const group = given.namespace === undefined ? "by_namespace" : "by_metric";
    const listing = await listRegions<Metric, z.input<typeof Item>>({
      question: questionHash("cloudwatch_list_metrics", { ...given, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      maxScan: MAX_SCAN,
      countBy: (metric) => fit((group === "by_namespace" ? metric.Namespace : metric.MetricName) ?? "", 64),
      fetchPage: async (region, token) => {
        const command = new ListMetricsCommand({
          ...(given.namespace !== undefined && { Namespace: given.namespace }),
          ...(given.metric_name !== undefined && { MetricName: given.metric_name }),
          ...(given.dimensions && { Dimensions: filtersOf(given.dimensions) }),
          ...(given.recently_active && { RecentlyActive: "PT3H" }),
          ...(token && { NextToken: token }),
        });
        const answer = await aws.client(CloudWatchClient, region).send(command);
        return { items: answer.Metrics ?? [], nextToken: answer.NextToken || undefined };
      },
      rows: (found) => found.map(({ item, region }) => itemOf(item, region, found.length)),
    });
    const { total, by, complete } = listing.counts;
    return listReply({ matched: total, [group]: by, counts_complete: complete }, listing);
  },
});

function filtersOf(dimensions: Readonly<Record<string, string>>): DimensionFilter[] {
  return Object.entries(dimensions).map(([Name, Value]) => (Value === "*" ? { Name } : { Name, Value }));
}

/** Of the dimensions of all rows of one page. */
const DIMENSION_BYTES = 5_200;
const MAX_NAME = 80;

/**
 * A dimension is shown whole or not at all: cut, it could not be asked for. Rows of a shorter page have more room, so
 * that a small `limit` shows what a large one leaves out.
 */
function itemOf(metric: Metric, region: string, rows: number): z.input<typeof Item> {
  const all = Object.entries(dimensionsOf(metric.Dimensions));
  const shown: [string, string][] = [];
  let room = Math.max(200, DIMENSION_BYTES / rows);
  for (const pair of all) {
    room -= Buffer.byteLength(JSON.stringify(Object.fromEntries([pair])));
    if (room >= 0) shown.push(pair);
  }
  const nameBytes = rows <= 5 ? 1_024 : MAX_NAME;
  return {
    namespace: fit(metric.Namespace ?? "", nameBytes),
    metric_name: fit(metric.MetricName ?? "", nameBytes),
    ...(shown.length > 0 && { dimensions: Object.fromEntries(shown) }),
    ...(all.length > shown.length && { dimensions_omitted: all.length - shown.length }),
    region,
  };
}
