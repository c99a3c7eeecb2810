import type { GetCostForecastResponse } from "@aws-sdk/client-cost-explorer";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import type { Cached } from "../shared/cache.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError } from "../shared/schemas.ts";
import { CostFilter, expressionOf } from "./dimensions.ts";
import { costRegion, costSubject, Metric, type Paid, paidOnce, priceOf, sdk, TTL_MS, usageMetric } from "./explorer.ts";
import { type Money, parseMoney, shownAmount, sum } from "./money.ts";
import { addDays, addMonths, type Day, firstOfMonth, interval, type Period, today } from "./period.ts";
import { type Totals, totalsOf } from "./totals.ts";

const input = z.strictObject({
  filter: CostFilter.optional(),
  metric: Metric,
  interval_percent: z.int().min(51).max(99).default(80),
});
type Input = z.output<typeof input>;

export const getForecast = defineTool({
  name: "cost_get_forecast",
  title: "Forecast the costs of this month",
  description:
    "What this month costs: spent up to yesterday, AWS's forecast to the month's end, both together with a low and a high estimate. Says so when there is too little history. Up to 2 requests of 0.01 USD; answers are kept for an hour.",
  service: "cost",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ce:GetCostForecast", resource: "billingview" },
    { action: "ce:GetCostAndUsage", resource: "billingview" },
  ],
  input,
  example: { metric: "unblended" },
  output: z.object({
    month: z.string(),
    month_to_date_amount: z.number().optional(),
    through: z.string().optional(),
    forecast_amount: z.number().optional(),
    month_total_amount: z.number().optional(),
    low_amount: z.number().optional(),
    high_amount: z.number().optional(),
    interval_percent: z.int(),
    currency: z.string(),
    message: z.string(),
    paid_requests: z.int(),
    cached_at: z.string().optional(),
    as_of: z.string(),
    errors: z.array(PartialError).optional(),
  }),
  subject: costSubject,
  async handler(given, context) {
    const day = today();
    const [spent, forecast] = await Promise.allSettled([
      spentThisMonth(given, day, context),
      forecastOf(given, { start: day, end: addDays(addMonths(day, 1), -1) }, context),
    ]);
    if (spent.status === "rejected" && forecast.status === "rejected") throw spent.reason;
    const toDate = spent.status === "fulfilled" ? spent.value : undefined;
    const ahead = forecast.status === "fulfilled" ? forecast.value : undefined;
    const failures = [spent, forecast].flatMap((part) => (part.status === "rejected" ? [part.reason] : []));
    const errors = failures.map((thrown) => partialError("global", thrown));
    const before = toDate && (toDate === "nothing yet" ? 0n : toDate.value.answer.now);
    const prediction = ahead?.value.answer;
    const paid = [toDate === "nothing yet" ? undefined : toDate, ahead].filter((part) => part !== undefined);
    return {
      month: day.slice(0, 7),
      ...(before !== undefined && {
        month_to_date_amount: shownAmount(before),
        ...(toDate !== "nothing yet" && { through: addDays(day, -1) }),
      }),
      ...(prediction?.kind === "forecast" && {
        forecast_amount: shownAmount(prediction.mean),
        ...(before !== undefined && {
          month_total_amount: shownAmount(before + prediction.mean),
          ...(prediction.low !== undefined && { low_amount: shownAmount(before + prediction.low) }),
          ...(prediction.high !== undefined && { high_amount: shownAmount(before + prediction.high) }),
        }),
      }),
      interval_percent: given.interval_percent,
      currency: currencyOf(toDate, prediction),
      message: messageOf(prediction, before !== undefined),
      ...(paid.length > 0 ? priceOf(paid) : { paid_requests: 0 }),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

type Spent = Cached<Paid<Totals>> | "nothing yet";

/** Up to yesterday: today is in the forecast. */
async function spentThisMonth(given: Input, day: Day, context: ReadContext): Promise<Spent> {
  const period = { start: firstOfMonth(day), end: addDays(day, -1) };
  if (period.end < period.start) return "nothing yet";
  const { metric, filter } = given;
  const question = { period, before: undefined, granularity: "monthly", groupBy: [], filter } as const;
  return totalsOf({ ...question, metric: usageMetric(metric) }, context);
}

/** As GetCostForecast spells them. */
const FORECAST_METRICS = {
  unblended: "UNBLENDED_COST",
  amortized: "AMORTIZED_COST",
  net_unblended: "NET_UNBLENDED_COST",
  net_amortized: "NET_AMORTIZED_COST",
  blended: "BLENDED_COST",
} as const;

type Prediction =
  | { kind: "forecast"; mean: Money; low: Money | undefined; high: Money | undefined; currency: string | undefined }
  | { kind: "not enough history" };

async function forecastOf(given: Input, period: Period, context: ReadContext): Promise<Cached<Paid<Prediction>>> {
  const Filter = expressionOf(given.filter);
  const request = {
    TimePeriod: interval(period),
    Metric: FORECAST_METRICS[given.metric],
    Granularity: "MONTHLY" as const,
    PredictionIntervalLevel: given.interval_percent,
    ...(Filter && { Filter }),
  };
  const { aws } = context;
  const { CostExplorerClient, GetCostForecastCommand } = await sdk();
  return paidOnce({ forecast: request }, context, async () => {
    try {
      const answer = await aws
        .client(CostExplorerClient, costRegion(aws.regionOf))
        .send(new GetCostForecastCommand(request));
      return { value: { answer: predictionOf(answer), requests: 1 }, ttlMs: TTL_MS.changing };
    } catch (thrown) {
      // An answer, though AWS gives it as an error; it is not kept, because tomorrow it may be another.
      const young = thrown instanceof ToolError && thrown.detail?.startsWith("DataUnavailable");
      if (!young) throw thrown;
      return { value: { answer: { kind: "not enough history" }, requests: 1 }, ttlMs: 0 };
    }
  });
}

function predictionOf({ Total, ForecastResultsByTime = [] }: GetCostForecastResponse): Prediction {
  const bound = (side: "PredictionIntervalLowerBound" | "PredictionIntervalUpperBound") => {
    const texts = ForecastResultsByTime.flatMap((result) => result[side] ?? []);
    return texts.length > 0 ? sum(texts.map(parseMoney)) : undefined;
  };
  return {
    kind: "forecast",
    mean: parseMoney(Total?.Amount),
    low: bound("PredictionIntervalLowerBound"),
    high: bound("PredictionIntervalUpperBound"),
    currency: Total?.Unit,
  };
}

function currencyOf(spent: Spent | undefined, prediction: Prediction | undefined): string {
  const forecast = prediction?.kind === "forecast" ? prediction.currency : undefined;
  const known = spent === undefined || spent === "nothing yet" ? undefined : spent.value.answer.currency;
  return forecast ?? known ?? "USD";
}

function messageOf(prediction: Prediction | undefined, spentKnown: boolean): string {
  if (prediction?.kind === "not enough history") {
    return "AWS has not enough history of this account (or this filter) for a forecast. It takes a month or two; asking again today changes nothing.";
  }
  if (!prediction) return "The forecast could not be had; errors says why.";
  if (!spentKnown)
    return "Only the rest of the month, from today: what was spent before could not be had; errors says why.";
  return "month_total_amount = spent up to yesterday + forecast from today to the month's end; low and high belong to it.";
}
