import type { GetQueryResultsResponse, ResultField } from "@aws-sdk/client-cloudwatch-logs";
import * as z from "zod";
import type { ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { PartialError } from "../shared/schemas.ts";
import { countFitting, roomFor, shownText } from "./lines.ts";
import { sdk } from "./log-group.ts";
import type { StartedQuery } from "./started-queries.ts";

const STATUSES = ["scheduled", "running", "complete", "failed", "cancelled", "timeout", "unknown"] as const;
export type Status = (typeof STATUSES)[number];

export const Results = z.object({
  status: z.enum(STATUSES),
  message: z.string(),
  query_id: z.string(),
  rows: z.array(z.record(z.string(), z.string())),
  returned: z.int(),
  total: z.int(),
  counts_complete: z.boolean(),
  next_offset: z.int().optional(),
  matched: z.int().optional(),
  scanned_bytes: z.number().optional(),
  estimated_cost_usd: z.number().optional(),
  log_groups: z.array(z.string()),
  region: z.string(),
  from: z.string(),
  to: z.string(),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

/** The arguments of both tools that show results. */
export const MaxValueBytes = z.int().min(50).max(8_000).default(300);
export const ResultLimit = z.int().min(1).max(1_000).default(20).describe("Rows shown at once");

/**
 * How many rows a query may find. Without it a question over 300 groups would be answered with as many as are shown. AWS
 * takes ten times as much for this language in most regions and no more than this in the others; nobody pages that far.
 */
export const MAX_RESULTS = 10_000;
/** AWS's own limit for one answer. */
const MAX_ITEMS = 10_000;

export const statusOf = (answer: GetQueryResultsResponse | undefined): Status =>
  STATUSES.find((status) => status === answer?.status?.toLowerCase()) ?? "unknown";

export const isRunning = (status: Status): boolean => ["scheduled", "running", "unknown"].includes(status);

/** The last word of AWS on a query; fetches on until `rows` rows are there, as far as there are so many, and no further. */
export async function lookAt(
  id: string,
  { region }: StartedQuery,
  rows: number,
  { aws }: Pick<ReadContext, "aws">,
): Promise<GetQueryResultsResponse> {
  const { CloudWatchLogsClient, GetQueryResultsCommand } = await sdk();
  const client = aws.client(CloudWatchLogsClient, region);
  const page = (missing: number, nextToken?: string): Promise<GetQueryResultsResponse> =>
    client.send(
      new GetQueryResultsCommand({
        queryId: id,
        maxItems: Math.min(missing, MAX_ITEMS),
        ...(nextToken !== undefined && { nextToken }),
      }),
    );
  const first = await page(rows);
  const results = [...(first.results ?? [])];
  let nextToken = first.nextToken || undefined;
  while (nextToken !== undefined && results.length < rows) {
    const next = await page(rows - results.length, nextToken);
    results.push(...(next.results ?? []));
    nextToken = next.nextToken === nextToken ? undefined : next.nextToken || undefined;
  }
  return { ...first, results, nextToken };
}

/** What CloudWatch Logs asks for a gigabyte scanned, in most regions. */
const USD_PER_GIB = 0.005;

interface View {
  offset: number;
  limit: number;
  maxValueBytes: number;
}

/** The reply of both tools; `answer` is undefined when AWS could not be asked. */
export function resultsReply(
  id: string,
  query: StartedQuery,
  answer: GetQueryResultsResponse | undefined,
  view: View,
  mask: ReadContext["mask"],
): z.input<typeof Results> {
  const status = answer ? statusOf(answer) : "running";
  const all = answer?.results ?? [];
  const rows = all.slice(view.offset, view.offset + view.limit).map((row) => rowOf(row, view.maxValueBytes, mask));
  const shown = rows.slice(0, countFitting(rows, roomFor(view.limit)));
  const total = Math.max(all.length, answer?.statistics?.resultCount ?? 0);
  const next = view.offset + shown.length;
  const capped = total >= MAX_RESULTS;
  // Of rows that were not fetched AWS need not have said how many they are.
  const uncounted = answer?.nextToken !== undefined && answer.statistics?.resultCount === undefined;
  const more = next < total || uncounted;
  const { recordsMatched, bytesScanned } = answer?.statistics ?? {};
  return {
    status,
    message: messageOf(status, more, capped),
    query_id: id,
    rows: shown,
    returned: shown.length,
    total,
    counts_complete: status === "complete" && !capped && !uncounted,
    ...(shown.length > 0 && more && { next_offset: next }),
    ...(recordsMatched !== undefined && { matched: recordsMatched }),
    ...(bytesScanned !== undefined && {
      scanned_bytes: bytesScanned,
      estimated_cost_usd: Number(((bytesScanned / 2 ** 30) * USD_PER_GIB).toFixed(6)),
    }),
    log_groups: [...query.logGroups],
    region: query.region,
    from: query.from,
    to: query.to,
    as_of: new Date().toISOString(),
  };
}

function messageOf(status: Status, more: boolean, capped: boolean): string {
  if (isRunning(status)) {
    return "Not finished; it goes on, and what it found so far may be incomplete. Call cloudwatch_get_query_results with query_id in a while.";
  }
  if (status === "complete") {
    const rest = more ? "; cloudwatch_get_query_results with offset = next_offset shows more rows." : ".";
    const cap = ` It gave ${MAX_RESULTS} rows or more, where a query is cut off: there may be others. Narrow it, or count with stats.`;
    return `Finished${rest}${capped ? cap : ""}`;
  }
  const ended = { failed: "failed", cancelled: "was cancelled", timeout: "ran out of time (60 minutes)" }[
    status as "failed" | "cancelled" | "timeout"
  ];
  return `The query ${ended}; rows are not complete. Start it again over a shorter time or fewer log groups.`;
}

const MAX_ROW_BYTES = 20_000;

/** One result as field → value, without the pointer to the whole record, which costs more than it tells. */
function rowOf(
  fields: readonly ResultField[],
  maxValueBytes: number,
  mask: ReadContext["mask"],
): Record<string, string> {
  const entries: [string, string][] = [];
  let room = MAX_ROW_BYTES;
  const shown = fields.filter(({ field }) => field !== "@ptr");
  for (const { field = "", value = "" } of shown) {
    const entry: [string, string] = [fit(field, 64), shownText(value, maxValueBytes, mask).text];
    room -= entry[0].length + entry[1].length;
    if (room < 0) {
      entries.push(["(fields left out)", String(shown.length - entries.length)]);
      break;
    }
    entries.push(entry);
  }
  return Object.fromEntries(entries);
}
