import type { FilteredLogEvent } from "@aws-sdk/client-cloudwatch-logs";
import * as z from "zod";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { openCursor, questionHash, sealCursor } from "../shared/cursor.ts";
import { fit } from "../shared/fit.ts";
import { cursor, region } from "../shared/schemas.ts";
import { Time, timeRange } from "../shared/time.ts";
import { countFitting, isoTime, KeyWatch, roomFor, shownText } from "./lines.ts";
import { LogGroupName, logGroups, noSuchLogGroup, sdk } from "./log-group.ts";

const MAX_RANGE_MS = 31 * 86_400_000;
const MAX_LINES = 1_000;
/** AWS answers a rare pattern with one empty page after the other; after this time the reader decides. */
const SEARCH_MS = 10_000;
/** From then on AWS can search backwards. */
const NEWEST_FIRST_SINCE = Date.UTC(2024, 0, 1);

const input = z.strictObject({
  log_group: LogGroupName,
  pattern: z.string().min(1).max(1_024).optional().describe('ERROR, "a phrase", { $.level = "error" }'),
  log_stream_prefix: z
    .string()
    .regex(/^[ -)+-9;-~]{1,512}$/, "not the beginning of a log stream name")
    .optional(),
  start: Time.default("1h").describe("ISO 8601 or ago: 15m, 7d"),
  end: Time.optional(),
  newest_first: z.boolean().default(true),
  limit: z.int().min(1).max(MAX_LINES).default(20),
  max_line_bytes: z.int().min(50).max(8_000).default(300),
  cursor,
  region,
});
type Input = z.output<typeof input>;

const Line = z.object({
  at: z.string(),
  stream: z.string(),
  message: z.string(),
  cut: z.boolean().optional(),
});

/** Where in AWS's answers the next line is. `after` is the event before it, should its page have changed meanwhile. */
const Position = z.strictObject({
  token: z.string().max(5_000).optional(),
  size: z.int().min(1).max(MAX_LINES),
  offset: z.int().min(0).max(10_000),
  after: z.string().max(200).optional(),
});
type Position = z.infer<typeof Position>;
/**
 * The range is fixed by the first page: an hour ago moves on. A cursor can be made by whoever likes to, so it is held to
 * what a first page may ask for.
 */
const Resume = z
  .strictObject({ from: z.int().min(0), to: z.int().min(0), at: Position })
  .refine(({ from, to }) => from < to && to - from <= MAX_RANGE_MS);
type Resume = z.infer<typeof Resume>;

export const filterLogs = defineTool({
  name: "cloudwatch_filter_logs",
  title: "Read log lines",
  description:
    "Lines of one log group, of the last hour unless start says otherwise (at most 31 days), by filter pattern. A page may be short or empty before the search is over: go on while truncated. cloudwatch_query_logs counts lines.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "logs:FilterLogEvents", resource: "log-group" }],
  input,
  example: { log_group: "/aws/lambda/orders", pattern: "ERROR", start: "3h" },
  output: z.object({
    lines: z.array(Line),
    returned: z.int(),
    truncated: z.boolean(),
    next_cursor: z.string().optional(),
    from: z.string(),
    to: z.string(),
    log_group: z.string(),
    region: z.string(),
    as_of: z.string(),
  }),
  subject: (given, regionOf) => logGroups([given.log_group], regionOf(given.region)),
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const question = questionHash("cloudwatch_filter_logs", { ...given, region: where });
    const resume = given.cursor === undefined ? firstPage(given) : openCursor(question, given.cursor, Resume);
    const { events, next } = await search(given, resume, where, context);
    const lines = linesOf(given, resume.from, events, context.mask);
    const fitting = countFitting(lines, roomFor(given.limit));
    const at = events[fitting]?.at ?? next;
    return {
      lines: lines.slice(0, fitting),
      returned: fitting,
      truncated: at !== undefined,
      ...(at && { next_cursor: sealCursor(question, { ...resume, at }) }),
      from: new Date(resume.from).toISOString(),
      to: new Date(resume.to).toISOString(),
      log_group: given.log_group,
      region: where,
      as_of: new Date().toISOString(),
    };
  },
});

function firstPage(given: Input): Resume {
  const { from, to } = timeRange(given, { maxMs: MAX_RANGE_MS });
  return { from, to, at: { size: given.limit, offset: 0 } };
}

/** An event, and where a page that begins with it starts. */
interface Placed {
  event: FilteredLogEvent;
  at: Position;
}

async function search(
  given: Input,
  { from, to, at }: Resume,
  where: string,
  { aws, progress }: ReadContext,
): Promise<{ events: Placed[]; next: Position | undefined }> {
  const { CloudWatchLogsClient, FilterLogEventsCommand } = await sdk();
  const client = aws.client(CloudWatchLogsClient, where);
  const until = performance.now() + SEARCH_MS;
  const events: Placed[] = [];
  let { token, size, offset, after } = at;
  for (;;) {
    const command = new FilterLogEventsCommand({
      logGroupName: given.log_group,
      startTime: from,
      // AWS includes the end, `to` is the first moment that is out.
      endTime: to - 1,
      limit: size,
      startFromHead: !isNewestFirst(given, from),
      ...(given.pattern && { filterPattern: given.pattern }),
      ...(given.log_stream_prefix && { logStreamNamePrefix: given.log_stream_prefix }),
      ...(token && { nextToken: token }),
    });
    const answer = await client.send(command).catch((thrown: unknown) => {
      throw noSuchLogGroup(thrown, [given.log_group], where);
    });
    const page = answer.events ?? [];
    // The page may have grown at its beginning since it was cut there.
    const known = after === undefined ? -1 : page.findIndex(({ eventId }) => eventId === after);
    const begin = known >= 0 ? known + 1 : offset;
    for (const [index, event] of page.entries()) {
      if (index < begin) continue;
      const before = page[index - 1]?.eventId;
      const place: Position = {
        size,
        offset: index,
        ...(token !== undefined && { token }),
        ...(before !== undefined && { after: before }),
      };
      if (events.length === given.limit) return { events, next: place };
      events.push({ event, at: place });
    }
    const next = answer.nextToken;
    if (!next || next === token) return { events, next: undefined };
    token = next;
    offset = 0;
    after = undefined;
    size = Math.max(1, given.limit - events.length);
    if (events.length === given.limit || performance.now() > until) {
      return { events, next: { token, size: given.limit, offset: 0 } };
    }
    progress(events.length, given.limit, "searching");
  }
}

const isNewestFirst = (given: Input, from: number): boolean => given.newest_first && from >= NEWEST_FIRST_SINCE;

const MAX_STREAM_BYTES = 64;

function linesOf(given: Input, from: number, events: readonly Placed[], mask: ReadContext["mask"]) {
  const keys = new KeyWatch();
  const watched = (isNewestFirst(given, from) ? [...events].reverse() : [...events]).map(({ event }) => ({
    event,
    message: keys.watch(event.logStreamName ?? "", event.message ?? ""),
  }));
  if (isNewestFirst(given, from)) watched.reverse();
  return watched.map(({ event, message }): z.input<typeof Line> => {
    const { text, cut } = shownText(message.replace(/\s+$/, ""), given.max_line_bytes, mask);
    return {
      at: isoTime(event.timestamp) ?? "",
      stream: fit(event.logStreamName ?? "", MAX_STREAM_BYTES),
      message: text,
      ...(cut && { cut }),
    };
  });
}
