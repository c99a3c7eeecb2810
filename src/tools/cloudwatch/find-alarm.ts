import type { DescribeAlarmsCommandInput } from "@aws-sdk/client-cloudwatch";
import { ToolError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import type { ReadContext } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { ALL_TYPES, type Alarm, alarmsOf } from "./alarm.ts";
import { sdk } from "./metric.ts";

type Aws = Pick<ReadContext, "aws">;

/** One page of DescribeAlarms, of every kind of alarm. */
export async function describeAlarms(
  query: Omit<DescribeAlarmsCommandInput, "AlarmTypes">,
  region: string,
  { aws }: Aws,
): Promise<{ alarms: Alarm[]; more: boolean }> {
  const { CloudWatchClient, DescribeAlarmsCommand } = await sdk();
  // AWS takes nothing beside these two.
  const family = query.ChildrenOfAlarmName !== undefined || query.ParentsOfAlarmName !== undefined;
  const command = new DescribeAlarmsCommand({ ...query, ...(!family && { AlarmTypes: ALL_TYPES }) });
  const answer = await aws.client(CloudWatchClient, region).send(command);
  return { alarms: alarmsOf(answer), more: Boolean(answer.NextToken) };
}

/** How a name that was cut to fit a row ends. */
const CUT = "…";
const MAX_SIMILAR = 5;

/**
 * The alarm of this name. A name that ends in … is first taken literally, then as the beginning of a longer one.
 * @throws ToolError `not_found` when there is none, `invalid_input` when a cut name fits several
 */
export async function findAlarm(name: string, region: string, context: Aws): Promise<Alarm> {
  const { alarms } = await describeAlarms({ AlarmNames: [name] }, region, context);
  const exact = alarms.find(({ AlarmName }) => AlarmName === name);
  if (exact) return exact;
  const beginning = name.slice(0, -CUT.length);
  if (!name.endsWith(CUT) || beginning === "") throw notFound(name, region);
  const query = { AlarmNamePrefix: beginning, MaxRecords: MAX_SIMILAR + 1 };
  const similar = (await describeAlarms(query, region, context)).alarms.filter(({ AlarmName = "" }) =>
    AlarmName.startsWith(beginning),
  );
  const [only] = similar;
  if (!only) throw notFound(name, region);
  if (similar.length === 1) return only;
  const names = similar.slice(0, MAX_SIMILAR).map(({ AlarmName = "" }) => `"${cleanText(AlarmName, 255)}"`);
  throw new ToolError("invalid_input", `name: it was cut, and several alarms begin so: ${names.join(", ")}.`, {
    nextStep: "Give the whole name of one of them.",
  });
}

function notFound(name: string, region: string): ToolError {
  return new ToolError("not_found", `There is no alarm "${fit(name, 120)}" in ${region}.`, {
    nextStep: "Check the name (letter case counts) and the region; cloudwatch_list_alarms with name_prefix finds it.",
  });
}
