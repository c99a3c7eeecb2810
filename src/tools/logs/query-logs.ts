import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { pollUntil } from "../shared/poll.ts";
import { region } from "../shared/schemas.ts";
import { Time, timeRange } from "../shared/time.ts";
import { queryProblem } from "./insights-query.ts";
import { LogGroupName, logGroups, noSuchLogGroup, sdk } from "./log-group.ts";
import {
  isRunning,
  lookAt,
  MAX_RESULTS,
  MaxValueBytes,
  ResultLimit,
  Results,
  resultsReply,
  statusOf,
} from "./query-results.ts";
import { type StartedQuery, startedQueries } from "./started-queries.ts";

const MAX_RANGE_MS = 31 * 86_400_000;

/** Of one call, from its first request to AWS to its answer; the rest of the time is for a last look that is slow. */
export const WAIT_MS = 20_000;
export const DEADLINE_S = 40;

const input = z.strictObject({
  log_groups: z.array(LogGroupName).min(1).max(20),
  query: z
    .string()
    .min(1)
    .max(10_000)
    .superRefine((text, context) => {
      const problem = queryProblem(text);
      if (problem) context.addIssue({ code: "custom", message: problem });
    })
    .describe("Logs Insights QL, without SOURCE, join, lookup, unmask"),
  start: Time.default("1h").describe("ISO 8601 or ago: 15m, 7d"),
  end: Time.optional(),
  limit: ResultLimit,
  max_value_bytes: MaxValueBytes,
  region,
});
type Input = z.output<typeof input>;

export const queryLogs = defineTool({
  name: "cloudwatch_query_logs",
  title: "Query logs with Logs Insights",
  description:
    "Run a Logs Insights query over up to 20 log groups and 31 days. Scanning costs money: the reply estimates how much. What still runs after 20 s goes on, for cloudwatch_get_query_results. cloudwatch_filter_logs shows plain lines.",
  service: "cloudwatch",
  effect: "read",
  // Asking again is paid again.
  idempotent: false,
  iam: [
    { action: "logs:StartQuery", resource: "log-group" },
    { action: "logs:GetQueryResults", resource: "log-group" },
    { action: "logs:StopQuery" },
  ],
  input,
  example: {
    log_groups: ["/aws/lambda/orders"],
    query: "filter @message like /ERROR/ | stats count(*) by bin(5m)",
    start: "3h",
  },
  output: Results,
  deadlineS: () => DEADLINE_S,
  waits: () => true,
  subject: (given, regionOf) => logGroups(given.log_groups, regionOf(given.region)),
  handler: (given, context) => runQuery(given, context, WAIT_MS),
});

/** @param waitMs how long it waits before it leaves the query to itself */
export async function runQuery(given: Input, context: ReadContext, waitMs: number): Promise<z.input<typeof Results>> {
  const started = performance.now();
  const range = timeRange(given, { maxMs: MAX_RANGE_MS });
  const query: StartedQuery = {
    logGroups: [...new Set(given.log_groups)],
    region: context.aws.regionOf(given.region),
    from: new Date(range.from).toISOString(),
    to: new Date(range.to).toISOString(),
  };
  const id = await start(given, query, range, context);
  const view = { offset: 0, limit: given.limit, maxValueBytes: given.max_value_bytes };
  try {
    const { value } = await pollUntil({
      look: () => lookAt(id, query, given.limit, context),
      done: (answer) => !isRunning(statusOf(answer)),
      timeoutMs: waitMs - (performance.now() - started),
      signal: context.signal,
      maxIntervalMs: 2_000,
      onLook: (answer, elapsedMs) => {
        const scanned = ((answer.statistics?.bytesScanned ?? 0) / 2 ** 30).toFixed(2);
        context.progress(Math.round(elapsedMs / 1000), waitMs / 1000, `${statusOf(answer)}, ${scanned} GiB scanned`);
      },
    });
    return resultsReply(id, query, value, view, context.mask);
  } catch (thrown) {
    // The query is paid for and goes on: that it could not be looked at for a moment must not lose it.
    if (!context.signal.aborted && thrown instanceof ToolError && thrown.retryable) {
      const errors = [partialError(query.region, thrown)];
      return { ...resultsReply(id, query, undefined, view, context.mask), errors };
    }
    await stop(id, query, context);
    throw thrown;
  }
}

async function start(
  given: Input,
  query: StartedQuery,
  { from, to }: { from: number; to: number },
  { aws }: ReadContext,
): Promise<string> {
  const { CloudWatchLogsClient, StartQueryCommand } = await sdk();
  const startTime = Math.floor(from / 1000);
  const command = new StartQueryCommand({
    // In other languages a text could name log groups in ways that were not looked for.
    queryLanguage: "CWLI",
    logGroupNames: [...query.logGroups],
    queryString: given.query,
    startTime,
    // AWS counts the last second in, `to` is the first moment that is out.
    endTime: Math.max(startTime, Math.ceil(to / 1000) - 1),
    limit: MAX_RESULTS,
  });
  const { queryId } = await aws
    .client(CloudWatchLogsClient, query.region)
    .send(command)
    .catch((thrown: unknown) => {
      throw noSuchLogGroup(thrown, query.logGroups, query.region);
    });
  if (queryId === undefined) {
    throw new ToolError("upstream", "CloudWatch Logs started a query without telling its id.", {
      nextStep: "Retry once; what the lost query scans is paid for.",
    });
  }
  startedQueries.add(queryId, query);
  return queryId;
}

/** A query nobody waits for any longer would go on scanning, and costing. The call's own signal has fired by now. */
async function stop(id: string, { region }: StartedQuery, { aws }: ReadContext): Promise<void> {
  const { CloudWatchLogsClient, StopQueryCommand } = await sdk();
  // It may have ended by itself, or AWS may be silent: why the call ends matters more than this.
  await aws
    .cleanupClient(CloudWatchLogsClient, region)
    .send(new StopQueryCommand({ queryId: id }))
    .catch(() => {});
}
