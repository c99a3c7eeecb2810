// What CloudWatch Logs answers where moto does not: Logs Insights (moto ignores filter and stats, and knows no
// statistics), and StopQuery.

/** Rows as GetQueryResults has them, from plain objects; every row of a query without stats has a pointer. */
export function queryResults(
  rows: readonly Readonly<Record<string, string>>[],
  options: { status?: string; bytesScanned?: number; matched?: number; nextToken?: string; resultCount?: number } = {},
): string {
  const { status = "Complete", bytesScanned = 0, matched = rows.length, nextToken, resultCount } = options;
  return JSON.stringify({
    queryLanguage: "CWLI",
    results: rows.map((row) => Object.entries(row).map(([field, value]) => ({ field, value }))),
    statistics: {
      recordsMatched: matched,
      recordsScanned: matched * 10,
      estimatedRecordsSkipped: 0,
      bytesScanned,
      estimatedBytesSkipped: 0,
      logGroupsScanned: 1,
      ...(resultCount !== undefined && { resultCount }),
    },
    status,
    ...(nextToken && { nextToken }),
  });
}

/**
 * GetQueryResults of a finished query that found all these rows: cut at the limit the query was started with, and given
 * out in pages of `maxItems`, with a token that is a number. AWS counts the rows of all pages unless told not to here.
 */
export function pagedQueryResults(
  found: readonly Readonly<Record<string, string>>[],
  started: Record<string, unknown> | undefined,
  asked: Record<string, unknown>,
  options: { counted?: boolean } = {},
): string {
  const { limit = 10_000 } = (started ?? {}) as { limit?: number };
  const { maxItems = 10_000, nextToken = "0" } = asked as { maxItems?: number; nextToken?: string };
  const rows = found.slice(0, limit);
  const next = Number(nextToken) + maxItems;
  return queryResults(rows.slice(Number(nextToken), next), {
    matched: found.length,
    ...(options.counted !== false && { resultCount: rows.length }),
    ...(next < rows.length && { nextToken: String(next) }),
  });
}

/** StopQuery of a query that was running. */
export const QUERY_STOPPED = JSON.stringify({ success: true });

export interface FakeLogGroup {
  logGroupName: string;
  storedBytes?: number;
  retentionInDays?: number;
  logGroupClass?: string;
  creationTime?: number;
}

/** DescribeLogGroups, a page of at most `limit`, with a token that is a number. */
export function describeLogGroups(
  groups: readonly FakeLogGroup[],
  { limit = 50, nextToken }: { limit?: number; nextToken?: string },
): string {
  const from = Number(nextToken ?? 0);
  const page = groups.slice(from, from + limit);
  const next = from + limit < groups.length ? String(from + limit) : undefined;
  const full = page.map((group) => ({
    metricFilterCount: 0,
    arn: `arn:aws:logs:us-east-1:123456789012:log-group:${group.logGroupName}:*`,
    logGroupArn: `arn:aws:logs:us-east-1:123456789012:log-group:${group.logGroupName}`,
    storedBytes: 1_000_000,
    creationTime: 1_760_000_000_000,
    logGroupClass: "STANDARD",
    ...group,
  }));
  return JSON.stringify({ logGroups: full, ...(next && { nextToken: next }) });
}

export interface FakeEvent {
  at: number;
  message: string;
  stream?: string;
}

/**
 * FilterLogEvents over events in the order of time, searched from either end, which moto does not do. Tokens say where
 * the next page starts and in which direction, as AWS's do.
 */
export function filterLogEvents(events: readonly FakeEvent[], parameters: Record<string, unknown>): string {
  const {
    limit = 10_000,
    nextToken,
    startFromHead = true,
    startTime = 0,
    endTime = Infinity,
  } = parameters as {
    limit?: number;
    nextToken?: string;
    startFromHead?: boolean;
    startTime?: number;
    endTime?: number;
  };
  const [direction = startFromHead ? "f" : "b", from = "0"] = nextToken?.split("/") ?? [];
  const found = events
    .map((event, index) => ({ ...event, index }))
    .filter(({ at }) => at >= startTime && at <= endTime);
  if (direction === "b") found.reverse();
  const page = found.slice(Number(from), Number(from) + limit);
  const next = Number(from) + limit;
  return JSON.stringify({
    events: page.map(({ at, message, stream = "web/1", index }) => ({
      eventId: `event-${index}`,
      ingestionTime: at,
      logStreamName: stream,
      message,
      timestamp: at,
    })),
    ...(next < found.length && { nextToken: `${direction}/${next}` }),
  });
}
