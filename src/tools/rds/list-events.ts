import type { Event, SourceType } from "@aws-sdk/client-rds";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply, type ServicePage } from "../shared/listing.ts";
import { atMoment, momentOf } from "../shared/moment.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { Time, timeRange } from "../shared/time.ts";
import { PAGE_SIZE, pageBytes, sdk } from "./db-instance.ts";
import { newerHalf, type Slice, sliceBefore, sliceOf, tokenOf } from "./event-slices.ts";
import { nothingFound } from "./nothing-found.ts";

const SOURCE_TYPES = [
  "db-instance",
  "db-snapshot",
  "db-cluster",
  "db-cluster-snapshot",
  "db-parameter-group",
  "db-security-group",
  "db-proxy",
  "blue-green-deployment",
  "custom-engine-version",
] as const satisfies readonly SourceType[];

const DAY_MS = 86_400_000;
/** How long RDS remembers. */
const KEPT_MS = 14 * DAY_MS;
/** "14d" is a moment more than 14 days ago by the time it is looked at. */
const TOLERANCE_MS = 60_000;

const input = z
  .strictObject({
    ...regionFields,
    source_type: z.enum(SOURCE_TYPES).optional(),
    source_id: z
      .string()
      .regex(/^[A-Za-z][A-Za-z0-9:.-]*$/, "not an identifier such as orders-db")
      .max(255)
      .optional()
      .describe("Needs source_type"),
    categories: z
      .array(
        z
          .string()
          .regex(/^[a-z]+([ -][a-z]+)*$/, "not a category such as failover")
          .max(48),
      )
      .min(1)
      .max(20)
      .optional()
      .describe('e.g. "failover", "low storage"'),
    start: Time.default("24h").describe("ISO 8601 or an age"),
    end: Time.optional(),
    limit,
    cursor,
  })
  .refine((given) => given.source_id === undefined || given.source_type !== undefined, {
    path: ["source_id"],
    message: "give source_type as well",
  });
type Input = z.output<typeof input>;

const Item = z.object({
  happened: z.string().optional(),
  source_type: z.string(),
  source_id: z.string(),
  categories: z.array(z.string()).optional(),
  message: z.string(),
  region: z.string(),
});

const Summary = z.object({
  matched: z.int(),
  by_category: z.record(z.string(), z.int()),
  from: z.string(),
  to: z.string(),
  counts_complete: z.boolean(),
});

export const listEvents = defineTool({
  name: "rds_list_events",
  title: "List RDS events",
  description:
    "What happened to RDS databases, newest first: failovers, restarts, backups, low storage, configuration changes, maintenance. By source, category and time, up to 14 days back. Counts by first category come first.",
  service: "rds",
  effect: "read",
  idempotent: true,
  iam: [{ action: "rds:DescribeEvents" }],
  input,
  output: listOutput(Summary, Item),
  example: { source_type: "db-instance", source_id: "orders-db", start: "3d", categories: ["failover"] },
  subject: everyOne("rds:db"),
  async handler(given, context) {
    const regions = regionsOf(given, context.aws.regionOf);
    const asked = momentOf(given.cursor);
    const range = rangeOf(given, asked.now);
    const listing = await listRegions<Event, z.input<typeof Item>>({
      question: questionHash("rds_list_events", { ...given, regions, now: asked.now }),
      regions,
      limit: given.limit,
      cursor: asked.cursor,
      maxPageBytes: pageBytes(given.limit),
      countBy: (event) => cleanText(event.EventCategories?.[0] ?? "none", 48),
      fetchPage: (region, token) => fetchSlice(given, range, sliceOf(token, range), region, context),
      rows: (found) => found.map(({ item, region }) => itemOf(item, region)),
    });
    const { total, by, complete } = listing.counts;
    const [from, to] = [range.from, range.to].map((time) => new Date(time).toISOString());
    const summary = { matched: total, by_category: by, from: from ?? "", to: to ?? "", counts_complete: complete };
    return listReply(summary, atMoment(asked.now, listing));
  },
});

/** @throws ToolError `invalid_input` for what RDS has forgotten */
function rangeOf(given: Input, now: number): Slice {
  const range = timeRange(given, { maxMs: KEPT_MS + TOLERANCE_MS, now });
  if (range.from < now - KEPT_MS - TOLERANCE_MS) {
    throw new ToolError("invalid_input", "start: RDS keeps events for 14 days only.", {
      nextStep: "Ask for a start within the last 14 days; CloudTrail knows who changed what before that.",
    });
  }
  const seconds = (time: number) => Math.ceil(time / 1000) * 1000;
  return { from: seconds(Math.max(range.from, now - KEPT_MS + TOLERANCE_MS)), to: seconds(range.to) };
}

/** A slice with more is halved; what no halving helps is taken whole. */
const MAX_EVENTS_OF_SLICE = 1_000;

/** All events of a slice of time, newest first. */
async function fetchSlice(
  given: Input,
  range: Slice,
  slice: Slice,
  region: string,
  context: ReadContext,
): Promise<ServicePage<Event>> {
  const events: Event[] = [];
  let marker: string | undefined;
  do {
    const page = await fetchEvents(given, slice, marker, region, context);
    events.push(...(page.Events ?? []));
    marker = page.Marker || undefined;
    const half = marker !== undefined && events.length >= MAX_EVENTS_OF_SLICE ? newerHalf(slice) : undefined;
    if (half) return fetchSlice(given, range, half, region, context);
  } while (marker !== undefined);
  const timeOf = (event: Event) => event.Date?.getTime() ?? slice.from;
  const inside = events.filter((event) => timeOf(event) >= slice.from && timeOf(event) < slice.to);
  const before = sliceBefore(slice, range);
  return {
    items: inside.sort((a, b) => timeOf(b) - timeOf(a)),
    nextToken: before && tokenOf(before),
  };
}

async function fetchEvents(
  given: Input,
  slice: Slice,
  marker: string | undefined,
  region: string,
  { aws }: ReadContext,
) {
  const { DescribeEventsCommand, RDSClient } = await sdk();
  const command = new DescribeEventsCommand({
    ...(given.source_type && { SourceType: given.source_type }),
    ...(given.source_id && { SourceIdentifier: given.source_id }),
    ...(given.categories && { EventCategories: given.categories }),
    StartTime: new Date(slice.from),
    EndTime: new Date(slice.to),
    MaxRecords: PAGE_SIZE,
    ...(marker && { Marker: marker }),
  });
  return aws.client(RDSClient, region).send(command).catch(nothingFound);
}

function itemOf(event: Event, region: string): z.input<typeof Item> {
  const categories = (event.EventCategories ?? []).slice(0, 5).map((category) => cleanText(category, 48));
  return {
    ...(event.Date && { happened: event.Date.toISOString() }),
    source_type: cleanText(event.SourceType ?? "", 32),
    source_id: cleanText(event.SourceIdentifier ?? "", 255),
    ...(categories.length > 0 && { categories }),
    message: cleanText(event.Message ?? "", 240),
    region,
  };
}
