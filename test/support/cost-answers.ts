// What Cost Explorer answers, which moto does not know: it has no costs of its own, no forecast and no dimensions.

/** Costs of one day or month: an amount, or one for each group (its keys joined by `|`). */
export interface FakeCosts {
  start: string;
  end: string;
  amounts: string | Readonly<Record<string, string>>;
  estimated?: boolean;
}

export interface CostAnswer {
  metric?: string;
  unit?: string;
  nextToken?: string;
  /** Account id → name. */
  names?: Readonly<Record<string, string>>;
}

/** GetCostAndUsage, as it stands in moto's queue or in an answer. */
export function costAndUsage(costs: readonly FakeCosts[], options: CostAnswer = {}) {
  const { metric = "UnblendedCost", unit = "USD", nextToken, names = {} } = options;
  const metrics = (Amount: string) => ({ [metric]: { Amount, Unit: unit } });
  return {
    GroupDefinitions: [],
    ResultsByTime: costs.map(({ start, end, amounts, estimated = false }) => ({
      TimePeriod: { Start: start, End: end },
      Total: typeof amounts === "string" ? metrics(amounts) : {},
      Groups:
        typeof amounts === "string"
          ? []
          : Object.entries(amounts).map(([keys, amount]) => ({ Keys: keys.split("|"), Metrics: metrics(amount) })),
      Estimated: estimated,
    })),
    DimensionValueAttributes: Object.entries(names).map(([Value, description]) => ({
      Value,
      Attributes: { description },
    })),
    ...(nextToken && { NextPageToken: nextToken }),
  };
}

export function costForecast(mean: string, low: string, high: string): string {
  return JSON.stringify({
    Total: { Amount: mean, Unit: "USD" },
    ForecastResultsByTime: [
      {
        TimePeriod: { Start: "2026-11-24", End: "2026-12-01" },
        MeanValue: mean,
        PredictionIntervalLowerBound: low,
        PredictionIntervalUpperBound: high,
      },
    ],
  });
}

/** A page of GetDimensionValues; the token is where the next one starts. */
export function dimensionValues(
  values: readonly { value: string; description?: string }[],
  { NextPageToken }: { NextPageToken?: string },
  pageSize = 1_000,
): string {
  const from = Number(NextPageToken ?? 0);
  const page = values.slice(from, from + pageSize);
  return JSON.stringify({
    DimensionValues: page.map(({ value, description }) => ({
      Value: value,
      Attributes: description === undefined ? {} : { description },
    })),
    ReturnSize: page.length,
    TotalSize: values.length,
    ...(from + pageSize < values.length && { NextPageToken: String(from + pageSize) }),
  });
}

export function tagValues(tags: readonly string[]): string {
  return JSON.stringify({ Tags: tags, ReturnSize: tags.length, TotalSize: tags.length });
}

/** Queues an answer for the next new question of an account in moto. */
export async function queueCosts(url: string, accountId: string, results: readonly object[]): Promise<void> {
  const response = await fetch(`${url}/moto-api/static/ce/cost-and-usage-results`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ account_id: accountId, results }),
  });
  if (response.status !== 201) throw new Error(`moto answered ${response.status}: ${await response.text()}`);
}
