import * as z from "zod";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { type Alarm, AlarmName, conditionOf, parseAlarmArn, queryText, sinceOf, stateOf, watchedBy } from "./alarm.ts";
import { COMPOSITES_NEED_ALL } from "./alarm-access.ts";
import { actionLines } from "./alarm-actions.ts";
import { type History, historyOf } from "./alarm-history.ts";
import { describeAlarms, findAlarm } from "./find-alarm.ts";
import { elapsed, inWords, shortTime } from "./text.ts";

const output = z.object({
  name: z.string(),
  state: z.string(),
  summary: z.string(),
  since: z.string().optional(),
  reason: z.string().optional(),
  kind: z.string(),
  watches: z.string(),
  queries: z.array(z.string()).optional(),
  condition: z.string(),
  missing_data: z.string().optional(),
  evaluation: z.string().optional(),
  description: z.string().optional(),
  actions_enabled: z.boolean(),
  actions: z.array(z.string()),
  suppression: z.string().optional(),
  children: z.array(z.string()).optional(),
  children_omitted: z.int().optional(),
  parents: z.array(z.string()).optional(),
  parents_omitted: z.int().optional(),
  flapping: z.boolean().optional(),
  state_changes_24h: z.int().optional(),
  state_changes_7d: z.int().optional(),
  history: z.array(z.string()),
  history_complete: z.boolean(),
  configured: z.string().optional(),
  region: z.string(),
  account: z.string(),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

/** From so many changes a day on, an alarm says more about its threshold than about what it watches. */
const FLAPPING = 8;
const MAX_CHILDREN = 40;
const MAX_PARENTS = 10;

export const describeAlarm = defineTool({
  name: "cloudwatch_describe_alarm",
  title: "Describe a CloudWatch alarm",
  description:
    "One alarm of any kind: state and reason, condition in words, where its actions go, 7 days of history, flapping; children and suppressor of a composite one. cloudwatch_get_metric_statistics reads its metric.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "cloudwatch:DescribeAlarms", unscoped: COMPOSITES_NEED_ALL },
    { action: "cloudwatch:DescribeAlarmHistory", unscoped: COMPOSITES_NEED_ALL },
  ],
  input: z.strictObject({ name: AlarmName, region }),
  output,
  example: { name: "checkout-5xx-rate" },
  subject: (given, regionOf) => ({ type: "cloudwatch:alarm", id: given.name, region: regionOf(given.region) }),
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const alarm = await findAlarm(given.name, where, context);
    const name = alarm.AlarmName ?? given.name;
    const own = { region: where, account: parseAlarmArn(alarm.AlarmArn ?? "")?.account || context.account };
    const errors: PartialError[] = [];
    const tolerate = (thrown: unknown) => void errors.push(partialError(where, thrown));
    const [history, family, suppression] = await Promise.all([
      historyOf({ name, kind: alarm.kind }, own, context).catch(tolerate),
      familyOf(alarm, name, where, context, tolerate),
      suppressionOf(alarm, where, context, tolerate),
    ]);
    const since = sinceOf(alarm);
    const reason = alarm.StateReason;
    return {
      name: fit(name, 1_024),
      state: fit(stateOf(alarm), 40),
      summary: summaryOf(alarm, since, history ?? undefined),
      ...(since && { since: shortTime(since) }),
      ...(reason && { reason: fit(reason, 1_000) }),
      kind: alarm.kind,
      watches: fit(watchedBy(alarm), 1_000),
      ...queriesOf(alarm),
      condition: fit(conditionOf(alarm), 200),
      ...(alarm.kind !== "composite" && { missing_data: fit(alarm.TreatMissingData ?? "missing", 40) }),
      ...(alarm.EvaluationState && { evaluation: fit(alarm.EvaluationState, 40) }),
      ...(alarm.AlarmDescription && { description: fit(alarm.AlarmDescription, 1_000) }),
      actions_enabled: alarm.ActionsEnabled !== false,
      actions: actionLines(alarm, own),
      ...(suppression && { suppression }),
      ...family,
      ...(history && {
        flapping: history.changes24h >= FLAPPING,
        state_changes_24h: history.changes24h,
        state_changes_7d: history.changes7d,
      }),
      history: history?.lines ?? [],
      history_complete: history?.complete ?? false,
      ...(alarm.AlarmConfigurationUpdatedTimestamp && {
        configured: shortTime(alarm.AlarmConfigurationUpdatedTimestamp),
      }),
      region: where,
      account: own.account,
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

function summaryOf(alarm: Alarm, since: Date | undefined, history: History | undefined): string {
  const parts = [since ? `${stateOf(alarm)} for ${elapsed(Date.now() - since.getTime())}` : stateOf(alarm)];
  if (history && history.changes24h >= FLAPPING) parts.push(`flapping: ${history.changes24h} changes in 24 h`);
  if (alarm.ActionsEnabled === false) parts.push("its actions are disabled");
  else if ((alarm.AlarmActions ?? []).length === 0) parts.push("nobody is told: no action on ALARM");
  if (alarm.ActionsSuppressedBy) parts.push("its actions are suppressed");
  if (alarm.EvaluationState) parts.push(`evaluation is in trouble (${alarm.EvaluationState})`);
  return fit(`${parts.join("; ")}.`, 300);
}

/** The series of a metric-math alarm, by id. */
function queriesOf({ Metrics = [] }: Alarm): { queries?: string[] } {
  if (Metrics.length === 0) return {};
  return { queries: Metrics.slice(0, 20).map((query) => fit(`${query.Id ?? "?"}: ${queryText(query)}`, 400)) };
}

/** The alarms a composite alarm looks at, with their states, and the composite alarms that look at this one. */
async function familyOf(
  alarm: Alarm,
  name: string,
  where: string,
  context: ReadContext,
  tolerate: (thrown: unknown) => void,
): Promise<{ children?: string[]; children_omitted?: number; parents?: string[]; parents_omitted?: number }> {
  const read = async (query: { ChildrenOfAlarmName: string } | { ParentsOfAlarmName: string }) =>
    (await describeAlarms({ ...query, MaxRecords: 100 }, where, context).catch(tolerate))?.alarms ?? [];
  const [children, parents] = await Promise.all([
    alarm.kind === "composite" ? read({ ChildrenOfAlarmName: name }) : [],
    read({ ParentsOfAlarmName: name }),
  ]);
  // The alarming children are why the parent alarms.
  const urgent = children.toSorted((a, b) => Number(stateOf(b) === "ALARM") - Number(stateOf(a) === "ALARM"));
  return {
    ...(alarm.kind === "composite" && { children: urgent.slice(0, MAX_CHILDREN).map(familyLine) }),
    ...(children.length > MAX_CHILDREN && { children_omitted: children.length - MAX_CHILDREN }),
    ...(parents.length > 0 && {
      parents: parents.slice(0, MAX_PARENTS).map(({ AlarmName = "" }) => fit(AlarmName, 300)),
    }),
    ...(parents.length > MAX_PARENTS && { parents_omitted: parents.length - MAX_PARENTS }),
  };
}

function familyLine(alarm: Alarm): string {
  const since = sinceOf(alarm);
  return `${fit(stateOf(alarm), 20)}: ${fit(alarm.AlarmName ?? "", 300)}${since ? ` (since ${shortTime(since)})` : ""}`;
}

/** Which alarm keeps this one's actions back, and whether it does so now. */
async function suppressionOf(
  alarm: Alarm,
  where: string,
  context: ReadContext,
  tolerate: (thrown: unknown) => void,
): Promise<string | undefined> {
  if (!alarm.ActionsSuppressor) return undefined;
  const name = parseAlarmArn(alarm.ActionsSuppressor)?.name ?? alarm.ActionsSuppressor;
  const found = await describeAlarms({ AlarmNames: [name] }, where, context).catch(tolerate);
  const suppressor = found?.alarms.find(({ AlarmName }) => AlarmName === name);
  const { ActionsSuppressedBy: by, ActionsSuppressedReason: reason = "" } = alarm;
  const waits = `waits ${inWords(alarm.ActionsSuppressorWaitPeriod ?? 0)} for it, holds on ${inWords(alarm.ActionsSuppressorExtensionPeriod ?? 0)} after it`;
  const now = by ? `suppressing now (${[by, reason].filter((part) => part).join(": ")})` : "not suppressing now";
  return fit(
    `suppressed by ${fit(name, 300)} (${suppressor ? stateOf(suppressor) : "state unknown"}); ${waits}; ${now}`,
    900,
  );
}
