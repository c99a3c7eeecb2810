import type { ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { partialError } from "../shared/listing.ts";
import type { PartialError } from "../shared/schemas.ts";
import { type Alarm, parseAlarmArn, sinceOf, stateOf } from "./alarm.ts";
import { describeAlarms } from "./find-alarm.ts";
import { shortTime } from "./text.ts";

/** CloudWatch's own bound of one request. */
const MAX_NAMES = 100;
/** Of all alarm widgets of one answer together. */
const MAX_ALARMS = 300;

/** The states of alarms, each as one line, by ARN. Those of regions that may not be looked at, or that fail, say so. */
export async function alarmLines(
  arns: readonly string[],
  regions: readonly string[],
  context: ReadContext,
): Promise<{ lines: Map<string, string>; errors: PartialError[] }> {
  const lines = new Map<string, string>();
  const errors: PartialError[] = [];
  const wanted = new Map<string, Map<string, string>>();
  for (const arn of [...new Set(arns)].slice(0, MAX_ALARMS)) {
    const parsed = parseAlarmArn(arn);
    if (!parsed) lines.set(arn, `${fit(arn, 100)}: not the ARN of an alarm`);
    else if (parsed.account !== context.account && context.account !== "unknown")
      lines.set(arn, `${fit(parsed.name, 120)}: of another account, not supported`);
    else if (!regions.includes(parsed.region))
      lines.set(
        arn,
        `${fit(parsed.name, 120)}: in ${fit(parsed.region, 32)}, which was not asked for; name it in regions`,
      );
    else {
      const names = wanted.get(parsed.region) ?? new Map<string, string>();
      wanted.set(parsed.region, names.set(parsed.name, arn));
    }
  }
  await Promise.all(
    [...wanted].map(async ([region, names]) => {
      try {
        const found = await describeAll([...names.keys()], region, context);
        for (const [name, arn] of names) lines.set(arn, lineOf(name, found.get(name)));
      } catch (thrown) {
        const error = partialError(region, thrown);
        errors.push(error);
        for (const [name, arn] of names) lines.set(arn, `${fit(name, 120)}: state unknown (${error.kind})`);
      }
    }),
  );
  return { lines, errors };
}

async function describeAll(
  names: readonly string[],
  region: string,
  context: ReadContext,
): Promise<Map<string, Alarm>> {
  const found = new Map<string, Alarm>();
  for (let at = 0; at < names.length; at += MAX_NAMES) {
    const query = { AlarmNames: names.slice(at, at + MAX_NAMES), MaxRecords: MAX_NAMES };
    for (const alarm of (await describeAlarms(query, region, context)).alarms) found.set(alarm.AlarmName ?? "", alarm);
  }
  return found;
}

function lineOf(name: string, alarm: Alarm | undefined): string {
  if (!alarm) return `${fit(name, 120)}: there is no such alarm`;
  const since = sinceOf(alarm);
  return `${fit(name, 120)}: ${fit(stateOf(alarm), 20)}${since ? ` since ${shortTime(since)}` : ""}`;
}
