import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { badCursor, questionHash } from "../shared/cursor.ts";
import { fit } from "../shared/fit.ts";
import { listRegions, listReply, type ServicePage } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import {
  ALARM_TYPES,
  type Alarm,
  AlarmName,
  alarmsOf,
  conditionOf,
  KINDS,
  type Kind,
  STATES,
  sinceOf,
  stateOf,
  watchedBy,
} from "./alarm.ts";
import { COMPOSITES_NEED_ALL } from "./alarm-access.ts";
import { sdk } from "./metric.ts";
import { shortTime } from "./text.ts";

/** CloudWatch's own bound. */
const PAGE_SIZE = 100;

const input = z.strictObject({
  ...regionFields,
  states: z.array(z.enum(STATES)).min(1).max(STATES.length).optional(),
  name_prefix: AlarmName.optional(),
  kinds: z.array(z.enum(KINDS)).min(1).max(KINDS.length).optional(),
  limit,
  cursor,
});

const Item = z.object({
  name: z.string(),
  state: z.string(),
  since: z.string().optional(),
  kind: z.enum(KINDS),
  watches: z.string(),
  condition: z.string().optional(),
  actions: z.string().optional(),
  region: z.string(),
});

const Summary = z.object({ matched: z.int(), by_state: z.record(z.string(), z.int()), counts_complete: z.boolean() });

export const listAlarms = defineTool({
  name: "cloudwatch_list_alarms",
  title: "List CloudWatch alarms",
  description:
    "Alarms of every kind: state, since when, metric and threshold in words. Counts by state come first, then those in ALARM. cloudwatch_describe_alarm tells reason, history and actions; it takes a name that was cut as it is.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [{ action: "cloudwatch:DescribeAlarms", unscoped: COMPOSITES_NEED_ALL }],
  input,
  output: listOutput(Summary, Item),
  example: { states: ["ALARM"], regions: ["us-east-1", "eu-west-1"] },
  subject: everyOne("cloudwatch:alarm"),
  async handler(given, { aws }) {
    const regions = regionsOf(given, aws.regionOf);
    const states = STATES.filter((state) => given.states?.includes(state) ?? true);
    const kinds = KINDS.filter((kind) => given.kinds?.includes(kind) ?? true);
    const listing = await listRegions<Alarm, z.input<typeof Item>>({
      question: questionHash("cloudwatch_list_alarms", { ...given, states, kinds, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      countBy: stateOf,
      fetchPage: (region, token) => fetchPage({ states, kinds, prefix: given.name_prefix }, region, token, aws),
      rows: (found) => found.map(({ item, region }) => itemOf(item, region)),
    });
    const { total, by, complete } = listing.counts;
    return listReply({ matched: total, by_state: by, counts_complete: complete }, listing);
  },
});

interface Filter {
  states: readonly (typeof STATES)[number][];
  kinds: readonly Kind[];
  prefix: string | undefined;
}

/**
 * One page of one state. The states follow each other, the urgent first, so a page's token says which one it is of:
 * `0` for the start of the first, `1 <CloudWatch's token>` inside the second. An alarm that changes its state between two
 * pages may come twice or not at all; the counts are those of the first page.
 */
async function fetchPage(
  { states, kinds, prefix }: Filter,
  region: string,
  token: string | undefined,
  aws: ReadContext["aws"],
): Promise<ServicePage<Alarm>> {
  const { CloudWatchClient, DescribeAlarmsCommand } = await sdk();
  const [, number = "0", inner = ""] = /^(\d) ?(.*)$/s.exec(token ?? "0") ?? [];
  const index = Number(number);
  const state = states[index];
  // A cursor is no secret: whoever makes one up must not get the alarms of all states instead of one.
  if (state === undefined) throw badCursor("cursor: not a next_cursor of this tool.");
  const ask = (some: readonly Kind[]) =>
    aws.client(CloudWatchClient, region).send(
      new DescribeAlarmsCommand({
        StateValue: state,
        ...(prefix !== undefined && { AlarmNamePrefix: prefix }),
        AlarmTypes: some.map((kind) => ALARM_TYPES[kind]),
        MaxRecords: PAGE_SIZE,
        ...(inner && { NextToken: inner }),
      }),
    );
  const answer = await ask(kinds).catch((error: unknown) => {
    // Log alarms are the youngest kind: a partition that does not know them yet must not lose the others.
    const older = kinds.filter((kind) => kind !== "log");
    if (older.length === 0 || older.length === kinds.length || !isUnknownType(error)) throw error;
    return ask(older);
  });
  const next = answer.NextToken
    ? `${index} ${answer.NextToken}`
    : index + 1 < states.length
      ? `${index + 1}`
      : undefined;
  return { items: alarmsOf(answer), nextToken: next };
}

function isUnknownType(error: unknown): boolean {
  return error instanceof ToolError && error.kind === "invalid_input" && /LogAlarm|alarmTypes/i.test(error.message);
}

// What the texts of one row may cost a reader; the rest is one cloudwatch_describe_alarm away.
const MAX_NAME = 110;
const MAX_WATCHES = 100;
const MAX_CONDITION = 70;

function itemOf(alarm: Alarm, region: string): z.input<typeof Item> {
  const since = sinceOf(alarm);
  const actions = alarm.ActionsEnabled === false ? "disabled" : (alarm.AlarmActions ?? []).length === 0 ? "none" : "";
  return {
    name: fit(alarm.AlarmName ?? "", MAX_NAME),
    state: fit(stateOf(alarm), 20),
    ...(since && { since: shortTime(since) }),
    kind: alarm.kind,
    watches: fit(watchedBy(alarm), MAX_WATCHES),
    ...(alarm.kind !== "composite" && { condition: fit(conditionOf(alarm), MAX_CONDITION) }),
    ...(actions && { actions }),
    region,
  };
}
