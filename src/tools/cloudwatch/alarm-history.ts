import type { AlarmHistoryItem } from "@aws-sdk/client-cloudwatch";
import type { ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { ALARM_TYPES, type Kind } from "./alarm.ts";
import { actionText } from "./alarm-actions.ts";
import { sdk } from "./metric.ts";
import { shortTime } from "./text.ts";

export interface History {
  changes24h: number;
  changes7d: number;
  /** False when there is more than was looked at: the counts are lower bounds. */
  complete: boolean;
  /** The newest items, newest first: `2026-01-31T08:05Z OK → ALARM: Threshold Crossed …`. */
  lines: string[];
}

const DAY_MS = 86_400_000;
/** CloudWatch's own bound of one request. */
const PAGE_SIZE = 100;
const MAX_PAGES = 4;
const MAX_LINES = 20;

/** What happened to an alarm in the last week. */
export async function historyOf(
  alarm: { name: string; kind: Kind },
  own: { region: string; account: string },
  { aws }: Pick<ReadContext, "aws">,
): Promise<History> {
  const { CloudWatchClient, DescribeAlarmHistoryCommand } = await sdk();
  const now = Date.now();
  const items: AlarmHistoryItem[] = [];
  let token: string | undefined;
  let pages = 0;
  do {
    const answer = await aws.client(CloudWatchClient, own.region).send(
      new DescribeAlarmHistoryCommand({
        AlarmName: alarm.name,
        AlarmTypes: [ALARM_TYPES[alarm.kind]],
        StartDate: new Date(now - 7 * DAY_MS),
        EndDate: new Date(now),
        ScanBy: "TimestampDescending",
        MaxRecords: PAGE_SIZE,
        ...(token && { NextToken: token }),
      }),
    );
    items.push(...(answer.AlarmHistoryItems ?? []));
    token = answer.NextToken || undefined;
    pages += 1;
  } while (token !== undefined && pages < MAX_PAGES);

  const timed = items.flatMap((item) => {
    const time = item.Timestamp?.getTime();
    return time === undefined || Number.isNaN(time) ? [] : [{ item, time }];
  });
  timed.sort((a, b) => b.time - a.time);
  const changes = timed.filter(({ item }) => item.HistoryItemType === "StateUpdate");
  return {
    changes24h: changes.filter(({ time }) => time > now - DAY_MS).length,
    changes7d: changes.length,
    complete: token === undefined,
    lines: timed.slice(0, MAX_LINES).map(({ item, time }) => `${shortTime(time)} ${lineOf(item, own)}`),
  };
}

function lineOf(item: AlarmHistoryItem, own: { region: string; account: string }): string {
  const summary = item.HistorySummary ?? "";
  if (item.HistoryItemType !== "StateUpdate") {
    return fit(
      summary.replace(/arn:[\w-]+:[^\s"']+/g, (arn) => actionText(arn, own)) || (item.HistoryItemType ?? ""),
      200,
    );
  }
  const { from, to, reason } = changeOf(item.HistoryData);
  if (from === undefined || to === undefined) return fit(summary, 200);
  return fit(`${from} → ${to}${reason === undefined ? "" : `: ${reason}`}`, 200);
}

/** The states before and after, as CloudWatch's JSON has them; whatever is not as documented is left out. */
function changeOf(data: string | undefined): { from?: string; to?: string; reason?: string } {
  const parsed = parseJson(data);
  const before = textOf(parsed, "oldState", "stateValue");
  const after = textOf(parsed, "newState", "stateValue");
  const reason = textOf(parsed, "newState", "stateReason");
  return {
    ...(before !== undefined && { from: before }),
    ...(after !== undefined && { to: after }),
    ...(reason !== undefined && { reason }),
  };
}

function textOf(value: unknown, ...path: string[]): string | undefined {
  let at = value;
  for (const key of path) at = at !== null && typeof at === "object" ? (at as Record<string, unknown>)[key] : undefined;
  return typeof at === "string" ? at : undefined;
}

function parseJson(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? "");
  } catch {
    return undefined;
  }
}
