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

/** GetQueryResults and StopQuery of a proxy, answered for good. */
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
