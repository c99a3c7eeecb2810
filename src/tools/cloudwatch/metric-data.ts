import type { MessageData, MetricDataQuery, MetricDataResult } from "@aws-sdk/client-cloudwatch";
import type { ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import type { Point } from "../shared/series.ts";
import { sdk } from "./metric.ts";

/** One series of an answer. A search gives several under one id. */
export interface Result {
  id: string;
  label: string;
  /** Ascending. */
  points: Point[];
  /** CloudWatch's, unless it is `Complete`. */
  status: string | undefined;
  messages: string[];
}

export interface MetricData {
  results: Result[];
  messages: string[];
}

/** CloudWatch's own bound of one request. */
export const MAX_QUERIES = 500;
/** Of 100,800 points each. */
const MAX_PAGES = 5;
const MAX_MESSAGES = 5;

/** Ids that nobody among these uses: `q1`, `q2` … */
export function freeIds(used: readonly (string | undefined)[], prefix: string): () => string {
  const taken = new Set(used);
  let number = 0;
  return () => {
    do number += 1;
    while (taken.has(`${prefix}${number}`));
    return `${prefix}${number}`;
  };
}

/** Asks for all of these series at once, page after page; what five pages cannot hold is said to be missing. */
export async function getMetricData(
  queries: MetricDataQuery[],
  range: { from: number; to: number },
  region: string,
  { aws }: Pick<ReadContext, "aws">,
): Promise<MetricData> {
  const { CloudWatchClient, GetMetricDataCommand } = await sdk();
  const client = aws.client(CloudWatchClient, region);
  const results: Result[] = [];
  const messages = new Set<string>();
  let token: string | undefined;
  let pages = 0;
  do {
    const answer = await client.send(
      new GetMetricDataCommand({
        MetricDataQueries: queries,
        StartTime: new Date(range.from),
        EndTime: new Date(range.to),
        ScanBy: "TimestampDescending",
        ...(token && { NextToken: token }),
      }),
    );
    addPage(results, answer.MetricDataResults ?? []);
    for (const text of textsOf(answer.Messages)) messages.add(text);
    token = answer.NextToken || undefined;
    pages += 1;
  } while (token !== undefined && pages < MAX_PAGES);
  if (token !== undefined)
    messages.add("There is more data than fits; use a larger period_s, a shorter range or fewer metrics.");
  for (const { points } of results) points.sort((a, b) => a.time - b.time);
  return { results, messages: [...messages].slice(0, MAX_MESSAGES) };
}

/**
 * Adds the series of a page. One goes on with a series of an earlier page when that had the same id and label and was
 * called partial: two whole series of a search may well have the same label.
 */
function addPage(results: Result[], page: readonly MetricDataResult[]): void {
  const partial = results.filter(({ status }) => status === "PartialData");
  for (const { Id: id = "", Label, Timestamps, Values, StatusCode, Messages } of page) {
    const label = Label ?? "";
    const earlier = partial.findIndex((one) => one.id === id && one.label === label);
    const [begun] = earlier === -1 ? [] : partial.splice(earlier, 1);
    const result = begun ?? { id, label, points: [], status: undefined, messages: [] };
    if (!begun) results.push(result);
    result.points.push(...pointsOf(Timestamps, Values));
    result.status = StatusCode === undefined || StatusCode === "Complete" ? undefined : fit(StatusCode, 40);
    result.messages.push(...textsOf(Messages).filter((text) => !result.messages.includes(text)));
  }
}

function pointsOf(times: readonly Date[] | undefined, values: readonly (number | null)[] | undefined): Point[] {
  return (times ?? []).flatMap((moment, index) => {
    const time = moment.getTime();
    const value = values?.[index];
    return typeof value === "number" && Number.isFinite(value) && !Number.isNaN(time) ? [{ time, value }] : [];
  });
}

function textsOf(messages: readonly MessageData[] | undefined): string[] {
  return (messages ?? [])
    .slice(0, MAX_MESSAGES)
    .map(({ Code, Value }) => fit([Code, Value].filter((part) => part).join(": "), 300));
}
