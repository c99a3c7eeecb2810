import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool } from "../../core/tool.ts";
import { CostFilter, DimensionName, groupValue } from "./dimensions.ts";
import { costSubject, Metric, priceOf, usageMetric } from "./explorer.ts";
import { change, type Money, shownAmount, sum } from "./money.ts";
import { DayArgument, daysOf, historyStart, periodBefore, periodOf } from "./period.ts";
import { type Group, MAX_PAGES, type Totals, totalsOf } from "./totals.ts";

/** A quarter by day, a year and the month that is open by month. */
const MAX_DAYS = { daily: 92, monthly: 397 } as const;

const input = z.strictObject({
  start: DayArgument.default("30d").describe("First day, or days ago"),
  end: DayArgument.optional().describe("Last day, included; default today"),
  granularity: z.enum(["daily", "monthly"]).default("daily"),
  group_by: z.array(DimensionName).min(1).max(2).optional().describe('["account", "tag:team"]'),
  filter: CostFilter.optional().describe('{"region": ["eu-west-1"], "tag:env": "prod"}'),
  metric: Metric,
  top: z.int().min(1).max(100).default(10),
  compare: z.boolean().default(true),
});

/** What an amount, and what it was before, look like in a reply. */
const amounts = {
  amount: z.number(),
  previous_amount: z.number().optional(),
  change_amount: z.number().optional(),
  change_percent: z.number().optional(),
};

export const getCostAndUsage = defineTool({
  name: "cost_get_cost_and_usage",
  title: "Get costs by service account tag or region",
  description:
    "What was spent in a period: total, largest groups, the rest as other, change against the period before. Negative amounts are credits or refunds. A request to AWS costs 0.01 USD; answers are kept for hours. cost_list_dimension_values has filter values.",
  service: "cost",
  effect: "read",
  idempotent: true,
  iam: [{ action: "ce:GetCostAndUsage", resource: "billingview" }],
  input,
  example: { start: "2026-01-01", end: "2026-01-31", group_by: ["service"] },
  output: z.object({
    total: z.object(amounts),
    currency: z.string(),
    estimated: z.boolean(),
    groups: z.array(z.object({ group: z.array(z.string()), name: z.string().optional(), ...amounts })),
    other: z.object({ groups_omitted: z.int(), ...amounts }).optional(),
    by_period: z.record(z.string(), z.number()),
    start: z.string(),
    end: z.string(),
    previous_start: z.string().optional(),
    previous_end: z.string().optional(),
    message: z.string(),
    paid_requests: z.int(),
    cached_at: z.string().optional(),
    as_of: z.string(),
  }),
  subject: costSubject,
  async handler(given, context) {
    const period = periodOf(given, MAX_DAYS[given.granularity]);
    const earlier = given.compare ? periodBefore(period) : undefined;
    const before = earlier && earlier.start >= historyStart() ? earlier : undefined;
    const groupBy = [...new Set(given.group_by)];
    const cached = await totalsOf(
      {
        period,
        before,
        granularity: given.granularity,
        metric: usageMetric(given.metric),
        groupBy,
        filter: given.filter,
      },
      context,
    );
    const totals = cached.value.answer;
    const compared = before !== undefined && totals.complete;
    const shown = (now: Money, was: Money) => ({ amount: shownAmount(now), ...(compared && change(now, was)) });
    const top = totals.groups.slice(0, given.top);
    const rest = totals.groups.slice(given.top);
    const omitted = rest.length + totals.rest.count;
    return {
      total: shown(totals.now, totals.before),
      currency: totals.currency,
      estimated: totals.estimated,
      groups: top.map((group) => ({ ...labelOf(group, groupBy, totals), ...shown(group.now, group.before) })),
      ...(omitted > 0 && {
        other: {
          groups_omitted: omitted,
          ...shown(
            sum(rest.map(({ now }) => now)) + totals.rest.now,
            sum(rest.map(({ before }) => before)) + totals.rest.before,
          ),
        },
      }),
      by_period: Object.fromEntries([...totals.byDate].map(([date, amount]) => [date, shownAmount(amount)])),
      start: period.start,
      end: period.end,
      ...(compared && { previous_start: before.start, previous_end: before.end }),
      message: messageOf(totals, earlier !== undefined && !before, daysOf(period)),
      ...priceOf([cached]),
      as_of: new Date().toISOString(),
    };
  },
});

function labelOf({ keys }: Group, groupBy: readonly string[], { names }: Totals): { group: string[]; name?: string } {
  const name = keys.map((key) => names.get(key)).find((found) => found !== undefined);
  return {
    group: keys.map((key, index) => cleanText(groupValue(key, groupBy[index] ?? ""), 256)),
    ...(name !== undefined && { name: cleanText(name, 64) }),
  };
}

function messageOf(totals: Totals, tooOld: boolean, days: number): string {
  if (!totals.complete) {
    return `Amounts are too low: AWS has more than the ${MAX_PAGES} pages that are paid for at once. Ask for fewer days or groups, or filter.`;
  }
  return [
    `Costs of ${days} ${days === 1 ? "day" : "days"} (UTC).`,
    ...(totals.estimated
      ? ["Estimated: AWS has not closed this period, and the newest day or two are incomplete."]
      : []),
    ...(tooOld ? ["Not compared: the period before is older than what Cost Explorer keeps."] : []),
  ].join(" ");
}
