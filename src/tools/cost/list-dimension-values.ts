import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import type { Cached } from "../shared/cache.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply, type ServicePage } from "../shared/listing.ts";
import { atMoment, momentOf } from "../shared/moment.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { dimensionOf, ListableDimension, tagKeyOf } from "./dimensions.ts";
import { costRegion, costSubject, type Paid, paidOnce, priceOf, sdk, TTL_MS } from "./explorer.ts";
import { DayArgument, interval, type Period, periodOf } from "./period.ts";

const MAX_DAYS = 397;
/** A request brings a thousand values: counting further would cost more than the count is worth. */
const MAX_SCAN = 2_000;

const input = z.strictObject({
  dimension: ListableDimension.describe("tag for the keys, tag:<key> for its values"),
  search: z.string().min(1).max(256).optional(),
  start: DayArgument.default("30d"),
  end: DayArgument.optional(),
  limit,
  cursor,
});
type Input = z.output<typeof input>;

const Item = z.object({ value: z.string(), name: z.string().optional() });
type Item = z.output<typeof Item>;

const Summary = z.object({
  matched: z.int(),
  paid_requests: z.int(),
  cached_at: z.string().optional(),
  counts_complete: z.boolean(),
});

export const listDimensionValues = defineTool({
  name: "cost_list_dimension_values",
  title: "List values costs can be filtered by",
  description:
    "Services, accounts, regions, usage types, tag keys or tag values that had costs in a period, spelled as cost_get_cost_and_usage takes them. A request to AWS costs 0.01 USD; answers are kept for hours.",
  service: "cost",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ce:GetDimensionValues", resource: "billingview" },
    { action: "ce:GetTags", resource: "billingview" },
  ],
  input,
  output: listOutput(Summary, Item),
  example: { dimension: "service", search: "Relational" },
  subject: costSubject,
  async handler(given, context) {
    // AWS takes its token only with the period it gave it for, and after midnight 30 days ago is another day.
    const begun = momentOf(given.cursor);
    const period = periodOf(given, MAX_DAYS, begun.now);
    const asked: Cached<Paid<unknown>>[] = [];
    const listing = await listRegions<Item, Item>({
      question: questionHash("cost_list_dimension_values", { ...given, now: begun.now }),
      regions: ["global"],
      limit: given.limit,
      cursor: begun.cursor,
      maxScan: MAX_SCAN,
      maxPageBytes: Math.min(60_000, given.limit * 440),
      countBy: () => "all",
      fetchPage: async (_region, token) => {
        const page = await pageOf(given, period, token, context);
        asked.push(page);
        return page.value.answer;
      },
      rows: (found) => found.map(({ item }) => item),
    });
    const { total, complete } = listing.counts;
    const summary = { matched: total, ...priceOf(asked), counts_complete: complete };
    return listReply(summary, atMoment(begun.now, listing));
  },
});

type Page = ServicePage<Item>;

/** One page of AWS's, at most a thousand values; the pages of a reply are cut from it without asking again. */
function pageOf(given: Input, period: Period, token: string | undefined, context: ReadContext) {
  const request = {
    TimePeriod: interval(period),
    ...(given.search && { SearchString: given.search }),
    ...(token && { NextPageToken: token }),
  };
  const { dimension } = given;
  return paidOnce<Page>({ values: dimension, request }, context, async () => {
    const answer =
      dimension === "tag" || tagKeyOf(dimension) !== undefined
        ? await tagPage(dimension, request, context)
        : await dimensionPage(dimension, request, context);
    return { value: { answer, requests: 1 }, ttlMs: TTL_MS.settled };
  });
}

interface PageRequest {
  TimePeriod: { Start: string; End: string };
  SearchString?: string;
  NextPageToken?: string;
}

async function dimensionPage(dimension: string, request: PageRequest, { aws }: ReadContext): Promise<Page> {
  const { CostExplorerClient, GetDimensionValuesCommand } = await sdk();
  const command = new GetDimensionValuesCommand({ ...request, Dimension: dimensionOf(dimension) });
  const answer = await aws.client(CostExplorerClient, costRegion(aws.regionOf)).send(command);
  const items = (answer.DimensionValues ?? []).map(({ Value, Attributes }): Item => {
    const name = Attributes?.description;
    return { value: cleanText(Value ?? "", 256), ...(name && { name: cleanText(name, 64) }) };
  });
  return { items, nextToken: answer.NextPageToken || undefined };
}

async function tagPage(dimension: string, request: PageRequest, { aws }: ReadContext): Promise<Page> {
  const { CostExplorerClient, GetTagsCommand } = await sdk();
  const key = tagKeyOf(dimension);
  const command = new GetTagsCommand({ ...request, ...(key !== undefined && { TagKey: key }) });
  const answer = await aws.client(CostExplorerClient, costRegion(aws.regionOf)).send(command);
  const items = (answer.Tags ?? []).map((value): Item => ({ value: cleanText(value ?? "", 256) }));
  return { items, nextToken: answer.NextPageToken || undefined };
}
